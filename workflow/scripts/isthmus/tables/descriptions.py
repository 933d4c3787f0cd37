"""What each stage of the workflow produces, as written in `workflow/schemas/stages/*.yaml`.

One file per stage holds the schema of its options in the configuration, its tables with every column described,
and its figures. This module reads them; nothing about a stage is written down a second time.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isthmus.core.files import read_yaml

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"

# The first columns of every table, by what its rows refer to.
KEYS: dict[str, dict[str, dict[str, Any]]] = {
    "seed": {
        "study": {"type": "string", "description": "name of the study"},
        "cell": {"type": "string", "description": "all axes but the seed, as in the name of the folder"},
        "width": {"type": "int64", "description": "units or base channels"},
        "depth": {"type": "int64", "description": "hidden layers, convolutions per block, or weighted layers"},
        "batch_size": {"type": "int64", "description": "examples per step"},
        "seed": {"type": "int64", "description": "seed of the network"},
    },
}
KEYS["pair"] = {key: column for key, column in KEYS["seed"].items() if key != "seed"} | {
    "seed_a": {"type": "int64", "description": "seed of the first network"},
    "seed_b": {"type": "int64", "description": "seed of the second network"},
}
KEYS["study"] = {"study": KEYS["seed"]["study"]}
KEYS["sweep"] = {
    "study": KEYS["seed"]["study"],
    "sweep": {"type": "string", "description": "name of the analysis's own sweep, and of its folder"},
    "seed": {"type": "int64", "description": "seed of the network, within the sweep"},
}
KEYS["configuration"] = {}  # one job for all studies, on their collected tables


@dataclass(frozen=True)
class Column:
    """A column of a table: its Parquet type, whether it may be null, its unit and its meaning."""

    name: str
    type: str
    description: str
    nullable: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """A table: the stage that makes it, what a row is, and its columns, keys first."""

    name: str
    stage: str
    row: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Figure:
    """A figure: its title in the report and the tables it is drawn from.

    requires: other analyses whose tables are among them; the figure is drawn in studies that ask for these too.
    """

    name: str
    stage: str
    title: str
    tables: tuple[str, ...]
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A stage: its tables and figures, and the schema of its options where the configuration can ask for it."""

    name: str
    title: str
    description: str
    unit: str
    options: dict[str, Any] | None
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]


def _read(path: Path) -> Stage:
    described = read_yaml(path)
    name, unit = described["stage"], described["unit"]
    tables = tuple(
        Table(
            table,
            name,
            content["row"],
            tuple(Column(column, **given) for column, given in (KEYS[unit] | content["columns"]).items()),
        )
        for table, content in described.get("tables", {}).items()
    )
    figures = tuple(
        Figure(figure, name, content["title"], tuple(content["tables"]), tuple(content.get("requires", ())))
        for figure, content in described.get("figures", {}).items()
    )
    return Stage(name, described["title"], described["description"], unit, described.get("options"), tables, figures)


@cache
def stages() -> dict[str, Stage]:
    """All stages by name, in the order of their files; training first, and last what works on the tables of all."""
    found = [_read(path) for path in sorted((SCHEMAS / "stages").glob("*.yaml"))]
    found.sort(key=lambda stage: (stage.name != "train", stage.unit == "configuration"))
    return {stage.name: stage for stage in found}


def table(name: str) -> Table:
    """The table called `name`; KeyError where no stage makes it."""
    for stage in stages().values():
        for candidate in stage.tables:
            if candidate.name == name:
                return candidate
    raise KeyError(f"no stage makes a table called {name!r}")
