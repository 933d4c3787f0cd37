"""Take one table of a study that was measured elsewhere: check it, and fill in what it does not hold."""

import logging
from pathlib import Path
from typing import Any

from isthmus.core.logs import job_log
from isthmus.study.given_tables import taken
from isthmus.tables.parquet import write_arrow


def main(job: Any) -> None:
    rows = taken(Path(job.input[0]).parent, job.wildcards.table, job.wildcards.study)
    write_arrow(job.output[0], rows)
    logging.info("%s: %d rows from %s", job.output[0], rows.num_rows, job.input[0])


with job_log(snakemake.log[0]):
    main(snakemake)
