"""The figures of relations: what of the geometry goes with generalization, rank correlations with their intervals."""

import math

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from isthmus.figures.effects import draw_effects
from isthmus.figures.looks import GREY
from isthmus.figures.notes import span
from isthmus.figures.panels import rows_of
from isthmus.figures.quantity_axis import in_order, rule_off, true_minus
from isthmus.figures.saturation import draw_saturation
from isthmus.figures.style import DOUBLE_COLUMN, footnote, new_figure, paper
from isthmus.tables.quantities import named

__all__ = ["draw_correlations", "draw_effects", "draw_saturation"]

SHOWN = ("test_error", "test_loss", "generalization_gap", "corruption_error")  # outcomes with a column
TITLES = {"all": "over all networks", "within": "within cells"}
ROW = 0.2  # inches
COLOURS = "RdBu_r"
DARK = 0.55  # from here on letters are white
COEFFICIENT, INTERVAL = 6.5, 4.8  # points
NOTHING = "#ececec"


def _draw_cell(axes: Axes, x: int, y: int, row: pd.Series) -> None:
    """A coefficient, and its interval below it, in bold where that does not hold 0."""
    if math.isnan(row["coefficient"]):
        axes.text(x, y, "–", ha="center", va="center", color=GREY)
        return
    colour = "white" if abs(row["coefficient"]) > DARK else "black"
    bold = row["low"] > 0 or row["high"] < 0
    text = true_minus(f"{row['coefficient']:.2f}")
    weight = "bold" if bold else "normal"
    axes.text(
        x, y - 0.16, text, ha="center", va="center", color=colour, size=COEFFICIENT, weight=weight, gid="coefficient"
    )
    if not math.isnan(row["low"]):
        ends = ", ".join(true_minus(f"{row[end]:.2f}") for end in ("low", "high"))
        axes.text(x, y + 0.25, f"[{ends}]", ha="center", va="center", color=colour, size=INTERVAL, gid="interval")


def _draw_matrix(axes: Axes, rows: pd.DataFrame, names: list[str], outcomes: list[str]) -> None:
    """The coefficients of one scope, quantities below each other and outcomes side by side."""
    placed = rows.set_index(["quantity", "outcome"])
    values = np.array(
        [[placed.at[(name, outcome), "coefficient"] for outcome in outcomes] for name in names], dtype=float
    )
    colours = colormaps[COLOURS].with_extremes(bad=NOTHING)
    edges = [np.arange(len(each) + 1) - 0.5 for each in (outcomes, names)]
    axes.pcolormesh(
        *edges, np.ma.masked_invalid(values), cmap=colours, vmin=-1, vmax=1, edgecolors="white", linewidth=0.6
    )
    axes.invert_yaxis()
    for y, name in enumerate(names):
        for x, outcome in enumerate(outcomes):
            _draw_cell(axes, x, y, placed.loc[(name, outcome)])
    rule_off(axes, rows, names)
    axes.set_xticks(range(len(outcomes)), [named(each).label.replace(" ", "\n", 1) for each in outcomes])
    axes.set_yticks(range(len(names)), [named(name).label for name in names])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_correlations(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Spearman's rank correlations of geometric quantities with outcomes, as a matrix: over all networks, within cells.

    `tables` holds `correlations`. Colour and number are the coefficient, below it stands its 95 % bootstrap interval;
    bold where that does not hold 0. A dash: too few networks, or nothing varies. Of all networks that did not diverge.
    Raises DataError where the study has no row.
    """
    rows = rows_of(study, tables, "correlations")
    rows = rows[(rows["method"] == "spearman") & (rows["selection"] == "all")]
    names, outcomes = in_order(rows["quantity"]), [each for each in SHOWN if each in set(rows["outcome"])]
    rows = rows[rows["outcome"].isin(outcomes) & rows["scope"].isin(TITLES)].astype(
        {"coefficient": float, "low": float, "high": float}
    )
    with paper():
        figure = new_figure(DOUBLE_COLUMN, ROW * len(names) + 1.25)
        shared = None
        for place, (scope, title) in enumerate(TITLES.items()):
            axes = figure.add_subplot(1, 2, place + 1, sharey=shared)
            _draw_matrix(axes, rows[rows["scope"] == scope], names, outcomes)
            axes.set_title(title)
            shared = shared or axes
            if place:
                shared.invert_yaxis()  # both have turned the scale that they share
                axes.tick_params(labelleft=False)
        scale = ScalarMappable(Normalize(-1, 1), COLOURS)
        bar = figure.colorbar(scale, ax=figure.axes, location="right", aspect=40, pad=0.01, fraction=0.02)
        bar.set_ticks([-1, -0.5, 0, 0.5, 1], labels=["−1", "−0.5", "0", "0.5", "1"])
        bar.set_label("Spearman's rank correlation")
        bar.outline.set_visible(False)
        footnote(figure, _note(rows))
    return figure


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
    return f"{note} Were nothing related, some {told / 20:.0f} of {told} coefficients would be bold."
