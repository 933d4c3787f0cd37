"""Estimate the local learning coefficients of one block: read networks and data, call the library, write the table."""

from typing import Any

from isthmus.analyses.local_learning_coefficient.measure import measure
from isthmus.core.logs import job_log
from isthmus.landscape.block import Block, Snapshots
from isthmus.tables.parquet import write_table
from isthmus.tables.rows import Rows, complete


def measure_networks(block: Block) -> dict[int, Rows]:
    """The measured columns at each localization, by seed, of the networks that did not diverge."""
    evaluator = block.evaluator(hessian_examples=block.options["images"])

    def measured(seed: int, snapshots: Snapshots) -> Rows:
        return measure(evaluator, seed, snapshots["final"], block.options)

    return block.measure_each(measured)


def main(job: Any) -> None:
    block = Block.read(job, job.params.seeds)
    found = measure_networks(block) if block.sound else {}
    size = {"parameters": block.placement.parameters} | block.statistics
    size |= {key: block.options[key] for key in ("chains", "burn_in", "draws")}
    rows: Rows = []
    for seed in block.seeds:
        fixed = block.keys(seed) | size | {"diverged": seed not in found}
        absent = [{"localization": localization} for localization in block.options["localizations"]]
        rows += [complete("local_learning_coefficients", fixed, row) for row in found.get(seed, absent)]
    write_table(job.output[0], "local_learning_coefficients", rows)


with job_log(snakemake.log[0]):
    main(snakemake)
