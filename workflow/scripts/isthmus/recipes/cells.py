"""The names of cells: `width=128+depth=2+batch_size=32`.

A cell's name is a folder, a wildcard of the workflow and a value in every table. Its parts are joined by `+` because
Snakemake passes wildcards to cluster jobs as a list that it splits at commas (Snakemake issue 2366).
"""

import itertools
import re
from collections.abc import Collection, Iterable
from dataclasses import fields
from typing import Any

from isthmus.recipes.recipe import NetworkRecipe

AXES = ("width", "depth", "batch_size")
JOINT = "+"


def spell(value: Any) -> str:
    """A value as written in a folder's name: `128`, `0.05`, `none`, `true`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def cell_name(axes: dict[str, Any]) -> str:
    """The name of a cell: width, depth and batch size first, then the other axes in alphabetical order."""
    order = [*AXES, *sorted(key for key in axes if key not in AXES)]
    return JOINT.join(f"{key}={spell(axes[key])}" for key in order)


def axes_of(cell: str) -> dict[str, str]:
    """The axes in a cell's name, with their values as text.

    >>> axes_of("width=8+learning_rate=1e+16")
    {'width': '8', 'learning_rate': '1e+16'}
    """
    return dict(part.partition("=")[::2] for part in re.split(r"\+(?=[a-z_]+=)", cell))


def without(cell: str, axes: Collection[str]) -> str:
    """A cell's name without some of its axes."""
    return JOINT.join(f"{key}={value}" for key, value in axes_of(cell).items() if key not in axes)


def shape_of(cell: str) -> str:
    """The network's axes in a cell's name. Cells that agree in them start networks of one seed from equal weights.

    >>> shape_of("width=8+depth=1+batch_size=32+learning_rate=0.1")
    'width=8+depth=1'
    """
    own = {field.name for field in fields(NetworkRecipe)}
    return without(cell, [axis for axis in axes_of(cell) if axis not in own])


def combinations(grid: dict[str, Iterable[Any]]) -> list[dict[str, Any]]:
    """All combinations of a grid's values, as dictionaries; the last axis varies fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
