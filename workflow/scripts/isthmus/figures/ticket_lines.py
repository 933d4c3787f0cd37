"""What the figures of pruned networks share: looks of the kinds, the axis of weights kept, the dense level, notes.

The axis of weights kept falls to the right, as in Frankle and Carbin (2019): the dense network is at the left edge,
and every level of pruning one step to the right of the last.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter

from isthmus.figures.lines import Measure, apart, extent, means_of, why_empty
from isthmus.figures.panels import Panel, choose, fewer_panels, lay_out, panels_by_width, room_for_text, say
from isthmus.figures.style import LINES, OKABE_ITO, Look, decade_axis, draw_means, legend_above, legend_key, plain
from isthmus.recipes.cell_table import axes_in
from isthmus.recipes.cells import cell_name

# A kind has this look in all figures, whichever others a study asked for.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, _, _ = OKABE_ITO
KINDS = {
    "ticket": Look(BLUE, "o", LINES[0]),
    "one_shot": Look(VERMILION, "s", LINES[1]),
    "magnitude_at_initialization": Look(ORANGE, "v", LINES[4]),
    "reinitialized": Look(PURPLE, "D", LINES[3]),
    "random": Look(GREEN, "^", LINES[2]),
}
KIND_LABELS = {
    "ticket": "ticket",
    "one_shot": "one-shot",
    "magnitude_at_initialization": "magnitude at initialization",
    "reinitialized": "reinitialized",
    "random": "random mask",
}
DENSE = Look("#8a8a8a", "none", "-")
WEIGHTS_KEPT = "weights kept (%)"
SCOPES = {"global": "over the whole network", "layerwise": "within every layer"}
MARKER_SIZE = 2.6  # points: levels stand close to each other
MOST_LABELS = 5  # on an axis of weights kept
MOST_TOGETHER = 3  # widths beside each other where other axes of the grid vary, too
PLACE = ["cell", "kind", "level"]


def kinds_in(rows: pd.DataFrame) -> list[str]:
    """The kinds of pruned networks in `rows`, in the order in which all figures have them."""
    found = set(rows["kind"])
    return [kind for kind in KINDS if kind in found]


def kept_share(rows: pd.DataFrame) -> pd.Series:
    """The share of weights kept of every row: the density of its cell, kind and level, in the mean over networks.

    The share that was asked for stands in where all of these diverged.
    """
    density = rows["density"].astype(float).mask(rows["diverged"].astype(bool))
    mean = density.groupby([rows[key] for key in PLACE], observed=True).transform("mean")
    return mean.fillna(rows["kept_fraction"])


def percent(value: float) -> str:
    """A share as a tick label, in percent: 0.2 is "20"."""
    return plain(float(f"{100 * value:.6g}"))


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round shares between two limits, from the top, with room for `most` labels between them on a log axis."""
    decades = math.log10(high / low)
    digits = (1,) if decades >= 2.5 else (1, 2, 5) if decades >= 0.9 else range(1, 10)
    first = math.floor(math.log10(low))
    round_ones = [digit * 10.0**power for power in range(first, first + math.ceil(decades) + 2) for digit in digits]
    kept: list[float] = []
    for share in sorted((share for share in round_ones if low <= share <= high), reverse=True):
        if not kept or math.log10(kept[-1] / share) >= decades / most:
            kept.append(share)
    return kept


