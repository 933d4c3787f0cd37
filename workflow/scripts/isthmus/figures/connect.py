"""The figures of paths between minima: barriers, losses along the paths, their geometry and sharpness, and planes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.axes import decade_axis, log_axis, zero_axis
from isthmus.figures.lines import FRACTION, SMALLEST_LOSS, Limits, apart, loss_label
from isthmus.figures.looks import KINDS, key_of, words_of
from isthmus.figures.pairs import CURVES, draw_against_width, gather, kinds_in, pair_note, why_empty
from isthmus.figures.panels import (
    Panel,
    choose,
    fewer_panels,
    lay_out,
    panels_by_width,
    panels_of,
    room_for_text,
    rows_of,
    say,
)
from isthmus.figures.planes import draw_planes
from isthmus.figures.style import footnote, label_of, legend_above, paper
from isthmus.statistics.bootstrap import UNBOUNDED
from isthmus.statistics.pairs import summarize_pairs

__all__ = ["draw_barriers", "draw_loss_profiles", "draw_path_geometry", "draw_planes"]

MOST_PROFILES = 12  # panels of loss profiles: three lines on a page
MOST_WIDTHS = 4  # of these, side by side
FEW_PAIRS = 3  # pairs of a cell that are drawn as they are, in place of a band
MOST_GEOMETRIES = 4  # panels of path geometry: one line, as each has four axes above each other
# Column and limits.
BARRIERS: tuple[tuple[str, Limits], ...] = (("barrier_train_loss", (0, np.inf)), ("barrier_test_error", FRACTION))
# Column; label; what it is for every straight line, where it is shown for curves only; limits.
GEOMETRY: tuple[tuple[str, str, float | None, Limits], ...] = (
    ("detour", "detour,\nlength / chord", 1.0, (1, np.inf)),
    ("turning", "turning (rad)", 0.0, (0, np.inf)),
    ("sharpness_mean", "top Hessian\neigenvalue", None, UNBOUNDED),
    ("sharpness_over_loss_mean", "top eigenvalue\n/ loss", None, UNBOUNDED),
)


def _keys(kinds: list[str], *, marker: bool = True) -> list[Line2D]:
    return [key_of(words_of(kind), KINDS[kind], marker=marker) for kind in kinds]


def _examples_note(connections: pd.DataFrame) -> str:
    """The sentence that says on how many examples paths were evaluated."""
    train, test = (
        " or ".join(str(count) for count in sorted(connections[column].unique()))
        for column in ("train_examples", "test_examples")
    )
    return f"Evaluated on {train} training and {test} test examples."


def _draw_row(
    placed: list[tuple[Panel, list[Axes]]],
    row: int,
    column: str,
    limits: Limits,
    *,
    curved: bool = False,
    log: bool = False,
) -> pd.DataFrame:
    """Draw `column` against width into the axes at `row` of every panel; return what is behind the points.

    `curved`: for curves only, `log`: on a log axis, with geometric means.
    """
    rows = pd.concat([panel.rows for panel, _ in placed])
    widths, shift = sorted(rows["width"].unique()), apart(rows["width"], kinds_in(rows))
    summaries = []
    for panel, stack in placed:
        shown = panel.rows[panel.rows["kind"].isin(CURVES)] if curved else panel.rows
        summaries.append(draw_against_width(stack[row], shown, column, shift, limits, geometric=log))
        if not summaries[-1]["count"].any():
            say(stack[row], why_empty(shown))
        log_axis(stack[row].xaxis, widths)
    if not any(summary["count"].any() for summary in summaries):
        placed[0][1][row].set_yticks([])
    return gather(summaries)


def draw_barriers(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Barriers of the training loss and of the test error against width, a line per kind of path.

    `tables` holds `connections`. A panel per depth and batch size; above: training loss, in nats or as mean squared
    error; below: test error, a fraction. The axes are linear near 0 and logarithmic above, since barriers are 0 or
    spread over orders of magnitude. Lines join means over pairs, bars are intervals, faint dots are pairs.
    Raises DataError where the study has no pair.
    """
    connections = rows_of(study, tables, "connections")
    measured = connections[~connections["diverged"]]
    with paper():
        labels = [f"barrier, training\n{loss_label(connections['loss'])}", "barrier,\ntest error"]
        blocks = panels_of(connections, ["depth", "batch_size"])
        figure, placed = lay_out(blocks, labels, label_of("width"), above=room_for_text(blocks))
        summaries = []
        for row, (column, limits) in enumerate(BARRIERS):
            summaries.append(_draw_row(placed, row, column, limits))
            values = [*measured[column].dropna(), *summaries[-1]["high"].dropna()]
            one_example = 1 / connections["test_examples"].max()
            zero_axis(placed[0][1][row], values, one_example if "error" in column else 0)
        legend_above(figure, _keys(kinds_in(connections)))
        note = pair_note(connections, gather(summaries), "Dots: pairs. Lines: means. Bars")
        infinite = int(measured[[column for column, _ in BARRIERS]].isna().any(axis=1).sum())
        note += f" Left out, too: barriers of {infinite} paths with a loss that is not finite." if infinite else ""
        footnote(figure, f"{note} {_examples_note(connections)}")
    return figure


