"""Relate geometry to generalization over the networks of one study: read tables, call the library, write tables."""

import logging
from pathlib import Path
from typing import Any

from isthmus.analyses.relations.flatness import TABLES as FLATNESS
from isthmus.analyses.relations.measure import relate
from isthmus.core.logs import job_log
from isthmus.recipes.cell_table import CELLS, read_tables
from isthmus.tables.parquet import write_table
from isthmus.tables.quantities import named


def main(job: Any) -> None:
    names = [quantity["name"] for quantity in job.params.quantities]
    wanted = {CELLS, "networks", *FLATNESS, *(named(name).table for name in names)}
    tables = read_tables(path for path in job.input if Path(path).stem in wanted)
    rows = relate(job.wildcards.study, tables, job.params.options, names)
    for name, path in job.output.items():
        write_table(path, name, rows[name])
        logging.info("study %s: %d rows of %s", job.wildcards.study, len(rows[name]), name)


with job_log(snakemake.log[0]):
    main(snakemake)
