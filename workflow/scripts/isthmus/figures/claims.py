"""The figure of the claims: where each measured value lies between no effect and the published value, and the verdict.

The overview has the numbers behind it, and the claims that were not tested with the reason (`isthmus.overview`).
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from isthmus.figures.looks import GREY, PALETTE, Look, key_of
from isthmus.figures.marks import draw_markers
from isthmus.figures.notes import span
from isthmus.figures.panels import nothing
from isthmus.figures.style import DOUBLE_COLUMN, finish, listed, new_figure, paper
from isthmus.tables.claim_words import NOT_MEASURED, TWINS, VERDICTS, verdict_words

MOST_ROWS = 60  # claims of many studies: some studies are left out beyond it
ROW, HEADING, AROUND = 0.19, 0.26, 0.3  # inches: a row, the heading of a group, what stands above and below all rows
NAME = 1.3  # inches for the names of studies, if there are several
LIMITS = (-1.6, 4.0)  # of the common axis: 0 is no effect, 1 the published value
LOOKS = {
    "reproduced": Look(PALETTE[2], "o"),
    "contradicted": Look(PALETTE[1], "X"),
    "mixed": Look(PALETTE[4], "D", hollow=True),
    "depends on the loss": Look(PALETTE[4], "s", hollow=True),
    "inconclusive": Look(GREY, "o", hollow=True),
}
GROUPS = {
    "A": "A  Implicit regularization and generalization",
    "B": "B  Paths between minima",
    "C": "C  The zero set of the loss",
    "D": "D  Further results",
}
BAND = "#e9eef4"
NUMBERS = ("value", "low", "high", "published", "expected_above", "expected_below")


def shown_in_claims(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The measured rows of the table that the figure shows: of claims that many studies test, those of some studies.

    Studies of the published setup come first.
    """
    claims = tables["claims"].astype(dict.fromkeys(NUMBERS, float))
    for name in claims.columns[claims.dtypes == "category"]:
        claims[name] = claims[name].astype(object).where(claims[name].notna(), None)
    measured = claims[claims["direction"] != NOT_MEASURED]
    asked = pd.factorize(measured["claim"] + " " + measured["twin"].fillna(""))[0]
    order = measured.assign(asked=asked, elsewhere=~measured["as_published"].astype(bool))
    order = order.sort_values(["asked", "elsewhere", "study"], kind="stable")
    rank = order.groupby("asked").cumcount()
    studies = [most for most in range(1, len(order) + 1) if (rank < most).sum() <= MOST_ROWS]
    return order[rank < max(studies, default=1)].drop(columns=["asked", "elsewhere"]).reset_index(drop=True)


def place(row: Any, value: float) -> float:
    """Where `value` lies on the common axis: 0 is the baseline of the claim, 1 its reference. NaN for NaN.

    row: a row of the table, whose reference is the published value or, if there is none, a notable change. On log
    scales, a value of zero or below lies at an infinite place.
    """
    ends = np.array([value, row.baseline, row.reference], dtype=float)
    if row.logarithmic:
        with np.errstate(divide="ignore"):
            ends = np.log(np.maximum(ends, 0))
    return float((ends[0] - ends[1]) / (ends[2] - ends[1]))


def _band(axes: Axes, row: Any, y: float) -> None:
    """Where the claim says that the interval lies."""
    ends = [place(row, row.expected_above), place(row, row.expected_below)]
    turned = row.reference < row.baseline
    for side, (end, infinite) in enumerate(zip(ends, (-math.inf, math.inf), strict=True)):
        if math.isnan(end):
            ends[side] = -infinite if turned else infinite
    low, high = np.clip(sorted(ends), *LIMITS)
    axes.barh(y, high - low, 0.72, left=low, color=BAND, zorder=0.5, gid="band")


def _point(axes: Axes, row: Any, y: float) -> None:
    """The measured value with its interval, and the published value."""
    look, value = LOOKS[row.direction], place(row, row.value)
    ends = [value if math.isnan(end) else end for end in (place(row, row.low), place(row, row.high))]
    axes.hlines(y, *np.clip(ends, *LIMITS), color=look.colour, linewidth=1.1, zorder=3)
    for end in ends:
        if not LIMITS[0] <= end <= LIMITS[1]:
            arrow: Any = {"marker": "<" if end < LIMITS[0] else ">", "markersize": 2.8, "clip_on": False}
            axes.plot(np.clip(end, *LIMITS), y, color=look.colour, **arrow, zorder=3)
    at = np.clip(value, LIMITS[0] + 0.15, LIMITS[1] - 0.15)  # at the arrow where it is beyond the axis
    draw_markers(axes, at, y, look, 4.4, markeredgewidth=1.0, gid=f"measured {_name(row)} {row.study}")
    if not math.isnan(row.published):
        published = Look("black", "D", hollow=not row.as_published)
        gid = f"published {_name(row)} {row.study}"
        draw_markers(axes, place(row, row.published), y, published, 2.7, zorder=5, gid=gid)


