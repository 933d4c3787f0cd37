"""A line for every quantity, in the same order in all figures of relations, with rules between the groups."""

from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes

from isthmus.tables.quantities import compared, named

BAR = 0.065  # inches from one bar of a quantity to the next
GAP = 0.08  # inches more between quantities
TALLEST = 8.4  # inches of all quantities together: a page


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
