"""Find the zero sets of a sweep's theory networks: build the problems, call the library, write the tables."""

import logging
from functools import partial
from itertools import product
from typing import Any

from isthmus.analyses.manifold.measure import measure_theory
from isthmus.analyses.manifold.problems import TheorySpec, problem_of, specs_of
from isthmus.core import devices
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.resume import Task, fingerprint, measure_all
from isthmus.data.dataset import load_dataset
from isthmus.tables.parquet import write_table

TABLES = ("manifold", "manifold_eigenvalues", "walks", "learning_coefficients")


def main(job: Any) -> None:
    options = job.params.options
    # Matrices of this size are faster on a CPU, so a GPU is used only if it is requested by name.
    wanted = job.config["jobs"]["device"]
    device = devices.choose_device("cpu" if wanted == "auto" else wanted)
    devices.set_up(job.threads, job.config["jobs"]["deterministic"])
    dataset = load_dataset(job.input.data) if job.input.get("data") else None
    sampled = job.params.sweep["learning_coefficient"]
    given = (options, sampled, job.params.code, "" if dataset is None else dataset.checksum)

    def measured(spec: TheorySpec, seed: int) -> dict[str, Any]:
        problem = problem_of(spec, seed, options["input_dimension"], options["off_data_points"], dataset, device)
        return measure_theory(problem, spec, seed, options, sampled=sampled)

    networks = {
        f"{seed}-{spec.name}": (seed, Task(fingerprint(spec.as_dict(), *given), partial(measured, spec, seed)))
        for seed, spec in product(job.params.seeds, specs_of(job.params.sweep))
    }
    logging.info("%d theory networks on %s", len(networks), device)
    with StopRequest() as stop:
        tasks = {name: task for name, (_, task) in networks.items()}
        found = measure_all(job.params.checkpoints, tasks, stop, "theory networks")
    for table in TABLES:
        rows = []
        for name, (seed, _) in networks.items():
            keys = {"study": job.wildcards.study, "sweep": job.wildcards.sweep, "seed": seed}
            rows += [keys | row for row in found[name][table]]
        write_table(job.output[table], table, rows)


with job_log(snakemake.log[0]):
    main(snakemake)
