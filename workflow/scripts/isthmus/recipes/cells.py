"""The names of cells: `width=128+depth=2+batch_size=32`.

A cell's name is a folder, a wildcard of the workflow and a key in every table. It is never read: the axes of a cell are
columns of the table `cells` (`isthmus.recipes.cell_table`). Its parts are joined by `+` because Snakemake passes
wildcards to cluster jobs as a list that it splits at commas (Snakemake issue 2366). Names that would be too long for a
folder, or have characters that a folder or a wildcard may not have, are abridged and end in a hash.
"""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any

from isthmus.core.files import sha256_of
from isthmus.recipes.recipe import DataRecipe, TrainingRecipe

AXES = ("width", "depth", "batch_size")
JOINT = "+"
LONGEST = 200  # file systems allow 255 bytes
UNSAFE = re.compile(r"[^A-Za-z0-9_.=+-]")


def spell(value: Any) -> str:
    """A value as written in a folder's name: `128`, `0.05`, `none`, `true`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def axis_order(axes: Iterable[str]) -> list[str]:
    """Axes in the order of a cell's name: width, depth and batch size first, then the others in alphabetical order."""
    given = set(axes)
    return [*(axis for axis in AXES if axis in given), *sorted(given - set(AXES))]


def cell_name(axes: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """The name of a cell, or of what cells share that differ only in the axes `without`.

    >>> cell_name({"depth": 1, "width": 8, "nesterov": True}, without=["depth"])
    'width=8+nesterov=true'
    """
    name = JOINT.join(f"{axis}={spell(axes[axis])}" for axis in axis_order(axes) if axis not in without)
    safe = UNSAFE.sub("_", name)[:LONGEST]
    return name if safe == name else f"{safe}{JOINT}{sha256_of(name.encode())[:12]}"


def network_axes(axes: Mapping[str, Any]) -> dict[str, Any]:
    """The network's own axes. Cells that agree in them start networks of one seed from equal weights.

    >>> network_axes({"width": 8, "depth": 1, "batch_size": 32, "learning_rate": 0.1})
    {'width': 8, 'depth': 1}
    """
    others = {field.name for section in (DataRecipe, TrainingRecipe) for field in fields(section)}
    return {axis: value for axis, value in axes.items() if axis not in others}


def combinations(grid: dict[str, Iterable[Any]]) -> list[dict[str, Any]]:
    """All combinations of a grid's values, as dictionaries; the last axis varies fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
