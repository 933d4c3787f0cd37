"""The figures of relations: correlations with generalization, effects of doubling an axis, and saturation with width.

All have a line for every quantity, in the same order, with rules between the groups.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.axes import log_axis
from isthmus.figures.looks import GREY, PALETTE, Look, key_of, keys_of, looks_in
from isthmus.figures.marks import draw_markers
from isthmus.figures.notes import span
from isthmus.figures.panels import choose, fewer_panels, lay_out, nothing, panels_of
from isthmus.figures.style import DOUBLE_COLUMN, finish, label_of, new_figure, paper
from isthmus.recipes.cell_table import CELLS, axes_by_cell, rows_of_study, with_axes
from isthmus.recipes.cells import cell_name
from isthmus.tables.quantities import compared, named

BAR = 0.065  # inches from one bar of a quantity to the next
GAP = 0.08  # inches more between quantities
TALLEST = 8.4  # inches of all quantities together: a page
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
MOST_PANELS = 4
MOST_DEPTHS = 4
NO_WIDTHS = "Nothing to compare: that takes networks of two widths or more."


def true_minus(text: str) -> str:
    """A number with a minus sign in place of a hyphen, and without one before zero."""
    return (text[1:] if text.startswith("-") and float(text) == 0 else text).replace("-", "−")


def in_order(names: Iterable[str]) -> list[str]:
    """Names of quantities in the order in which all figures have them."""
    found = set(names)
    return [each.name for each in compared() if each.name in found]


def line_height(bars: int, lines: int) -> float:
    """Inches for each of so many lines, one per quantity, with so many bars below each other."""
    return min(bars * BAR + GAP, TALLEST / lines)


def offset(bar: int, bars: int) -> float:
    """How far below the middle of its quantity a bar lies, in lines."""
    return (bar - (bars - 1) / 2) * 0.8 / bars


def list_quantities(axes: Axes, rows: pd.DataFrame, names: Sequence[str]) -> None:
    """A y axis with the names of quantities from the top, every other one shaded, groups ruled off."""
    axes.set_yticks(range(len(names)), [named(name).label for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    groups = rows.drop_duplicates("quantity").set_index("quantity")["group"]
    for place in range(1, len(names)):
        if place % 2:
            axes.axhspan(place - 0.5, place + 0.5, color="0.96", linewidth=0, zorder=0)
        if groups[names[place]] != groups[names[place - 1]]:
            axes.axhline(place - 0.5, color="0.3", linewidth=0.5, zorder=1)


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
    layout: Any = {"location": "right", "aspect": 40, "pad": 0.01, "fraction": 0.02, "ticks": [-1, -0.5, 0, 0.5, 1]}
    bar = figure.colorbar(axes.collections[0], ax=figure.axes, label="Spearman's rank correlation", **layout)
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
    draw_markers(axes, rows["standardized"], places, look, gid=gid)


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


def _draw_line(axes: Axes, place: float, rows: pd.DataFrame, look: Look, gid: str) -> None:
    """The widths of one quantity and depth: filled where within the noise of the largest, joined from saturation on."""
    rows = rows.sort_values("width")
    last = rows["width"].max()
    compared, saturated = rows[rows["within_noise"].notna()], rows["saturation_width"].iloc[0]
    for inside, words in ((True, "inside"), (False, "outside")):
        at = compared.loc[compared["within_noise"].astype(bool) == inside, "width"]
        draw_markers(axes, at, np.full(len(at), place), replace(look, hollow=not inside), 3.0, gid=f"{gid} {words}")
    if len(compared):
        axes.plot([last], [place], "|", color=look.colour, markersize=5, zorder=3)
    if not np.isnan(saturated):
        axes.hlines(place, saturated, last, color=look.colour, linewidth=1.6, alpha=0.6, zorder=2)


def shown_in_saturation(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of the table that the figure shows."""
    return _chosen(study, tables)[0]


def _chosen(study: str, tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    """As many rows of the table as fit the figure, with the axes of their cells, and the sentence that says which."""
    rows = rows_of_study(tables["saturation"], study)
    cells = {
        (cell_name(axes, without=["width"]), axes["width"]): cell
        for cell, axes in axes_by_cell(tables[CELLS], study).items()
    }
    found = [cells[place] for place in zip(rows["line"], rows["width"], strict=True)]
    rows["cell"] = pd.Series(found, index=rows.index, dtype=object)
    rows = with_axes(rows, tables[CELLS], study)
    rows = rows[rows["selection"] == "all"].astype({"saturation_width": float}).reset_index(drop=True)
    rows = rows[rows["quantity"].isin(rows.loc[rows["within_noise"].notna(), "quantity"])]
    if rows.empty:
        return rows, ""
    return choose(rows, fewer_panels(rows, MOST_PANELS, together=("depth",)) | {"depth": MOST_DEPTHS})


@paper()
def draw_saturation(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """For every quantity and depth, the widths whose mean is within the noise of that at the largest width.

    `tables` holds `saturation` and `cells`; shown are all networks that did not diverge, a panel per batch size. A bar
    begins at the width from which on all are within the noise. Of many depths or batch sizes some are shown, and the
    note says which. Says so where there are not two widths.
    """
    rows, chosen = _chosen(study, tables)
    if rows.empty:
        return nothing(NO_WIDTHS)
    names = in_order(rows["quantity"])
    looks = looks_in(tables, "depth", rows["depth"])
    height = line_height(len(looks), len(names)) * len(names)
    figure, placed = lay_out(panels_of(rows, ["batch_size"]), [""], label_of("width"), panel_height=height + 0.4)
    figure.set_figwidth(figure.get_figwidth() + 1.2)  # for the names of the quantities
    for panel, (axes,) in placed:
        list_quantities(axes, rows, names)
        axes.tick_params(labelleft=axes is placed[0][1][0])
        for (name, depth), own in panel.rows.groupby(["quantity", "depth"]):
            shift = offset(list(looks).index(depth), len(looks))
            _draw_line(axes, names.index(name) + shift, own, looks[depth], f"{name} depth={depth}")
        log_axis(axes.xaxis, sorted(panel.rows["width"].unique()))
    keys = keys_of("depth", {depth: replace(look, line="-") for depth, look in looks.items()})
    keys.append(key_of("within the noise of the largest width", Look(GREY, "o", "none")))
    keys.append(key_of("not within it", Look(GREY, "o", "none", hollow=True)))
    note = f"n = {span(rows.loc[rows['networks'] > 0, 'networks'])} networks per width. Within the noise: the 95 % "
    note += f"interval of the difference contains 0. Upright: the largest width. {chosen}"
    return finish(figure, keys, note)
