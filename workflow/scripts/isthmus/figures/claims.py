"""The figure of the claims: what was published, what was measured, and the verdict, a row per claim and study."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text

from isthmus.figures.looks import GREY, PALETTE
from isthmus.figures.style import DOUBLE_COLUMN, FONT_SIZE, LETTER, footnote, new_figure, paper

MOST_ROWS = 60  # claims of many studies: some studies are left out beyond it
ROW, NOTE_ROW, GAP = 0.2, 0.17, 0.26  # inches: a measured row, one that is not, the heading of a group
HEAD, FOOT, MARGIN, PADDING = 0.56, 0.76, 0.04, 0.12  # inches: above and below the rows, at the sides, between columns
SMALLEST_AXIS = 1.6  # inches
LIMITS = (-1.6, 4.0)  # of the common axis: 0 is no effect, 1 the published value
LOOKS = {
    "reproduced": (PALETTE[2], "o", PALETTE[2]),
    "contradicted": (PALETTE[1], "X", PALETTE[1]),
    "mixed": (PALETTE[4], "D", "white"),
    "depends on the loss": (PALETTE[4], "s", "white"),
    "inconclusive": (GREY, "o", "white"),
}
TWINS = {"over_loss": "with the loss divided out", "equal_loss": "at equal training loss"}
GROUPS = {
    "A": "A  Implicit regularization and generalization",
    "B": "B  Paths between minima",
    "C": "C  The zero set of the loss",
    "D": "D  Further results",
}
BAND = "#e9eef4"


def shown(claims: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The measured rows that are drawn, and how many are left out: of claims that many studies test, some of these.

    Studies of the published setup come first.
    """
    measured = claims[claims["direction"] != "not measured"].reset_index(drop=True)
    asked = measured["claim"].astype(str) + " " + measured["twin"].astype(object).fillna("")
    known = {each: number for number, each in enumerate(asked.unique())}
    order = measured.assign(claim_order=asked.map(known), own=~measured["as_published"])
    order = order.sort_values(["claim_order", "own", "study"], kind="stable")
    rank = order.groupby("claim_order").cumcount()
    studies = int(rank.max()) + 1 if len(rank) else 0
    while studies > 1 and int((rank < studies).sum()) > MOST_ROWS:
        studies -= 1
    kept = order[rank < studies].drop(columns=["claim_order", "own"])
    return kept.reset_index(drop=True), len(measured) - len(kept)


def place(row: Any, value: float) -> float:
    """Where `value` lies on the common axis: 0 is the baseline of the claim, 1 its reference. NaN for NaN.

    row: a row of the table. On log scales, a value of zero or below lies at an infinite place.
    """
    ends = np.array([value, row.baseline, row.reference], dtype=float)
    if row.logarithmic:
        with np.errstate(divide="ignore"):
            ends = np.log(np.maximum(ends, 0))
    return float((ends[0] - ends[1]) / (ends[2] - ends[1]))


def number(value: float, digits: int = 2) -> str:
    """A number of so many significant digits as text."""
    if not math.isfinite(value):
        return ""
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)) + 1e-12)
    text = f"{value:.{digits - 1}e}" if places > 5 else f"{round(value, places):.{max(places, 0)}f}"
    return text.replace("e-0", "e-").replace("-", "−")


def measured_text(row: Any) -> str:
    """A measured value with its interval: ratios with two digits, all else as finely as the interval makes sense of."""
    if row.measure == "plateau":
        return str(row.comparison)
    values, times = [row.value, row.low, row.high], "×" if row.measure == "ratio" else ""
    if not math.isfinite(row.low):
        return times + number(row.value, 3)
    spread = (row.high - row.low) / 2
    if row.measure == "ratio" or row.logarithmic or spread == 0:
        value, low, high = (number(each, 3 if spread == 0 else 2) for each in values)
    else:
        least = min([spread, *(abs(each) for each in values if each)])
        places = max(math.ceil(-math.log10(spread / 3)), math.ceil(-math.log10(2 * least)), 0)
        value, low, high = (f"{each:.{places}f}".replace("-", "−") for each in values)
    return f"{times}{value} [{low}, {high}]"


