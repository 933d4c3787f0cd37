"""Tables: checked when written, whole or absent, and one after another when collected."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus.core.errors import DataError
from isthmus.core.files import sha256_of, write_whole
from isthmus.tables import parquet as tables
from isthmus.tables.descriptions import stages, table
from isthmus.tables.parquet import collect, read_table, write_arrow, write_table

EVERY_TABLE = [made.name for stage in stages().values() for made in stage.tables]
NAME = "history"
VALUES: dict[str, Callable[[int], Any]] = {
    "string": lambda number: f"cell-{number % 3}",
    "int64": lambda number: number,
    "float64": lambda number: number / 7,
    "bool": lambda number: number % 2 == 0,
}


def rows_of(name: str = NAME, count: int = 5, start: int = 0) -> list[dict[str, Any]]:
    """Rows of whatever columns the table has; what may be null is, in every third row."""
    return [
        {
            column.name: None if column.nullable and number % 3 == 2 else VALUES[column.type](number)
            for column in table(name).columns
        }
        for number in range(start, start + count)
    ]


def first_of(type_: str, nullable: bool = False, name: str = NAME) -> str:
    return next(each.name for each in table(name).columns if each.type == type_ and each.nullable is nullable)


def files_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # with hidden ones  # noqa: PTH208


# Writing


@pytest.mark.parametrize("name", EVERY_TABLE)
def test_rows_come_back_as_they_were_written(name: str, tmp_path: Path) -> None:
    rows = rows_of(name, 10)
    write_table(tmp_path / "t.parquet", name, rows)
    assert read_table(tmp_path / "t.parquet").to_pylist() == rows
    assert files_in(tmp_path) == ["t.parquet"]


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", NAME, [])
    found = read_table(tmp_path / "t.parquet")
    assert found.num_rows == 0
    assert found.column_names == [column.name for column in table(NAME).columns]


def test_the_order_of_columns_is_that_of_the_schema_and_not_of_the_rows(tmp_path: Path) -> None:
    rows = rows_of()
    write_table(tmp_path / "a.parquet", NAME, rows)
    write_table(tmp_path / "b.parquet", NAME, [dict(reversed(row.items())) for row in rows])
    assert read_table(tmp_path / "a.parquet").equals(read_table(tmp_path / "b.parquet"))


@pytest.mark.parametrize("name", EVERY_TABLE)
def test_the_file_tells_types_units_and_meanings(name: str, tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", name, rows_of(name))
    stored = pq.read_schema(tmp_path / "t.parquet")
    assert stored.metadata[b"table"] == name.encode()
    assert stored.metadata[b"row"] == table(name).row.encode()
    types = {"int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
    for column, field in zip(table(name).columns, stored, strict=True):
        assert field.name == column.name
        assert field.nullable is column.nullable
        assert field.metadata[b"description"] == column.description.encode() != b""
        assert field.metadata[b"unit"] == column.unit.encode()
        if column.type == "string":
            assert pa.types.is_dictionary(field.type)
            assert field.type.value_type == pa.string()
        else:
            assert field.type == types[column.type]


def test_strings_are_stored_once_each(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", NAME, rows_of(count=100))
    column = read_table(tmp_path / "t.parquet").column(first_of("string")).combine_chunks()
    assert sorted(column.dictionary.to_pylist()) == ["cell-0", "cell-1", "cell-2"]
    encodings = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0).column(0).encodings
    assert any("DICTIONARY" in encoding for encoding in encodings)


def test_whole_numbers_are_accepted_where_fractions_are_expected(tmp_path: Path) -> None:
    rows, column = rows_of(count=1), first_of("float64")
    rows[0][column] = 3
    write_table(tmp_path / "t.parquet", NAME, rows)
    assert read_table(tmp_path / "t.parquet").column(column).to_pylist() == [3.0]


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("string", 3),
        ("string", b"bytes"),
        ("int64", 3.0),
        ("int64", "3"),
        ("int64", True),
        ("float64", "0.5"),
        ("float64", True),
        ("bool", 1),
        ("bool", "true"),
    ],
)
def test_values_of_another_type_are_refused(type_: str, value: Any, tmp_path: Path) -> None:
    name = "networks"
    rows, column = rows_of(name), first_of(type_, name=name)
    rows[3][column] = value
    expected = rf"table 'networks', row 3: column '{column}' is {value!r}, expected {type_}"
    with pytest.raises(ValueError, match=expected):
        write_table(tmp_path / "t.parquet", name, rows)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), np.float64("nan")])
@pytest.mark.parametrize("nullable", [True, False])
def test_numbers_that_are_not_finite_are_refused(value: float, nullable: bool, tmp_path: Path) -> None:
    rows, column = rows_of(), first_of("float64", nullable)
    rows[1][column] = value
    with pytest.raises(ValueError, match=rf"row 1: column '{column}' is .*; write what is not known as null"):
        write_table(tmp_path / "t.parquet", NAME, rows)
    assert files_in(tmp_path) == []


def test_null_is_refused_where_a_value_is_always_known(tmp_path: Path) -> None:
    for type_ in ("string", "int64", "float64"):
        rows, column = rows_of(), first_of(type_)
        rows[4][column] = None
        with pytest.raises(ValueError, match=rf"table 'history', row 4: column '{column}' must not be null"):
            write_table(tmp_path / "t.parquet", NAME, rows)
    assert files_in(tmp_path) == []


def test_missing_and_unknown_columns_are_named(tmp_path: Path) -> None:
    rows = rows_of()
    rows[2]["temperature"] = rows[2].pop("train_loss")
    with pytest.raises(ValueError, match=r"row 2: missing columns \['train_loss'\], unknown columns \['temperature'\]"):
        write_table(tmp_path / "t.parquet", NAME, rows)
    rows = rows_of()
    del rows[0]["seed"]
    with pytest.raises(ValueError, match=r"row 0: missing columns \['seed'\], unknown columns \[\]"):
        write_table(tmp_path / "t.parquet", NAME, rows)
    assert files_in(tmp_path) == []


def test_there_is_no_table_without_a_schema(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no stage makes a table called 'weather'"):
        write_table(tmp_path / "t.parquet", "weather", [])


def test_a_refused_table_leaves_the_old_one(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", NAME, rows_of())
    before = (tmp_path / "t.parquet").read_bytes()
    with pytest.raises(ValueError, match="missing columns"):
        write_table(tmp_path / "t.parquet", NAME, [{}])
    assert (tmp_path / "t.parquet").read_bytes() == before
    assert files_in(tmp_path) == ["t.parquet"]


# Reading


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_table_is_named(keep: float, tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    write_table(path, NAME, rows_of(count=1000))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DataError, match=r"cut\.parquet.*delete it and run the workflow again"):
        read_table(path)


def test_foreign_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "foreign.parquet").write_text("width,depth\n1,2\n" * 100)
    pq.write_table(pa.table({"width": [1], "depth": [2]}), tmp_path / "of-another-program.parquet")
    for name in ("foreign.parquet", "of-another-program.parquet", "missing.parquet"):
        with pytest.raises(DataError, match=name):
            read_table(tmp_path / name)


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    """Neither in a number nor in the name of a column, which Parquet's own checksums do not cover."""
    path = tmp_path / "flipped.parquet"
    write_table(path, NAME, rows_of(count=50))
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 37):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"flipped\.parquet is damaged"):
            read_table(path)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc, on Linux")
