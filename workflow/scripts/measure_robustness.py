"""Test the networks of one block on corrupted images: read networks and data, call the library, write the table."""

from functools import partial
from typing import Any

from isthmus.analyses.robustness.measure import measure, measured_sets, with_relative
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.resume import Task, measure_all
from isthmus.core.tensors import checksum, flatten
from isthmus.data.dataset import Dataset, load_dataset
from isthmus.landscape.block import Block
from isthmus.landscape.corrupted_images import CorruptedTest, scoring, shifted_examples
from isthmus.tables.parquet import write_table
from isthmus.tables.rows import Rows, complete


def measure_networks(block: Block, shifted: list[Dataset], corruptions: list[str]) -> dict[int, Rows]:
    """The rows of the networks that did not diverge, by seed. A repeated job skips the corruptions it has done."""
    size = block.options["test_size"]
    evaluator = block.evaluator(len(block.sound), evaluation_examples=size)
    test = CorruptedTest.of(evaluator, block.dataset, block.options)
    other = next((shifted_examples(evaluator, block.dataset, each, size) for each in shifted), None)
    weights = {seed: snapshots["final"] for seed, snapshots in block.snapshots().items()}
    mark = block.fingerprint(block.options, [each.checksum for each in shifted], checksum(flatten(weights), {}))
    with StopRequest() as stop, scoring(evaluator, list(weights.values())) as scores:
        tasks = {name: Task(mark, partial(measure, evaluator, test, other, scores, name)) for name in corruptions}
        found = measure_all(block.job.params.checkpoints, tasks, stop, "corruptions")
    by_network = zip(*found.values(), strict=True)
    return {seed: [row for rows in each for row in rows] for seed, each in zip(weights, by_network, strict=True)}


def main(job: Any) -> None:
    block = Block.read(job, job.params.seeds)
    shifted = [load_dataset(path) for path in job.input.shifted]
    sets = measured_sets(block.options["corruptions"], block.options["severities"], bool(shifted))
    found = measure_networks(block, shifted, list(dict.fromkeys(name for name, _ in sets))) if block.sound else {}
    absent = [{"corruption": corruption, "severity": severity, "images": 0} for corruption, severity in sets]
    rows = []
    for seed in block.seeds:
        fixed = block.keys(seed) | {"parameters": block.placement.parameters, "diverged": seed not in found}
        measured = with_relative(found[seed]) if seed in found else absent
        rows += [complete("robustness", fixed, block.statistics, row) for row in measured]
    write_table(job.output[0], "robustness", rows)


with job_log(snakemake.log[0]):
    main(snakemake)
