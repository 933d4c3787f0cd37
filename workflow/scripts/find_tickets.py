"""Find the lottery tickets of the networks of one block: read networks and data, call the library, write the tables."""

import json
import logging
from pathlib import Path
from typing import Any

from isthmus.analyses.tickets.chain import Chain
from isthmus.analyses.tickets.levels import Level, LevelFiles, absent, tensors_of
from isthmus.analyses.tickets.measure import Outcome, TicketMeasures
from isthmus.analyses.tickets.pruning import Origin, Plan, rewound
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.tensors import Tensors, checksum, save_tensors
from isthmus.landscape.block import Block, Snapshots
from isthmus.tables.parquet import read_table, write_table
from isthmus.tables.rows import Row, Rows, complete
from isthmus.training.stacks import plan_stacks, train_stacks
from isthmus.training.starts import Start
from isthmus.training.trainer import new_state, train

Levels = dict[int, dict[int, Level]]  # by level and seed


def find_starts(block: Block, initial: dict[int, Tensors], stop: StopRequest) -> dict[int, Start]:
    """The starts that tickets are rewound to: weights and optimizer states of the dense run at `rewind_step`."""
    step, folder, recipe = block.options["rewind_step"], Path(block.job.params.checkpoints, "rewind"), block.recipe
    if step == 0:
        return {seed: Start(weights, {}, 0) for seed, weights in initial.items()}
    mark, settings = block.fingerprint(step), block.placement.settings
    size = block.placement.training_stack(recipe.training.batch_size, len(initial))
    states = train_stacks(
        plan_stacks(tuple(initial), size, folder, lambda _: mark),
        folder,
        lambda _: mark,
        lambda stack: new_state(recipe, block.dataset, stack),
        lambda state, save: train(
            recipe, state, block.dataset, settings, save, lambda: stop.signal_number, pause_at=step
        ),
    )
    return rewound(states, initial, step)


def dense_networks(block: Block, snapshots: dict[int, Snapshots]) -> dict[int, Outcome]:
    """The unpruned networks as training left them, by seed."""
    history: dict[int, Rows] = {seed: [] for seed in block.networks}
    for row in read_table(block.job.input.history).to_pylist():
        history[row["seed"]].append(row)
    return {seed: Outcome(each["final"], block.networks[seed], history[seed]) for seed, each in snapshots.items()}


def find_tickets(block: Block, plan: Plan) -> Levels:
    """All levels of the networks that did not diverge, by level and seed."""
    options, snapshots, placement = block.options, block.snapshots(), block.placement
    evaluator = block.evaluator(options["line_points"], options["evaluation_examples"], options["curvature"]["images"])
    initial = {seed: each["initial"] for seed, each in snapshots.items()}

    def mark(seed: int) -> str:
        return block.fingerprint(options, [checksum(snapshots[seed][label], {}) for label in ("initial", "final")])

    levels: Levels = {}
    with StopRequest() as stop:
        starts = find_starts(block, initial, stop)
        chain = Chain(
            plan,
            TicketMeasures(plan, evaluator, block.dataset, dense_networks(block, snapshots)),
            {seed: Origin(initial[seed], starts[seed], each["final"]) for seed, each in snapshots.items()},
            LevelFiles(Path(block.job.params.checkpoints), mark),
            lambda networks: placement.training_stack(block.recipe.training.batch_size, networks),
            stop,
        )
        for level in range(len(plan.kept) + 1):
            levels[level] = chain.advance(level)
            logging.info("level %d of %d is done", level, len(plan.kept))
            for name, content in rows(block, {level: levels[level]}, block.sound).items():
                write_table(chain.files.folder_of(level) / f"{name}.parquet", name, content)
    return levels


def rows(block: Block, levels: Levels, seeds: list[int]) -> dict[str, Rows]:
    """The rows of `tickets` and of `ticket_layers` for these seeds."""
    tickets, layers = [], []
    every: Row = {"parameters": block.placement.parameters} | block.statistics
    for seed in seeds:
        for reached in levels.values():
            tickets += [complete("tickets", block.keys(seed), every, row) for row in reached[seed].tickets]
            layers += [complete("ticket_layers", block.keys(seed), row) for row in reached[seed].layers]
    return {"tickets": tickets, "ticket_layers": layers}


def main(job: Any) -> None:
    block = Block.read(job, job.params.seeds)
    plan = Plan(block.recipe, block.dataset.shape, block.dataset.classes, block.options)
    levels = find_tickets(block, plan) if block.sound else {}
    for level in range(len(plan.kept) + 1):
        reached = levels.setdefault(level, {})
        levels[level] = {seed: reached.get(seed) or absent(plan, level) for seed in block.seeds}
    made = rows(block, levels, block.seeds)
    write_table(job.output.tickets, "tickets", made["tickets"])
    write_table(job.output.layers, "ticket_layers", made["ticket_layers"])
    metadata = {"recipe": json.dumps(job.params.recipe), "options": json.dumps(job.params.options)}
    save_tensors(job.output.masks, tensors_of(levels), metadata)


with job_log(snakemake.log[0]):
    main(snakemake)
