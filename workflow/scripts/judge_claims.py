"""Test the published claims on the collected tables of all studies."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from isthmus.analyses.claims.statements import parse_claims
from isthmus.analyses.claims.verdicts import judge
from isthmus.core.logs import job_log
from isthmus.tables.parquet import read_table, write_table


def main(job: Any) -> None:
    tables = {Path(path).stem: read_table(path).to_pandas() for path in job.input}
    rows = judge(parse_claims(job.params.claims), tables)
    write_table(job.output[0], "claims", rows)
    for row in rows:
        logging.info("%s %s, study %s: %s", row["claim"], row["twin"] or "", row["study"], row["direction"])
    logging.info("%s", dict(Counter(row["direction"] for row in rows)))


with job_log(snakemake.log[0]):
    main(snakemake)
