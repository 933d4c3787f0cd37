"""Checks of the files in `workflow/schemas/stages/`, so that a mistake in one is a sentence that names the file."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from isthmus.core.files import read_yaml
from isthmus.core.messages import schema_errors
from isthmus.tables.descriptions import AXES, KEYS, SCHEMAS

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
    for quantity, given in listed.items():
        for key in ("table", "networks"):
            if given.get(key, "networks") not in tables:
                yield f"quantities.{quantity}.{key}: no stage makes a table `{given[key]}`"
    for figure, given in content.get("figures", {}).items():
        if "lines" in given:
            own = _lines_errors(given["lines"], listed, set(given["tables"]))
            yield from (f"figures.{figure}.{message}" for message in own)
        for table in given["tables"]:
            if table not in tables:
                yield f"figures.{figure}.tables: no stage makes a table `{table}`"
        if not (captions / f"{figure}.rst").is_file():
            yield f"figures.{figure}: its caption workflow/report/{figure}.rst is missing"


def _lines_errors(lines: dict[str, Any], listed: dict[str, Any], tables: set[str]) -> Iterator[str]:
    """Mistakes in the `lines` of a figure that is drawn from some `tables`. listed: the quantities of its stage."""
    rows = [name for name in lines["rows"] if name in listed]
    for name in lines["rows"]:
        if name not in listed:
            yield f"lines.rows: the stage has no quantity `{name}`"
    for missing in sorted({"networks", "cells", "summaries", *(listed[name]["table"] for name in rows)} - tables):
        yield f"tables: a figure of means of these quantities needs `{missing}`"
    columns = [set(listed[name].get("by", ())) for name in rows] or [set[str]()]
    of_all, of_any = set(AXES).union(set.intersection(*columns)), set.union(*columns)
    x = lines.get("x", "width")
    if x not in of_all and not (x in listed and all(set(listed[x].get("by", ())) <= by for by in columns)):
        other = "nor a quantity with a value for each"
        yield f"lines.x: `{x}` is neither an axis, nor a column in `by` of all quantities, {other}"
    if lines.get("hue", "depth") not in of_all:
        yield f"lines.hue: `{lines['hue']}` is neither an axis nor a column in `by` of all its quantities"
    for key, found in (("split", [lines["split"]] if "split" in lines else []), ("panels", lines.get("panels", []))):
        for column in sorted(set(found) - of_any):
            yield f"lines.{key}: `{column}` is not a column in `by` of any of its quantities"
    if "shared" in lines and len(lines.get("panels", [])) != 1:
        yield "lines.shared: this is a value of the only column in `panels`, but there is not one such column"
