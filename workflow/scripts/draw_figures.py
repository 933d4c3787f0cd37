"""Draw the figures of one stage from its tables: those of one study, or those that cover all studies.

The numbers that a figure shows go into a CSV file beside it.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.core.files import write_whole
from isthmus.core.logs import job_log
from isthmus.figures.drawing import drawer, shown_in
from isthmus.figures.numbers import numbers
from isthmus.figures.panels import nothing
from isthmus.figures.style import attribute, save
from isthmus.recipes.cell_table import read_tables
from isthmus.tables.descriptions import stages

NO_DATA = "Nothing to draw: the tables of this study do not hold what this figure shows."


def main(job: Any) -> None:
    study = [job.wildcards.study] if hasattr(job.wildcards, "study") else []
    tables, elsewhere = read_tables(job.input), job.params.elsewhere
    files: dict[str, list[Path]] = {}
    for path in map(Path, job.output):
        files.setdefault(path.stem, []).append(path)
    for figure in stages()[job.params.stage].figures:
        if figure.name in files:
            without_data = figure.name in elsewhere.get("without_data", [])
            drawn = nothing(NO_DATA) if without_data else drawer(figure)(*study, tables)
            if elsewhere:
                remarks = "" if without_data else f" {elsewhere['remarks']}"
                drawn = attribute(drawn, f"Measured by {elsewhere['source']}, not here.{remarks}".rstrip())
            save(drawn, [path for path in files[figure.name] if path.suffix != ".csv"])
            for path in (path for path in files[figure.name] if path.suffix == ".csv"):
                rows = tables[figure.summary].iloc[:0] if without_data else shown_in(figure)(*study, tables)
                write_whole(path, partial(numbers(figure, rows).to_csv, index=False))
            logging.info("%s: drew %s", *(study or ["all studies"]), figure.name)


with job_log(snakemake.log[0]):
    main(snakemake)
