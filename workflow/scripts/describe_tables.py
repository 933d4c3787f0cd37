"""Describe all tables in one file, for programs that read Data Packages.

Tables of another configuration, which this folder had before, are removed: they would be taken for tables of this one.
What they were collected from is kept.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isthmus.core.files import write_whole
from isthmus.core.logs import job_log
from isthmus.tables.datapackage import data_package
from isthmus.tables.descriptions import stages


def remove_others(tables: Sequence[str]) -> None:
    """Remove the tables of the workflow that are not among `tables`."""
    known = {made.name for stage in stages().values() for made in stage.tables}
    for path in sorted(Path(tables[0]).parent.glob("*.parquet")):
        if path.stem in known and str(path) not in tables:
            path.unlink()
            logging.info("%s is removed: the configuration that it was collected for was another one", path)


def main(job: Any) -> None:
    remove_others(job.input)
    text = json.dumps(data_package(job.input, job.params.studies), indent=2, ensure_ascii=False) + "\n"
    write_whole(job.output[0], lambda temporary: temporary.write_text(text, encoding="utf-8"))
    logging.info("%s: %d tables", job.output[0], len(job.input))


with job_log(snakemake.log[0]):
    main(snakemake)
