"""Generate docs/configuration.md and docs/tables.md from the schemas: `make docs`."""

import json
from collections.abc import Iterator
from typing import Any

from isthmus.study.schema import schema
from isthmus.tables.descriptions import SCHEMAS, stages
from isthmus.tables.quantities import quantities

DOCS = SCHEMAS.parents[1] / "docs"
NOTICE = "<!-- Generated from workflow/schemas by `make docs`; edit the schemas, not this page. -->"


def configuration_page() -> str:
    """The configuration reference in Markdown, with one table per section."""
    top = schema()["properties"]
    study = top["studies"]["additionalProperties"]["properties"]
    lines = [NOTICE, "", "# Configuration", "", INTRODUCTION, ""]
    for section in ("data", "network", "training", "networks"):
        lines += _section(f"studies.NAME.{section}", study[section])
    lines += _section("studies.NAME.grid", study["grid"])
    given = {key: each for key, each in study.items() if each["type"] == "string"}
    lines += _section("studies.NAME", {"properties": given}, GIVEN)
    lines += ["## `studies.NAME.analyses`", "", study["analyses"]["description"], ""]
    for name, options in study["analyses"]["properties"].items():
        lines += _section(f"studies.NAME.analyses.{name}", options)
    if not study["analyses"]["properties"]:
        lines += ["No analysis beyond training is there yet.", ""]
    lines += _section("datasets.NAME", top["datasets"]["additionalProperties"], top["datasets"]["description"])
    lines += _section("jobs", top["jobs"])
    return "\n".join(lines).rstrip() + "\n"


def tables_page() -> str:
    """The reference of all tables and their columns in Markdown."""
    lines = [NOTICE, "", "# Tables", "", TABLES_INTRODUCTION, ""]
    for stage in stages().values():
        for table in stage.tables:
            key = f" Key: {', '.join(f'`{name}`' for name in table.key)}." if table.key else ""
            lines += [f"## `{table.name}`", "", f"A row is {table.row}. Made by the stage `{stage.name}`.{key}", ""]
            lines += ["| column | type | null | meaning |", "| --- | --- | --- | --- |"]
            for column in table.columns:
                unit = f" ({column.unit})" if column.unit else ""
                null = "yes" if column.nullable else "no"
                lines.append(f"| `{column.name}` | {column.type} | {null} | {column.description}{unit} |")
            lines.append("")
    lines += _quantities()
    return "\n".join(lines).rstrip() + "\n"


def _quantities() -> Iterator[str]:
    """All quantities, one per line."""
    yield from ("## Quantities", "", QUANTITIES_INTRODUCTION, "")
    yield from ("| quantity | label | group | from | rows | several by | value |", "| --- |" + " --- |" * 6)
    for quantity in sorted(quantities(), key=lambda quantity: not quantity.group):
        rows = f"`{quantity.rows}`" if quantity.rows else "all"
        rows += f", smallest `{quantity.at}`" if quantity.at else ""
        by = ", ".join(f"`{name}`" for name in quantity.by)
        label = quantity.label + (f" ({quantity.unit})" if quantity.unit else "")
        value = f"`{quantity.table}` | {rows} | {by} | `{quantity.value}`"
        yield f"| `{quantity.name}` | {label} | {quantity.group} | {value} |"
    yield ""


def _section(title: str, described: dict[str, Any], description: str = "") -> Iterator[str]:
    yield from (f"## `{title}`", "", description or described.get("description", ""), "")
    yield from ("| key | allowed | default | meaning |", "| --- | --- | --- | --- |")
    yield from _rows(described)
    yield ""


def _rows(described: dict[str, Any], within: str = "") -> Iterator[str]:
    """One line for each key of an object, including the keys of nested objects."""
    for key, inner in described.get("properties", {}).items():
        default = (
            f"`{json.dumps(inner['default'])}`"
            if "default" in inner
            else "required"
            if _required(key, described)
            else ""
        )
        yield f"| `{within}{key}` | {_allowed(inner)} | {default} | {inner['description']} |"
        yield from _rows(inner, f"{within}{key}.")
        each = inner.get("additionalProperties")
        if isinstance(each, dict):
            yield from _rows(each, f"{within}{key}.NAME.")


def _required(key: str, described: dict[str, Any]) -> bool:
    return key in described.get("required", [])


def _allowed(described: dict[str, Any]) -> str:
    """The values that a key may have, in short form."""
    if "enum" in described:
        return ", ".join(f"`{value}`" for value in described["enum"])
    if "oneOf" in described:
        return " or ".join(_allowed(each) for each in described["oneOf"])
    types = described.get("type", "anything")
    text = " or ".join([types] if isinstance(types, str) else types)
    if described.get("type") == "array" and isinstance(described.get("items"), dict):
        text = f"list of {_allowed(described['items'])}"
    if described.get("type") == "object" and isinstance(described.get("additionalProperties"), dict):
        text = f"mapping to {_allowed(described['additionalProperties'])}"
    bounds = {"minimum": ">= {}", "exclusiveMinimum": "> {}", "maximum": "<= {}", "exclusiveMaximum": "< {}"}
    return ", ".join([text, *(form.format(described[key]) for key, form in bounds.items() if key in described)])


INTRODUCTION = """A configuration is one YAML file: `config/config.yaml`, or the file given with `--configfile`
(`make figures CONFIG=...`). A given file with `studies` replaces `config/config.yaml`; one without them is added to it,
for example with the `datasets` and `jobs` of a machine. The configuration is checked as a whole before anything runs.
All mistakes of a kind are reported at once, each with the key, what was given and what is allowed.

A configuration is code: Snakemake evaluates Python in a file that has the key `__use_yte__`, and keys such as `module`
and `loss` name Python files that are run. Read a configuration from someone else before you use it.

A **study** trains one network for each combination of the values in its grid. The axes other than `seed` define the
*cells*; `seed` gives the networks of each cell. Results are in `results/NAME/`, with one folder per cell. Changing
`jobs` reruns nothing and changes no result beyond rounding, except that `jobs.seeds` renames the blocks."""

GIVEN = "A study of networks that were trained and measured elsewhere has `analyses` and these keys instead."

TABLES_INTRODUCTION = """Every table is one Parquet file, `results/tables/NAME.parquet`, with the rows of all
studies. Strings are dictionary-encoded. Accuracies are fractions in [0, 1]. Losses are means over examples and contain
no weight penalty. Unknown values are null, never NaN. The files also contain the descriptions and units, as field
metadata. Tables are checked against these descriptions whenever they are written.

`results/tables/datapackage.json` describes them for other programs: path, type, meaning and unit of every column, and
the key, columns that are never null and together tell rows apart. It is a
[Data Package](https://specs.frictionlessdata.io/data-package), version 1."""

QUANTITIES_INTRODUCTION = """A quantity is one number per network, or per pair of networks, computed from the rows of a
table that meet a condition. If it has several values per network, the columns under "several by" distinguish them; if
several rows remain, their mean is taken. The table `summaries` holds the mean of every quantity over the networks of
each cell: geometric for quantities that vary by factors, and the median for numbers that some networks never reach.
Those with a group are also compared in `relations`, where a quantity of pairs has, for each network, the mean over its
pairs. Each quantity is described with the stage that measures it, in `workflow/schemas/stages/`."""


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    (DOCS / "configuration.md").write_text(configuration_page(), encoding="utf-8")
    (DOCS / "tables.md").write_text(tables_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
