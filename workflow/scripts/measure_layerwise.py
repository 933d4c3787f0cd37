"""Measure barriers layer by layer for the pairs of one block: read networks, call the library, write the table."""

from functools import partial
from pathlib import Path
from typing import Any

from isthmus.analyses.layerwise.measure import ALL, measure
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.resume import Task, measure_all
from isthmus.core.tensors import checksum, flatten
from isthmus.landscape.block import Block
from isthmus.landscape.pair_rows import example_counts, pair_keys
from isthmus.recipes.pairs import Pair
from isthmus.tables.parquet import write_table
from isthmus.tables.rows import Rows, complete


def measure_pairs(block: Block, pairs: list[Pair]) -> dict[Pair, Rows]:
    """The measured rows of each pair; what an earlier attempt measured is kept."""
    points = block.options["points"]
    evaluator = block.evaluator(points, block.options["evaluation_examples"])
    networks = {seed: snapshots["final"] for seed, snapshots in block.snapshots().items()}
    tasks = {}
    for first, second in pairs:
        ends = networks[first], networks[second]
        mark = block.fingerprint(block.options, [checksum(flatten({"final": each}), {}) for each in ends])
        tasks[f"{first}-{second}"] = Task(mark, partial(measure, evaluator, (first, second), *ends, points))
    with StopRequest() as stop:
        found = measure_all(Path(block.job.params.checkpoints), tasks, stop, "pairs")
    return dict(zip(pairs, found.values(), strict=True))


def main(job: Any) -> None:
    pairs: list[Pair] = [(first, second) for first, second in job.params.pairs]
    block = Block.read(job, sorted({seed for pair in pairs for seed in pair}))
    sound = [pair for pair in pairs if set(pair) <= set(block.sound)]
    found = measure_pairs(block, sound) if sound else {}
    counts = example_counts(block.recipe, block.dataset, block.options["evaluation_examples"])
    whole = {"layer": ALL, "layer_index": 0, "what": ALL, "parameters": block.placement.parameters}
    rows = []
    for pair in pairs:
        fixed = pair_keys(job.wildcards.study, job.wildcards.cell, block.recipe, pair) | counts
        fixed |= {"points": block.options["points"], "diverged": pair not in found}
        rows += [complete("layers", fixed, row) for row in found.get(pair, [whole])]
    write_table(job.output[0], "layers", rows)


with job_log(snakemake.log[0]):
    main(snakemake)
