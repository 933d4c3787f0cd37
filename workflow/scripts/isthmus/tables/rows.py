"""Rows of tables before they are written: dictionaries with a value, or None, for each column."""

import math
from collections.abc import Mapping
from typing import Any, SupportsFloat

from isthmus.tables.descriptions import table

Row = dict[str, Any]
Rows = list[Row]


def finite(value: SupportsFloat | None) -> float | None:
    """A number as it stands in a table: None if it is missing, infinite or not a number.

    >>> finite(0.5), finite(float("inf")), finite(None)
    (0.5, None, None)
    """
    return None if value is None or not math.isfinite(number := float(value)) else number


def unmeasured(name: str) -> Row:
    """A None for every column that may be null in the table `name`."""
    return {column.name: None for column in table(name).columns if column.nullable}


def complete(name: str, *parts: Mapping[str, Any]) -> Row:
    """A row of the table `name`: the columns in `parts`, the later ones first, and None in the others."""
    row = unmeasured(name)
    for part in parts:
        row |= part
    return row
