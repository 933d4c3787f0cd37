"""Find the zero sets of a sweep's theory networks: build the problems, call the library, write the tables."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.analyses.manifold.measure import measure_theory
from isthmus.analyses.manifold.problems import problem_of, specs_of
from isthmus.core import devices
from isthmus.core.errors import Interrupted
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.progress import Progress
from isthmus.core.resume import Records
from isthmus.data.dataset import load_dataset
from isthmus.tables.parquet import write_table
from isthmus.training.stacks import fingerprint

TABLES = ("manifold", "manifold_eigenvalues", "walks")


def main(job: Any) -> None:
    options, sweep, seeds = job.params.options, job.params.sweep, list(job.params.seeds)
    # Matrices of this size are faster on a CPU: a GPU is used where it is asked for by name.
    wanted = job.config["jobs"]["device"]
    device = devices.choose_device("cpu" if wanted == "auto" else wanted)
    devices.set_up(job.threads, job.config["jobs"]["deterministic"])
    dataset = load_dataset(job.input.data) if job.input.get("data") else None
    checksum = "" if dataset is None else dataset.checksum
    records, specs = Records(Path(job.params.checkpoints)), list(specs_of(sweep))
    logging.info("%d theory networks on %s", len(specs) * len(seeds), device)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    progress, done = Progress("theory networks", len(specs) * len(seeds)), 0
    with StopRequest() as stop:
        for seed in seeds:
            for spec in specs:
                problem = problem_of(
                    spec, seed, options["input_dimension"], options["off_data_points"], dataset, device
                )
                parts = [spec.as_dict(), options, job.params.code, checksum]
                mark = fingerprint(json.dumps(parts, sort_keys=True))
                measure = partial(measure_theory, problem, spec, seed, options)
                found = records.recall(f"{seed}-{spec.name}", mark, measure)
                keys = {"study": job.wildcards.study, "sweep": job.wildcards.sweep, "seed": seed}
                for name in TABLES:
                    rows[name] += [keys | row for row in found[name]]
                done += 1
                progress.report(done)
                if stop.signal_number is not None:
                    raise Interrupted(stop.signal_number)
    for name in TABLES:
        write_table(job.output[name], name, rows[name])


with job_log(snakemake.log[0]):
    main(snakemake)