def percent_axis(axis: Axis, shares: Iterable[float]) -> None:
    """A log axis of positive `shares` with labels in percent; a horizontal one falls to the right."""
    decade_axis(axis, shares)
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(FixedLocator(_ticks(low, high, MOST_LABELS)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    if axis is axis.axes.xaxis:
        axis.set_inverted(True)


def few_cells(rows: pd.DataFrame, most: int) -> tuple[pd.DataFrame, str]:
    """The rows of at most `most` cells, and the sentence that says which values of which axes were left out."""
    others = {cell_name(axes, without=["width"]) for axes in axes_in(rows).values()}
    return choose(rows, fewer_panels(rows, most, most if len(others) == 1 else min(MOST_TOGETHER, most)))


def per_cell(
    rows: pd.DataFrame, labels: Sequence[str], *, panel_height: float, one_line: bool = False
) -> tuple[Figure, list[tuple[Panel, list[Axes]]]]:
    """An empty figure with a panel for every cell in `rows`, and a row of axes in it for each of `labels`."""
    blocks = panels_by_width(rows)
    blocks = [[panel for block in blocks for panel in block]] if one_line else blocks
    return lay_out(blocks, labels, WEIGHTS_KEPT, above=room_for_text(blocks), panel_height=panel_height)


def shifts(rows: pd.DataFrame, kinds: Sequence[str]) -> dict[str, float]:
    """A factor on the share of weights kept for each kind, which sets their bars side by side."""
    return apart(rows["kept_fraction"], kinds)


def draw_summary(
    axes: Axes, rows: pd.DataFrame, summary: pd.DataFrame, look: Look, factor: float, gid: str
) -> pd.DataFrame:
    """Draw a `summary` by level of the networks `rows`, of one line, against the share of weights they keep."""
    share = rows.assign(share=kept_share(rows)).groupby("level")["share"].mean()
    line = draw_means(axes, summary["level"].map(share) * factor, summary, look)
    line.set(gid=gid, markersize=MARKER_SIZE)
    return summary


def draw_kind(
    axes: Axes, rows: pd.DataFrame, measure: Measure, look: Look, factor: float = 1.0, *, gid: str
) -> pd.DataFrame:
    """Draw `measure` of the networks `rows`, of one line, against the share of weights they keep: means and intervals.

    Returns the summary behind the line, a row per level.
    """
    return draw_summary(axes, rows, means_of(rows, ["level"], measure), look, factor, gid)


def draw_level(axes: Axes, middle: float, low: float, high: float) -> None:
    """Draw the dense network's value through the whole panel: a line, and a band where it has an interval."""
    if np.isfinite(low) and np.isfinite(high):
        axes.axhspan(low, high, color=DENSE.colour, alpha=0.22, linewidth=0, gid="dense interval", zorder=0)
    if np.isfinite(middle):
        axes.axhline(middle, color=DENSE.colour, linewidth=1.0, gid="dense", zorder=1)


def draw_dense(axes: Axes, rows: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Draw mean and interval of `measure` of the dense networks among `rows`; returns their summary."""
    summary = means_of(rows[rows["kind"] == "dense"], ["level"], measure)
    for _, dense in summary.iterrows():
        draw_level(axes, dense["mean"], dense["low"], dense["high"])
    return summary


def draw_measure(
    placed: list[tuple[Panel, list[Axes]]], row: int, measure: Measure, kinds: Sequence[str]
) -> pd.DataFrame:
    """Draw `measure` into one row of the panels, a line per kind and the dense level; returns what is behind it.

    Sets the scales and limits of the axes, and says why a panel is empty.
    """
    rows = pd.concat([panel.rows for panel, _ in placed])
    factor, shares, summaries = shifts(rows, kinds), kept_share(rows), []
    for panel, stack in placed:
        found = [draw_dense(stack[row], panel.rows, measure)]
        for kind in kinds:
            own = panel.rows[panel.rows["kind"] == kind]
            if not own.empty:
                gid = f"{measure.column} kind={kind}"
                found.append(draw_kind(stack[row], own, measure, KINDS[kind], factor[kind], gid=gid))
        if not any(summary["count"].any() for summary in found):
            say(stack[row], why_empty(panel.rows, measure.column))
        percent_axis(stack[row].xaxis, shares)
        summaries += found
    whole = pd.concat(summaries, ignore_index=True)
    if measure.log:
        decade_axis(placed[0][1][row].yaxis, extent(rows.iloc[:0], whole, measure))
    if not whole["count"].any():
        placed[0][1][row].set_yticks([])
    return whole


def kinds_above(figure: Figure, kinds: Sequence[str], *others: Line2D) -> None:
    """The legend of the kinds, the dense level and `others`."""
    keys = [legend_key(KIND_LABELS[kind], KINDS[kind]) for kind in kinds]
    legend_above(figure, [*keys, legend_key("dense", DENSE, marker=False, band=True), *others])


def pruning_note(rows: pd.DataFrame) -> str:
    """The sentence that says how the networks in `rows` were pruned and rewound."""
    scope = " or ".join(SCOPES.get(name, name) for name in sorted(rows["scope"].unique()))
    steps = sorted(rows.loc[rows["kind"] == "ticket", "rewind_step"].unique())
    back = " or ".join("initialization" if step == 0 else f"step {step}" for step in steps)
    return f"Magnitudes ranked {scope}{f'; tickets rewound to {back}' if back else ''}."
