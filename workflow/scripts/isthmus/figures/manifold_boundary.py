"""The figure of the interpolation boundary: what happens where parameters are as many as equations."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis
from isthmus.figures.choice import evenly
from isthmus.figures.looks import GREY, Look, key_of, look_of
from isthmus.figures.manifold_counts import NO_ZERO, RATIO, SCAN, networks_of
from isthmus.figures.marks import draw_bars, draw_dots, draw_hollow, draw_line
from isthmus.figures.notes import span
from isthmus.figures.panels import Panel, lay_out, nothing, say
from isthmus.figures.style import finish, paper
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


def _panels(rows: pd.DataFrame) -> list[Panel]:
    """A panel per kind of problem, those with most ratios first; `fixed` is what is the same along a line."""
    found = []
    for (data, activation, depth, outputs), part in rows.groupby(SCAN, observed=True):
        fixed = "points" if part["width"].nunique() >= part["points"].nunique() else "width"
        long = part.groupby(fixed)["ratio"].transform("nunique") >= LEAST_SCAN
        if long.any():
            words = [activation, "arbitrary targets" if data == "random" else "images"]
            words += [f"{depth} layers"] * (depth > 1) + [f"{outputs} outputs"] * (outputs > 1)
            found.append(Panel(", ".join(words), part[long].assign(fixed=fixed)))
    return sorted(found, key=lambda panel: -panel.rows["ratio"].nunique())[:MOST_SCANS]


def _looks(panels: Sequence[Panel]) -> dict[Line, Look]:
    """A look for each line of all panels."""
    kinds: dict[str, set[int]] = {}
    for panel in panels:
        fixed = panel.rows["fixed"].iloc[0]
        kinds.setdefault(fixed, set()).update(evenly(sorted(panel.rows[fixed].astype(int).unique()), MOST_LINES))
    every = [(fixed, value) for fixed, values in sorted(kinds.items()) for value in sorted(values)]
    return {each: look_of("line", number, range(1, len(every) + 1)) for number, each in enumerate(every, 1)}


@paper()
def draw_manifold_boundary(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """What happens where parameters are as many as equations: against n / q, on log axes, a panel per kind of problem.

    `tables` holds `manifold`. From top to bottom: at zeros of the loss the smallest positive eigenvalue of the
    Hessian, which is the smallest squared singular value of the Jacobian; the distance of the minimum from the start;
    the function's size off the data; on images the test error. Lines: means over seeds, geometric on log axes, with
    intervals. Says so where no sweep crosses enough ratios. Raises DataError where the study has no theory network.
    """
    panels = _panels(networks_of(study, tables))
    if not panels:
        return nothing(f"No sweep has {LEAST_SCAN} ratios n / q of what is otherwise the same: give one more widths.")
    rows, looks = pd.concat([panel.rows for panel in panels]), _looks(panels)
    shown = BOUNDARY[: 4 if rows["off_data_error"].notna().any() else 3]
    figure, placed = lay_out([panels], [label for _, label, _ in shown], RATIO)
    counts: list[int] = []
    for panel, stack in placed:
        for axes, (column, _, log) in zip(stack, shown, strict=True):
            counts += _draw_lines(axes, panel.rows, column, looks, log=log)
            decade_axis(axes.xaxis, panel.rows["ratio"])
    for axes, (column, _, log) in zip(placed[0][1], shown, strict=True):
        if log:
            decade_axis(axes.yaxis, rows[column])
        else:
            axes.set_ylim(0, None)
    keys = [key_of(f"{'d' if fixed == 'points' else fixed} = {value}", look) for (fixed, value), look in looks.items()]
    note = f"n = {span(counts, 'network')} per point. Dots: networks. Lines: means over seeds, geometric on log axes. "
    note += "Bars: 95 % bootstrap intervals over networks. Dotted: n = q. Searches start at small random weights."
    return finish(figure, [*keys, key_of("no zero found", NO_ZERO)], note)


def _draw_lines(axes: Axes, rows: pd.DataFrame, column: str, looks: dict[Line, Look], *, log: bool) -> list[int]:
    """One panel of the boundary; returns the numbers of networks behind its points."""
    fixed, counts = rows["fixed"].iloc[0], []
    axes.axvline(1, color=GREY, linewidth=0.7, linestyle=":", zorder=1)
    if rows[column].isna().all():
        say(axes, "arbitrary targets:\nno test error")
    for (what, value), look in looks.items():
        own = rows[rows[fixed] == value] if what == fixed else rows.iloc[:0]
        dots = own.assign(at=own["ratio"], value=own[column])
        if dots["value"].isna().all():
            continue
        means = _means(dots, log)
        counts += means["count"].tolist()
        draw_dots(axes, dots, look)
        draw_hollow(axes, dots[~dots["solved"].astype(bool)], look, small=True)
        draw_bars(axes, means, look)
        draw_line(axes, means, look, gid=f"{column} {fixed}={value}")
    return [count for count in counts if count]


def _means(dots: pd.DataFrame, log: bool) -> pd.DataFrame:
    """Means of `value` over the seeds at each position, geometric on a log axis, with intervals."""
    value = np.log(dots["value"].where(dots["value"] > 0)) if log else dots["value"]
    limits = (-np.inf, np.inf) if log else (0.0, 1.0)
    found = summarize(dots.assign(value=value), ["at"], "value", limits=limits).rename(columns={"mean": "value"})
    ends = ["value", "low", "high"]
    return found.assign(**np.exp(found[ends])) if log else found
