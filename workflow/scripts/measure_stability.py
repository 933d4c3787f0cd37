"""Measure the step from which training is stable, for the networks of one block: train twins, write the table."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.analyses.stability.measure import compare, judged, pass_by, start_after, twin_of
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.resume import Task, measure_all
from isthmus.core.tensors import Tensors
from isthmus.landscape.block import Block, Snapshots
from isthmus.landscape.pair_rows import example_counts
from isthmus.recipes.schedules import run_length
from isthmus.tables.parquet import read_table, write_table
from isthmus.tables.rows import Row, Rows, complete
from isthmus.training.checkpoint import State
from isthmus.training.stacks import plan_stacks, train_stacks
from isthmus.training.starts import Start, begin
from isthmus.training.trainer import new_state, train


def find_starts(block: Block, snapshots: dict[int, Snapshots], stop: StopRequest) -> dict[int, dict[int, Start]]:
    """Where the networks stood after each step, by step and seed, as far as they had not stopped."""
    steps, recipe, folder = sorted(block.options["steps"]), block.recipe, Path(block.job.params.checkpoints, "dense")
    later, mark = [step for step in steps if step > 0], block.fingerprint(steps)

    def finish(state: State, save: Any) -> State:
        def train_to(state: State, step: int) -> State:
            how = recipe, state, block.dataset, block.placement.settings, save, lambda: stop.signal_number
            return train(*how, pause_at=step)

        return pass_by(state, later, train_to)

    kept = {seed: {"initial": each["initial"]} for seed, each in snapshots.items()}
    if later:
        size = block.placement.training_stack(recipe.training.batch_size, len(kept))
        planned = plan_stacks(tuple(kept), size, folder, lambda _: mark)
        first = partial(new_state, recipe, block.dataset)
        for state in train_stacks(planned, folder, lambda _: mark, first, finish):
            kept |= state.snapshots
    found = {step: {seed: start_after(kept[seed], step) for seed in block.sound} for step in steps}
    return {step: {seed: start for seed, start in own.items() if start} for step, own in found.items()}


def train_twins(
    block: Block, step: int, starts: dict[int, Start], first: dict[int, Row], stop: StopRequest
) -> dict[int, tuple[Tensors, Row]]:
    """Weights and results, by seed, of the networks' twins from one step, trained to their end.

    first: the networks' rows of `history` at initialization, which divergence is measured against.
    """
    folder, mark = Path(block.job.params.checkpoints, f"from-{step}"), block.fingerprint(step)

    def new(stack: tuple[int, ...]) -> State:
        return replace(begin({seed: starts[seed] for seed in stack}), history={seed: [first[seed]] for seed in stack})

    def finish(state: State, save: Any) -> State:
        members = {seed: twin_of(seed) for seed in state.seeds}
        how = block.recipe, state, block.dataset, block.placement.settings, save, lambda: stop.signal_number
        return train(*how, members)

    size = block.placement.training_stack(block.recipe.training.batch_size, len(block.sound))
    states = train_stacks(plan_stacks(tuple(starts), size, folder, lambda _: mark), folder, lambda _: mark, new, finish)
    return {seed: (each.snapshots[seed]["final"], each.results[seed]) for each in states for seed in each.seeds}


def measure_networks(block: Block) -> dict[int, Rows]:
    """The rows of the networks that did not diverge, by seed, one for each step."""
    points, snapshots = block.options["line_points"], block.snapshots()
    first: dict[int, Row] = {}
    for row in read_table(block.job.input.history).to_pylist():
        first.setdefault(row["seed"], row)
    with StopRequest() as stop:
        starts = find_starts(block, snapshots, stop)
        twins = {step: train_twins(block, step, own, first, stop) for step, own in starts.items()}
        evaluator = block.evaluator(points, block.options["evaluation_examples"])
        tasks = {
            f"{seed}-{step}": Task(
                block.fingerprint(block.options),
                partial(compare, evaluator, points, seed, snapshots[seed]["final"], weights),
            )
            for step, own in twins.items()
            for seed, (weights, result) in own.items()
            if not result["diverged"]
        }
        found = measure_all(block.job.params.checkpoints, tasks, stop, "twins")
    return {
        seed: judged(
            [
                {"step": step, "diverged": seed in own and own[seed][1]["diverged"], "barrier_test_error": None}
                | ({"twin_test_accuracy": own[seed][1]["test_accuracy"]} if seed in own else {})
                | found.get(f"{seed}-{step}", {})
                for step, own in twins.items()
            ]
        )
        for seed in block.sound
    }


def main(job: Any) -> None:
    block = Block.read(job, job.params.seeds)
    found = measure_networks(block) if block.sound else {}
    counts = example_counts(block.recipe, block.dataset, block.options["evaluation_examples"])
    per_epoch, total = run_length(
        block.recipe.training, block.recipe.data.train_size or len(block.dataset.train_labels)
    )
    size = {"parameters": block.placement.parameters, "points": block.options["line_points"]}
    lost = [{"step": step, "diverged": True} for step in sorted(block.options["steps"])]
    rows = []
    for seed in block.seeds:
        for row in found.get(seed, lost):
            when = {"epoch": row["step"] / per_epoch, "part": row["step"] / total}
            rows.append(complete("stability", block.keys(seed), size, counts, when, row))
    write_table(job.output[0], "stability", rows)


with job_log(snakemake.log[0]):
    main(snakemake)
