"""The figure of the interpolation boundary: what happens where parameters are as many as equations."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis
from isthmus.figures.looks import GREY, Look, key_of, look_of
from isthmus.figures.manifold_counts import RATIO, SCAN, networks_of
from isthmus.figures.marks import draw_bars, draw_dots, draw_hollow, draw_line
from isthmus.figures.notes import span
from isthmus.figures.panels import evenly, nothing, say
from isthmus.figures.style import DOUBLE_COLUMN, footnote, legend_above, new_figure, paper
from isthmus.statistics.bootstrap import summarize

MOST_SCANS = 4  # panels
MOST_LINES = 4  # in each
LEAST_SCAN = 4  # ratios n / q that make a line
# Column, label, and whether it varies by factors.
BOUNDARY = (
    ("smallest_at_zero", "smallest positive\neigenvalue", True),
    ("relative_distance", "distance from the\nstart / its norm", True),
    ("off_data_rms", "rms output\noff the data", True),
    ("off_data_error", "test error", False),
)
Line = tuple[str, int]  # what is fixed along a line, `points` or `width`, and its value


def _scans(rows: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Panels of the boundary: title, what is the same along a line (`points` or `width`), rows; longest first."""
    found = []
    for values, part in rows.groupby(SCAN, observed=True):
        fixed = "points" if part["width"].nunique() >= part["points"].nunique() else "width"
        long = part.groupby(fixed)["ratio"].transform("nunique") >= LEAST_SCAN
        if long.any():
            data, activation, depth, outputs = values
            words = [activation, "arbitrary targets" if data == "random" else "images"]
            words += [f"{depth} layers"] * (depth > 1) + [f"{outputs} outputs"] * (outputs > 1)
            found.append((", ".join(words), fixed, part[long]))
    found.sort(key=lambda scan: -scan[2]["ratio"].nunique())
    return found[:MOST_SCANS]


def _looks(scans: Iterable[tuple[str, str, pd.DataFrame]]) -> dict[Line, Look]:
    """A look for each line of all panels."""
    kinds: dict[str, set[int]] = {}
    for _, fixed, part in scans:
        kinds.setdefault(fixed, set()).update(evenly(sorted(int(v) for v in part[fixed].unique()), MOST_LINES))
    every = [(fixed, value) for fixed, values in sorted(kinds.items()) for value in sorted(values)]
    return {each: look_of("line", number, range(1, len(every) + 1)) for number, each in enumerate(every, 1)}


def draw_manifold_boundary(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """What happens where parameters are as many as equations: against n / q, on log axes, a panel per kind of problem.

    `tables` holds `manifold`. From top to bottom: at zeros of the loss the smallest positive eigenvalue of the
    Hessian, which is the smallest squared singular value of the Jacobian; the distance of the minimum from the start;
    the function's size off the data; on images the test error. Lines: means over seeds, geometric on log axes, with
    intervals. Says so where no sweep crosses enough ratios. Raises DataError where the study has no theory network.
    """
    scans = _scans(networks_of(study, tables))
    with paper():
        if not scans:
            return nothing(
                f"No sweep has {LEAST_SCAN} ratios n / q of what is otherwise the same: give one more widths."
            )
        images = any(part["off_data_error"].notna().any() for _, _, part in scans)
        shown, looks = BOUNDARY[: 4 if images else 3], _looks(scans)
        figure = new_figure(DOUBLE_COLUMN * {1: 0.5, 2: 0.75}.get(len(scans), 1), 1.35 * len(shown) + 0.9)
        grid = figure.subplots(len(shown), len(scans), sharex="col", sharey="row", squeeze=False)
        counts = [count for column, scan in enumerate(scans) for count in _draw_scan(grid[:, column], scan, looks)]
        for row, (column, label, log) in zip(grid, shown, strict=True):
            row[0].set_ylabel(label)
            if log:
                decade_axis(row[0].yaxis, pd.concat([part[column] for _, _, part in scans]))
            else:
                row[0].set_ylim(0, None)
        keys = [
            key_of(f"{'d' if fixed == 'points' else fixed} = {value}", look) for (fixed, value), look in looks.items()
        ]
        legend_above(figure, [*keys, key_of("no zero found", Look(GREY, "o", "none", hollow=True))])
        note = (
            f"n = {span(counts, 'network')} per point. Dots: networks. Lines: means over seeds, geometric on log axes. "
        )
        note += "Bars: 95 % bootstrap intervals over networks. Dotted: n = q. Searches start at small random weights."
        footnote(figure, note)
    return figure


def _draw_scan(stack: Any, scan: tuple[str, str, pd.DataFrame], looks: dict[Line, Look]) -> list[int]:
    """One column of the boundary; returns the numbers of networks behind its points."""
    title, fixed, part = scan
    counts: list[int] = []
    for axes, (column, _, log) in zip(stack, BOUNDARY, strict=False):
        axes.axvline(1, color=GREY, linewidth=0.7, linestyle=":", zorder=1)
        if part[column].isna().all():
            say(axes, "arbitrary targets:\nno test error")
            continue
        for value in sorted(int(each) for each in part[fixed].unique()):
            if (look := looks.get((fixed, value))) is None:
                continue
            own = part[part[fixed] == value]
            dots = own.assign(at=own["ratio"], value=own[column])
            means = _means(dots, log)
            counts += [int(count) for count in means["count"] if count]
            draw_dots(axes, dots, {value: look}, fixed)
            draw_hollow(axes, dots[~dots["solved"].astype(bool)], look, small=True)
            draw_bars(axes, means, look)
            draw_line(axes, means, look, gid=f"{column} {fixed}={value}")
        axes.set(xlabel="", ylabel="")
    stack[0].set_title(title)
    stack[-1].set_xlabel(RATIO)
    decade_axis(stack[-1].xaxis, part["ratio"])
    return counts


def _means(dots: pd.DataFrame, log: bool) -> pd.DataFrame:
    """Means of `value` over the seeds at each position, geometric on a log axis, with intervals."""
    value = np.log(dots["value"].where(dots["value"] > 0)) if log else dots["value"]
    limits = (-np.inf, np.inf) if log else (0.0, 1.0)
    found = summarize(dots.assign(value=value), ["at"], "value", limits=limits).rename(columns={"mean": "value"})
    ends = ["value", "low", "high"]
    return found.assign(**np.exp(found[ends])) if log else found
