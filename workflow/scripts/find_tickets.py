"""Find the lottery tickets of the networks of one block: read networks and data, call the library, write the tables."""

import json
import logging
from pathlib import Path
from typing import Any

from isthmus.analyses.tickets.levels import Chain, Level, Outcome, absent, tensors_of
from isthmus.analyses.tickets.pruning import Origin, Plan, Start, rewound
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.tensors import Tensors, checksum, save_tensors
from isthmus.data.dataset import Dataset, load_dataset
from isthmus.landscape.evaluator import Ground
from isthmus.models.placement import Workplace, set_up
from isthmus.recipes.recipe import Recipe
from isthmus.tables.parquet import read_table, write_table
from isthmus.training import stacks
from isthmus.training.block import complete, network_rows
from isthmus.training.rows import keys, statistics_column
from isthmus.training.trainer import new_state, train
from isthmus.training.weights import load_snapshots

Levels = dict[int, dict[int, Level]]  # by level and seed


def find_starts(
    job: Any, recipe: Recipe, dataset: Dataset, place: Workplace, initial: dict[int, Tensors], stop: StopRequest
) -> dict[int, Start]:
    """Where the tickets of these networks are rewound to: the weights of training, at a step of it."""
    step, folder = job.params.options["rewind_step"], Path(job.params.checkpoints, "rewind")
    if step == 0:
        return {seed: Start(weights, {}, 0) for seed, weights in initial.items()}
    mark = stacks.fingerprint(json.dumps([job.params.recipe, step]), dataset.checksum, job.params.code)
    size = place.stack(recipe.training.batch_size, len(initial))
    states = stacks.run_groups(
        stacks.plan(tuple(initial), size, folder, lambda _: mark),
        folder,
        lambda _: mark,
        lambda group: new_state(recipe, dataset, group),
        lambda state, save: train(
            recipe, state, dataset, place.settings, save, lambda: stop.signal_number, pause_at=step
        ),
    )
    return rewound(states, initial, step)


def find_tickets(job: Any, recipe: Recipe, dataset: Dataset, place: Workplace, plan: Plan) -> Levels:
    """All levels of the networks that did not diverge, by level and seed."""
    options, networks = job.params.options, network_rows(job.input.networks)
    snapshots = {
        seed: each for seed, each in load_snapshots(job.input.weights).items() if not networks[seed]["diverged"]
    }
    logging.info("%d of %d networks without divergence", len(snapshots), len(networks))
    if not snapshots:
        return {}
    history: dict[int, list[dict[str, Any]]] = {seed: [] for seed in networks}
    for row in read_table(job.input.history).to_pylist():
        history[row["seed"]].append(row)

    def mark(seed: int) -> str:
        ends = [checksum(snapshots[seed][label], {}) for label in ("initial", "final")]
        asked = {key: value for key, value in options.items() if key != "where"}
        parts = [job.params.recipe, asked, job.params.code, dataset.checksum, ends]
        return stacks.fingerprint(json.dumps(parts, sort_keys=True))

    stack = place.stack(place.settings.evaluation_batch_size, options["line_points"])
    evaluated, differentiated = options["evaluation_examples"], options["curvature"]["images"]
    ground = Ground.of(recipe, dataset, tuple(snapshots), options, place.settings, stack, evaluated, differentiated)
    levels: Levels = {}
    with StopRequest() as stop:
        initial = {seed: each["initial"] for seed, each in snapshots.items()}
        starts = find_starts(job, recipe, dataset, place, initial, stop)
        chain = Chain(
            plan,
            ground,
            dataset,
            {seed: Origin(initial[seed], starts[seed], snapshots[seed]["final"]) for seed in snapshots},
            {seed: Outcome(snapshots[seed]["final"], networks[seed], history[seed]) for seed in snapshots},
            Path(job.params.checkpoints),
            lambda networks: place.stack(recipe.training.batch_size, networks),
            mark,
            lambda: stop.signal_number,
        )
        for level in range(len(plan.kept) + 1):
            levels[level] = chain.advance(level)
            logging.info("level %d of %d is done", level, len(plan.kept))
            tickets, layers = rows(job, recipe, dataset, place.parameters, {level: levels[level]}, list(snapshots))
            for name, content in (("tickets", tickets), ("ticket_layers", layers)):
                write_table(chain.folder_of(level) / f"{name}.parquet", name, content)
    return levels


def rows(
    job: Any, recipe: Recipe, dataset: Dataset, parameters: int, levels: Levels, seeds: list[int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of `tickets` and of `ticket_layers` for these seeds."""
    tickets, layers = [], []
    every = {"parameters": parameters} | statistics_column(recipe, dataset)
    for seed in seeds:
        fixed = keys(job.wildcards.study, job.wildcards.cell, recipe, seed)
        for reached in levels.values():
            tickets += [complete("tickets", fixed | every, row) for row in reached[seed].tickets]
            layers += [complete("ticket_layers", fixed, row) for row in reached[seed].layers]
    return tickets, layers


def main(job: Any) -> None:
    recipe, seeds = Recipe.from_dict(job.params.recipe), list(job.params.seeds)
    dataset = load_dataset(job.input.data)
    place = set_up(job.config["jobs"], job.threads, recipe, dataset)
    plan = Plan(recipe, dataset.shape, dataset.classes, job.params.options)
    levels = find_tickets(job, recipe, dataset, place, plan)
    for level in range(len(plan.kept) + 1):
        reached = levels.setdefault(level, {})
        levels[level] = {seed: reached.get(seed) or absent(plan, level) for seed in seeds}
    tickets, layers = rows(job, recipe, dataset, place.parameters, levels, seeds)
    write_table(job.output.tickets, "tickets", tickets)
    write_table(job.output.layers, "ticket_layers", layers)
    metadata = {"recipe": json.dumps(job.params.recipe), "options": json.dumps(job.params.options)}
    save_tensors(job.output.masks, tensors_of(levels), metadata)


with job_log(snakemake.log[0]):
    main(snakemake)