def verdict_text(row: Any) -> str:
    """The verdict on the direction, and that on the size, or what an inconclusive claim would read by itself."""
    if row.alone:
        return f"{row.direction} ({row.alone} alone)"
    if not row.size or row.direction == "inconclusive":
        return str(row.direction)
    return f"{row.direction}, {'size undecided' if row.size == 'undecided' else row.size}"


def _name(row: Any) -> str:
    """What tells the rows of a figure apart, less the study."""
    return f"{row.claim} {row.twin}" if row.twin else str(row.claim)


def _shortened(text: str, inches: float) -> str:
    """A text that fits so many inches, cut at a word."""
    return textwrap.shorten(text, max(int(inches * 72 / (FONT_SIZE * LETTER)), 12), placeholder=" …")


def _null(value: Any) -> float:
    return math.nan if value is None else float(value)


def _band(axes: Axes, row: Any, y: float) -> None:
    """Where the claim says that the interval lies."""
    above, below = _null(row.expected_above), _null(row.expected_below)
    ends = [place(row, above), place(row, below)]
    turned = row.reference < row.baseline
    for side, (end, infinite) in enumerate(zip(ends, (-math.inf, math.inf), strict=True)):
        if math.isnan(end):
            ends[side] = -infinite if turned else infinite
    low, high = np.clip(sorted(ends), *LIMITS)
    band = Rectangle((low, y - 0.36), high - low, 0.72, facecolor=BAND, edgecolor="none", zorder=0.5)
    band.set_gid("band")
    axes.add_patch(band)


def _point(axes: Axes, row: Any, y: float) -> None:
    """The measured value with its interval, and the published value."""
    colour, marker, face = LOOKS[row.direction]
    for end in (place(row, row.low), place(row, row.high)):
        if math.isnan(end):
            continue
        at = float(np.clip(end, *LIMITS))
        axes.hlines(y, at, np.clip(place(row, row.value), *LIMITS), color=colour, linewidth=1.1, zorder=3)
        if at != end:
            arrow = ">" if at == LIMITS[1] else "<"
            axes.plot(at, y, arrow, color=colour, markersize=2.8, clip_on=False, zorder=3)
    at = np.clip(place(row, row.value), LIMITS[0] + 0.15, LIMITS[1] - 0.15)  # at the arrow where it is beyond the axis
    (point,) = axes.plot(at, y, marker, color=colour, markerfacecolor=face, markersize=4.4, zorder=4)
    point.set_gid(f"measured {_name(row)} {row.study}")
    if not math.isnan(_null(row.published)):
        face = "black" if row.as_published else "white"
        (mark,) = axes.plot(place(row, row.published), y, "D", color="black", markerfacecolor=face, markersize=2.7)
        mark.set(markeredgewidth=0.6, zorder=5, gid=f"published {_name(row)} {row.study}")


