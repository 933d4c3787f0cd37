"""Lines of means over networks against an axis of the grid: what the figures of most stages are made of.

A measurement is a `Measure`. Where it is positive and spreads over orders of magnitude, its axis is logarithmic and
its means are geometric: the exponential of the mean of the logarithms, with the interval of that. A value that is not
positive has no place on such an axis; it is left out, and the note under the figure counts it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from isthmus.figures.axes import decade_axis, log_axis
from isthmus.figures.looks import Look, key_of, look_of, values_in
from isthmus.figures.marks import draw_dots, draw_means
from isthmus.figures.panels import Panel, count_note, say
from isthmus.figures.style import label_of
from isthmus.statistics.bootstrap import UNBOUNDED, summarize

FRACTION = (0.0, 1.0)
SMALLEST_LOSS = 1e-12  # float32 cannot tell smaller losses from zero
LOSSES = {"cross_entropy": "loss (nats)", "squared_error": "mean squared error"}
LONGEST_BAR = 3.0  # times the mean, or a part of it: the axis cuts longer bars and wider bands off

Limits = tuple[float, float]
Looks = dict[int, Look]
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Measure:
    """A column of a table as a figure shows it.

    label: of its axis. words: its name in notes. log: on a log axis, with geometric means. limits: the least and the
    greatest possible value, for intervals.
    """

    column: str
    label: str
    words: str
    log: bool = True
    limits: Limits = UNBOUNDED


def looks_in(tables: dict[str, pd.DataFrame], axis: str, rows: pd.DataFrame) -> Looks:
    """The look of every value that `axis` takes in `rows`."""
    values = values_in(tables, axis)
    return {int(value): look_of(axis, value, values) for value in sorted(rows[axis].unique())}


def keys_of(axis: str, looks: Looks, *, marker: bool = True, line: bool = True) -> list[Line2D]:
    """The entries of a legend for the values of an axis, with `marker` and line style, or a plain line."""
    styles = {value: look if line else Look(look.colour, look.marker, "-") for value, look in looks.items()}
    return [key_of(f"{label_of(axis)} {value}", look, marker=marker) for value, look in styles.items()]


def loss_label(kinds: Iterable[str]) -> str:
    """What losses of these kinds are, with their unit."""
    found = sorted(set(kinds))
    return LOSSES.get(found[0], found[0]) if len(found) == 1 else "loss (nats or squared error)"


def apart(places: Iterable[float], kinds: Sequence[Kind]) -> dict[Kind, float]:
    """A factor on `places`, which are widths, say, for each kind of line: dots and bars then stand side by side."""
    distinct = sorted(set(places))
    gap = min(np.diff(np.log(distinct)), default=0.7)
    # A factor of 2 between places at most: the margins of the axis do not grow with the gap.
    offsets = (np.arange(len(kinds)) - (len(kinds) - 1) / 2) * min(0.4 / max(len(kinds), 1), 0.13) * min(gap, 0.7)
    return dict(zip(kinds, np.exp(offsets), strict=True))


def drawable(rows: pd.DataFrame, measure: Measure) -> pd.Series:
    """The values of `measure`: null for diverged networks, and for what has no place on its axis."""
    value = rows[measure.column].astype(float).mask(rows["diverged"].astype(bool))
    value = value.where(np.isfinite(value))
    return value.where(value > 0) if measure.log else value


def means_of(rows: pd.DataFrame, by: Sequence[str], measure: Measure) -> pd.DataFrame:
    """Means of `measure` over the networks of each group, geometric on a log axis, as `summarize` computes them."""
    value = drawable(rows, measure)
    value = np.log(value) if measure.log else value
    summary = summarize(rows.assign(value=value), by, "value", limits=measure.limits)
    if measure.log:
        summary[["mean", "low", "high"]] = np.exp(summary[["mean", "low", "high"]])
    return summary


def draw_line(
    axes: Axes,
    rows: pd.DataFrame,
    measure: Measure,
    against: str,
    look: Look,
    factor: float = 1.0,
    *,
    gid: str,
    dots: bool = True,
) -> pd.DataFrame:
    """Draw `measure` against a column of `rows`: means, joined by a line called `gid`, intervals, and networks as dots.

    `rows` have one network per seed and place; `factor` moves them all along the log axis. Returns the summary behind
    the line, a row per place.
    """
    if dots:
        draw_dots(axes, rows[against] * factor, drawable(rows, measure), look)
    summary = means_of(rows, [against], measure)
    draw_means(axes, summary[against] * factor, summary, look).set_gid(gid)
    return summary


def why_empty(rows: pd.DataFrame, column: str) -> str:
    """Why a panel with these rows shows no value of `column`."""
    if rows["diverged"].all():
        return "all diverged"
    return "none positive" if rows.loc[~rows["diverged"].astype(bool), column].notna().any() else "not measured"


def extent(rows: pd.DataFrame, summary: pd.DataFrame, measure: Measure) -> list[float]:
    """What an axis has to show: all networks, and the intervals in `summary` as far as they are not very long."""
    low, high, mean = summary["low"], summary["high"], summary["mean"]
    if measure.log:
        low, high = np.fmax(low, mean / LONGEST_BAR), np.fmin(high, mean * LONGEST_BAR)
    return [*drawable(rows, measure).dropna(), *mean.dropna(), *low.dropna(), *high.dropna()]


def draw_row(
    placed: list[tuple[Panel, list[Axes]]], row: int, measure: Measure, against: str, by: str, looks: Looks
) -> pd.DataFrame:
    """Draw `measure` against the axis `against`, a line per value of the axis `by`, into one row of the panels.

    Sets the scales and limits of the axes, and says why a panel is empty. Returns what is behind the points.
    """
    rows = pd.concat([panel.rows for panel, _ in placed])
    places = sorted(rows[against].unique())
    shift = apart(places, list(looks))
    summaries = []
    for panel, stack in placed:
        found = [
            draw_line(stack[row], lines, measure, against, look, shift[value], gid=f"{measure.column} {by}={value}")
            for value, look in looks.items()
            if not (lines := panel.rows[panel.rows[by] == value]).empty
        ]
        if not any(summary["count"].any() for summary in found):
            say(stack[row], why_empty(panel.rows, measure.column))
        log_axis(stack[row].xaxis, places)
        summaries += found
    summary = pd.concat(summaries, ignore_index=True)
    if measure.log:
        decade_axis(placed[0][1][row].yaxis, extent(rows, summary, measure))
    if not summary["count"].any():
        placed[0][1][row].set_yticks([])
    return summary


def headroom(axes: Axes, share: float) -> None:
    """Leave the upper `share` of a panel, whose limits are set, free for text; shared scales follow."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low, low * (high / low) ** (1 / (1 - share)))
    else:
        axes.set_ylim(low, low + (high - low) / (1 - share))


