"""Train the networks of one block and what was pruned of them further on a second data set, and write the table."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.analyses.further_training.measure import (
    Trained,
    kept_networks,
    member_of,
    name_of,
    on_first_data,
    rows_of,
    second_data,
    start_state,
)
from isthmus.analyses.further_training.recipe import further_recipe
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.resume import Task, fingerprint, measure_all
from isthmus.core.tensors import Tensors, load_tensors, unflatten
from isthmus.data.dataset import Dataset, load_dataset
from isthmus.landscape.block import Block
from isthmus.recipes.recipe import Recipe
from isthmus.tables.parquet import read_table, write_table
from isthmus.tables.rows import Row, Rows, complete
from isthmus.training.checkpoint import State
from isthmus.training.stacks import plan_stacks, train_stacks
from isthmus.training.trainer import train


def trained_networks(block: Block, tickets: Rows, kept: Tensors) -> dict[int, Trained]:
    """The networks that did not diverge, by their number among the rows of `tickets`. kept: those that are pruned."""
    snapshots, pruned, found = block.snapshots(), unflatten(kept), {}
    for number, row in enumerate(tickets):
        seed, kind, level = row["seed"], row["kind"], row["level"]
        if row["diverged"]:
            continue
        if kind == "dense":
            found[number] = Trained(seed, kind, level, snapshots[seed]["final"], {})
        elif network := kept_networks(pruned, seed, kind, level):
            found[number] = network
    return found


def train_on(
    block: Block, recipe: Recipe, second: Dataset, networks: dict[int, Trained], stop: StopRequest
) -> dict[int, State]:
    """The finished states of the networks, by number. recipe: of further training."""
    folder = Path(block.job.params.checkpoints)

    def mark(stack: tuple[int, ...]) -> str:
        return block.fingerprint(block.options, second.checksum, [networks[n].digest for n in stack if n in networks])

    def first(stack: tuple[int, ...]) -> State:
        return start_state({number: networks[number] for number in stack})

    def finish(state: State, save: Any) -> State:
        members = {number: member_of(networks[number]) for number in state.seeds}
        settings = block.placement.settings
        return train(recipe, state, second, settings, save, lambda: stop.signal_number, members)

    size = block.placement.training_stack(recipe.training.batch_size, len(networks))
    states = train_stacks(plan_stacks(tuple(networks), size, folder, mark), folder, mark, first, finish)
    return {number: state for state in states for number in state.seeds}


def measure_networks(block: Block, recipe: Recipe, second: Dataset, networks: dict[int, Trained]) -> dict[int, Rows]:
    """The rows of each network, by number. recipe: of further training."""
    evaluator = block.evaluator(2 * len(networks) // len(block.sound))

    def measure(seed: int, states: dict[int, State]) -> list[Rows]:
        """The rows of the networks of a seed."""
        ends = {number: state.snapshots[number]["final"] for number, state in states.items()}
        good = [number for number, state in states.items() if not state.results[number]["diverged"]]
        weights: list[Tensors] = [networks[number].weights for number in states] + [ends[number] for number in good]
        scores = on_first_data(evaluator, seed, weights)
        before = dict(zip(states, scores[: len(states)], strict=True))
        after: dict[int, Row] = dict(zip(good, scores[len(states) :], strict=True))
        return [rows_of(state.history[n], before[n], after.get(n)) for n, state in states.items()]

    with StopRequest() as stop:
        states = train_on(block, recipe, second, networks, stop)
        by_seed = {
            seed: {n: states[n] for n, network in networks.items() if network.seed == seed} for seed in block.sound
        }
        tasks = {}
        for seed, own in by_seed.items():
            mark = fingerprint([networks[number].digest for number in own])
            part = partial(measure, seed, own)
            tasks[str(seed)] = Task(block.fingerprint(block.options, second.checksum, mark), part)
        found = measure_all(block.job.params.checkpoints, tasks, stop, "networks")
    return {number: rows for seed, own in by_seed.items() for number, rows in zip(own, found[str(seed)], strict=True)}


def main(job: Any) -> None:
    block = Block.read(job, job.params.seeds)
    other = next((load_dataset(path) for path in job.input.shifted), None)
    second = second_data(block.dataset, other, block.options)
    recipe = further_recipe(block.recipe, block.options, len(second.train_labels))
    tickets, (tensors, metadata) = read_table(job.input.tickets).to_pylist(), load_tensors(job.input.pruned)
    networks = trained_networks(block, tickets, tensors)
    found = measure_networks(block, recipe, second, networks) if networks else {}
    kinds = {"dense", "ticket", *json.loads(metadata["options"])["kept_controls"]}
    examples = recipe.data.train_size or len(second.train_labels)
    size = {"parameters": block.placement.parameters, "data": name_of(second, block.options)}
    size |= {"train_examples": examples, "test_examples": len(second.test_labels)}
    lost: Row = {"epoch": 0.0, "step": 0, "final": True, "diverged": True}
    rows = []
    for number, ticket in enumerate(tickets):
        same = {name: ticket[name] for name in ("kind", "level", "kept_fraction", "density")}
        fixed = block.keys(ticket["seed"]) | block.statistics | size | same
        if ticket["kind"] in kinds:
            rows += [complete("further_training", fixed, row) for row in found.get(number, [lost])]
    write_table(job.output[0], "further_training", rows)


with job_log(snakemake.log[0]):
    main(snakemake)
