"""Measure the curvature at the networks of one block: read networks and data, call the library, write the tables."""

import logging
from typing import Any

from isthmus.analyses.curvature.measure import measure
from isthmus.analyses.curvature.noise import perturbation_rows
from isthmus.core.logs import job_log
from isthmus.landscape.block import Block, Snapshots
from isthmus.landscape.moments import moments
from isthmus.recipes.schedules import known_peak_rate
from isthmus.tables.parquet import write_table
from isthmus.tables.rows import Row, Rows, complete

TABLES = ("curvature", "eigenvalues", "spectrum", "perturbations")


def measure_networks(block: Block) -> dict[int, Any]:
    """The measurements at the networks that did not diverge, by seed: at each moment, and under perturbations."""
    options = block.options
    evaluator = block.evaluator(options["noise"]["draws"], hessian_examples=options["images"])

    def measured(seed: int, snapshots: Snapshots) -> dict[str, Any]:
        found = [
            measure(evaluator, options, seed, snapshots[moment.name], moment)
            | {"epoch": moment.epoch, "final": moment.final}
            for moment in moments(snapshots, block.networks[seed]["epochs"], options["during_training"])
        ]
        logging.info("network %d: top eigenvalue %.4g", seed, found[-1]["curvature"]["top_eigenvalue"])
        perturbed = perturbation_rows(evaluator, options["noise"], seed, snapshots["final"])
        return {"moments": found, "perturbations": perturbed}

    return block.measure_each(measured)


def network_rows(block: Block, seed: int, found: Any) -> dict[str, Rows]:
    """The rows of one network by table; a single row with nulls if nothing was measured."""
    rows: dict[str, Rows] = {name: [] for name in TABLES}
    first = block.keys(seed) | block.statistics
    fixed: Row = first | {
        "dataset": block.dataset.name,
        "architecture": block.recipe.network.architecture,
        "parameters": block.placement.parameters,
        "diverged": found is None,
    }
    if found is None:
        absent = {"final": True, "epoch": block.networks[seed]["epochs"], "images": 0, "products": 0, "seconds": 0.0}
        rows["curvature"] = [complete("curvature", fixed, absent, {"learning_rate": known_peak_rate(block.recipe)})]
        return rows
    for moment in found["moments"]:
        when = {"final": moment["final"], "epoch": moment["epoch"]}
        rows["curvature"].append(complete("curvature", fixed, when, moment["curvature"]))
        for name in ("eigenvalues", "spectrum"):
            rows[name] += [first | {"images": moment["curvature"]["images"]} | row for row in moment[name]]
    rows["perturbations"] = [first | row for row in found["perturbations"]]
    return rows


def main(job: Any) -> None:
    block = Block.read(job, job.params.seeds)
    found = measure_networks(block) if block.sound else {}
    rows = [network_rows(block, seed, found.get(seed)) for seed in block.seeds]
    for name in TABLES:
        write_table(job.output[name], name, [row for each in rows for row in each[name]])


with job_log(snakemake.log[0]):
    main(snakemake)
