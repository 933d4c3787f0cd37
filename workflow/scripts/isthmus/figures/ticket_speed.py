"""How fast pruned networks learn: steps until the test loss is as low as the dense network's lowest.

Some networks never get there, so that the number of steps is censored. A mean over those that do would flatter the
slow ones. The median counts "never" as longer than anything else and is exact as long as most networks get there;
where they do not there is no median, and the share of networks that get there says so.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis, percent_axis, zero_axis
from isthmus.figures.looks import GREY, KINDS
from isthmus.figures.panels import Panel, count_note, rows_of, say
from isthmus.figures.style import footnote, paper
from isthmus.figures.ticket_lines import (
    draw_level,
    draw_summary,
    few_cells,
    kept_share,
    kinds_above,
    kinds_in,
    per_cell,
    pruning_note,
    shifts,
)

MOST_CELLS = 6  # panels: two lines of three
PANEL_HEIGHT = 1.4  # inches, of which the steps take more
STEPS, SHARE = "steps to the dense\nnetwork's lowest\ntest loss", "share that\ngets there"
HEIGHTS = (1.8, 1.0)  # of the two rows of axes
MARKS = "Lines: medians, networks that never get there counted as infinitely slow. Bars and bands"
INTERVALS = "order-statistic intervals of the median"
BELOW_SIX = 6  # networks: with fewer, the whole range is no 95 % interval


def median_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """The median of `values`, [networks], which may be infinite, and the distribution-free interval of it.

    The interval runs between the order statistics that enclose the median with a probability of `level` at least,
    whatever the distribution (Thompson 1936); below six values, that is for 95 %, it is the whole range, which encloses
    it with the probability 1 - 2^(1-n). NaN without a value, ends NaN for one value. The ends may be infinite.
    """
    from scipy.stats import binom

    ordered = np.sort(values)
    if len(ordered) == 0:
        return np.nan, np.nan, np.nan
    median = float(np.median(ordered))
    if len(ordered) == 1:
        return median, np.nan, np.nan
    rank = max(int(binom.ppf((1 - level) / 2, len(ordered), 0.5)), 1)
    return median, float(ordered[rank - 1]), float(ordered[-rank])


def steps_taken(rows: pd.DataFrame) -> pd.Series:
    """The steps of every network in `rows` to the dense network's lowest test loss; infinite where it never is.

    Null for diverged networks, and where the dense network of the same cell and seed has no lowest test loss.
    """
    dense = rows[(rows["kind"] == "dense") & ~rows["diverged"].astype(bool)]
    known = dense.set_index(["cell", "seed"])["early_stopping_step"].astype(float)
    reference = pd.MultiIndex.from_frame(rows[["cell", "seed"]]).map(known).to_numpy(dtype=float)
    own = np.where(rows["kind"] == "dense", rows["early_stopping_step"], rows["steps_to_dense"]).astype(float)
    steps = pd.Series(own, index=rows.index).fillna(np.inf)
    return steps.mask(rows["diverged"].astype(bool) | np.isnan(reference))


def summarize_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """By level: median steps (`mean`, null where infinite), its interval, the share that gets there, and the count."""
    found = []
    for level, steps in rows.groupby("level")["taken"]:
        values = steps.dropna().to_numpy(dtype=float)
        median, low, high = median_interval(values)
        if not np.isfinite(median):
            median, low, high = np.nan, np.nan, np.nan
        share = float(np.isfinite(values).mean()) if len(values) else np.nan
        found.append({"level": level, "mean": median, "low": low, "high": high, "share": share, "count": len(values)})
    return pd.DataFrame(found, columns=["level", "mean", "low", "high", "share", "count"])


def _draw_panel(
    stack: list[Axes], rows: pd.DataFrame, factor: dict[str, float], beyond: float
) -> tuple[list[pd.DataFrame], list[float]]:
    """Draw one cell: median steps above, the share of networks below. Returns the summaries, and the steps drawn.

    Bars without an upper end go up to `beyond`, which is outside of the panel.
    """
    upper, lower = stack
    dense = summarize_steps(rows[rows["kind"] == "dense"])
    for _, own in dense.iterrows():
        draw_level(upper, own["mean"], own["low"], own["high"])
    summaries = [dense]
    for kind, shift in factor.items():
        own = rows[rows["kind"] == kind]
        if own.empty:
            continue
        summary = summarize_steps(own)
        summaries.append(summary)
        closed = summary.assign(high=summary["high"].clip(upper=beyond))
        draw_summary(upper, own, closed, KINDS[kind], shift, f"steps kind={kind}")
        shares = pd.DataFrame({"level": summary["level"], "mean": summary["share"], "low": np.nan, "high": np.nan})
        draw_summary(lower, own, shares, KINDS[kind], shift, f"share kind={kind}")
    drawn = pd.concat(summaries)[["mean", "low", "high"]].to_numpy(dtype=float).ravel()
    if not any(summary["count"].any() for summary in summaries[1:]):
        for axes in stack:
            say(axes, "all diverged" if rows["diverged"].all() else "not measured")
    return summaries, [value for value in drawn if np.isfinite(value)]


def _limits(placed: list[tuple[Panel, list[Axes]]], shares: pd.Series, drawn: list[float]) -> None:
    """Set scales and limits of all panels."""
    for _, (upper, lower) in placed:
        for axes in (upper, lower):
            percent_axis(axes.xaxis, shares)
        lower.axhline(0.5, color=GREY, linewidth=0.5, linestyle=(0, (1, 2)), zorder=1)
    upper, lower = placed[0][1]
    lower.set(ylim=(-0.08, 1.08), yticks=[0, 0.5, 1])
    if not drawn:
        upper.set_yticks([])
    elif min(drawn) > 0:
        decade_axis(upper.yaxis, drawn)
    else:
        zero_axis(upper, drawn)
    if grid := upper.get_gridspec():
        grid.set_height_ratios(HEIGHTS * (grid.nrows // len(HEIGHTS)))


def _note(rows: pd.DataFrame, summary: pd.DataFrame) -> str:
    """The note under the figure: networks, how many never get there, and which have nothing to compare with."""
    note = count_note(rows, summary["count"], MARKS, INTERVALS)
    counts = summary.loc[summary["count"] > 0, "count"]
    if len(counts) and counts.min() < BELOW_SIX and counts.max() > 1:
        note += " Below six networks the interval is their whole range, which encloses the median less often."
    pruned = rows[rows["kind"] != "dense"]
    never, known = int(np.isinf(pruned["taken"]).sum()), int(pruned["taken"].notna().sum())
    note += f" {never} of {known} pruned networks never get there." if known else ""
    alone = int((pruned["taken"].isna() & ~pruned["diverged"].astype(bool)).sum())
    without = f"{alone} pruned networks whose dense network diverged or has no lowest test loss"
    return f"{note} Left out, too: {without}." if alone else note


def draw_ticket_speed(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Steps to the lowest test loss of the dense network against the share of weights kept, a line per kind.

    `tables` holds `tickets`. A panel per cell. Above: the median over networks, in steps of the schedule, networks
    that never get there counted as infinitely slow, with bars for its interval, open upwards where that has no upper
    end; a grey line and its band are the dense networks. Below: the share of networks that get there. Of many cells
    some are shown, and the footnote says which. Raises DataError where the study has no network.
    """
    rows, chosen = few_cells(rows_of(study, tables, "tickets"), MOST_CELLS)
    rows["taken"] = steps_taken(rows)
    kinds = kinds_in(rows)
    with paper():
        figure, placed = per_cell(rows, [STEPS, SHARE], panel_height=PANEL_HEIGHT)
        beyond = 100 * max(float(rows["taken"].replace(np.inf, np.nan).max()), 1.0)
        factor = shifts(rows, kinds)
        summaries: list[pd.DataFrame] = []
        drawn: list[float] = []
        for panel, stack in placed:
            found, values = _draw_panel(stack, panel.rows, factor, beyond)
            summaries, drawn = summaries + found, drawn + values
        _limits(placed, kept_share(rows), drawn)
        kinds_above(figure, kinds)
        footnote(figure, " ".join(filter(None, (_note(rows, pd.concat(summaries)), pruning_note(rows), chosen))))
    return figure
