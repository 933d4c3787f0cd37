"""The tables that a user gives: a folder with a Parquet file for each, in the columns of docs/tables.md.

Isthmus fills in the columns `study` and `cell`. Cells are distinguished by width, depth and batch size, and by any
other columns of `cells.parquet`. A column that was not measured is left out and becomes null. Everything else is
checked: names and types of columns, nulls, limits of quantities, rows that appear twice.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from isthmus.core.errors import DataError
from isthmus.core.messages import unknown_key
from isthmus.recipes.cell_table import CELLS
from isthmus.recipes.cells import AXES, axis_order, cell_name
from isthmus.statistics.values import PAIR, names_in
from isthmus.study.own_networks import argument_errors
from isthmus.tables.descriptions import KEYS, Column, Table, stages, table
from isthmus.tables.parquet import TYPES, arrow_schema, as_frame
from isthmus.tables.quantities import Quantity, quantities

FILLED_IN = ("study", "cell")
ALWAYS = ("diverged", "loss")
"""Columns that may not be left out, where they are never null: which rows count, and what a loss is."""
FEW = 3  # mistakes of one kind that are named


def taken(folder: Path, name: str, study: str) -> pa.Table:
    """The table `name` in a folder, with all its columns and the names of study and cells.

    If it has a column `study`, only the rows of this study are taken. Raises DataError with a sentence for each mistake
    in it, a line each.
    """
    path = folder / f"{name}.parquet"
    described = table(name)
    found, errors = _read(path, described.columns, study, needed_columns(described))
    if not errors:
        found, errors = _with_cells(found, axes_in(folder, study))
    if not errors:
        errors = list(_row_errors(as_frame(found), described))
    if errors:
        raise DataError("\n".join(f"{path}: {error}" for error in errors))
    found = found.set_column(0, "study", pa.array([study] * found.num_rows).dictionary_encode())
    missing = [column for column in described.columns if column.name not in found.column_names]
    for column in missing:
        found = found.append_column(column.name, pa.nulls(found.num_rows, TYPES[column.type]))
    schema = arrow_schema(described, unknown=[column.name for column in missing])
    return found.select(schema.names).cast(schema)


def needed_columns(described: Table) -> list[str]:
    """The columns that a file may not leave out."""
    unit = stages()[described.stage].unit
    always = [column.name for column in described.columns if column.name in ALWAYS and not column.nullable]
    return [*(key for key in KEYS[unit] if key not in FILLED_IN), *always]


def files_in(folder: Path) -> tuple[dict[str, str], list[str], list[str]]:
    """The files of tables in a folder, what is wrong with the folder, and what in it is not read."""
    if not folder.is_dir():
        return {}, [f"{folder}: there is no such folder"], []
    units = {made.name: stage.unit for stage in stages().values() for made in stage.tables}
    known = [name for name, unit in units.items() if unit in ("seed", "pair")]
    found = {path.stem: str(path) for path in sorted(folder.glob("*.parquet")) if path.stem != CELLS}
    made_here = sorted(name for name in found if units.get(name) in ("study", "configuration"))
    files = {name: path for name, path in found.items() if name not in made_here}
    errors = [unknown_key(path, name, [*known, CELLS]) for name, path in files.items() if name not in known]
    if "networks" not in files:
        errors.append(f"{folder}: the file networks.parquet is missing, which says what networks there are")
    told = f"{folder}: not read are {', '.join(made_here)}, since Isthmus makes these tables from the others"
    return files, errors, [told] if made_here else []


def schema_of(path: Path) -> pa.Schema:
    """The columns of a file. Raises DataError where it cannot be read."""
    try:
        return pa.parquet.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: this file cannot be read ({error})") from None


def _read(path: Path, columns: tuple[Column, ...], study: str, needed: list[str]) -> tuple[pa.Table, list[str]]:
    """The rows of a study in a file, of the types of the `columns`, and what is wrong with its columns."""
    schema_of(path)
    with pa.parquet.ParquetFile(path, page_checksum_verification=True) as file:
        found = file.read(use_threads=False)  # see `tables.parquet`
    types = {column.name: column.type for column in columns} | {"cell": "string"}
    errors = [unknown_key(name, name, list(types)) for name in found.column_names if name not in types]
    errors += [f"the column `{name}` is missing" for name in needed if name not in found.column_names]
    read: dict[str, pa.ChunkedArray] = {}
    for name in found.column_names:
        if name not in types:
            continue
        try:
            read[name] = _typed(found[name], types[name])
        except pa.ArrowInvalid:
            errors.append(f"the column `{name}` has the type {found[name].type}; it should hold {types[name]}")
    if errors:
        return pa.table({}), errors
    rows = pa.table(read)
    if "study" in read:
        names = sorted(set(read["study"].to_pylist()))
        if study not in names:
            return rows, [f"the column `study` has no row of {study}, but of {', '.join(map(str, names))}"]
        rows = rows.filter(pc.equal(pc.cast(read["study"], pa.string()), study)).drop_columns("study")
    return rows, [*_value_errors(rows, columns)] if rows.num_rows else ["there is no row"]


def _typed(values: pa.ChunkedArray, wanted: str) -> pa.ChunkedArray:
    """The values in the type of a column. Raises ArrowInvalid where that would change their meaning."""
    given = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    kinds = {
        "string": pa.types.is_string(given) or pa.types.is_large_string(given),
        "bool": pa.types.is_boolean(given),
        "int64": pa.types.is_integer(given) or pa.types.is_floating(given),
        "float64": pa.types.is_integer(given) or pa.types.is_floating(given),
    }
    if not kinds[wanted] and not pa.types.is_null(given):
        raise pa.ArrowInvalid(str(given))
    if wanted == "string":
        return values.cast(pa.string()).dictionary_encode()
    return values.cast(TYPES[wanted])


def _value_errors(rows: pa.Table, columns: tuple[Column, ...]) -> Iterator[str]:
    """Nulls where there may be none, and numbers that are not finite."""
    for column in columns:
        if column.name not in rows.column_names:
            continue
        values = rows[column.name]
        if not column.nullable and values.null_count:
            place = pc.index(pc.is_null(values), True).as_py()
            yield f"the column `{column.name}` is null in row {place}; without it in any row, leave the column out"
        if column.type == "float64" and not pc.all(finite := pc.is_finite(values).fill_null(True)).as_py():
            place = pc.index(finite, False).as_py()
            yield f"the column `{column.name}` is {values[place]} in row {place}; write what is not known as null"


def axes_in(folder: Path, study: str) -> dict[str, dict[str, Any]]:
    """The axes of the cells of a study by the names that they have in `cells.parquet`; none without this file."""
    path = folder / f"{CELLS}.parquet"
    if not path.exists():
        return {}
    found, errors = _read(path, (*table(CELLS).columns, *_further_axes(path)), study, ["cell", *AXES])
    rows = as_frame(found, integer_object_nulls=True) if not errors else pd.DataFrame(columns=["cell"])
    axes = [name for name in rows if name != "cell" and rows[name].notna().any()]
    for keys in (["cell"], axes):
        errors += [f"row {place} repeats an earlier one" for place in _repeated(rows, keys)]
    for name in sorted(set(axes) - set(AXES)):
        errors += argument_errors(name, rows[name].dropna().tolist())
    if errors:
        raise DataError("\n".join(f"{path}: {error}" for error in errors))
    each = rows[axes].astype(object).where(rows[axes].notna(), None).to_dict("records")
    return {cell: {axis: own[axis] for axis in axis_order(axes)} for cell, own in zip(rows["cell"], each, strict=True)}


def _further_axes(path: Path) -> list[Column]:
    """The columns of `cells.parquet` for axes beside width, depth and batch size."""
    kinds = {"bool": pa.types.is_boolean, "int64": pa.types.is_integer, "float64": pa.types.is_floating}
    return [
        Column(
            field.name, next((kind for kind, fits in kinds.items() if fits(field.type)), "string"), "", nullable=True
        )
        for field in schema_of(path)
        if field.name not in (*FILLED_IN, *AXES)
    ]


def _with_cells(rows: pa.Table, cells: dict[str, dict[str, Any]]) -> tuple[pa.Table, list[str]]:
    """The rows, with a column `study` and the names of their cells in front, and what is wrong with their cells."""
    if not cells and "cell" in rows.column_names:
        return rows, ["the column `cell` names rows of cells.parquet; add this file, or leave the column out"]
    if cells and "cell" not in rows.column_names:
        return rows, ["the column `cell` is missing, which names rows of cells.parquet"]
    columns = ["cell", *AXES] if cells else AXES
    own = list(zip(*(rows[name].to_pylist() for name in columns), strict=True))
    names: dict[tuple[Any, ...], str] = {}
    for each in dict.fromkeys(own):
        axes = dict(zip(AXES, each[-len(AXES) :], strict=True))
        if cells and each[0] not in cells:
            return rows, [f"the cell {each[0]} is not in cells.parquet"]
        if cells and axes != {axis: cells[each[0]][axis] for axis in AXES}:
            return rows, [f"the cell {each[0]} has another width, depth or batch size in cells.parquet"]
        names[each] = cell_name(cells[each[0]] if cells else axes)
    rows = rows.drop_columns("cell") if cells else rows
    for name, values in (("cell", [names[each] for each in own]), ("study", [""] * len(own))):
        rows = rows.add_column(0, name, pa.array(values, pa.string()).dictionary_encode())
    return rows, []


def _row_errors(rows: pd.DataFrame, described: Table) -> Iterator[str]:
    """Rows that are there twice, pairs in the wrong order, and values that cannot be."""
    own = [quantity for quantity in quantities() if quantity.table == described.name]
    keys = [key for key in KEYS[stages()[described.stage].unit] if key not in ("study", *AXES)]
    keys += [*described.key, *(name for quantity in own for name in quantity.by)]
    keys = [name for name in dict.fromkeys(keys) if name in rows and name != "study"]
    keys = keys if described.key or own else list(rows)
    for place in _repeated(rows, keys):
        yield f"the row with {', '.join(f'{key} {rows[key].iloc[place]}' for key in keys)} appears twice"
    if set(PAIR) <= set(rows):
        for place in (rows["seed_a"] >= rows["seed_b"]).to_numpy().nonzero()[0][:FEW]:
            yield f"row {place} is a pair whose seed_a is not the smaller one"
    for quantity in own:
        if {*names_in(quantity.value)} <= set(rows):
            yield from _limit_errors(rows.eval(quantity.value).astype(float), quantity)


def _repeated(rows: pd.DataFrame, keys: list[str]) -> list[int]:
    """The first few rows that repeat an earlier one in these columns."""
    return [int(place) for place in rows.duplicated(keys).to_numpy().nonzero()[0][:FEW]]


def _limit_errors(values: pd.Series, quantity: Quantity) -> Iterator[str]:
    low, high = quantity.limits
    for place in ((values < low) | (values > high)).to_numpy().nonzero()[0][:1]:
        yield f"`{quantity.value}` is {values.iloc[place]:g} in row {place}; it is between {low:g} and {high:g}"


def strangers(rows: pd.DataFrame, networks: pd.MultiIndex) -> list[str]:
    """Networks in some rows that the table `networks` does not have."""
    found: dict[str, None] = {}
    for end in ("seed", *PAIR):
        if end in rows:
            named = pd.MultiIndex.from_frame(rows[["cell", end]])
            for cell, seed in named[~named.isin(networks)].unique()[:FEW]:
                found |= {f"seed {seed} of the cell {cell} is not in networks.parquet": None}
    return list(found)[:FEW]
