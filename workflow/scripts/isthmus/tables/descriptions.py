"""What each stage of the workflow produces, read from `workflow/schemas/stages/*.yaml`.

Each stage has one file, with the schema of its options, its tables with a description of every column, and its
figures. Nothing about a stage is written down anywhere else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isthmus.core.files import read_yaml

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"

# The first columns of a table, by what a row refers to.
KEYS: dict[str, dict[str, dict[str, Any]]] = {
    "seed": {
        "study": {"type": "string", "description": "name of the study"},
        "cell": {"type": "string", "description": "all axes but the seed, as in the name of the folder"},
        "width": {"type": "int64", "description": "units or base channels; 1 for a `module` without this argument"},
        "depth": {
            "type": "int64",
            "description": "hidden layers, convolutions per block, or weighted layers; 1 for a `module` without it",
        },
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
AXES = ("width", "depth", "batch_size")  # of these first columns, those that the cell determines


@dataclass(frozen=True)
class Column:
    """A column of a table: its Parquet type, its meaning, whether it may be null, and its unit."""

    name: str
    type: str
    description: str
    nullable: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """A table: the stage that makes it, what one row stands for, and its columns, keys first.

    key: the columns that tell its rows apart and are never null, if it has such columns.
    """

    name: str
    stage: str
    row: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lines:
    """A figure of the common kind: means of quantities against one column of `summaries`, with intervals.

    rows: quantities, a row of axes each. x: a column, or a quantity, whose mean is then the position. hue: a column; a
    line is drawn for each of its values. An axis of the grid with a single value is no `x`: the first of width, batch
    size and depth that varies takes its place, and if `hue` is an axis, the depth or the width that of `hue`. split: a
    column; a quantity has a row of axes for each of its values. panels: columns that have a panel for each of their
    values, as all axes of the grid have that are not drawn otherwise. level: a
    value of `hue` that is a horizontal line through the panel. shared: a value of the only column of `panels`, whose
    points belong to the lines of all panels. bands: intervals are bands and networks thin lines, instead of bars and
    dots. dots: whether networks are dots. zero: the axis of values starts at zero and is logarithmic further up.
    absent: what to say where nothing was measured.
    """

    rows: tuple[str, ...]
    x: str = "width"
    hue: str = "depth"
    split: str = ""
    panels: tuple[str, ...] = ()
    level: str = ""
    shared: str = ""
    bands: bool = False
    dots: bool = True
    zero: bool = False
    absent: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure: its title in the report and the tables it is drawn from.

    requires: other analyses whose tables it needs; only studies that ask for these too get the figure. lines: what it
    shows, if it is of the common kind, for which no code is needed (`isthmus.figures.drawing`).
    """

    name: str
    stage: str
    title: str
    tables: tuple[str, ...]
    requires: tuple[str, ...] = ()
    lines: Lines | None = None

    @property
    def summary(self) -> str:
        """The table with the numbers it shows, `summaries` or statistics; empty if it draws single measurements."""
        if self.lines:
            return "summaries"
        return self.tables[0] if stages()[self.stage].unit in ("study", "configuration") else ""


@dataclass(frozen=True)
class Stage:
    """A stage: its tables, its figures and the schema of its options; None if the configuration cannot ask for it.

    needs: `initial` or `training`, if the weights at the end of training are not enough for it. reads: the analysis
    whose results it starts from, if any.
    """

    name: str
    title: str
    description: str
    unit: str
    options: dict[str, Any] | None
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    needs: str = ""
    reads: str = ""


def key_of(unit: str, further: Iterable[str]) -> tuple[str, ...]:
    """The primary key of a table: what its unit begins with, and `further` columns."""
    return (*(column for column in KEYS[unit] if column not in AXES), *further)


def _lines(given: dict[str, Any]) -> Lines:
    return Lines(**given | {key: tuple(given.get(key, ())) for key in ("rows", "panels")})


def _read(path: Path) -> Stage:
    described = read_yaml(path)
    name, unit = described["stage"], described["unit"]
    tables = tuple(
        Table(
            table,
            name,
            content["row"],
            tuple(Column(column, **given) for column, given in (KEYS[unit] | content["columns"]).items()),
            key_of(unit, content["key"]) if "key" in content else (),
        )
        for table, content in described.get("tables", {}).items()
    )
    figures = tuple(
        Figure(
            figure,
            name,
            content["title"],
            tuple(content["tables"]),
            tuple(content.get("requires", ())),
            _lines(content["lines"]) if "lines" in content else None,
        )
        for figure, content in described.get("figures", {}).items()
    )
    given = (name, described["title"], described["description"], unit, described.get("options"))
    return Stage(*given, tables, figures, described.get("needs", ""), described.get("reads", ""))


@cache
def stages() -> dict[str, Stage]:
    """All stages by name, sorted by file; training comes first, and stages that use the tables of all studies last."""
    found = [_read(path) for path in sorted((SCHEMAS / "stages").glob("*.yaml"))]
    found.sort(key=lambda stage: (stage.name != "train", stage.unit == "configuration"))
    return {stage.name: stage for stage in found}


def table(name: str) -> Table:
    """The table called `name`. Raises KeyError if no stage makes it."""
    for stage in stages().values():
        for candidate in stage.tables:
            if candidate.name == name:
                return candidate
    raise KeyError(f"no stage makes a table called {name!r}")
