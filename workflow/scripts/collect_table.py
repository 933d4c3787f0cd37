"""Append the parts of one table into one file."""

import logging
from typing import Any

from isthmus.core.logs import job_log
from isthmus.tables.parquet import collect


def main(job: Any) -> None:
    rows = collect(job.input, job.output[0], job.wildcards.table, job.params.unknown)
    logging.info("%s: %d rows from %d files", job.output[0], rows, len(job.input))


with job_log(snakemake.log[0]):
    main(snakemake)
