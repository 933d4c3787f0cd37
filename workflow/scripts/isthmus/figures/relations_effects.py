"""The figure of effects: what doubling each axis does to every quantity."""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.looks import GREY, MARKERS, PALETTE, Look, key_of
from isthmus.figures.marks import draw_markers
from isthmus.figures.notes import span
from isthmus.figures.panels import nothing
from isthmus.figures.relations_lines import in_order, line_height, list_quantities, offset
from isthmus.figures.style import DOUBLE_COLUMN, finish, label_of, new_figure, paper
from isthmus.recipes.cell_table import rows_of_study
from isthmus.recipes.cells import axis_order

TERMS = {
    "width": Look(PALETTE[0], "o", "-"),
    "depth": Look(PALETTE[1], "s", "-"),
    "batch_size": Look(PALETTE[2], "^", "-"),
}
SELECTIONS = ("all", "interpolating")
LONGEST = 1.4  # times the largest effect: the axis cuts longer bars off
NUMBERS = ["standardized", "standardized_low", "standardized_high"]
ONE_CELL = "No effects: these need networks that differ in width, depth, batch size or another numeric axis."


def _looks(rows: pd.DataFrame) -> dict[str, Look]:
    """The look of each axis: width, depth and batch size have theirs, and others follow in their order."""
    others = [term for term in axis_order(rows["term"]) if term not in TERMS]
    shown = [term for term in TERMS if term in set(rows["term"])]
    free = len(TERMS)
    looks = {
        term: Look(PALETTE[(free + place) % len(PALETTE)], MARKERS[(free + place) % len(MARKERS)])
        for place, term in enumerate(others)
    }
    return {term: TERMS[term] for term in shown} | looks


def _bars(rows: pd.DataFrame, terms: Iterable[str]) -> list[tuple[str, str]]:
    """Which bars every quantity has, from the top: a selection of networks and an axis each."""
    found = set(zip(rows["selection"], rows["term"], strict=True))
    return [(selection, term) for term in terms for selection in SELECTIONS if (selection, term) in found]


def _draw_bars(axes: Axes, rows: pd.DataFrame, places: pd.Series, look: Look, gid: str) -> None:
    """The effects of an axis on all quantities, each at its place."""
    told = rows[rows["standardized_low"].notna()]
    ends = told["standardized_low"], told["standardized_high"]
    axes.hlines(places[told.index], *ends, color=look.colour, linewidth=0.9, alpha=0.6 if look.hollow else 1, zorder=3)
    draw_markers(axes, rows["standardized"], places, look, gid=gid)


def shown_in_effects(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of the table that the figure shows.

    Of interpolating networks there may be two cells, say: a slope between these, without an interval, is none.
    """
    rows = rows_of_study(tables["effects"], study).astype(dict.fromkeys(NUMBERS, float))
    told = rows["standardized"].notna() & ((rows["selection"] == "all") | rows["standardized_low"].notna())
    return rows[told & ~rows["term"].str.contains(":")]


@paper()
def draw_effects(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """The effects of doubling each axis on every quantity, in standard deviations of the quantity.

    Axes that contain zero cannot be doubled: theirs is the effect of going over their range.

    `tables` holds `effects`. Filled marks: all networks that did not diverge; hollow: those that interpolate. Bars are
    95 % intervals; hollow marks without one are left out. On the right stands whether width and depth act in opposite
    directions, by all networks. Says so where no axis varies.
    """
    rows = shown_in_effects(study, tables)
    if rows.empty:
        return nothing(ONE_CELL)
    looks = _looks(rows)
    bars, names = _bars(rows, looks), in_order(rows["quantity"])
    figure = new_figure(0.75 * DOUBLE_COLUMN, line_height(len(bars), len(names)) * len(names) + 0.6)
    axes = figure.add_subplot()
    list_quantities(axes, rows, names)
    for bar, (selection, term) in enumerate(bars):
        own = rows[(rows["selection"] == selection) & (rows["term"] == term)]
        places = own["quantity"].map(names.index) + offset(bar, len(bars))
        _draw_bars(axes, own, places, replace(looks[term], hollow=selection != "all"), f"{term} {selection}")
    axes.axvline(0, color=GREY, linewidth=0.6, zorder=2)
    most = max(LONGEST * rows["standardized"].abs().max(), 0.1)
    axes.set(xlim=(-most, most), xlabel="change per step / standard deviation of the quantity")
    _write_verdicts(axes, rows, names)
    keys = [key_of(_step(rows[rows["term"] == term].iloc[0]), look) for term, look in looks.items()]
    if any(selection == "interpolating" for selection, _ in bars):
        keys.append(key_of("interpolating networks only", Look(GREY, "o", hollow=True)))
    return finish(figure, keys, _effects_note(rows))


def _step(row: pd.Series) -> str:
    """What an axis does for an effect."""
    label = label_of(row["term"])
    return (
        f"doubling the {label}" if row["step"] == "doubling" else f"{label} {row['smallest']:g} to {row['largest']:g}"
    )


def _write_verdicts(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    """Right of every quantity, by all networks, whether width and depth act in opposite directions."""
    verdicts = rows[rows["selection"] == "all"].drop_duplicates("quantity").set_index("quantity")["opposite"]
    if not verdicts.notna().any():
        return
    across = axes.get_yaxis_transform()
    axes.text(1.02, -0.62, "width and depth:", transform=across, va="bottom", color="0.25")
    for place, name in enumerate(names):
        verdict = verdicts.get(name)
        text = str(verdict) if pd.notna(verdict) else ""
        colour, weight = GREY if text == "undecided" else "black", "bold" if text == "opposite" else "normal"
        axes.text(1.02, place, text, transform=across, va="center", gid="verdict", color=colour, weight=weight)


def _effects_note(rows: pd.DataFrame) -> str:
    """How many networks and cells are behind the effects, and what the bars are."""
    parts = [
        f"{words}n = {span(used['networks'])} networks in {span(used['cells'])} cells"
        for selection, words in (("all", ""), ("interpolating", "interpolating only: "))
        if len(used := rows[rows["selection"] == selection])
    ]
    note = f"{'; '.join(parts)}. Averages over the grid. Bars: 95 % intervals; long ones are cut off."
    linear = in_order(rows.loc[rows["scale"] == "linear", "quantity"])
    of = f"{len(linear)} of {rows['quantity'].nunique()} quantities"
    told = int(rows["standardized_low"].notna().sum())
    note += f" Effects are on the logarithm; for {of} on the quantity itself."
    return f"{note} By chance alone, about {told / 20:.0f} of {told} bars would not contain 0."