def _name(row: Any) -> str:
    """What tells the rows of a figure apart, less the study."""
    return f"{row.claim} {row.twin}" if row.twin else str(row.claim)


def _draw_group(axes: Axes, rows: pd.DataFrame, *, several: bool) -> None:
    """The claims of a group below each other: their statements on the left, and the verdicts on the right."""
    labels, named = [], ""
    for y, row in enumerate(rows.itertuples()):
        _band(axes, row, y)
        _point(axes, row, y)
        told = TWINS[row.twin] if row.twin else f"{row.statement}  {row.claim}"
        labels.append("" if named == _name(row) else told)
        named = _name(row)
        words = verdict_words(row.direction, row.size, row.alone) + f" · {row.study}" * several
        colour = "0.25" if row.direction == "inconclusive" else LOOKS[row.direction].colour
        axes.text(1.06, y, words, transform=axes.get_yaxis_transform(), va="center", color=colour, gid="verdict")
    axes.set(xlim=LIMITS, ylim=(len(rows) - 0.5, -0.5), xticks=[])
    axes.set_yticks(range(len(rows)), labels)
    axes.set_title(GROUPS.get(rows["claim"].iloc[0][0], ""), weight="bold")
    axes.tick_params(length=0, pad=8)
    axes.spines[["left", "bottom"]].set_visible(False)
    for x, line in ((0, "-"), (1, (0, (1, 2)))):
        axes.axvline(x, color="0.25", linewidth=0.7, linestyle=line, zorder=1)


@paper()
def draw_claims(tables: dict[str, pd.DataFrame]) -> Figure:
    """Every tested claim with its verdict, and its measured beside its published value, a row per claim and study.

    `tables` holds `claims`. The common axis is linear in the measured value, or in its logarithm for ratios (`place`).
    Says so where no claim was tested.
    """
    rows, claims = shown_in_claims(tables), tables["claims"]
    if rows.empty:
        return nothing("No claim was tested: these studies measured nothing that a claim is about.")
    groups = [own.reset_index(drop=True) for _, own in rows.groupby(rows["claim"].str[0], sort=False)]
    several = rows["study"].nunique() > 1
    size = DOUBLE_COLUMN + NAME * several, ROW * len(rows) + HEADING * len(groups) + AROUND
    figure = new_figure(*size)
    heights = {"height_ratios": [len(own) for own in groups]}
    stack = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw=heights)[:, 0]
    for axes, own in zip(stack, groups, strict=True):
        _draw_group(axes, own, several=several)
    stack[0].set_title(stack[0].get_title("left"), weight="bold", pad=16)  # above the words
    for x, words, side in ((0, "no effect ", "right"), (1, " published", "left")):
        for axes, y, where in ((stack[0], 1, "bottom"), (stack[-1], 0, "top")):
            axes.text(x, y, words, transform=axes.get_xaxis_transform(), ha=side, va=where, color="0.25")
    keys = [
        key_of("measured, 95 % interval", Look("black", "o")),
        key_of("published", Look("black", "D", "none")),
        key_of("published, for another setup", Look("black", "D", "none", hollow=True)),
        Patch(facecolor=BAND, label="range of the claim"),
    ]
    return finish(figure, keys, _note(claims, rows))


def _note(claims: pd.DataFrame, rows: pd.DataFrame) -> str:
    own = claims[claims["twin"].isna()]
    tested = own["direction"] != NOT_MEASURED
    counts = own.loc[tested, "direction"].value_counts()
    tally = listed([f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts.get(verdict, 0)])
    note = f"Verdicts: {tally}; corrected for the number of claims, so that at most 5 % of such figures contain a "
    note += 'wrong "reproduced" or "contradicted". '
    whose = rows.dropna(subset="measured_by").drop_duplicates("study").set_index("study")["measured_by"]
    if rows["study"].nunique() == 1:
        note += f"All rows are of the study {rows['study'].iloc[0]}. "
    note += "".join(f"{study} was measured by {who}, not here. " for study, who in whose.items())
    note += f"n = {span(rows['networks'], 'network')} per row; {span([rows['excluded'].sum()], 'row')} of tables left "
    note += "out as diverged or null."
    untested = sorted(set(own.loc[~tested, "claim"]) - set(own.loc[tested, "claim"]))
    note += f" Not tested: {listed(untested)}." if untested else ""
    left_out = int((claims["direction"] != NOT_MEASURED).sum()) - len(rows)
    return note + (f" Not drawn: {left_out} rows of further studies." if left_out else "")
