"""Measure the noise of gradients at the networks of one block: read networks and data, call the library, write."""

from typing import Any

from isthmus.analyses.gradient_noise.measure import measure
from isthmus.core.logs import job_log
from isthmus.landscape.block import Block, Snapshots
from isthmus.landscape.moments import moments
from isthmus.tables.parquet import write_table
from isthmus.tables.rows import Row, Rows, complete


def measure_networks(block: Block) -> dict[int, Rows]:
    """The measured columns at each moment, by seed, of the networks that did not diverge."""
    options = block.options
    evaluator = block.evaluator(hessian_examples=max(options["alignment_images"], 1))

    def measured(seed: int, snapshots: Snapshots) -> Rows:
        return [
            {"epoch": moment.epoch, "final": moment.final}
            | measure(evaluator, options, seed, snapshots[moment.name], moment)
            for moment in moments(snapshots, block.networks[seed]["epochs"], options["during_training"])
        ]

    return block.measure_each(measured)


def main(job: Any) -> None:
    block = Block.read(job, job.params.seeds)
    found = measure_networks(block) if block.sound else {}
    rows: Rows = []
    examples = block.recipe.data.train_size or len(block.dataset.train_labels)
    for seed in block.seeds:
        fixed: Row = block.keys(seed) | block.statistics | {"parameters": block.placement.parameters}
        fixed |= {"examples": examples, "diverged": seed not in found}
        absent = [{"final": True, "epoch": block.networks[seed]["epochs"], "images": 0}]
        rows += [complete("gradient_noise", fixed, row) for row in found.get(seed, absent)]
    write_table(job.output[0], "gradient_noise", rows)


with job_log(snakemake.log[0]):
    main(snakemake)
