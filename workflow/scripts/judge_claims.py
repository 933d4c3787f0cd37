"""Test the published claims on the collected tables of all studies."""

import logging
from collections import Counter
from typing import Any

from isthmus.analyses.claims.statements import parse_claims
from isthmus.analyses.claims.verdicts import judge
from isthmus.core.logs import job_log
from isthmus.recipes.cell_table import read_tables
from isthmus.tables.parquet import write_table


def main(job: Any) -> None:
    rows = judge(parse_claims(job.params.claims), read_tables(job.input), job.params.measured_by)
    write_table(job.output[0], "claims", rows)
    for row in rows:
        logging.info("%s %s, study %s: %s", row["claim"], row["twin"] or "", row["study"], row["direction"])
    logging.info("%s", dict(Counter(row["direction"] for row in rows)))


with job_log(snakemake.log[0]):
    main(snakemake)
