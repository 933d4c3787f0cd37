"""The schema of the configuration, read from `workflow/schemas/`."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pandas as pd

from isthmus.core.files import read_yaml
from isthmus.tables.descriptions import SCHEMAS, Column, stages, table
from isthmus.tables.quantities import quantities

# Every analysis of the grid's networks can be limited to part of the grid.
WHERE = {
    "description": "Limit the analysis to part of the grid, by axis: `{depth: [3]}`; `{}` means all of it.",
    "type": "object",
    "default": {},
    "additionalProperties": {"type": "array", "minItems": 1, "uniqueItems": True},
}

# Types of columns by those of keys. A key that only lists the values it may have has text.
TYPES = {"integer": "int64", "number": "float64", "boolean": "bool"}
NOTHING = ""


@cache
def schema() -> dict[str, Any]:
    """The schema of the whole configuration, including the options of every analysis, with references resolved."""
    described = read_yaml(SCHEMAS / "config.schema.yaml")
    definitions = described.pop("$defs")
    analyses = definitions["study"]["properties"]["analyses"]
    analyses["additionalProperties"] = False
    analyses["properties"] = {
        stage.name: {
            "description": stage.description,
            "type": "object",
            "additionalProperties": False,
            "properties": stage.options | ({} if stage.unit in ("sweep", "study") else {"where": WHERE}),
        }
        for stage in stages().values()
        if stage.options is not None
    }

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        node = dict(node)
        reference = node.pop("$ref", None)
        if reference is not None:
            node = definitions[reference.removeprefix("#/$defs/")] | node
        return {key: resolve(value) for key, value in node.items()}

    return resolve(described)


def study_schema() -> dict[str, Any]:
    """The properties of a study: `data`, `network`, `training`, `grid`, `analyses`."""
    return schema()["properties"]["studies"]["additionalProperties"]["properties"]


def axis_columns(values: Mapping[str, Iterable[Any]]) -> list[Column]:
    """A column for each of `values`, by name, that is an axis beyond those that every table has.

    Keys of `data`, `network` and `training` are as the schema describes them. Any other name is an argument of the
    user's own networks, with the type of its values.
    """
    study = study_schema()
    keys = study["data"]["properties"] | study["network"]["properties"] | study["training"]["properties"]
    fixed = {column.name for name in ("cells", "summaries") for column in table(name).columns} | _apart().keys()
    return [
        Column(name, _type(keys[name]), keys[name]["description"], nullable=True)
        if name in keys and _type_of(values[name]) in (_type(keys[name]), "int64", NOTHING)
        else Column(name, _type_of(values[name]) or "string", "argument of the user's own networks", nullable=True)
        for name in values
        if name not in fixed
    ]


def summary_columns(values: Mapping[str, Iterable[Any]]) -> list[Column]:
    """A column for each of `values`, by name, that is an axis or tells values of a quantity apart."""
    apart = _apart()
    return [*axis_columns(values), *(apart[name] for name in values if name in apart)]


def _apart() -> dict[str, Column]:
    """The columns that tell values of a quantity apart, by name."""
    return {
        column.name: replace(column, nullable=True)
        for quantity in quantities()
        for column in table(quantity.table).columns
        if column.name in quantity.by
    }


def _type_of(values: Iterable[Any]) -> str:
    """The type of a column that holds these values; `NOTHING` if all of them are null."""
    kinds = {type(value) for value in values if not pd.isna(value)}
    if not kinds:
        return NOTHING
    if kinds == {bool}:
        return "bool"
    return "int64" if kinds == {int} else "float64" if kinds <= {int, float} else "string"


def _type(described: dict[str, Any]) -> str:
    """The type of a column that holds the single values of a key."""
    given = described.get("type") or [each["type"] for each in described.get("oneOf", [])]
    found = [TYPES[each] for each in ([given] if isinstance(given, str) else given) if each in TYPES]
    return found[0] if found else "string"
