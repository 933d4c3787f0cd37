"""What the figures of pruned networks share: looks of the kinds, the axis of weights kept, the dense level, notes.

The axis of weights kept falls to the right, as in Frankle and Carbin (2019): the dense network is at the left edge,
and every level of pruning one step to the right of the last.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.axes import decade_axis, percent_axis
from isthmus.figures.lines import Measure, apart, extent, means_of, why_empty
from isthmus.figures.looks import KINDS, Look, key_of, words_of
from isthmus.figures.marks import draw_means
from isthmus.figures.panels import Panel, choose, fewer_panels, lay_out, panels_by_width, room_for_text, say
from isthmus.figures.style import legend_above
from isthmus.recipes.cell_table import axes_in
from isthmus.recipes.cells import cell_name

DENSE = KINDS["dense"]
WEIGHTS_KEPT = "weights kept (%)"
SCOPES = {"global": "over the whole network", "layerwise": "within every layer"}
MARKER_SIZE = 2.6  # points: levels stand close to each other
MOST_TOGETHER = 3  # widths beside each other where other axes of the grid vary, too
PLACE = ["cell", "kind", "level"]


def kinds_in(rows: pd.DataFrame) -> list[str]:
    """The kinds of pruned networks in `rows`, in the order in which all figures have them."""
    found = set(rows["kind"])
    return [kind for kind in KINDS if kind in found and kind != "dense"]


def kept_share(rows: pd.DataFrame) -> pd.Series:
    """The share of weights kept of every row: the density of its cell, kind and level, in the mean over networks.

    The share that was asked for stands in where all of these diverged.
    """
    density = rows["density"].astype(float).mask(rows["diverged"].astype(bool))
    mean = density.groupby([rows[key] for key in PLACE], observed=True).transform("mean")
    return mean.fillna(rows["kept_fraction"])


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
    keys = [key_of(words_of(kind), KINDS[kind]) for kind in kinds]
    legend_above(figure, [*keys, key_of("dense", DENSE, marker=False, band=True), *others])


def pruning_note(rows: pd.DataFrame) -> str:
    """The sentence that says how the networks in `rows` were pruned and rewound."""
    scope = " or ".join(SCOPES.get(name, name) for name in sorted(rows["scope"].unique()))
    steps = sorted(rows.loc[rows["kind"] == "ticket", "rewind_step"].unique())
    back = " or ".join("initialization" if step == 0 else f"step {step}" for step in steps)
    return f"Magnitudes ranked {scope}{f'; tickets rewound to {back}' if back else ''}."