def _widest(figure: Figure, texts: Sequence[Text]) -> float:
    """Inches that the widest of the texts takes."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    return max((text.get_window_extent(renderer).width for text in texts), default=0.0) / figure.dpi


def _legend(figure: Figure, height: float) -> None:
    keys: list[Any] = [
        Line2D([], [], color="black", marker="o", markersize=4, linewidth=1.1, label="measured, 95 % interval"),
        Line2D([], [], color="black", marker="D", markersize=3, linestyle="none", label="published"),
        Line2D([], [], color="black", marker="D", markersize=3, linestyle="none", markerfacecolor="white"),
        Patch(facecolor=BAND, label="where the claim says"),
    ]
    keys[2].set(label="published, for another setup", markeredgewidth=0.6)
    legend = figure.legend(handles=keys, ncols=4, columnspacing=1.4, handlelength=1.8, borderpad=0)
    legend.set_loc("upper center")
    legend.set_bbox_to_anchor((0.5, 1 - 0.05 / height))


def _heights(
    rows: pd.DataFrame, missing: pd.DataFrame
) -> tuple[list[float], list[tuple[float, str]], list[float], float]:
    """Inches from the top of the rows: of each row, headings with their text, rows not measured, and the end."""
    depth, rows_at, headings = 0.0, [], []
    for number_, group in enumerate(rows["claim"].str[0]):
        if number_ == 0 or group != rows["claim"].str[0][number_ - 1]:
            headings.append((depth + GAP * 0.6, GROUPS.get(group, group)))
            depth += GAP
        rows_at.append(depth + ROW / 2)
        depth += ROW
    end = depth
    if len(missing):
        headings.append((depth + GAP * 0.8, "Not measured"))
        depth += GAP * 1.15
    return rows_at, headings, [depth + NOTE_ROW * (place_ + 0.5) for place_ in range(len(missing))], end


def _note(claims: pd.DataFrame, rows: pd.DataFrame, left_out: int) -> str:
    verdicts = claims.loc[(claims["direction"] != "not measured") & claims["twin"].isna(), "direction"].value_counts()
    tally = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()) or "nothing was measured"
    studies = sorted(rows["study"].unique())
    note = f"Verdicts: {tally}; each corrected for their number, so that 5 % of such figures hold a false one. "
    if len(studies) == 1:
        note += f"All of the study {studies[0]}. "
    if len(rows):
        low, high = int(rows["networks"].min()), int(rows["networks"].max())
        note += f"n = {low} to {high} networks per row; rows of tables left out, diverged or null: "
        note += f"{int(rows['excluded'].sum())}. "
    note += "Settings: those in which the claim holds / in which the opposite does / all. Axis: 0 is no effect, 1 the "
    note += "published value, or where there is none a change worth speaking of. "
    note += "Arrows: beyond the axis, points beyond it are at its end."
    return note + (f" Not drawn: {left_out} rows of further studies." if left_out else "")


def draw_claims(tables: dict[str, pd.DataFrame]) -> Figure:
    """Every claim with what was published, what was measured and the verdict, a row per claim and study.

    `tables` holds `claims`. The common axis is linear in the measured value, or in its logarithm for ratios: 0 is no
    effect and 1 the published value, or where none was published a change worth speaking of. Shades are where the claim
    says that the interval lies. Claims that nothing was measured on are listed below, with the reason.
    """
    claims = tables["claims"]
    text = claims.columns[claims.dtypes == "category"]
    claims = claims.assign(**{name: claims[name].astype(object).where(claims[name].notna(), None) for name in text})
    rows, left_out = shown(claims)
    missing = claims[(claims["direction"] == "not measured") & claims["twin"].isna()].reset_index(drop=True)
    with paper():
        rows_at, headings, missing_at, end = _heights(rows, missing)
        total = (missing_at[-1] + NOTE_ROW / 2) if missing_at else end
        height = HEAD + total + FOOT
        figure = new_figure(DOUBLE_COLUMN, height)
        figure.set_layout_engine("none")
        _draw_table(figure, height, rows, missing, (rows_at, headings, missing_at, end))
        _legend(figure, height)
        footnote(figure, _note(claims, rows, left_out))
    return figure


def _draw_table(figure: Figure, height: float, rows: pd.DataFrame, missing: pd.DataFrame, places: Any) -> None:
    """All texts and the axis of the figure. Columns are as wide as what is in them, and the figure as they need."""
    rows_at, headings, missing_at, end = places

    def write(depth: float, text: str, **look: Any) -> Text:
        look = {"va": "center_baseline"} | look
        return figure.text(0, 1 - (HEAD + depth) / height, text, None, **look)

    several = rows["study"].nunique() > 1
    names = ("id", "statement", *(["study"] if several else []), "measured", "published", "settings", "verdict")
    columns: dict[str, list[Text]] = {name: [] for name in names}
    for row, depth in zip(rows.itertuples(), rows_at, strict=True):
        repeated = row.Index > 0 and _name(rows.loc[row.Index - 1]) == _name(row)
        published, times = _null(row.published), "×" if row.measure == "ratio" else ""
        words = {
            "id": "" if repeated or row.twin else row.claim,
            "statement": "" if repeated else f"    {TWINS[row.twin]}" if row.twin else row.statement,
            "study": row.study,
            "measured": measured_text(row),
            "published": "" if math.isnan(published) else times + number(published, 3),
            "settings": f"{row.settings_for}/{row.settings_against}/{row.settings}",
            "verdict": verdict_text(row),
        }
        for name, texts in columns.items():
            texts.append(write(depth, words[name]))
        if not row.as_published:
            columns["published"][-1].set_color(GREY)
        columns["verdict"][-1].set_color(LOOKS[row.direction][0] if row.direction != "inconclusive" else "0.25")
    for name in names[2:]:
        columns[name].append(write(-0.03, name, color="0.25", va="bottom"))
    said = zip(missing_at, missing["statement"], strict=True)
    notes = [write(depth, statement) for depth, statement in said]
    taken = {name: _widest(figure, texts) for name, texts in columns.items()}
    taken["statement"] = max(taken["statement"], _widest(figure, notes))
    taken["id"] = 0.24
    left, x = {}, MARGIN
    for name in ("id", "statement", "study"):
        if name in columns:
            left[name] = x
            x += taken[name] + PADDING
    start, right = x + 0.03, sum(taken[name] for name in names[-4:]) + 5.2 * PADDING + MARGIN
    width = max(DOUBLE_COLUMN, start + SMALLEST_AXIS + right)
    figure.set_figwidth(width)
    left["verdict"] = width - MARGIN - taken["verdict"]
    left["settings"] = left["verdict"] - 2.2 * PADDING - taken["settings"]
    left["published"] = left["settings"] - PADDING - taken["published"]
    left["measured"] = left["published"] - PADDING - taken["measured"]
    for name, texts in columns.items():
        for text in texts:
            text.set_x(left[name] / width)
    for depth, text in headings:
        write(depth, text, weight="bold", color=GREY if text == "Not measured" else "black").set_x(MARGIN / width)
    look = {"color": GREY}
    for row, depth, note in zip(missing.itertuples(), missing_at, notes, strict=True):
        note.set(x=left["statement"] / width, color=GREY)
        write(depth, row.claim, **look).set_x(left["id"] / width)
        write(depth, _shortened(row.reason, width - start), **look).set_x(start / width)
    if len(rows):
        _draw_axis(figure, (start, left["measured"] - PADDING), rows, rows_at, end)
        for row, depth in zip(rows.itertuples(), rows_at, strict=True):
            colour, marker, face = LOOKS[row.direction]
            place_ = ([(left["verdict"] - 0.09) / width], [1 - (HEAD + depth) / height])
            mark = Line2D(*place_, marker=marker, color=colour, markerfacecolor=face, markersize=4, linestyle="none")
            figure.add_artist(mark)


def _draw_axis(
    figure: Figure, sides: tuple[float, float], rows: pd.DataFrame, rows_at: list[float], end: float
) -> None:
    """The common axis between `sides`, inches from the left, with a row at each depth."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes(((sides[0]) / width, 1 - (HEAD + end) / height, (sides[1] - sides[0]) / width, end / height))
    axes.set(xlim=LIMITS, ylim=(end / ROW, 0), xticks=[], yticks=[])
    for row, depth in zip(rows.itertuples(), rows_at, strict=True):
        _band(axes, row, depth / ROW)
        _point(axes, row, depth / ROW)
    for x, line, label, side in ((0, "-", "no effect", "right"), (1, (0, (1, 2)), "published", "left")):
        axes.axvline(x, color="0.25", linewidth=0.7, linestyle=line, zorder=1)
        axes.text(x, -0.03 / ROW, label, ha=side, va="bottom", color="0.25")
    axes.spines[["left", "bottom"]].set_visible(False)
