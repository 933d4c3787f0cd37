"""Describe all tables in one file, for programs that read Data Packages."""

import json
import logging
from typing import Any

from isthmus.core.files import write_whole
from isthmus.core.logs import job_log
from isthmus.tables.datapackage import data_package


def main(job: Any) -> None:
    text = json.dumps(data_package(job.input, job.params.studies), indent=2, ensure_ascii=False) + "\n"
    write_whole(job.output[0], lambda temporary: temporary.write_text(text, encoding="utf-8"))
    logging.info("%s: %d tables", job.output[0], len(job.input))


with job_log(snakemake.log[0]):
    main(snakemake)
