"""The figures of the training stage: test accuracy, learning curves, and the interpolation threshold."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.axes import decade_axis, log_axis
from isthmus.figures.lines import FRACTION, SMALLEST_LOSS, Looks, apart, keys_of, looks_in, loss_label
from isthmus.figures.looks import GREY, Look, key_of
from isthmus.figures.panels import axes_only, count_note, lay_out, panels_of, rows_of
from isthmus.figures.style import draw_dots, draw_means, footnote, label_of, legend_above, paper, say_if_empty
from isthmus.statistics.bootstrap import bootstrap_intervals, summarize

CURVE_POINTS = 100  # epochs at most that a learning curve is drawn at


def _against_width(axes: Axes, rows: pd.DataFrame, column: str, looks: Looks, shift: dict[int, float]) -> list[int]:
    """Draw `column` against width, a line per depth; return the number of networks behind each point."""
    counts: list[int] = []
    limits = FRACTION if column == "test_accuracy" else (-1.0, 1.0)
    for depth, look in looks.items():
        networks = rows[rows["depth"] == depth]
        if networks.empty:
            continue
        draw_dots(axes, networks["width"] * shift[depth], networks[column].mask(networks["diverged"]), look)
        summary = summarize(networks, ["width"], column, limits=limits)
        draw_means(axes, summary["width"] * shift[depth], summary, look).set_gid(f"{column} depth={depth}")
        counts += summary["count"].tolist()
    say_if_empty(axes, counts)
    return counts


def draw_test_accuracy(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Test accuracy and generalization gap against width, a line per depth, a panel per batch size.

    `tables` holds `networks`. Above: test accuracy; below: training minus test accuracy, both fractions. Lines join
    means over networks, bars are bootstrap intervals of the mean, faint dots are the networks.
    Raises DataError where the study has no network.
    """
    networks = rows_of(study, tables, "networks")
    widths, looks = sorted(networks["width"].unique()), looks_in(tables, "depth", networks)
    shift = apart(widths, list(looks))
    with paper():
        labels = ["test accuracy", "generalization gap"]
        figure, placed = lay_out(panels_of(networks, ["batch_size"]), labels, label_of("width"))
        counts = []
        for panel, (upper, lower) in placed:
            counts += _against_width(upper, panel.rows, "test_accuracy", looks, shift)
            counts += _against_width(lower, panel.rows, "generalization_gap", looks, shift)
            lower.axhline(0, color=GREY, linewidth=0.5, zorder=1)
            for axes in (upper, lower):
                log_axis(axes.xaxis, widths)
        legend_above(figure, keys_of("depth", looks))
        footnote(figure, count_note(networks, counts, "Dots: networks. Lines: means. Bars"))
    return figure


def _curves(history: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """The epochs at which some network was evaluated, [epochs], and `column` there, [epochs, networks].

    A network whose training has stopped keeps its last value; one not evaluated at another's epoch is interpolated.
    """
    epochs = np.unique(history["epoch"])
    if len(epochs) > CURVE_POINTS:
        epochs = epochs[np.unique(np.linspace(0, len(epochs) - 1, CURVE_POINTS).round().astype(int))]
    curves = []
    for _, rows in history.dropna(subset=[column]).sort_values("epoch").groupby("seed", observed=True):
        curves.append(np.interp(epochs, rows["epoch"], rows[column]))
    return epochs, np.array(curves).reshape(len(curves), len(epochs)).T


def _against_epoch(axes: Axes, rows: pd.DataFrame, column: str, looks: Looks) -> tuple[list[int], list[float]]:
    """Draw `column` against epoch, a line per width; return the networks behind each line, and the values drawn."""
    counts, drawn = [], []
    for width, look in looks.items():
        epochs, curves = _curves(rows[(rows["width"] == width) & ~rows["diverged"]], column)
        counts.append(curves.shape[1])
        if not curves.size:
            continue
        logarithms = np.log(np.maximum(curves, SMALLEST_LOSS))
        mean = np.exp(logarithms.mean(axis=1))
        low, high = (np.exp(end) for end in bootstrap_intervals(logarithms))
        if curves.shape[1] > 2:
            axes.fill_between(epochs, low, high, color=look.colour, alpha=0.18, linewidth=0, zorder=2)
        else:
            low, high = curves.min(axis=1), curves.max(axis=1)
            axes.plot(epochs, curves, color=look.colour, linewidth=0.4, alpha=0.6, zorder=2)
        axes.plot(epochs, mean, color=look.colour, linestyle=look.line, gid=f"{column} width={width}", zorder=3)
        drawn += [*np.minimum(high, 3 * mean), *np.maximum(low, mean / 3)]  # wider bands are cut off
    say_if_empty(axes, counts)
    return counts, drawn


def draw_learning_curves(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Training and test loss against epoch, a line per width, a panel per depth and batch size.

    `tables` holds `history` and `networks`. Above: test loss; below: training loss, in nats or as mean squared
    error, on log axes. Lines are geometric means over networks, as losses spread over orders of magnitude, bands
    bootstrap intervals of those; where only two networks are left, whose interval would cover the panel, thin lines
    show these instead.
    Raises DataError where the study has no network or no history.
    """
    networks = rows_of(study, tables, "networks")
    known = networks[["cell", "seed", "diverged"]]
    history = rows_of(study, tables, "history").merge(known, on=["cell", "seed"], validate="many_to_one")
    loss = loss_label(networks["loss"])
    looks = looks_in(tables, "width", networks)
    with paper():
        blocks = panels_of(history, ["depth", "batch_size"])
        figure, placed = lay_out(blocks, [f"test {loss}", f"training {loss}"], "epoch")
        counts: list[int] = []
        for row, column in enumerate(("test_loss", "train_loss")):
            values: list[float] = []
            for panel, stack in placed:
                stack[row].autoscale(False)  # limits are set below, once for all panels
                number, drawn = _against_epoch(stack[row], panel.rows, column, looks)
                counts, values = counts + number, values + drawn
                stack[row].set_xlim(0, max(panel.rows["epoch"].max(), 1e-9))
            decade_axis(placed[0][1][row].yaxis, values)
        legend_above(figure, keys_of("width", looks, marker=False))
        note = count_note(networks, counts, "Lines: geometric means. Bands")
        if 2 in counts:
            note += " Where n = 2, thin lines are the two networks, in place of a band."
        footnote(figure, note)
    return figure


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
