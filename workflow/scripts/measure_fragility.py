"""Measure fragility during training at the networks of one block: read networks and data, call the library, write."""

from typing import Any

from isthmus.analyses.fragility.measure import measure
from isthmus.core.logs import job_log
from isthmus.landscape.block import Block, Snapshots
from isthmus.landscape.corrupted_images import CorruptedTest
from isthmus.landscape.moments import moments
from isthmus.tables.parquet import write_table
from isthmus.tables.rows import Row, Rows, complete


def measure_networks(block: Block) -> dict[int, Any]:
    """The measured columns of both tables at each moment, by seed, of the networks that did not diverge."""
    options = block.options
    evaluator = block.evaluator(options["draws"] + 1, evaluation_examples=options["test_size"])
    wanted = options["robustness"]
    test = CorruptedTest.of(evaluator, block.dataset, wanted) if wanted["corruptions"] else None

    def measured(seed: int, snapshots: Snapshots) -> list[dict[str, Any]]:
        chosen = moments(snapshots, block.networks[seed]["epochs"], during_training=True)
        found = measure(evaluator, test, options, seed, [snapshots[moment.name] for moment in chosen])
        return [
            {"when": {"epoch": moment.epoch, "final": moment.final}, "row": row, "corruptions": rows}
            for moment, (row, rows) in zip(chosen, found, strict=True)
        ]

    return block.measure_each(measured)


def main(job: Any) -> None:
    block = Block.read(job, job.params.seeds)
    found = measure_networks(block) if block.sound else {}
    rows: Rows = []
    corrupted: Rows = []
    for seed in block.seeds:
        first = block.keys(seed) | block.statistics
        fixed: Row = first | {"parameters": block.placement.parameters, "diverged": seed not in found}
        if seed not in found:
            absent = {"final": True, "epoch": block.networks[seed]["epochs"], "images": 0}
            rows.append(complete("fragility", fixed, absent))
            continue
        for moment in found[seed]:
            rows.append(complete("fragility", fixed, moment["when"], moment["row"]))
            corrupted += [first | moment["when"] | row for row in moment["corruptions"]]
    write_table(job.output.fragility, "fragility", rows)
    write_table(job.output.corruptions, "fragility_corruptions", corrupted)


with job_log(snakemake.log[0]):
    main(snakemake)