def left_out(rows: pd.DataFrame, measures: Sequence[Measure]) -> str:
    """The sentence that counts values of networks that did not diverge and yet are not drawn; empty without any."""
    kept, parts = rows[~rows["diverged"].astype(bool)], []
    for measure in measures:
        value = kept[measure.column].astype(float)
        not_positive = int((value <= 0).sum()) if measure.log else 0
        missing = int((~np.isfinite(value)).sum())
        parts += [f"{not_positive} of the {measure.words} (not positive)"] if not_positive else []
        parts += [f"{missing} of the {measure.words} (no finite number)"] if missing > 0 else []
    return f"Values left out, too: {', '.join(parts)}." if parts else ""


def measured(rows: pd.DataFrame, measures: Sequence[Measure]) -> tuple[list[Measure], str]:
    """Those of `measures` that some network has a value of, and the sentence that names the others.

    All of them where every network diverged.
    """
    if rows["diverged"].all():
        return list(measures), ""
    found = [measure for measure in measures if rows[measure.column].notna().any()]
    others = [measure.words for measure in measures if measure not in found]
    return found or list(measures[:1]), f"Not measured: {', '.join(others)}." if others else ""


def lines_note(rows: pd.DataFrame, summary: pd.DataFrame, measures: Sequence[Measure], marks: str) -> str:
    """The note under lines over networks: how many networks, which are left out, and what the marks are.

    `rows` are those of the figure, one per network; `summary` is what is behind its points.
    """
    note = count_note(rows, summary["count"], marks)
    return f"{note} {left_out(rows, measures)}".strip() if summary["count"].any() else note


def examples_note(rows: pd.DataFrame) -> str:
    """The sentence that says on how many training examples the rows were measured."""
    images = " or ".join(str(count) for count in sorted(rows["images"].unique()))
    return f"On {images} training examples."
