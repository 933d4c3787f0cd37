"""Draw the figures of one stage from the collected tables, for one study or for all studies together."""

import importlib
import logging
from pathlib import Path
from typing import Any

from isthmus.core.logs import job_log
from isthmus.figures.style import save
from isthmus.recipes.cell_table import read_tables


def main(job: Any) -> None:
    study = [job.wildcards.study] if hasattr(job.wildcards, "study") else []
    tables = read_tables(job.input)
    stage = importlib.import_module(f"isthmus.figures.{job.params.stage}")
    files: dict[str, list[Path]] = {}
    for path in map(Path, job.output):
        files.setdefault(path.stem, []).append(path)
    for name, paths in files.items():
        draw = getattr(stage, "draw_" + name.replace("-", "_"))
        save(draw(*study, tables), paths)
        logging.info("%s: drew %s", *(study or ["all studies"]), name)


with job_log(snakemake.log[0]):
    main(snakemake)
