"""The figures of the training stage: test accuracy, learning curves, and the interpolation threshold."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.axes import decade_axis
from isthmus.figures.lines import FRACTION, Looks, keys_of, looks_in
from isthmus.figures.looks import GREY, Look, key_of
from isthmus.figures.marks import draw_dots, draw_means, say_if_empty
from isthmus.figures.panels import axes_only, count_note, lay_out, panels_of, rows_of
from isthmus.figures.style import footnote, legend_above, paper
from isthmus.statistics.bootstrap import summarize


def _against_parameters(axes: Axes, rows: pd.DataFrame, column: str, looks: Looks) -> list[int]:
    """Draw a loss, or 1 - an accuracy, against parameters, a line per depth; return the networks behind each point.

    Networks with a training accuracy below 1 are hollow; a mean is hollow where one of its networks is.
    """
    counts: list[int] = []
    is_accuracy = column.endswith("accuracy")
    for depth, look in looks.items():
        networks = rows[rows["depth"] == depth]
        networks = networks.assign(value=1 - networks[column] if is_accuracy else networks[column])
        if networks.empty:
            continue
        kept = networks[~networks["diverged"]]
        fits = kept["train_accuracy"] >= 1
        draw_dots(axes, kept["parameters"][fits], kept["value"][fits], look)
        draw_dots(axes, kept["parameters"][~fits], kept["value"][~fits], look, hollow=True)
        limits = FRACTION if is_accuracy else (0.0, np.inf)
        summary = summarize(networks, ["parameters", "cell"], "value", limits=limits)
        line = draw_means(axes, summary["parameters"], summary, look)
        line.set_gid(f"{column} depth={depth}")
        line.set_markerfacecolor("white")
        whole = summary[~summary["parameters"].isin(kept["parameters"][~fits])]
        axes.plot(whole["parameters"], whole["mean"], look.marker, color=look.colour, zorder=5)
        counts += summary["count"].tolist()
    say_if_empty(axes, counts)
    return counts


THRESHOLDS: dict[str, tuple[str, Callable[[pd.DataFrame], pd.Series]]] = {
    "parameters = training examples": ("--", lambda rows: rows["train_examples"]),
    "parameters = training examples × classes": (":", lambda rows: rows["train_examples"] * rows["classes"]),
}


def draw_interpolation(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Test error, test loss and training error against parameters: a line per depth, a panel per batch size.

    `tables` holds `networks`. Errors are fractions, 1 - accuracy, losses in their own unit. Networks that do not
    interpolate, with a training accuracy below 1, have hollow markers. Vertical lines are where the parameters are as
    many as the training examples, and as the examples times the classes: the threshold of interpolation for one output
    and for one output per class (Belkin et al. 2019). Raises DataError where the study has no network.
    """
    networks = rows_of(study, tables, "networks")
    looks = looks_in(tables, "depth", networks)
    with paper():
        blocks = panels_of(networks, ["batch_size"])
        labels = ["test error", "test loss", "training error"]
        figure, placed = lay_out(blocks, labels, "parameters", above=0.55)
        counts, shown = [], list(networks["parameters"])
        for panel, stack in placed:
            for axes, column in zip(stack, ("test_accuracy", "test_loss", "train_accuracy"), strict=True):
                counts += _against_parameters(axes, panel.rows, column, looks)
                for name, (line, threshold) in THRESHOLDS.items():
                    for at in threshold(panel.rows).unique():
                        axes.axvline(at, color=GREY, linestyle=line, linewidth=0.8, zorder=1, gid=name)
                        shown.append(at)
        for axes in (axes for row in (0, 1, 2) for axes in axes_only(placed, row)):
            decade_axis(axes.xaxis, shown)
            axes.set_ylim(bottom=max(axes.get_ylim()[0], -0.04 * axes.get_ylim()[1]))  # no error is below zero
        keys = [key_of(name, Look(GREY, "none", line)) for name, (line, _) in THRESHOLDS.items()]
        hollow = Line2D([], [], color=GREY, marker="o", markerfacecolor="none", linestyle="none")
        hollow.set_label("training accuracy below 1")
        legend_above(figure, [*keys_of("depth", looks), hollow, *keys])
        footnote(figure, count_note(networks, counts, "Dots: networks. Lines: means. Bars"))
    return figure
