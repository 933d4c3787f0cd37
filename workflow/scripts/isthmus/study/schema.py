"""The schema of the configuration, read from `workflow/schemas/`."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

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


def axis_columns(names: Iterable[str]) -> list[Column]:
    """A column for each of `names` that is a key of `data`, `network` or `training`, as the schema describes it."""
    study = study_schema()
    keys = study["data"]["properties"] | study["network"]["properties"] | study["training"]["properties"]
    return [Column(name, _type(keys[name]), keys[name]["description"], nullable=True) for name in names if name in keys]


def summary_columns(names: Iterable[str]) -> list[Column]:
    """A column for each of `names` that is an axis or tells values of a quantity apart; others are left out."""
    given = list(names)
    apart = {
        column.name: replace(column, nullable=True)
        for quantity in quantities()
        for column in table(quantity.table).columns
        if column.name in quantity.by
    }
    return [*axis_columns(given), *(apart[name] for name in given if name in apart)]


def _type(described: dict[str, Any]) -> str:
    """The type of a column that holds the single values of a key."""
    given = described.get("type") or [each["type"] for each in described.get("oneOf", [])]
    found = [TYPES[each] for each in ([given] if isinstance(given, str) else given) if each in TYPES]
    return found[0] if found else "string"
