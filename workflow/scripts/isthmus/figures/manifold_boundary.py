"""The figure of the interpolation boundary: what happens where parameters are as many as equations."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis
from isthmus.figures.lines import FRACTION, Measure, draw_line, extent
from isthmus.figures.looks import GREY, Look, key_of, look_of
from isthmus.figures.manifold_counts import RATIO, SCAN, networks_of
from isthmus.figures.panels import evenly, nothing, say
from isthmus.figures.style import DOUBLE_COLUMN, footnote, legend_above, new_figure, paper

MOST_SCANS = 4  # panels
MOST_LINES = 4  # in each
LEAST_SCAN = 4  # ratios n / q that make a line
BOUNDARY = (
    Measure("smallest_at_zero", "smallest positive\neigenvalue", "smallest eigenvalue"),
    Measure("relative_distance", "distance from the\nstart / its norm", "distance"),
    Measure("off_data_rms", "rms output\noff the data", "output off the data"),
    Measure("off_data_error", "test error", "test error", log=False, limits=FRACTION),
)


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


def _scan_looks(scans: Iterable[tuple[str, str, pd.DataFrame]]) -> dict[tuple[str, int], Look]:
    """A look for each line of all panels, by what is fixed along it and its value."""
    kinds: dict[str, set[int]] = {}
    for _, fixed, part in scans:
        kinds.setdefault(fixed, set()).update(evenly(sorted(int(v) for v in part[fixed].unique()), MOST_LINES))
    everything = [(fixed, value) for fixed, values in sorted(kinds.items()) for value in sorted(values)]
    return {each: look_of("line", number, range(1, len(everything) + 1)) for number, each in enumerate(everything, 1)}


def draw_manifold_boundary(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """What happens where parameters are as many as equations: against n / q, on log axes, a panel per kind of problem.

    `tables` holds `manifold`. From top to bottom: at zeros of the loss the smallest positive eigenvalue of the
    Hessian, which is the smallest squared singular value of the Jacobian; the distance of the minimum from the start;
    the function's size off the data; on images the test error. Lines: means over seeds, geometric on log axes, with
    intervals. Says so where no sweep crosses enough ratios. Raises DataError where the study has no theory network.
    """
    rows = networks_of(study, tables)
    scans = _scans(rows)
    with paper():
        if not scans:
            return nothing(
                f"No sweep has {LEAST_SCAN} ratios n / q of what is otherwise the same: give one more widths."
            )
        images = any(part["off_data_error"].notna().any() for _, _, part in scans)
        measures, looks = BOUNDARY[: 4 if images else 3], _scan_looks(scans)
        figure = new_figure(DOUBLE_COLUMN * {1: 0.5, 2: 0.75}.get(len(scans), 1), 1.35 * len(measures) + 0.9)
        grid = figure.subplots(len(measures), len(scans), sharex="col", sharey="row", squeeze=False)
        counts: set[int] = set()
        for column, scan in enumerate(scans):
            counts |= _draw_scan(grid[:, column], scan, measures, looks)
        for row, measure in zip(grid, measures, strict=True):
            row[0].set_ylabel(measure.label)
            everything = [part.assign(mean=part[measure.column]) for _, _, part in scans]
            whole = pd.concat(everything)
            if measure.log:
                decade_axis(row[0].yaxis, extent(whole, whole.assign(low=whole["mean"], high=whole["mean"]), measure))
            else:
                row[0].set_ylim(0, None)
        keys = [
            key_of(f"{'d' if fixed == 'points' else fixed} = {value}", look) for (fixed, value), look in looks.items()
        ]
        hollow = key_of("no zero found", Look(GREY, "o", "none"))
        hollow.set_markerfacecolor("none")
        legend_above(figure, [*keys, hollow])
        several = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{min(counts)}"
        note = f"n = {several} networks per point. Dots: networks. Lines: means over seeds, geometric on log axes. "
        note += "Bars: 95 % bootstrap intervals of the mean. Dotted: n = q. Searches start at small random weights."
        footnote(figure, note)
    return figure


def _draw_scan(
    stack: Any, scan: tuple[str, str, pd.DataFrame], measures: Iterable[Measure], looks: dict[tuple[str, int], Look]
) -> set[int]:
    """One column of the boundary; returns the numbers of networks behind its points."""
    title, fixed, part = scan
    counts: set[int] = set()
    for axes, measure in zip(stack, measures, strict=True):
        axes.axvline(1, color=GREY, linewidth=0.7, linestyle=":", zorder=1)
        if part[measure.column].isna().all():
            say(axes, "arbitrary targets:\nno test error")
            continue
        for value in sorted(part[fixed].unique()):
            look = looks.get((fixed, int(value)))
            if look is None:
                continue
            own = part[part[fixed] == value]
            summary = draw_line(axes, own, measure, "ratio", look, gid=f"{measure.column} {fixed}={value}", dots=False)
            counts |= {int(count) for count in summary["count"] if count}
            for solved, dots in own.groupby(own["solved"].astype(bool)):
                axes.plot(
                    *(dots["ratio"], dots[measure.column], look.marker),
                    color=look.colour,
                    markerfacecolor=look.colour if solved else "none",
                    markersize=2.2,
                    markeredgewidth=0.4,
                    alpha=0.45,
                    linestyle="none",
                    zorder=2,
                )
    stack[0].set_title(title)
    stack[-1].set_xlabel(RATIO)
    decade_axis(stack[-1].xaxis, part["ratio"])
    return counts
