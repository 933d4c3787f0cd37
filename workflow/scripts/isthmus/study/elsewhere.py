"""Studies made of tables: networks that were trained and measured elsewhere.

Such a study names a folder, `tables: measured`, and whose measurements they are (`isthmus.study.given_tables` reads
them). Nothing is trained: the given tables take part in summaries, relations, claims and figures like those that the
workflow measures.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from isthmus.core.errors import DataError
from isthmus.core.files import expanded
from isthmus.recipes.cell_table import CELLS
from isthmus.recipes.cells import AXES, cell_name
from isthmus.statistics.values import names_in
from isthmus.study.given_tables import FILLED_IN, axes_in, files_in, schema_of, strangers, taken
from isthmus.study.grid import Elsewhere, Study
from isthmus.tables.descriptions import Figure, stages
from isthmus.tables.parquet import as_frame
from isthmus.tables.quantities import Quantity, quantities

KEYS = ("tables", "source", "remarks", "analyses")


def is_elsewhere(study: Mapping[str, Any]) -> bool:
    """Whether the networks of a study were measured elsewhere."""
    return "tables" in study


def key_errors(where: str, study: Mapping[str, Any]) -> Iterator[str]:
    """Keys of a study, as it was given, that do not go together, or are missing."""
    if not is_elsewhere(study):
        if "grid" not in study:
            yield f"{where}: the key `grid` is missing"
        for key in ("source", "remarks"):
            if key in study:
                yield f"{where}.{key}: this belongs to `tables`, measurements made elsewhere"
        return
    if "source" not in study:
        yield f"{where}: the key `source` is missing, which says whose measurements the tables are"
    for key in sorted(study.keys() - {*KEYS}):
        yield f"{where}.{key}: a study made of tables trains nothing and has no such key"
    for analysis in study.get("analyses", {}):
        if stages()[analysis].unit != "study":
            yield f"{where}.analyses.{analysis}: this needs networks; a study made of tables has only tables"


def study_of_tables(name: str, study: Mapping[str, Any], folder: Path) -> tuple[Study | None, list[str], list[str]]:
    """A study made of tables, the mistakes in these, and which files are not read. With mistakes there is no study.

    study: its section of the configuration, with defaults. folder: that of the configuration.
    """
    place = Path(os.path.relpath(folder / expanded(study["tables"])))
    found, errors, notices = _elsewhere(place, name, study["source"], study["remarks"])
    made = Study(name, {}, found.seeds, study["analyses"], elsewhere=found) if found else None
    return made, [f"studies.{name}.tables: {error}" for error in errors], notices


def measured_in(quantity: Quantity, elsewhere: Elsewhere) -> bool:
    """Whether the tables have the columns from which a quantity is computed."""
    _, columns = elsewhere.files.get(quantity.table, ("", frozenset()))
    conditions = names_in(quantity.rows) if quantity.rows else set()
    sizes = {quantity.at} if quantity.at else set()
    return names_in(quantity.value) | conditions | sizes | {*quantity.by} <= columns


def given_files(elsewhere: Elsewhere, name: str) -> list[str]:
    """The files from which a table is taken; none if it is not given."""
    if name not in elsewhere.files:
        return []
    cells = Path(elsewhere.folder) / f"{CELLS}.parquet"
    return [elsewhere.files[name][0], *([str(cells)] if cells.exists() else [])]


def figures_without_data(figures: Iterable[Figure], elsewhere: Elsewhere) -> list[Figure]:
    """The figures for which the tables lack a whole table, all quantities, or the one on the horizontal axis."""
    units = {made.name: stage.unit for stage in stages().values() for made in stage.tables}
    absent = {each.name for each in quantities() if not measured_in(each, elsewhere)}
    return [
        figure
        for figure in figures
        if any(units[name] in ("seed", "pair") and name not in elsewhere.files for name in figure.tables)
        or (figure.lines and (absent.issuperset(figure.lines.rows) or figure.lines.x in absent))
    ]


def _elsewhere(folder: Path, name: str, source: str, remarks: str) -> tuple[Elsewhere | None, list[str], list[str]]:
    """The tables in a folder as those of the study `name`; the mistakes in them; and which files are not read.

    There are no tables where there are mistakes.
    """
    files, errors, notices = files_in(folder)
    read: dict[str, pd.DataFrame] = {}
    for made in files if not errors else ():
        try:
            read[made] = as_frame(taken(folder, made, name))
        except DataError as error:
            errors += str(error).splitlines()
    if errors:
        return None, list(dict.fromkeys(errors)), notices
    networks = pd.MultiIndex.from_frame(read["networks"][["cell", "seed"]])
    for made, rows in read.items():
        errors += [f"{files[made]}: {mistake}" for mistake in strangers(rows, networks)]
    if errors:
        return None, errors, notices
    used = read["networks"].drop_duplicates("cell").astype({"cell": str})
    axes = {cell_name(own): own for own in axes_in(folder, name).values()}
    axes = axes or {row["cell"]: {axis: int(row[axis]) for axis in AXES} for row in used.to_dict("records")}
    columns = {made: (path, frozenset({*schema_of(Path(path)).names, *FILLED_IN})) for made, path in files.items()}
    seeds = tuple(sorted(int(seed) for seed in read["networks"]["seed"].unique()))
    own_axes = {cell: axes[cell] for cell in used["cell"]}
    return Elsewhere(source, remarks, str(folder), columns, own_axes, seeds), [], notices
