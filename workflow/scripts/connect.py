"""Connect the pairs of one block: read networks and data, call the library, write the tables."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.analyses.connect.curve_recipe import curve_training
from isthmus.analyses.connect.measure import KINDS, first_curve, points_of
from isthmus.analyses.connect.rows import (
    connection_row,
    fewer,
    fixed_columns,
    path_rows,
    plane_names,
    plane_rows,
    repair_gain,
)
from isthmus.analyses.connect.session import Session
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.resume import Task, measure_all
from isthmus.landscape.block import Block
from isthmus.landscape.evaluator import TrainedNetwork
from isthmus.landscape.pair_rows import example_counts, pair_keys
from isthmus.recipes.pairs import Pair, pair_number, pair_of
from isthmus.recipes.path_kinds import is_repaired
from isthmus.tables.parquet import write_table
from isthmus.tables.rows import Rows
from isthmus.training.stacks import plan_stacks, train_stacks

Measured = dict[tuple[Pair, str], Any]


def fingerprint_of(block: Block, session: Session, pairs: list[Pair], *parts: Any) -> str:
    """A digest of everything that a measurement of these pairs depends on, including the options in `parts`."""
    networks = [session.networks.get(seed) for pair in pairs for seed in pair]
    return block.fingerprint([network and network.checksum() for network in networks], *parts)


def fit_curves(block: Block, session: Session, pairs: list[Pair], stop: StopRequest) -> None:
    """Fit the bends of all curved kinds of paths, unless they are already fitted."""
    options, numbers = block.options, tuple(pair_number(*pair) for pair in pairs)
    training = curve_training(block.recipe.training, options["curve"], len(session.evaluator.examples.images))
    size = block.placement.training_stack(training.batch_size, len(pairs))
    for kind in filter(KINDS.get, options["kinds"]):
        folder = Path(block.job.params.checkpoints, kind)

        def mark(members: tuple[int, ...], kind: str = kind) -> str:
            stack = [pair_of(number) for number in members]
            return fingerprint_of(block, session, stack, kind, options["curve"], options["alignment"])

        fit = partial(session.fit, kind, stop_signal=lambda: stop.signal_number)
        train_stacks(plan_stacks(numbers, size, folder, mark), folder, mark, partial(session.begin, kind), fit)


def measure(block: Block, session: Session, pairs: list[Pair], plane_pair: Pair | None, stop: StopRequest) -> Measured:
    """Measure all paths and planes, except those that an earlier attempt measured."""
    kinds = block.options["kinds"]
    shared = {key: value for key, value in block.options.items() if key != "kinds"}
    wanted = {(pair, kind): partial(session.measure, pair, kind) for pair in pairs for kind in kinds}
    if plane_pair in pairs:
        wanted[plane_pair, "planes"] = partial(session.measure_planes, plane_pair, first_curve(kinds))
    tasks = {}
    for (pair, what), function in wanted.items():
        curved = first_curve(kinds) if what == "planes" else None
        tasks[f"{pair[0]}-{pair[1]}.{what}"] = Task(
            fingerprint_of(block, session, [pair], what, curved, shared), function
        )
    found = measure_all(Path(block.job.params.checkpoints, "measured"), tasks, stop, "paths and planes")
    return dict(zip(wanted, found.values(), strict=True))


def rows(block: Block, pairs: list[Pair], plane_pair: Pair | None, measured: Measured) -> dict[str, Rows]:
    """The rows of the block by table. A pair is missing from `measured` if one of its networks diverged."""
    wildcards, recipe, options = block.job.wildcards, block.recipe, block.options
    connections, paths, planes, most = [], [], [], options["evaluation_examples"]
    for pair in pairs:
        keys = pair_keys(wildcards.study, wildcards.cell, recipe, pair)
        fixed = keys | fixed_columns(recipe, block.dataset)
        for kind in options["kinds"]:
            found, counts = measured.get((pair, kind)), example_counts(recipe, block.dataset, most, is_repaired(kind))
            gain = repair_gain(kind, found, measured.get((pair, "linear-aligned")))
            connections.append(connection_row(fixed | counts, kind, points_of(options, kind), found) | gain)
            paths += path_rows(keys | counts, kind, found)
        if pair == plane_pair:
            counts = fewer(example_counts(recipe, block.dataset, most), options["planes"]["examples"])
            planes = plane_rows(keys | counts, plane_names(options["kinds"]), measured.get((pair, "planes")))
    return {"connections": connections, "paths": paths, "planes": planes}


def main(job: Any) -> None:
    pairs: list[Pair] = [(first, second) for first, second in job.params.pairs]
    block = Block.read(job, sorted({seed for pair in pairs for seed in pair}))
    options = block.options
    plane_pair = tuple(job.params.plane_pair) if options["planes"]["points"] else None
    sound = [pair for pair in pairs if set(pair) <= set(block.sound)]
    logging.info("%d of %d pairs without divergence", len(sound), len(pairs))
    measured: Measured = {}
    if sound:
        networks = {
            seed: TrainedNetwork(snapshots.get("initial"), snapshots["final"])
            for seed, snapshots in block.snapshots().items()
        }
        evaluator = block.evaluator(
            options["line_points"], options["evaluation_examples"], options["sharpness"]["images"]
        )
        session = Session(evaluator, options, networks)
        with StopRequest() as stop:
            fit_curves(block, session, sound, stop)
            measured = measure(block, session, sound, plane_pair, stop)
    for name, content in rows(block, pairs, plane_pair, measured).items():
        write_table(job.output[name], name, content)


with job_log(snakemake.log[0]):
    main(snakemake)
