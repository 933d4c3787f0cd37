"""Write the table `cells`: the cells of one study or of all studies, with their axes."""

import logging
from typing import Any

from isthmus.core.logs import job_log
from isthmus.recipes.cell_table import CELLS
from isthmus.study.schema import axis_columns
from isthmus.tables.parquet import write_table


def main(job: Any) -> None:
    cells = job.params.cells
    axes = {name: [cell[name] for cell in cells] for name in cells[0]}
    write_table(job.output[0], CELLS, cells, axis_columns(axes))
    logging.info("%s: %d cells", job.output[0], len(cells))


with job_log(snakemake.log[0]):
    main(snakemake)