def _along(paths: pd.DataFrame, column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training loss or the test error along the paths of one kind: their summary by t, and themselves, [t, pairs].

    Losses have geometric means. The summary has no interval where pairs are few.
    """
    logarithmic = column == "train_loss"
    value = np.log(paths["train_loss"].clip(lower=SMALLEST_LOSS)) if logarithmic else 1 - paths["test_accuracy"]
    paths = paths.assign(value=value)
    summary = summarize_pairs(paths, ["t"], "value", limits=UNBOUNDED if logarithmic else FRACTION)
    if summary["count"].max() <= FEW_PAIRS:  # three networks have intervals as wide as the panel
        summary[["low", "high"]] = np.nan
    # A mean over the pairs whose loss is finite would dip just where others blow up.
    summary.loc[summary["excluded"] > 0, ["mean", "low", "high"]] = np.nan
    curves = paths.pivot(index="t", columns=["seed_a", "seed_b"], values="value")
    if logarithmic:
        summary[["mean", "low", "high"]], curves = np.exp(summary[["mean", "low", "high"]]), np.exp(curves)
    return summary, curves


def _against_t(axes: Axes, rows: pd.DataFrame, column: str) -> tuple[pd.DataFrame, list[float]]:
    """Draw the training loss or test error along the paths of one cell, a line per kind.

    A band is the interval; without one, thin lines are the pairs. Returns the summaries and the values drawn.
    """
    summaries, drawn = [], []
    for kind in kinds_in(rows):
        paths = rows[(rows["kind"] == kind) & ~rows["diverged"]]
        if paths.empty:
            continue
        (summary, curves), look = _along(paths, column), KINDS[kind]
        t, mean, low, high = (summary[name] for name in ("t", "mean", "low", "high"))
        if low.notna().any():
            axes.fill_between(t, low, high, color=look.colour, alpha=0.18, linewidth=0, zorder=2)
        else:
            axes.plot(curves.index, curves, color=look.colour, linewidth=0.4, alpha=0.6, zorder=2)
            low, high = (ends.reset_index(drop=True) for ends in (curves.min(axis=1), curves.max(axis=1)))
        (line,) = axes.plot(t, mean, color=look.colour, linestyle=look.line, zorder=3)
        line.set_gid(f"{column} kind={kind}")
        summaries.append(summary)
        if column == "train_loss":  # wider bands are cut off
            low, high = np.maximum(low, mean / 3), np.minimum(high, 3 * mean)
        drawn += [*low, *high]
    return gather(summaries), drawn


def draw_loss_profiles(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Training loss and test error along the paths against t, a line per kind of path, a panel per width.

    `tables` holds `paths` and `connections`. A line of panels per depth and batch size. Above: training loss, in nats
    or as mean squared error, on a log axis, with geometric means over pairs; below: test error, a fraction, with
    means. Bands are intervals; thin lines are the pairs where these are few. Of many widths, depths or batch sizes
    some are shown, and the footnote says which. Raises DataError where the study has no pair.
    """
    connections = rows_of(study, tables, "connections")
    most = fewer_panels(connections, MOST_PROFILES, MOST_WIDTHS)
    connections, chosen = choose(connections, most)
    paths, _ = choose(rows_of(study, tables, "paths"), most)
    with paper():
        labels = [f"training {loss_label(connections['loss'])}", "test error"]
        blocks = panels_by_width(paths)
        figure, placed = lay_out(blocks, labels, "position on the path, t", above=room_for_text(blocks))
        summaries: list[pd.DataFrame] = []
        for row, column in enumerate(("train_loss", "test_accuracy")):
            values: list[float] = []
            for panel, stack in placed:
                stack[row].autoscale(False)  # limits are set below, once for all panels
                found, drawn = _against_t(stack[row], panel.rows, column)
                if not found["count"].any():
                    say(stack[row], why_empty(panel.rows))
                stack[row].set(xlim=(0, 1), xticks=[0, 0.5, 1])
                summaries, values = [*summaries, found], values + drawn
            if column == "train_loss":
                decade_axis(placed[0][1][row].yaxis, values)
            if column == "test_accuracy" and values:
                placed[0][1][row].set_ylim(0, min(1.05 * max(np.nanmax(values), 1e-3), 1))
        legend_above(figure, _keys(kinds_in(connections), marker=False))
        marks = "Lines: means over pairs, geometric ones of the loss. Bands"
        few = f"in their place the pairs, as thin lines, where n is at most {FEW_PAIRS} pairs or all share a network"
        note = pair_note(connections, gather(summaries), marks, few)
        footnote(figure, " ".join(filter(None, (note, _examples_note(connections), chosen))))
    return figure


def draw_path_geometry(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Detour and turning of the curves, and sharpness of all paths, against width, a line per kind of path.

    `tables` holds `connections`. A panel per depth and batch size, with four axes above each other: length / chord;
    the integral of the curvature in radians; and on log axes, with geometric means over pairs, the mean along the path
    of the top Hessian eigenvalue of the training loss, and of that divided by the loss it belongs to. Lines join means
    over pairs, bars are intervals, faint dots are pairs. Of many depths or batch sizes some are shown, and the
    footnote says which. Raises DataError where the study has no pair.
    """
    connections = rows_of(study, tables, "connections")
    connections, chosen = choose(connections, fewer_panels(connections, MOST_GEOMETRIES))
    measured = connections[~connections["diverged"]]
    with paper():
        labels = [label for _, label, _, _ in GEOMETRY]
        blocks = panels_of(connections, ["depth", "batch_size"])
        figure, placed = lay_out(blocks, labels, label_of("width"), above=room_for_text(blocks))
        summaries = []
        for row, (column, _, straight, limits) in enumerate(GEOMETRY):
            found = _draw_row(placed, row, column, limits, curved=straight is not None, log=straight is None)
            if straight is None:
                mean = found["mean"]  # wider intervals are cut off
                ends = np.fmin(found["high"], 3 * mean), np.fmax(found["low"], mean / 3)
                decade_axis(placed[0][1][row].yaxis, [*measured[column].dropna(), *np.concatenate(ends)])
            elif found["count"].any():
                placed[0][1][row].set_ylim(bottom=straight)
            summaries.append(found)
        legend_above(figure, _keys(kinds_in(connections)))
        marks = "Dots: pairs. Lines: means, geometric ones of the eigenvalues. Bars"
        note = pair_note(connections, gather(summaries), marks)
        not_positive = int((measured[["sharpness_mean", "sharpness_over_loss_mean"]].astype(float) <= 0).sum().sum())
        note += f" Left out, too: {not_positive} eigenvalues that are not positive." if not_positive else ""
        footnote(figure, f"{note} {chosen}".strip())
    return figure