def test_no_thread_of_arrow_is_started_that_could_outlive_a_job(tmp_path: Path) -> None:
    program = """
        import os, sys
        from isthmus.tables.parquet import as_frame, collect, read_table

        before = len(os.listdir("/proc/self/task"))
        collect(sys.argv[1:3], sys.argv[3], sys.argv[4])
        as_frame(read_table(sys.argv[3]))
        assert len(os.listdir("/proc/self/task")) == before
        read_table(sys.argv[3]).to_pandas()
        assert len(os.listdir("/proc/self/task")) > before, "threads cannot be seen here"
    """
    parts = write_parts(tmp_path, [300, 200])
    subprocess.run([sys.executable, "-c", dedent(program), *parts, tmp_path / "all.parquet", NAME], check=True)


# Collecting


def write_parts(folder: Path, counts: list[int]) -> list[Path]:
    paths, start = [], 0
    for number, count in enumerate(counts):
        paths.append(folder / f"part-{number}.parquet")
        write_table(paths[-1], NAME, rows_of(count=count, start=start))
        start += 10 * count
    return paths


def test_collecting_is_what_pandas_concat_does(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, [4, 1, 0, 7, 3])
    for order in (paths, paths[::-1]):
        assert collect(order, tmp_path / "all.parquet", NAME) == 15
        found = pd.read_parquet(tmp_path / "all.parquet")
        expected = pd.concat([read_table(path).to_pandas() for path in order if "part-2" not in path.name])
        text = found.select_dtypes("category").columns
        assert len(text) == sum(column.type == "string" for column in table(NAME).columns)
        found[text], expected[text] = found[text].astype(str), expected[text].astype(str)
        pd.testing.assert_frame_equal(found, expected.reset_index(drop=True))


