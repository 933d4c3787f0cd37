"""Measure how far the networks of one block moved: read networks and data, call the library, write the tables."""

from typing import Any

from isthmus.analyses.movement.measure import measure
from isthmus.analyses.movement.norms import ALL
from isthmus.core.logs import job_log
from isthmus.landscape.block import Block, Snapshots
from isthmus.landscape.moments import Moment, moments
from isthmus.tables.parquet import write_table
from isthmus.tables.rows import Rows, complete


def measure_networks(block: Block) -> dict[int, Any]:
    """The rows of both tables by seed, for networks that did not diverge."""
    evaluator, options, start = block.evaluator(), block.options, Moment("initial", 0.0, False)

    def measured(seed: int, snapshots: Snapshots) -> dict[str, Rows]:
        later = moments(snapshots, block.networks[seed]["epochs"], options["during_training"])
        every = [start, *(moment for moment in later if moment != start)]
        return measure(evaluator, options["kernel_images"], seed, snapshots, every)

    return block.measure_each(measured)


def main(job: Any) -> None:
    block = Block.read(job, job.params.seeds)
    found = measure_networks(block) if block.sound else {}
    movements, kernels = [], []
    for seed in block.seeds:
        fixed = block.keys(seed) | {"diverged": seed not in found}
        size = {"parameters": block.placement.parameters} | block.statistics
        if seed in found:
            movements += [complete("movement", fixed, row) for row in found[seed]["movement"]]
            kernels += [complete("kernels", fixed, size, row) for row in found[seed]["kernels"]]
            continue
        fixed |= {"final": True, "epoch": block.networks[seed]["epochs"]}
        whole = {"layer": ALL, "layer_index": 0, "parameters": block.placement.parameters}
        movements.append(complete("movement", fixed, whole))
        if block.options["kernel_images"]:
            kernels.append(complete("kernels", fixed, size, {"images": 0}))
    write_table(job.output.movement, "movement", movements)
    write_table(job.output.kernels, "kernels", kernels)


with job_log(snakemake.log[0]):
    main(snakemake)
