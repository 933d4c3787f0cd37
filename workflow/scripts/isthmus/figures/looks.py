"""How things look: a colour, a marker and a line style for each value of an axis and each kind, the same everywhere.

Values without an order have the colours of seaborn's palette for colour-blind readers; ordered values have a
perceptually uniform map, from dark to light. In grey print, markers and line styles distinguish them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from isthmus.figures.style import label_of
from isthmus.recipes.cell_table import CELLS
from isthmus.recipes.cells import AXES

GREY = "#6e6e6e"
LIGHT_GREY = "#8a8a8a"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, _, _, _, _, SKY = map(to_hex, sns.color_palette("colorblind"))
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (7, 1.5, 1, 1, 1, 1)))
# Ordered axes: the colour map, and the part of it that is neither black nor too light to see on white.
ORDERED = {
    "width": ("viridis", 0.0, 0.90),
    "batch_size": ("inferno", 0.15, 0.82),
    "layer_index": ("plasma", 0.0, 0.85),
}


@dataclass(frozen=True)
class Look:
    """How one thing is drawn: colour (hexadecimal), marker and line style of Matplotlib, and whether it is hollow."""

    colour: str
    marker: str
    line: Any = "-"
    hollow: bool = False

    @property
    def face(self) -> str:
        """The colour inside the marker."""
        return "white" if self.hollow else self.colour


# A kind has this look in all figures, whichever others a study asked for: straight lines are blue, repaired ones
# purple, Bézier curves red and orange, and the aligned one of two kinds is the lighter, dashed one.
KINDS = {
    "linear": Look(BLUE, "o"),
    "linear-aligned": Look(SKY, "s", LINES[1]),
    "linear-repaired": Look(PURPLE, "P", LINES[2]),
    "bezier": Look(VERMILION, "^"),
    "polychain": Look(GREEN, "D", LINES[3]),
    "bezier-aligned": Look(ORANGE, "v", LINES[1]),
    "alone": Look(BLUE, "o"),
    "all_but": Look(VERMILION, "^", LINES[1]),
    "all": Look(LIGHT_GREY, "none"),
    "dense": Look(LIGHT_GREY, "none"),
    "ticket": Look(BLUE, "o"),
    "one_shot": Look(VERMILION, "s", LINES[1]),
    "magnitude_at_initialization": Look(ORANGE, "v", LINES[4]),
    "reinitialized": Look(PURPLE, "D", LINES[3]),
    "random": Look(GREEN, "^", LINES[2]),
}
WORDS = {
    "linear-aligned": "linear, aligned",
    "linear-repaired": "linear, repaired",
    "alone": "one layer alone",
    "all_but": "all layers but one",
    "all": "all layers together",
    "bezier": "Bézier",
    "polychain": "polygonal chain",
    "bezier-aligned": "Bézier, aligned",
    "one_shot": "one-shot",
    "magnitude_at_initialization": "magnitude at initialization",
    "random": "random mask",
}


def words_of(kind: str) -> str:
    """The words for a kind of path, of pruned network, or whatever else a column tells apart."""
    return WORDS.get(kind, kind.replace("_", " ").replace("gaussian", "Gaussian").replace("jpeg", "JPEG"))


def looks_of(column: str, values: Sequence[Any]) -> dict[Any, Look]:
    """The look of each of the sorted `values` of an axis, or of the kinds in a column, in the order of a legend.

    Widths, batch sizes and layers are ordered: dark is the smallest, light the largest. Everything else gets distinct
    colours; small integers, such as depths, keep theirs whatever the other values are.
    """
    if column in ORDERED:
        name, first, last = ORDERED[column]
        ends = (first, last) if len(values) > 1 else (first + 0.4 * (last - first), last)
        shades = map(to_hex, sns.color_palette(name, as_cmap=True)(np.linspace(*ends, len(values))))
        return {value: _look(shade, place) for place, (value, shade) in enumerate(zip(values, shades, strict=True))}
    if all(value in KINDS for value in values):
        return {kind: look for kind, look in KINDS.items() if kind in values}
    looks: dict[Any, Look] = {}
    for position, value in enumerate(values):
        wanted = int(value) - 1 if hasattr(value, "__index__") else position
        slots = [slot % len(PALETTE) for slot in range(wanted, wanted + len(PALETTE))]
        taken = {look.colour for look in looks.values()}
        slot = next((slot for slot in slots if PALETTE[slot] not in taken), position)
        looks[value] = _look(PALETTE[slot % len(PALETTE)], slot)
    return looks


def _look(colour: str, place: int) -> Look:
    return Look(colour, MARKERS[place % len(MARKERS)], LINES[place % len(LINES)])


def looks_in(tables: dict[str, pd.DataFrame], column: str, present: Iterable[Any]) -> dict[Any, Look]:
    """The look of each value that is `present` in a column; a value of an axis has it in all figures and studies."""
    found = set(present)
    every = found.union(tables[CELLS][column]) if column in AXES else found
    return {value: look for value, look in looks_of(column, sorted(every)).items() if value in found}


def key_of(label: str, look: Look, *, marker: bool = True, band: bool = False) -> Line2D:
    """An entry of a legend: the line of a look, thicker for a `band`, and its marker."""
    line: Any = {"color": look.colour, "linestyle": look.line, "linewidth": 1.6 if band else 1.0}
    return Line2D([], [], **line, marker=look.marker if marker else "none", markerfacecolor=look.face, label=label)


def keys_of(column: str, looks: dict[Any, Look], *, marker: bool = True) -> list[Line2D]:
    """The entries of a legend for the values of an axis or the kinds in a column."""
    return [
        key_of(words_of(value) if isinstance(value, str) else f"{label_of(column)} {value:.12g}", look, marker=marker)
        for value, look in looks.items()
    ]
