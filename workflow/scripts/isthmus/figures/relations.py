"""The figures of relations: what goes with generalization, and what doubling width, depth and batch size does.

Correlations are a matrix, effects a line for every quantity; `isthmus.figures.saturation` has the third figure.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from isthmus.figures.looks import GREY, PALETTE, Look, key_of
from isthmus.figures.notes import span
from isthmus.figures.panels import nothing
from isthmus.figures.quantity_axis import in_order, line_height, list_quantities, offset, true_minus
from isthmus.figures.saturation import draw_saturation, shown_in_saturation
from isthmus.figures.style import DOUBLE_COLUMN, finish, label_of, new_figure, paper
from isthmus.recipes.cell_table import rows_of_study
from isthmus.tables.quantities import named

__all__ = [
    "draw_correlations",
    "draw_effects",
    "draw_saturation",
    "shown_in_correlations",
    "shown_in_effects",
    "shown_in_saturation",
]

SHOWN = ("test_error", "test_loss", "generalization_gap", "corruption_error")  # outcomes with a column
TITLES = {"all": "over all networks", "within": "within cells"}
ROW, CELL, BESIDE = 0.31, 0.92, 2.6  # inches: height and width of a cell, and what stands beside the cells
COLOURS = "RdBu_r"
DARK = 0.5  # the coefficient from which its colour is dark
TERMS = {
    "width": Look(PALETTE[0], "o", "-"),
    "depth": Look(PALETTE[1], "s", "-"),
    "batch_size": Look(PALETTE[2], "^", "-"),
}
SELECTIONS = ("all", "interpolating")
LONGEST = 1.4  # times the largest effect: the axis cuts longer bars off
NUMBERS = ["standardized", "standardized_low", "standardized_high"]
ONE_CELL = "No effect can be told: that takes networks that differ in width, depth or batch size."


def _words(row: pd.Series) -> str:
    """A coefficient, and its interval below it; a dash where there is none."""
    if math.isnan(row["coefficient"]):
        return "–"
    value, low, high = (true_minus(f"{row[name]:.2f}") for name in ("coefficient", "low", "high"))
    return value if math.isnan(row["low"]) else f"{value}\n[{low}, {high}]"


def _draw_matrix(axes: Axes, rows: pd.DataFrame, names: list[str], outcomes: list[str]) -> None:
    """The coefficients of one scope, quantities below each other and outcomes side by side."""
    values = rows.pivot(index="quantity", columns="outcome", values="coefficient").loc[names, outcomes].to_numpy()
    columns, lines = (np.arange(size + 1) - 0.5 for size in reversed(values.shape))
    axes.pcolormesh(columns, lines, values, cmap=COLOURS, vmin=-1, vmax=1, edgecolors="white", linewidth=0.6)
    for _, row in rows.iterrows():
        at = outcomes.index(row["outcome"]), names.index(row["quantity"])
        style: Any = {"color": GREY, "ha": "center", "va": "center"}
        if not math.isnan(row["coefficient"]):
            style["color"] = "white" if abs(row["coefficient"]) > DARK else "black"
            style |= {"gid": "cell", "weight": "bold" if row["low"] > 0 or row["high"] < 0 else "normal"}
        axes.text(*at, _words(row), **style)
    list_quantities(axes, rows, names)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(outcomes)), [named(each).label.replace(" ", "\n", 1) for each in outcomes])
    axes.tick_params(length=0)


def shown_in_correlations(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of the table that the figure shows."""
    rows = rows_of_study(tables["correlations"], study).astype(dict.fromkeys(("coefficient", "low", "high"), float))
    rows = rows[(rows["method"] == "spearman") & (rows["selection"] == "all")]
    return rows[rows["outcome"].isin(SHOWN) & rows["scope"].isin(TITLES)]


