"""The figures of relations: what of the geometry goes with generalization, rank correlations with their intervals."""

import math
from itertools import product

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from isthmus.figures.effects import draw_effects, shown_in_effects
from isthmus.figures.looks import GREY
from isthmus.figures.notes import span
from isthmus.figures.quantity_axis import in_order, rule_off, true_minus
from isthmus.figures.saturation import draw_saturation, shown_in_saturation
from isthmus.figures.style import FONT_SIZE, finish, new_figure, paper
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
NOTHING = "#ececec"


def _words(row: pd.Series) -> str:
    """A coefficient, and its interval below it."""
    value, low, high = (true_minus(f"{row[name]:.2f}") for name in ("coefficient", "low", "high"))
    return value if math.isnan(row["low"]) else f"{value}\n[{low}, {high}]"


def _draw_matrix(axes: Axes, rows: pd.DataFrame, names: list[str], outcomes: list[str]) -> None:
    """The coefficients of one scope, quantities below each other and outcomes side by side."""
    placed = rows.set_index(["quantity", "outcome"]).loc[list(product(names, outcomes))]
    placed = placed.assign(words=placed.apply(_words, axis=1))
    values, written = (placed[name].to_numpy().reshape(len(names), -1) for name in ("coefficient", "words"))
    look = {"cmap": COLOURS, "vmin": -1, "vmax": 1, "linewidths": 0.6, "annot_kws": {"size": FONT_SIZE, "gid": "cell"}}
    ticks = {"xticklabels": False, "yticklabels": False, "cbar": False}  # seaborn would turn labels that it deems long
    sns.heatmap(values, annot=written, fmt="", **look, **ticks, ax=axes)
    told = placed[placed["coefficient"].notna()]
    for text, low, high in zip(axes.texts, told["low"], told["high"], strict=True):
        text.set_fontweight("bold" if low > 0 or high < 0 else "normal")
    for y, x in zip(*np.nonzero(np.isnan(values)), strict=True):
        axes.text(x + 0.5, y + 0.5, "–", ha="center", va="center", color=GREY)
    rule_off(axes, rows, names, first=0.5)
    axes.set_facecolor(NOTHING)
    axes.set_xticks(np.arange(len(outcomes)) + 0.5, [named(each).label.replace(" ", "\n", 1) for each in outcomes])
    axes.set_yticks(np.arange(len(names)) + 0.5, [named(name).label for name in names], rotation=0, va="center")
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
