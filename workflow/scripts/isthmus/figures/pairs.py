"""What figures of pairs of networks and the paths between them share: looks, axes with a zero, and notes."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from isthmus.figures.lines import Limits
from isthmus.figures.looks import PALETTE
from isthmus.figures.panels import throughout
from isthmus.figures.style import draw_dots, draw_means
from isthmus.statistics.pairs import summarize_pairs

# A kind has this look in all figures, whichever others a study asked for: straight lines are blue, Bézier curves red
# and orange, and the aligned one of two kinds is the lighter, dashed one.
BLUE, VERMILION, GREEN, _, ORANGE, SKY, _ = PALETTE
CURVES = ("bezier", "polychain", "bezier-aligned")

NO_INTERVAL = "none where n is below 3 networks, or all pairs share one"


def kinds_in(rows: pd.DataFrame) -> list[str]:
    """The kinds of paths in `rows`, in the order in which all figures have them."""
    found = set(rows["kind"])
    return [kind for kind in KINDS if kind in found]


def draw_against_width(
    axes: Axes, rows: pd.DataFrame, column: str, shift: dict[str, float], limits: Limits, *, geometric: bool = False
) -> pd.DataFrame:
    """Draw `column` against width, a line per kind of path in `shift`: means, their intervals, and pairs as dots.

    `rows` are those of one panel in `connections`, each width from one cell. `geometric` means are the exponentials
    of the means of the logarithms, with intervals of these; a value must be positive then and is left out where it is
    not. Returns the summaries of all kinds, with the numbers of pairs and networks behind each point.
    """
    summaries = []
    for kind, factor in shift.items():
        paths = rows[rows["kind"] == kind]
        if paths.empty:
            continue
        value = paths[column].astype(float).mask(paths["diverged"])
        if geometric:
            value = value.where(value > 0)
        draw_dots(axes, paths["width"] * factor, value, KINDS[kind])
        summary = summarize_pairs(
            paths.assign(value=np.log(value) if geometric else value), ["width"], "value", limits=limits
        )
        if geometric:
            summary[["mean", "low", "high"]] = np.exp(summary[["mean", "low", "high"]])
        draw_means(axes, summary["width"] * factor, summary, KINDS[kind]).set_gid(f"{column} kind={kind}")
        summaries.append(summary)
    return gather(summaries)


def gather(summaries: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All summaries below each other; of no pairs at all where there is none."""
    whole = [summary[["mean", "low", "high", "count", "networks", "excluded"]] for summary in summaries]
    if not whole:
        return summarize_pairs(pd.DataFrame(columns=["seed_a", "seed_b", "value", "by"]), ["by"], "value")
    return pd.concat(whole, ignore_index=True)


def why_empty(rows: pd.DataFrame) -> str:
    """Why none of the paths in `rows` has a value: there are none, they diverged, or nobody measured.

    There is a path of some kind in every panel: what may be missing is curves.
    """
    if rows.empty:
        return "no curves asked for"
    return "all diverged" if rows["diverged"].all() else "not measured"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _span(numbers: Iterable[int], what: str) -> str:
    low, high = min(numbers), max(numbers)
    return _number(high, what) if low == high else f"{low} to {_number(high, what)}"


def pair_note(connections: pd.DataFrame, summary: pd.DataFrame, marks: str, none: str = NO_INTERVAL) -> str:
    """The note under a figure: pairs and networks per point, paths left out and why, and what `marks` the interval.

    `connections` are the rows that the figure shows, `summary` what is behind its points; `none` says where there
    is no interval.
    """
    used, lost = summary[summary["count"] > 0], connections[connections["diverged"]]
    reasons = [
        f"{what} in {count}"
        for reason, what in (("network diverged", "a network diverged"), ("fit diverged", "the fit of a bend diverged"))
        if (count := int((lost["reason"] == reason).sum()))
    ]
    left_out = f"{len(lost)} of {_number(len(connections), 'path')} left out ({', '.join(reasons)})"
    if used.empty:
        return f"Nothing to draw: {left_out if len(lost) else 'nothing was measured'}."
    note = f"n = {_span(used['count'], 'pair')} of {_span(used['networks'], 'network')} per point; "
    note += left_out if len(lost) else f"none of {_number(len(connections), 'path')} diverged"
    note += f". {marks}: 95 % bootstrap intervals of the mean, which resample networks, not pairs"
    note += f" ({none})." if (used["low"].isna() & used["mean"].notna()).any() else "."
    return f"{note} {throughout(connections)}".strip()
