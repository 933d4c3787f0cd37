"""Tidy Parquet tables whose schema is checked when they are written, with a checksum over the whole file.

`workflow/schemas/stages/*.yaml` describes the columns of every table. Writing a row fails if it has missing or extra
columns, a value of the wrong type, a null in a column that forbids it, or a number that is not finite. Unknown values
are null, never NaN.

Parquet's own checksums cover the numbers, but not the names of columns or how the numbers are encoded. So a file holds
the SHA-256 of all its bytes in its metadata, computed with zeros in the place of the digest.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from isthmus.core.errors import DataError
from isthmus.core.files import sha256_of, write_whole
from isthmus.tables.descriptions import Column, Table, table

TYPES = {
    "string": pa.dictionary(pa.int32(), pa.string()),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}
ROW_GROUP = 100_000
CHECKSUM = b"isthmus-sha256:"  # stands before the digest, near the end of a file
ZEROS = b"0" * 64
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

    def write(temporary: Path) -> None:
        with _checksummed(temporary, content.schema) as writer:
            writer.write_table(content)

    write_whole(path, write)


@contextmanager
def _checksummed(path: Path, schema: pa.Schema) -> Iterator[pa.parquet.ParquetWriter]:
    """A writer of a Parquet file, which gets its checksum at the end."""
    with pa.parquet.ParquetWriter(path, schema, write_page_checksum=True) as writer:
        yield writer
        writer.add_key_value_metadata({"checksum": (CHECKSUM + ZEROS).decode()})
    start, _, found = _digests(path.read_bytes())
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(found)


def _digests(content: bytes) -> tuple[int, bytes, bytes]:
    """The place of the digest in a file, the digest there, and the one that belongs there. ValueError without any."""
    start = content.rindex(CHECKSUM) + len(CHECKSUM)
    end, whole = start + len(ZEROS), memoryview(content)
    return start, content[start:end], sha256_of(whole[:start], ZEROS, whole[end:]).encode()


def write_frame(path: Path | str, name: str, frame: pd.DataFrame, further: Sequence[Column] = ()) -> None:
    """Like `write_table`, for a data frame: NaN is null, and columns of whole numbers may be floats because of it."""
    types = {column.name: column.type for column in (*table(name).columns, *further)}
    values = {
        column: [None if pd.isna(value) else int(value) if types.get(column) == "int64" else value for value in given]
        for column, given in frame.astype(object).items()
    }
    write_table(path, name, pd.DataFrame(values, dtype=object).to_dict("records"), further)


def read_table(path: Path | str) -> pa.Table:
    """Read one of our tables. Raises DataError, naming the file, if it is missing, altered or another program's."""
    what_to_do = "delete it and run the workflow again"
    try:
        content = Path(path).read_bytes()
        _, stored, found = _digests(content)
    except OSError as error:
        raise DataError(f"cannot read the table {path} ({error}); {what_to_do}") from error
    except ValueError as error:
        raise DataError(
            f"{path} is damaged or was written by another program: it has no checksum; {what_to_do}"
        ) from error
    if stored != found:
        raise DataError(f"{path} is damaged: its checksum does not match; {what_to_do}")
    # Threads of Arrow can outlive a short job and abort it at its end, so here and below nothing starts them.
    with pa.parquet.ParquetFile(pa.BufferReader(content)) as file:
        return file.read(use_threads=False)


def as_frame(content: pa.Table, integer_object_nulls: bool = False) -> pd.DataFrame:
    """A table as a data frame; with `integer_object_nulls`, integers beside nulls do not become floats."""
    return content.to_pandas(use_threads=False, integer_object_nulls=integer_object_nulls)


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
        with _checksummed(temporary, schema) as writer:
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
