"""Write the overview of all studies: the claims, and for each study what it asked and what it found."""

import logging
from typing import Any

from isthmus.core.files import write_whole
from isthmus.core.logs import job_log
from isthmus.overview.page import render
from isthmus.recipes.cell_table import read_tables


def main(job: Any) -> None:
    page = render(job.params.template, job.params.studies, job.params.claims, read_tables(job.input.tables))
    write_whole(job.output[0], lambda temporary: temporary.write_text(page, encoding="utf-8"))
    logging.info("%s: %d studies", job.output[0], len(job.params.studies))


with job_log(snakemake.log[0]):
    main(snakemake)
