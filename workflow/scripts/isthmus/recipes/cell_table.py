"""The table `cells`, which has every axis of every cell as a typed column, and joins of other tables with it.

Joined columns are called `cells.label_noise`, and so on, because tables have columns of their own by the name of an
axis, such as the learning rate of an epoch.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from isthmus.core.errors import DataError
from isthmus.tables.parquet import as_frame, read_table

CELLS = "cells"
PREFIX = f"{CELLS}."
AxisValues = dict[str, Any]  # by the name of the axis


def read_tables(paths: Iterable[Path | str]) -> dict[str, pd.DataFrame]:
    """Tables by name, as data frames.

    In `cells`, integers remain integers even in a column with nulls, where pandas would make them floats: the axis
    `train_size` has the value 300, not 300.0. Raises DataError if a file cannot be read.
    """
    files = {Path(path).stem: path for path in paths}
    return {name: as_frame(read_table(path), integer_object_nulls=name == CELLS) for name, path in files.items()}


def rows_of_study(table: pd.DataFrame, study: str) -> pd.DataFrame:
    """The rows of a study, with categories converted to plain strings."""
    rows = table[table["study"] == study].reset_index(drop=True)
    return rows.astype(dict.fromkeys(rows.columns[rows.dtypes == "category"], object))


def with_axes(rows: pd.DataFrame, cells: pd.DataFrame, study: str) -> pd.DataFrame:
    """The rows of a study, which have a column `cell`, with the axes of their cells, in the order of a cell's name.

    A column without any value in the study is not an axis of it. Raises DataError if `cells` lacks one of the cells.
    """
    own = cells[cells["study"] == study].drop(columns="study").set_index("cell").dropna(axis="columns", how="all")
    own = own.astype(dict.fromkeys(own.columns[own.dtypes == "category"], object))
    unknown = set(rows["cell"]) - set(own.index)
    if unknown:
        raise DataError(f"the table 'cells' lacks {min(unknown)} of the study {study!r}; run the workflow again")
    return rows.join(own.set_index(own.index.astype(rows["cell"].dtype)).add_prefix(PREFIX), on="cell")


def axes_in(rows: pd.DataFrame) -> dict[str, AxisValues]:
    """The axes of each cell in rows that `with_axes` has joined, with None for a null."""
    columns = [column for column in rows if column.startswith(PREFIX)]
    names = [column.removeprefix(PREFIX) for column in columns]
    cells = rows.drop_duplicates("cell")[["cell", *columns]].itertuples(index=False, name=None)
    return {cell: {name: _value(value) for name, value in zip(names, axes, strict=True)} for cell, *axes in cells}


def axes_by_cell(cells: pd.DataFrame, study: str) -> dict[str, AxisValues]:
    """The axes of each cell of a study."""
    own = cells.loc[cells["study"] == study, ["cell"]].astype(object)
    return axes_in(with_axes(own, cells, study))


def _value(value: Any) -> Any:
    return None if pd.isna(value) else value
