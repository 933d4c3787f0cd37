"""Estimate the local learning coefficients of one block: read networks and data, call the library, write the table."""

from typing import Any

from isthmus.analyses.learning_coefficient.measure import measure
from isthmus.core.logs import job_log
from isthmus.landscape.block import Block, Snapshots
from isthmus.tables.parquet import write_table
from isthmus.tables.rows import Row, complete


def measure_networks(block: Block) -> dict[int, Row]:
    """The measured columns, by seed, of the networks that did not diverge."""
    evaluator = block.evaluator()

    def measured(seed: int, snapshots: Snapshots) -> Row:
        return measure(evaluator, seed, snapshots["final"], block.options)

    return block.measure_each(measured)


def main(job: Any) -> None:
    block = Block.read(job, job.params.seeds)
    found = measure_networks(block) if block.sound else {}
    size = {"parameters": block.placement.parameters} | block.statistics
    rows = []
    for seed in block.seeds:
        fixed = block.keys(seed) | size | {"diverged": seed not in found}
        rows.append(complete("learning_coefficient", fixed, found.get(seed, {})))
    write_table(job.output[0], "learning_coefficient", rows)


with job_log(snakemake.log[0]):
    main(snakemake)
