"""Put the summaries of all stages of all studies into one table."""

import logging
from typing import Any

import pandas as pd

from isthmus.core.logs import job_log
from isthmus.study.schema import summary_columns
from isthmus.tables.parquet import as_frame, read_table, write_frame


def main(job: Any) -> None:
    parts = [as_frame(read_table(path)).astype(object) for path in job.input]  # integers next to nulls stay integers
    summary = pd.concat(parts, ignore_index=True)
    write_frame(job.output[0], "summaries", summary, summary_columns(summary))
    logging.info("%s: %d rows", job.output[0], len(summary))


with job_log(snakemake.log[0]):
    main(snakemake)
