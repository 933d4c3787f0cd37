"""What doubling width, depth and batch size does to every quantity, and whether width and depth pull apart."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.looks import GREY, PALETTE, Look, key_of
from isthmus.figures.notes import span
from isthmus.figures.panels import nothing, rows_of
from isthmus.figures.quantity_axis import in_order, line_height, list_quantities, offset
from isthmus.figures.style import DOUBLE_COLUMN, FONT_SIZE, footnote, label_of, legend_above, new_figure, paper

TERMS = {
    "width": Look(PALETTE[0], "o", "-"),
    "depth": Look(PALETTE[1], "s", "-"),
    "batch_size": Look(PALETTE[2], "^", "-"),
}
SELECTIONS = ("all", "interpolating")
LONGEST = 1.4  # times the largest effect: the axis cuts longer bars off
NUMBERS = ["standardized", "standardized_low", "standardized_high"]
ONE_CELL = "No effect can be told: that takes networks that differ in width, depth or batch size."


def _bars(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Which bars every quantity has, from the top: a selection of networks and an axis each."""
    found = set(zip(rows["selection"], rows["term"], strict=True))
    return [(selection, term) for term in TERMS for selection in SELECTIONS if (selection, term) in found]


def _draw_bar(axes: Axes, place: float, row: pd.Series, look: Look, filled: bool) -> None:
    value, low, high = row[NUMBERS]
    if not np.isnan(low):
        axes.hlines(place, low, high, color=look.colour, linewidth=0.9, alpha=1 if filled else 0.6, zorder=3)
    (mark,) = axes.plot([value], [place], look.marker, color=look.colour, markersize=3.2, markeredgewidth=0.6, zorder=4)
    mark.set_markerfacecolor(look.colour if filled else "white")
    mark.set_gid(f"{row['quantity']} {row['term']} {row['selection']}")


def draw_effects(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """The effects of doubling each axis on every quantity, in standard deviations of the quantity.

    `tables` holds `effects`. Filled marks: all networks that did not diverge; hollow: those that interpolate. Bars are
    95 % intervals; hollow marks without one are left out. On the right stands whether width and depth act in opposite
    directions, by all networks. Says so where no axis varies.
    """
    with paper():
        if not (tables["effects"]["study"] == study).any():
            return nothing(ONE_CELL)
        rows = rows_of(study, tables, "effects").astype(dict.fromkeys(NUMBERS, float))
        # Of interpolating networks there may be two cells, say: a slope between these, without an interval, is none.
        told = rows["standardized"].notna() & ((rows["selection"] == "all") | rows["standardized_low"].notna())
        rows = rows[told & rows["term"].isin(TERMS)]
        bars = _bars(rows)
        names = in_order(rows["quantity"])
        if not names:
            return nothing(ONE_CELL)
        figure = new_figure(0.75 * DOUBLE_COLUMN, line_height(len(bars), len(names)) * len(names) + 1.35)
        axes = figure.add_subplot()
        list_quantities(axes, rows, names)
        for row in (row for _, row in rows.iterrows()):
            bar = bars.index((row["selection"], row["term"]))
            place = names.index(row["quantity"]) + offset(bar, len(bars))
            _draw_bar(axes, place, row, TERMS[row["term"]], row["selection"] == "all")
        axes.axvline(0, color=GREY, linewidth=0.6, zorder=2)
        most = max(LONGEST * rows["standardized"].abs().max(), 0.1)
        axes.set_xlim(-most, most)
        axes.set_xlabel("change per doubling / standard deviation of the quantity")
        _write_verdicts(axes, rows, names)
        legend_above(figure, _keys(bars))
        footnote(figure, _note(rows))
    return figure


def _write_verdicts(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    """Right of every quantity, by all networks, whether width and depth act in opposite directions."""
    verdicts = rows[rows["selection"] == "all"].drop_duplicates("quantity").set_index("quantity")["opposite"]
    if not verdicts.notna().any():
        return
    across = axes.get_yaxis_transform()
    axes.text(1.02, -0.62, "width and depth:", transform=across, va="bottom", size=FONT_SIZE, color="0.25")
    for place, name in enumerate(names):
        verdict = verdicts.get(name)
        text = {"opposite": "opposite", "same": "same"}.get(str(verdict), "undecided" if verdict else "")
        weight, colour = (
            ("bold", "black") if text == "opposite" else ("normal", GREY if text == "undecided" else "black")
        )
        axes.text(
            1.02, place, text, transform=across, va="center", size=FONT_SIZE, weight=weight, color=colour, gid="verdict"
        )


def _keys(bars: list[tuple[str, str]]) -> list[Line2D]:
    keys = [key_of(f"doubling the {label_of(term)}", TERMS[term]) for term in TERMS if ("all", term) in bars]
    if any(selection == "interpolating" for selection, _ in bars):
        keys.append(Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linewidth=0.9))
        keys[-1].set_label("interpolating networks only")
    return keys


def _note(rows: pd.DataFrame) -> str:
    """How many networks and cells are behind the effects, and what the bars are."""
    parts = []
    for selection, words in (("all", ""), ("interpolating", "interpolating only: ")):
        used = rows[rows["selection"] == selection]
        if len(used):
            parts.append(f"{words}n = {span(used['networks'])} networks in {span(used['cells'])} cells")
    note = f"{'; '.join(parts)}. Averages over the grid. Bars: 95 % intervals, Welch's, from the scatter of networks"
    note += " within cells; long ones are cut off."
    linear = in_order(rows.loc[rows["scale"] == "linear", "quantity"])
    of = f"{len(linear)} of {rows['quantity'].nunique()} quantities"
    return f"{note} Effects are on the logarithm; for {of} on the quantity itself."
