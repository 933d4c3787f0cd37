"""The figure of the interpolation threshold: errors and losses against the number of parameters."""

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis
from isthmus.figures.looks import GREY, Look, key_of
from isthmus.figures.marks import draw_hollow
from isthmus.figures.means import Means, draw_means
from isthmus.figures.panels import rows_of
from isthmus.tables.descriptions import Lines

THRESHOLDS: dict[str, tuple[str, Callable[[pd.DataFrame], pd.Series]]] = {
    "parameters = training examples": ("--", lambda rows: rows["train_examples"]),
    "parameters = training examples × outputs": (":", lambda rows: rows["train_examples"] * rows["classes"]),
}


def draw_interpolation(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Test error, test loss and training error against parameters.

    Networks that do not interpolate, with a training accuracy below 1, are hollow, and so are means with one of them.
    Real targets have no accuracy. Vertical lines are where the parameters are as many as the training examples, and as
    the examples times the outputs: the threshold of interpolation for one output and for all (Belkin et al. 2019).
    """
    return draw_means(study, tables, lines, _add_thresholds)


def _add_thresholds(made: Means) -> None:
    """Draw the thresholds, and who does not interpolate."""
    networks = rows_of(made.study, made.tables, "networks")
    lacking = networks.loc[networks["train_accuracy"] < 1, ["cell", "seed"]]
    shown = list(made.rows["x"].dropna())
    for panel, stack in made.placed:
        own = networks[networks["cell"].isin(panel.rows["cell"])]
        for axes, quantity in zip(stack, made.shown, strict=True):
            rows, dots = made.of(panel, quantity)
            for depth, look in made.looks.items():
                draw_hollow(axes, dots[dots["depth"] == depth].merge(lacking, on=["cell", "seed"]), look, small=True)
                draw_hollow(axes, rows[(rows["depth"] == depth) & rows["cell"].isin(lacking["cell"])], look)
            for name, (line, threshold) in THRESHOLDS.items():
                for at in threshold(own).unique():
                    axes.axvline(at, color=GREY, linestyle=line, linewidth=0.8, zorder=1, gid=name)
                    shown.append(at)
    for _, stack in made.placed:
        for axes in stack:
            decade_axis(axes.xaxis, shown)
    if not lacking.empty:
        made.keys.append(key_of("training accuracy below 1", Look(GREY, "o", "none", hollow=True)))
    made.keys += [key_of(name, Look(GREY, "none", line)) for name, (line, _) in THRESHOLDS.items()]
