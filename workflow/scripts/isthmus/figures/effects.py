"""What doubling width, depth and batch size does to every quantity, and whether width and depth pull apart."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.looks import GREY, PALETTE, Look, key_of
from isthmus.figures.notes import span
from isthmus.figures.panels import nothing
from isthmus.figures.quantity_axis import in_order, line_height, list_quantities, offset
from isthmus.figures.style import DOUBLE_COLUMN, finish, label_of, new_figure, paper
from isthmus.recipes.cell_table import rows_of_study

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


def shown_in_effects(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of the table that the figure shows.

    Of interpolating networks there may be two cells, say: a slope between these, without an interval, is none.
    """
    rows = rows_of_study(tables["effects"], study).astype(dict.fromkeys(NUMBERS, float))
    told = rows["standardized"].notna() & ((rows["selection"] == "all") | rows["standardized_low"].notna())
    return rows[told & rows["term"].isin(TERMS)]


@paper()
def draw_effects(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """The effects of doubling each axis on every quantity, in standard deviations of the quantity.

    `tables` holds `effects`. Filled marks: all networks that did not diverge; hollow: those that interpolate. Bars are
    95 % intervals; hollow marks without one are left out. On the right stands whether width and depth act in opposite
    directions, by all networks. Says so where no axis varies.
    """
    rows = shown_in_effects(study, tables)
    if rows.empty:
        return nothing(ONE_CELL)
    bars, names = _bars(rows), in_order(rows["quantity"])
    figure = new_figure(0.75 * DOUBLE_COLUMN, line_height(len(bars), len(names)) * len(names) + 0.6)
    axes = figure.add_subplot()
    list_quantities(axes, rows, names)
    for _, row in rows.iterrows():
        place = names.index(row["quantity"]) + offset(bars.index((row["selection"], row["term"])), len(bars))
        _draw_bar(axes, place, row, TERMS[row["term"]], row["selection"] == "all")
    axes.axvline(0, color=GREY, linewidth=0.6, zorder=2)
    most = max(LONGEST * rows["standardized"].abs().max(), 0.1)
    axes.set(xlim=(-most, most), xlabel="change per doubling / standard deviation of the quantity")
    _write_verdicts(axes, rows, names)
    keys = [key_of(f"doubling the {label_of(term)}", TERMS[term]) for term in TERMS if ("all", term) in bars]
    if any(selection == "interpolating" for selection, _ in bars):
        keys.append(key_of("interpolating networks only", Look(GREY, "o", hollow=True)))
    return finish(figure, keys, _note(rows))


def _write_verdicts(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    """Right of every quantity, by all networks, whether width and depth act in opposite directions."""
    verdicts = rows[rows["selection"] == "all"].drop_duplicates("quantity").set_index("quantity")["opposite"]
    if not verdicts.notna().any():
        return
    across = axes.get_yaxis_transform()
    axes.text(1.02, -0.62, "width and depth:", transform=across, va="bottom", color="0.25")
    for place, name in enumerate(names):
        verdict = verdicts.get(name)
        text = str(verdict) if verdict in ("opposite", "same") else "undecided" if verdict else ""
        look: Any = {
            "color": GREY if text == "undecided" else "black",
            "weight": "bold" if text == "opposite" else "normal",
        }
        axes.text(1.02, place, text, transform=across, va="center", gid="verdict", **look)


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
