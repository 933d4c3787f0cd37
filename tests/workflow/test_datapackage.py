"""The file that describes all tables, read by the library of its standard."""

import copy
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from frictionless import Package, Report, Resource, Schema
from running import ROOT

from isthmus.tables.descriptions import stages

EVERY_TABLE = [made.name for stage in stages().values() for made in stage.tables]


@pytest.fixture(scope="module")
def described(finished: Path) -> dict[str, Any]:
    """What the workflow wrote beside the tables."""
    return json.loads((finished / "results/tables/datapackage.json").read_text())


def schema_of(described: dict[str, Any], name: str) -> dict[str, Any]:
    return next(resource["schema"] for resource in described["resources"] if resource["name"] == name)


def validated(path: Path, schema: dict[str, Any]) -> Report:
    """The library's report on the rows of a table.

    It gets them as they are: when it reads Parquet itself, pandas makes floats of whole numbers in columns with nulls.
    """
    table = pq.read_table(path)
    rows = [table.column_names, *zip(*(column.to_pylist() for column in table.columns), strict=True)]
    return Resource(data=[list(row) for row in rows], schema=Schema.from_descriptor(schema)).validate()


def errors(report: Report) -> set[str]:
    return {error.type for task in report.tasks for error in task.errors} | {error.type for error in report.errors}


def test_every_table_is_described_and_no_other(finished: Path, described: dict[str, Any]) -> None:
    files = {path.name for path in (finished / "results/tables").glob("*.parquet")}
    assert (
        {resource["path"] for resource in described["resources"]}
        == files
        == {f"{name}.parquet" for name in EVERY_TABLE}
    )


@pytest.mark.parametrize("name", EVERY_TABLE)
def test_the_tables_have_the_types_and_keys_that_are_described(
    finished: Path, described: dict[str, Any], name: str
) -> None:
    report = validated(finished / f"results/tables/{name}.parquet", schema_of(described, name))
    assert report.valid, report.to_summary()
    assert report.tasks[0].stats["rows"] == pq.read_metadata(finished / f"results/tables/{name}.parquet").num_rows > 0


def test_the_library_reads_a_table_by_the_description_alone(finished: Path) -> None:
    package = Package(str(finished / "results/tables/datapackage.json"))
    report = package.get_resource("networks").validate()
    assert report.valid, report.to_summary()
    assert report.tasks[0].stats["rows"] == 18


@pytest.mark.parametrize(("column", "wrong"), [("dataset", "integer"), ("steps", "boolean"), ("diverged", "number")])
def test_a_wrong_type_is_refused(finished: Path, described: dict[str, Any], column: str, wrong: str) -> None:
    schema = copy.deepcopy(schema_of(described, "networks"))
    next(field for field in schema["fields"] if field["name"] == column)["type"] = wrong
    assert errors(validated(finished / "results/tables/networks.parquet", schema)) == {"type-error"}


def test_a_key_that_does_not_tell_rows_apart_is_refused(finished: Path, described: dict[str, Any]) -> None:
    schema = schema_of(described, "networks") | {"primaryKey": ["study", "cell"]}
    assert errors(validated(finished / "results/tables/networks.parquet", schema)) == {"primary-key"}


def test_columns_keep_their_meaning_and_unit(described: dict[str, Any]) -> None:
    fields = {field["name"]: field for field in schema_of(described, "networks")["fields"]}
    stage = yaml.safe_load((ROOT / "workflow/schemas/stages/train.yaml").read_text())
    for name, column in stage["tables"]["networks"]["columns"].items():
        assert fields[name]["description"] == column["description"]
        assert fields[name].get("unit", "") == column.get("unit", "")
    assert fields["seconds"]["unit"] == "s"
    assert fields["seed"] == {
        "name": "seed",
        "type": "integer",
        "description": "seed of the network",
        "constraints": {"required": True},
    }


def test_a_further_axis_is_described_as_its_key_is(described: dict[str, Any]) -> None:
    axes = {field["name"]: field for field in schema_of(described, "cells")["fields"]}
    assert axes["label_noise"]["type"] == "number"
    assert "constraints" not in axes["label_noise"]  # null in studies without this axis


def test_the_description_names_the_version_and_the_licence(described: dict[str, Any]) -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert described["version"] == cited["version"]
    assert [each["name"] for each in described["licenses"]] == [cited["license"]]
