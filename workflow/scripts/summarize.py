"""Average the quantities of one stage over the networks of each cell of a study, with intervals."""

import logging
from typing import Any

from isthmus.analyses.summaries.measure import summarize_study
from isthmus.core.logs import job_log
from isthmus.recipes.cell_table import read_tables
from isthmus.study.schema import summary_columns
from isthmus.tables.parquet import write_frame


def main(job: Any) -> None:
    names = [quantity["name"] for quantity in job.params.quantities]
    summary = summarize_study(job.wildcards.study, names, read_tables(job.input))
    write_frame(job.output[0], "summaries", summary, summary_columns(summary))
    logging.info("%s, %s: %d rows", job.wildcards.study, ", ".join(names), len(summary))


with job_log(snakemake.log[0]):
    main(snakemake)
