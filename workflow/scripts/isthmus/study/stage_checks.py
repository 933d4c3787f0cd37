"""Checks of the files in `workflow/schemas/stages/`, so that a mistake in one is a sentence that names the file."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from isthmus.core.files import read_yaml
from isthmus.core.messages import schema_errors
from isthmus.tables.descriptions import KEYS, SCHEMAS

NEEDED_OPTION = {"pair": "pairs", "sweep": "sweeps"}
"""The option that a stage of this unit needs, because it says what the stage works on."""


@cache
def stage_errors(schemas: Path = SCHEMAS) -> tuple[str, ...]:
    """All mistakes in the descriptions of stages in a folder of schemas, one sentence each."""
    allowed = read_yaml(schemas / "stage.schema.yaml")
    errors, described = [], {}
    for path in sorted((schemas / "stages").glob("*.yaml")):
        try:
            content = read_yaml(path)
        except yaml.YAMLError as error:
            errors.append(f"workflow/schemas/stages/{path.name} is not YAML: {error}")
            continue
        found = schema_errors(content, allowed, f"workflow/schemas/stages/{path.name}")
        errors += found
        if not found:
            described[path] = content
    tables = {table: path for path, content in described.items() for table in content.get("tables", {})}
    for path, content in described.items():
        others = (message for message in _beyond_schema(path, content, tables, schemas.parent / "report"))
        errors += [f"workflow/schemas/stages/{path.name}: {message}" for message in others]
    return tuple(errors)


def _beyond_schema(path: Path, content: dict[str, Any], tables: dict[str, Path], captions: Path) -> Iterator[str]:
    """Mistakes in one stage's description that a JSON schema cannot catch. tables: all tables, with their files."""
    if content["stage"] != path.stem:
        yield f"the stage is called `{content['stage']}`, but its file is not"
    needed = NEEDED_OPTION.get(content["unit"])
    if needed and needed not in content.get("options", {}):
        yield f"a stage with `unit: {content['unit']}` needs the option `{needed}`"
    for option, schema in content.get("options", {}).items():
        yield from schema_errors(schema["default"], schema, f"options.{option}.default")
    for table, given in content.get("tables", {}).items():
        for column in sorted(KEYS[content["unit"]].keys() & given["columns"].keys()):
            yield f"tables.{table}.columns.{column}: every table of this unit has this column already"
        always = {column for column, about in given["columns"].items() if not about.get("nullable")}
        for column in sorted(set(given.get("key", [])) - always):
            yield f"tables.{table}.key: `{column}` is not a column of this table that is never null"
        if tables[table] != path:
            yield f"tables.{table}: {tables[table].name} has a table of this name, too"
    listed = content.get("quantities", {})
    for figure, given in content.get("figures", {}).items():
        rows = given["lines"]["rows"] if "lines" in given else []
        for name in rows:
            if name not in listed:
                yield f"figures.{figure}.lines.rows: the stage has no quantity `{name}`"
        sources = {listed[name]["table"] for name in rows if name in listed}
        sources |= {"networks", "cells", "summaries"} if rows else set()
        for missing in sorted(sources - set(given["tables"])):
            yield f"figures.{figure}.tables: a figure of means of these quantities needs `{missing}`"
        for table in given["tables"]:
            if table not in tables:
                yield f"figures.{figure}.tables: no stage makes a table `{table}`"
        if not (captions / f"{figure}.rst").is_file():
            yield f"figures.{figure}: its caption workflow/report/{figure}.rst is missing"
    for quantity, given in listed.items():
        if given["table"] not in tables:
            yield f"quantities.{quantity}.table: no stage makes a table `{given['table']}`"
