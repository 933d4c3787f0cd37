"""Prepare one data set: read its source, write the file of tensors that all jobs share."""

import logging
from typing import Any

from isthmus.core.logs import job_log
from isthmus.data.sources import prepare, write_prepared


def main(job: Any) -> None:
    prepared = prepare(job.wildcards.dataset, job.config["datasets"][job.wildcards.dataset])
    write_prepared(job.output[0], prepared)
    counts = len(prepared.train_labels), len(prepared.test_labels)
    logging.info("%s: %d training and %d test examples", prepared.name, *counts)


with job_log(snakemake.log[0]):
    main(snakemake)
