"""The figures of rank correlations: geometry with generalization, flatness of networks with paths between them."""

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.looks import GREY
from isthmus.figures.notes import span
from isthmus.figures.panels import nothing
from isthmus.figures.relations_lines import in_order, list_quantities, true_minus
from isthmus.figures.style import finish, new_figure, paper
from isthmus.recipes.cell_table import rows_of_study
from isthmus.tables.quantities import named

SHOWN = ("test_error", "test_loss", "generalization_gap", "corruption_error")  # outcomes with a column
TITLES = {"all": "over all networks", "within": "within cells"}
ROW, CELL, BESIDE = 0.31, 1.0, 2.6  # inches: height and width of a cell, and what stands beside the cells
WRAP = 14  # letters of a label of flatness in a line
COLOURS = "RdBu_r"
DARK = 0.5  # the coefficient from which its colour is dark
SCOPES = {
    "between": "between cells",
    "within": "within cells",
    "partial": "width, depth and loss held",
}
NO_PATHS = (
    "Nothing to relate: this needs paths between networks, and sharpness at their ends or the analysis curvature."
)
LEVEL = 0.05


def _words(row: pd.Series) -> str:
    """A coefficient, and its interval below it; a dash where there is none."""
    if math.isnan(row["coefficient"]):
        return "–"
    value, low, high = (true_minus(f"{row[name]:.2f}") for name in ("coefficient", "low", "high"))
    return value if math.isnan(row["low"]) else f"{value}\n[{low}, {high}]"


def _draw_matrix(axes: Axes, rows: pd.DataFrame, names: list[str], beside: list[str]) -> None:
    """The coefficients of one scope, quantities below each other and what they go with, `beside`, in columns.

    Where the column `clear` holds, they are bold.
    """
    values = rows.pivot(index="quantity", columns="beside", values="coefficient").loc[names, beside].to_numpy()
    columns, lines = (np.arange(size + 1) - 0.5 for size in reversed(values.shape))
    axes.pcolormesh(columns, lines, values, cmap=COLOURS, vmin=-1, vmax=1, edgecolors="white", linewidth=0.6)
    for _, row in rows.iterrows():
        at = beside.index(row["beside"]), names.index(row["quantity"])
        style: Any = {"color": GREY, "ha": "center", "va": "center"}
        if not math.isnan(row["coefficient"]):
            style["color"] = "white" if abs(row["coefficient"]) > DARK else "black"
            style |= {"gid": "cell", "weight": "bold" if row["clear"] else "normal"}
        axes.text(*at, _words(row), **style)
    list_quantities(axes, rows, names)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _add_bar(figure: Figure, location: str) -> None:
    """The key of the colours, for all panels."""
    layout: Any = {"location": location, "aspect": 40, "pad": 0.01, "fraction": 0.02, "ticks": [-1, -0.5, 0, 0.5, 1]}
    bar = figure.colorbar(figure.axes[0].collections[0], ax=figure.axes, label="rank correlation", **layout)
    bar.outline.set_visible(False)


def shown_in_correlations(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of the table that the figure shows."""
    rows = rows_of_study(tables["correlations"], study).astype(dict.fromkeys(("coefficient", "low", "high"), float))
    rows = rows[(rows["method"] == "spearman") & (rows["selection"] == "all")]
    return rows[rows["outcome"].isin(SHOWN) & rows["scope"].isin(TITLES)]


@paper()
def draw_correlations(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Spearman's rank correlations of geometric quantities with outcomes, as a matrix: over all networks, within cells.

    `tables` holds `correlations`. Colour and number are the coefficient, below it stands its 95 % bootstrap interval;
    bold where that does not contain 0. A dash: too few networks, or nothing varies. All networks that did not diverge.
    """
    rows = shown_in_correlations(study, tables)
    rows = rows.assign(beside=rows["outcome"], clear=(rows["low"] > 0) | (rows["high"] < 0))
    names, outcomes = in_order(rows["quantity"]), [each for each in SHOWN if each in set(rows["outcome"])]
    figure = new_figure(BESIDE + len(TITLES) * len(outcomes) * CELL, ROW * len(names) + 0.6)
    for place, (scope, title) in enumerate(TITLES.items()):
        axes = figure.add_subplot(1, len(TITLES), place + 1)
        _draw_matrix(axes, rows[rows["scope"] == scope], names, outcomes)
        axes.set_xticks(range(len(outcomes)), [named(each).label.replace(" ", "\n", 1) for each in outcomes])
        axes.set_title(title)
        axes.tick_params(labelleft=not place)
    _add_bar(figure, "right")
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
    note += " In brackets: 95 % bootstrap intervals over networks; bold where they do not contain 0."
    told = int(rows["low"].notna().sum())
    note += " Dash: too few networks, or nothing varies." if rows["coefficient"].isna().any() else ""
    return f"{note} By chance alone, about {told / 20:.0f} of {told} coefficients would be bold."


def shown_in_path_relations(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of the table that the figure shows."""
    numbers = ("coefficient", "low", "high", "p_above", "p_below", "p_corrected")
    rows = rows_of_study(tables["path_relations"], study).astype(dict.fromkeys(numbers, float))
    return rows[rows["selection"] == "all"]


@paper()
def draw_path_relations(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Rank correlations of the flatness of ends with what the paths between them are like, a matrix for each scope.

    `tables` holds `path_relations`. Colour and number are the coefficient, below it stands its 95 % interval; bold
    where the permutation test, corrected for all coefficients of the scope, is significant. Of all networks that did
    not diverge. Says so where nothing was measured.
    """
    rows = shown_in_path_relations(study, tables)
    if rows.empty:
        return nothing(NO_PATHS)
    labels = [
        f"{named(name).label}{' / loss' * over}" for name, over in zip(rows["flatness"], rows["over_loss"], strict=True)
    ]
    rows = rows.assign(quantity=rows["path"], group="paths", beside=labels, clear=rows["p_corrected"] <= LEVEL)
    names, beside = in_order(rows["quantity"]), list(dict.fromkeys(labels))
    figure = new_figure(BESIDE + len(beside) * CELL, len(SCOPES) * (ROW * len(names) + 0.25) + 0.5)
    for place, (scope, title) in enumerate(SCOPES.items()):
        axes = figure.add_subplot(len(SCOPES), 1, place + 1)
        _draw_matrix(axes, rows[rows["scope"] == scope], names, beside)
        axes.set_title(title)
        last = place == len(SCOPES) - 1
        axes.set_xticks(range(len(beside)), [textwrap.fill(label, WRAP) if last else "" for label in beside])
    _add_bar(figure, "top")
    return finish(figure, [], _paths_note(rows))


def _paths_note(rows: pd.DataFrame) -> str:
    """How many networks are behind the coefficients, and what the type says."""
    told = rows[rows["coefficient"].notna()]
    if told.empty:
        return "No coefficient: there are too few networks, or nothing varies."
    counts = [
        f"{scope} n = {span(own['networks'])} networks, {span(own['pairs'])} pairs in {span(own['cells'])} cells"
        for scope in SCOPES
        if len(own := told[told["scope"] == scope])
    ]
    note = f"{'; '.join(counts)}. Positive (red): flatter ends, less of it. In brackets: 95 % intervals. Bold: "
    note += f"p below {LEVEL:g} by permuting networks, corrected for all coefficients of the scope."
    note += " Dash: too few networks, or nothing varies." if len(told) < len(rows) else ""
    return note
