"""Tidy Parquet tables whose schema is checked when they are written.

`workflow/schemas/stages/*.yaml` describes the columns of every table. Writing a row fails if it has missing or extra
columns, a value of the wrong type, a null in a column that forbids it, or a number that is not finite. Unknown values
are null, never NaN.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from isthmus.core.errors import DataError
from isthmus.core.files import write_whole
from isthmus.tables.descriptions import Column, Table, table

TYPES = {
    "string": pa.dictionary(pa.int32(), pa.string()),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}
ROW_GROUP = 100_000
PARTS_TOGETHER = 200  # small tables in memory are mostly overhead, so this many are merged into one
ACCEPTED: dict[str, tuple[type, ...]] = {"string": (str,), "int64": (int,), "float64": (float, int), "bool": (bool,)}


def arrow_schema(described: Table, unknown: Collection[str] = ()) -> pa.Schema:
    """The Arrow schema of a table: types and nullability, with descriptions and units as field metadata.

    unknown: further columns that may be null, since a study made of tables does not have them.
    """
    return pa.schema(
        [
            pa.field(
                column.name,
                TYPES[column.type],
                nullable=column.nullable or column.name in unknown,
                metadata={"description": column.description, "unit": column.unit},
            )
            for column in described.columns
        ],
        metadata={"table": described.name, "row": described.row},
    )


def _check(described: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    names = {column.name for column in described.columns}
    for number, row in enumerate(rows):
        where = f"table {described.name!r}, row {number}"
        if row.keys() != names:
            missing, unknown = sorted(names - row.keys()), sorted(row.keys() - names)
            raise ValueError(f"{where}: missing columns {missing}, unknown columns {unknown}")
        for column in described.columns:
            value = row[column.name]
            if value is None:
                if not column.nullable:
                    raise ValueError(f"{where}: column {column.name!r} must not be null")
                continue
            wrong = isinstance(value, bool) and column.type != "bool"
            if wrong or not isinstance(value, ACCEPTED[column.type]):
                raise ValueError(f"{where}: column {column.name!r} is {value!r}, expected {column.type}")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{where}: column {column.name!r} is {value!r}; write what is not known as null")


def write_table(path: Path | str, name: str, rows: Sequence[Mapping[str, Any]], further: Sequence[Column] = ()) -> None:
    """Check `rows` against the schema of the table `name`, with `further` columns, and write them to `path` atomically.

    Raises ValueError if a row does not fit, and KeyError if there is no such table.
    """
    described = replace(table(name), columns=(*table(name).columns, *further))
    _check(described, rows)
    write_arrow(path, pa.Table.from_pylist([dict(row) for row in rows], schema=arrow_schema(described)))


def write_arrow(path: Path | str, content: pa.Table) -> None:
    """Write an Arrow table to `path` atomically, as it is."""
    write_whole(path, lambda temporary: pa.parquet.write_table(content, temporary, write_page_checksum=True))


def write_frame(path: Path | str, name: str, frame: pd.DataFrame, further: Sequence[Column] = ()) -> None:
    """Like `write_table`, for a data frame: NaN is null, and columns of whole numbers may be floats because of it."""
    types = {column.name: column.type for column in (*table(name).columns, *further)}
    values = {
        column: [None if pd.isna(value) else int(value) if types.get(column) == "int64" else value for value in given]
        for column, given in frame.astype(object).items()
    }
    write_table(path, name, pd.DataFrame(values, dtype=object).to_dict("records"), further)


def read_table(path: Path | str) -> pa.Table:
    """Read one Parquet file. Raises DataError, naming the file, if it is missing, truncated or not Parquet."""
    try:
        with pa.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read the table {path} ({error}); delete it and run the workflow again") from error


def _merged(parts: Sequence[pa.Table]) -> pa.Table:
    """Merge tables of the same schema into one, with contiguous memory for each column."""
    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()


def _fits(part: pa.Table, schema: pa.Schema) -> bool:
    """Whether a table has the columns of a schema, and nulls only where it allows them."""
    named = (part.schema.names, part.schema.types) == (schema.names, schema.types)
    return named and not any(part[field.name].null_count for field in schema if not field.nullable)


def collect(paths: Iterable[Path | str], destination: Path | str, name: str, unknown: Collection[str] = ()) -> int:
    """Concatenate the files `paths`, in that order, into one table at `destination`; return its number of rows.

    unknown: columns that may be null beside those described so, since a study made of tables does not have them.
    Memory holds at most `ROW_GROUP` rows, `PARTS_TOGETHER` small files and the file being read.
    Raises DataError if a file is damaged or has other columns.
    """
    schema = arrow_schema(table(name), unknown)
    rows = written = 0

    def write(temporary: Path) -> None:
        nonlocal rows, written
        waiting: list[pa.Table] = []
        with pa.parquet.ParquetWriter(temporary, schema, write_page_checksum=True) as writer:
            for path in paths:
                part = read_table(path)
                if not _fits(part, schema):
                    raise DataError(f"{path} does not have the columns of the table {name!r}; delete it and run again")
                waiting.append(part.cast(schema))
                rows += part.num_rows
                if rows - written >= ROW_GROUP:
                    writer.write_table(_merged(waiting))
                    waiting, written = [], rows
                elif len(waiting) > PARTS_TOGETHER:
                    waiting = [_merged(waiting)]
            if waiting:
                writer.write_table(_merged(waiting))

    write_whole(destination, write)
    return rows
