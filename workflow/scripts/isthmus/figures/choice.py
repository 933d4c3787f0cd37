"""Which cells a figure shows where a study has more than fit a page, and the sentence that says so."""

import math
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from isthmus.figures.style import label_of, listed
from isthmus.recipes.cell_table import AxisValues, axes_in
from isthmus.recipes.cells import AXES, spell

Value = TypeVar("Value")


def order(value: Any) -> tuple[bool, float, str]:
    """A key that sorts values of an axis: numbers as numbers, before words."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (False, value, "") if number else (True, 0.0, spell(value))


def evenly(values: Sequence[Value], most: int) -> list[Value]:
    """At most `most` of the sorted `values`, evenly spread, the first and the last among them; one is the first."""
    places = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int)
    return [values[place] for place in places]


def _values_by_axis(cells: Collection[AxisValues]) -> dict[str, list[Any]]:
    """The values of each axis, batch size first and width and depth last."""
    extra = [name for name in next(iter(cells)) if name not in AXES]
    return {
        name: sorted({axes[name] for axes in cells}, key=order) for name in ("batch_size", *extra, "depth", "width")
    }


def choose(frame: pd.DataFrame, most: dict[str, int]) -> tuple[pd.DataFrame, str]:
    """The rows of a choice of cells, and the sentence that says which values of which axes were left out.

    `most` says how many values of an axis are kept, evenly spread; axes that it lacks keep all. Where one is kept, it
    is the first of those with the most networks, if the frame counts them, as `n`.
    """
    cells = axes_in(frame)
    values = _values_by_axis(cells.values())
    kept = {name: evenly(values[name], most.get(name, len(values[name]))) for name in values}
    if "n" in frame:
        kept |= {name: [_fullest(frame, name, cells)] for name, few in kept.items() if len(few) == 1}
    chosen = {cell: all(axes[name] in few for name, few in kept.items()) for cell, axes in cells.items()}
    shown = [
        f"{label_of(name)} {listed([*map(spell, few)])} ({len(few)} of {len(values[name])} values)"
        for name, few in kept.items()
        if len(few) < len(values[name])
    ]
    sentence = f"Shown: {'; '.join(shown)}." if shown else ""
    return frame[frame["cell"].map(chosen)].reset_index(drop=True), sentence


def _fullest(frame: pd.DataFrame, name: str, cells: dict[str, AxisValues]) -> Any:
    """The value of an axis with the most networks, `n`, in all its cells; the first of several."""
    networks = dict.fromkeys(sorted({axes[name] for axes in cells.values()}, key=order), 0)
    for cell, count in frame.groupby("cell", observed=True)["n"].max().items():
        networks[cells[str(cell)][name]] += int(count)
    return max(networks, key=lambda value: networks[value])


def fewer_panels(
    frame: pd.DataFrame, panels: int, widths: int | None = None, *, together: Sequence[str] = ()
) -> dict[str, int]:
    """How many values of each axis to keep, for `choose`, so that a figure has at most so many panels.

    With `widths`, each width has a panel of its own, of at most so many; without, a panel holds all widths, and all
    values of the axes in `together`, too. Of the other axes, the one with most values loses first.
    """
    values = {name: len(found) for name, found in _values_by_axis(axes_in(frame).values()).items()}
    kept = {name: values.pop(name) for name in ("width", *together)}
    kept["width"] = kept["width"] if widths is None else min(kept["width"], widths)
    room = panels if widths is None else panels // kept["width"]
    while math.prod(values.values()) > max(room, 1):
        values[max(values, key=lambda name: values[name])] -= 1
    return kept | values
