"""Draw the figures of one stage from its tables: those of one study, or those that cover all studies.

The numbers that a figure shows go into a CSV file beside it.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.core.files import write_whole
from isthmus.core.logs import job_log
from isthmus.figures.drawing import drawer, numbers, shown_in
from isthmus.figures.style import save
from isthmus.recipes.cell_table import read_tables
from isthmus.tables.descriptions import stages


def main(job: Any) -> None:
    study = [job.wildcards.study] if hasattr(job.wildcards, "study") else []
    tables = read_tables(job.input)
    files: dict[str, list[Path]] = {}
    for path in map(Path, job.output):
        files.setdefault(path.stem, []).append(path)
    for figure in stages()[job.params.stage].figures:
        if figure.name in files:
            save(drawer(figure)(*study, tables), [path for path in files[figure.name] if path.suffix != ".csv"])
            for path in (path for path in files[figure.name] if path.suffix == ".csv"):
                write_whole(path, partial(numbers(figure, shown_in(figure)(*study, tables)).to_csv, index=False))
            logging.info("%s: drew %s", *(study or ["all studies"]), figure.name)


with job_log(snakemake.log[0]):
    main(snakemake)