@paper()
def draw_correlations(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Spearman's rank correlations of geometric quantities with outcomes, as a matrix: over all networks, within cells.

    `tables` holds `correlations`. Colour and number are the coefficient, below it stands its 95 % bootstrap interval;
    bold where that does not hold 0. A dash: too few networks, or nothing varies. Of all networks that did not diverge.
    """
    rows = shown_in_correlations(study, tables)
    names, outcomes = in_order(rows["quantity"]), [each for each in SHOWN if each in set(rows["outcome"])]
    figure = new_figure(BESIDE + len(TITLES) * len(outcomes) * CELL, ROW * len(names) + 0.6)
    for place, (scope, title) in enumerate(TITLES.items()):
        axes = figure.add_subplot(1, len(TITLES), place + 1)
        _draw_matrix(axes, rows[rows["scope"] == scope], names, outcomes)
        axes.set_title(title)
        axes.tick_params(labelleft=not place)
    scale = ScalarMappable(Normalize(-1, 1), COLOURS)
    bar = figure.colorbar(scale, ax=figure.axes, location="right", aspect=40, pad=0.01, fraction=0.02)
    bar.set_ticks([-1, -0.5, 0, 0.5, 1], labels=["−1", "−0.5", "0", "0.5", "1"])
    bar.set_label("Spearman's rank correlation")
    bar.outline.set_visible(False)
    return finish(figure, [], _note(rows))


def _note(rows: pd.DataFrame) -> str:
    """How many networks are behind the coefficients, and what the type says."""
    every, within = (rows[rows["scope"] == scope] for scope in TITLES)
    diverged = int(rows["left_out_diverged"].max())
    counted = every[every["networks"] > 0]
    if counted.empty:
        return f"Nothing to relate: {diverged} networks diverged."
    used = within[within["coefficient"].notna()]
    note = f"n = {span(counted['networks'])} networks"
    note += f", within cells {span(used['networks'])} in {span(used['cells'])} cells" if len(used) else ""
    note += f"; {diverged} diverged and left out." if diverged else "; none diverged."
    note += " In brackets: 95 % bootstrap intervals over networks; bold where they do not hold 0."
    told = int(rows["low"].notna().sum())
    note += " Dash: too few networks, or nothing varies." if rows["coefficient"].isna().any() else ""
    return f"{note} By chance alone, about {told / 20:.0f} of {told} coefficients would be bold."


def _bars(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Which bars every quantity has, from the top: a selection of networks and an axis each."""
    found = set(zip(rows["selection"], rows["term"], strict=True))
    return [(selection, term) for term in TERMS for selection in SELECTIONS if (selection, term) in found]


def _draw_bars(axes: Axes, rows: pd.DataFrame, places: pd.Series, look: Look, gid: str) -> None:
    """The effects of an axis on all quantities, each at its place."""
    told = rows[rows["standardized_low"].notna()]
    ends = told["standardized_low"], told["standardized_high"]
    axes.hlines(places[told.index], *ends, color=look.colour, linewidth=0.9, alpha=0.6 if look.hollow else 1, zorder=3)
    style: Any = {"color": look.colour, "markerfacecolor": look.face, "markersize": 3.2, "markeredgewidth": 0.6}
    axes.plot(rows["standardized"], places, look.marker, **style, gid=gid, zorder=4)


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
    for bar, (selection, term) in enumerate(bars):
        own = rows[(rows["selection"] == selection) & (rows["term"] == term)]
        places = own["quantity"].map(names.index) + offset(bar, len(bars))
        _draw_bars(axes, own, places, replace(TERMS[term], hollow=selection != "all"), f"{term} {selection}")
    axes.axvline(0, color=GREY, linewidth=0.6, zorder=2)
    most = max(LONGEST * rows["standardized"].abs().max(), 0.1)
    axes.set(xlim=(-most, most), xlabel="change per doubling / standard deviation of the quantity")
    _write_verdicts(axes, rows, names)
    keys = [key_of(f"doubling the {label_of(term)}", TERMS[term]) for term in TERMS if ("all", term) in bars]
    if any(selection == "interpolating" for selection, _ in bars):
        keys.append(key_of("interpolating networks only", Look(GREY, "o", hollow=True)))
    return finish(figure, keys, _effects_note(rows))


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
    return f"{note} Effects are on the logarithm; for {of} on the quantity itself."