def test_a_collected_table_has_the_schema_of_its_parts(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, [4, 3])
    collect(paths, tmp_path / "all.parquet", NAME)
    assert pq.read_schema(tmp_path / "all.parquet").equals(pq.read_schema(paths[0]), check_metadata=True)


def test_collecting_streams_in_groups_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP", 10)
    paths = write_parts(tmp_path, [4, 4, 4, 25, 1, 9, 2])
    assert collect(paths, tmp_path / "all.parquet", NAME) == 49
    stored = pq.ParquetFile(tmp_path / "all.parquet").metadata
    assert [stored.row_group(group).num_rows for group in range(stored.num_row_groups)] == [12, 25, 10, 2]
    expected = [row for path in paths for row in read_table(path).to_pylist()]
    assert read_table(tmp_path / "all.parquet").to_pylist() == expected


def test_no_parts_make_an_empty_table(tmp_path: Path) -> None:
    assert collect([], tmp_path / "all.parquet", NAME) == 0
    assert read_table(tmp_path / "all.parquet").column_names == [column.name for column in table(NAME).columns]


def without(part: pa.Table, column: str) -> pa.Table:
    return part.drop_columns([column])


def as_text(part: pa.Table, column: str, text: str) -> pa.Table:
    position = part.column_names.index(column)
    return part.set_column(position, column, pa.array([text] * part.num_rows))


def as_nulls(part: pa.Table, column: str) -> pa.Table:
    position = part.column_names.index(column)
    return part.set_column(position, column, pa.nulls(part.num_rows, part.schema.field(column).type))


@pytest.mark.parametrize(
    "change",
    [
        lambda part: without(part, "train_loss"),
        lambda part: part.append_column("temperature", pa.array([1.0] * part.num_rows)),
        lambda part: part.select(part.column_names[::-1]),
        lambda part: part.rename_columns([f"{name}_" for name in part.column_names]),
        lambda part: as_text(part, "train_loss", "much"),
        lambda part: as_text(part, "train_loss", "0.5"),
        lambda part: as_nulls(part, "seed"),
    ],
    ids=["missing", "unknown", "order", "names", "text", "numbers-as-text", "nulls"],
)
def test_parts_with_other_columns_are_refused_by_name(change: Callable[[pa.Table], pa.Table], tmp_path: Path) -> None:
    good, odd = write_parts(tmp_path, [4, 5])
    write_arrow(odd, change(pq.read_table(odd)))
    with pytest.raises(DataError, match=r"part-1\.parquet.*'history'"):
        collect([good, odd], tmp_path / "all.parquet", NAME)
    assert files_in(tmp_path) == [good.name, odd.name]


def test_a_damaged_part_leaves_the_old_table(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, [4, 5])
    collect(paths, tmp_path / "all.parquet", NAME)
    before = (tmp_path / "all.parquet").read_bytes()
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    with pytest.raises(DataError, match=r"part-1\.parquet"):
        collect(paths, tmp_path / "all.parquet", NAME)
    assert (tmp_path / "all.parquet").read_bytes() == before
    assert files_in(tmp_path) == ["all.parquet", "part-0.parquet", "part-1.parquet"]


# Whole or absent


def test_the_file_appears_when_all_of_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "file.txt"
    path.parent.mkdir(parents=True)
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert temporary != path
        assert path.read_text() == "old"

    write_whole(path, write)
    assert path.read_text() == "new"
    assert files_in(path.parent) == ["file.txt"]


def test_folders_are_made(tmp_path: Path) -> None:
    write_whole(str(tmp_path / "a" / "b" / "file.txt"), lambda temporary: temporary.write_text("new"))
    assert (tmp_path / "a" / "b" / "file.txt").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("old", [True, False])
def test_an_error_in_the_middle_keeps_what_was_there(error: BaseException, old: bool, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    if old:
        path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(type(error)) as raised:
        write_whole(path, write)
    assert raised.value is error
    assert files_in(tmp_path) == (["file.txt"] if old else [])
    if old:
        assert path.read_text() == "old"


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "file.txt", lambda temporary: None)
    assert files_in(tmp_path) == []


def test_sha256_is_that_of_the_chunks_together() -> None:
    """The digest of "abc" is the first example of FIPS 180-2."""
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(b"abc") == sha256_of(b"a", memoryview(b"bc")) == expected
