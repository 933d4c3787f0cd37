"""A description of all tables as a Data Package, in a file beside them that other programs understand.

The format is version 1 of the Data Package standard (https://specs.frictionlessdata.io/data-package): a JSON file with
the path of every table, the type, meaning and unit of every column, and the primary key. All but the key comes from the
Parquet files themselves, so that the description cannot disagree with them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from isthmus.core.version import VERSION
from isthmus.tables.descriptions import table

TYPES = {"string": "string", "int64": "integer", "double": "number", "bool": "boolean"}
LICENSE = {
    "name": "MIT",
    "title": "MIT License of Isthmus, the program that made these tables",
    "path": "https://opensource.org/license/mit",
}


def data_package(paths: Iterable[Path | str], studies: Iterable[str]) -> dict[str, Any]:
    """The content of `datapackage.json` for the tables in these files, which lie in its folder."""
    return {
        "profile": "data-package",
        "name": "isthmus-tables",
        "title": "Tables of Isthmus",
        "description": f"What the studies {', '.join(studies)} measured, made by Isthmus {VERSION}.",
        "version": VERSION,
        "licenses": [LICENSE],
        "resources": [_resource(Path(path)) for path in paths],
    }


def _resource(path: Path) -> dict[str, Any]:
    """One table. A null is a missing value, so no text stands for one."""
    stored = pa.parquet.read_schema(path)
    row = stored.metadata[b"row"].decode()
    schema: dict[str, Any] = {"fields": [_field(column) for column in stored], "missingValues": []}
    key = table(path.stem).key
    if any(stored.field(name).nullable for name in key):  # a study made of tables does not know it
        key = ()
    return {
        "name": path.stem,
        "description": f"A row is {row}.",
        "path": path.name,
        "format": "parquet",
        "mediatype": "application/vnd.apache.parquet",
        "schema": schema | ({"primaryKey": list(key)} if key else {}),
    }


def _field(column: pa.Field) -> dict[str, Any]:
    stored = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    unit = column.metadata[b"unit"].decode()
    field: dict[str, Any] = {"name": column.name, "type": TYPES[str(stored)]}
    field |= {"description": column.metadata[b"description"].decode()} | ({"unit": unit} if unit else {})
    return field | ({} if column.nullable else {"constraints": {"required": True}})
