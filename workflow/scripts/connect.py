"""Connect the pairs of one block: read networks and data, call the library, write the tables."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.analyses.connect.measure import KINDS, first_curve, points_of
from isthmus.analyses.connect.rows import (
    connection_row,
    example_counts,
    fixed_columns,
    pair_keys,
    path_rows,
    plane_names,
    plane_rows,
)
from isthmus.analyses.connect.session import Session, curve_training
from isthmus.core.errors import Interrupted
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.resume import Records
from isthmus.data.dataset import Dataset, load_dataset
from isthmus.landscape.evaluator import Ends, Ground
from isthmus.models.placement import Workplace, set_up
from isthmus.recipes.pairs import Pair, pair_number, pair_of
from isthmus.recipes.recipe import Recipe
from isthmus.tables.parquet import read_table, write_table
from isthmus.training import stacks
from isthmus.training.weights import load_snapshots

Measured = dict[tuple[Pair, str], Any]


def read_networks(job: Any, pairs: list[Pair]) -> dict[int, Ends]:
    """The networks of these pairs that did not diverge, by seed."""
    wanted = {seed for pair in pairs for seed in pair}
    table = [row for path in job.input.networks for row in read_table(path).to_pylist()]
    good = wanted & {row["seed"] for row in table if not row["diverged"]}
    return {
        seed: Ends(snapshots["initial"], snapshots["final"])
        for path in job.input.weights
        for seed, snapshots in load_snapshots(path).items()
        if seed in good
    }


def fit_curves(job: Any, place: Workplace, session: Session, pairs: list[Pair], mark: Any, stop: StopRequest) -> None:
    """Fit the bends of all curved kinds of paths, as far as that is not done yet."""
    ground, numbers = session.ground, tuple(pair_number(*pair) for pair in pairs)
    options = (ground.options["curve"], ground.options["alignment"])
    training = curve_training(ground.recipe.training, options[0], len(ground.examples.images))
    for kind in filter(KINDS.get, ground.options["kinds"]):
        folder = Path(job.params.checkpoints, kind)

        def own(members: tuple[int, ...], kind: str = kind) -> str:
            return mark([pair_of(number) for number in members], kind, *options)

        planned = stacks.plan(numbers, place.stack(training.batch_size, len(pairs)), folder, own)
        fit = partial(session.fit, kind, stop_signal=lambda: stop.signal_number)
        stacks.run_groups(planned, folder, own, partial(session.begin, kind), fit)


def measure(
    job: Any, session: Session, pairs: list[Pair], plane_pair: Pair | None, mark: Any, stop: StopRequest
) -> Measured:
    """Measure all paths and planes, as far as that is not on record."""
    kinds, found = session.ground.options["kinds"], {}
    shared = {key: value for key, value in session.ground.options.items() if key not in ("pairs", "kinds", "where")}
    work = [(pair, kind, partial(session.measure, pair, kind)) for pair in pairs for kind in kinds]
    if plane_pair in pairs:
        work.append((plane_pair, "planes", partial(session.measure_planes, plane_pair, first_curve(kinds))))
    records = Records(Path(job.params.checkpoints, "measured"))
    for pair, what, function in work:
        fingerprint = mark([pair], what, first_curve(kinds) if what == "planes" else None, shared)
        found[pair, what] = records.recall(f"{pair[0]}-{pair[1]}.{what}", fingerprint, function)
        if stop.signal_number is not None:
            raise Interrupted(stop.signal_number)
    return found


def write_rows(
    job: Any, recipe: Recipe, dataset: Dataset, pairs: list[Pair], plane_pair: Pair | None, measured: Measured
) -> None:
    """Write the tables of the block; what is not in `measured` was left out since a network diverged."""
    connections, paths, planes = [], [], []
    for pair in pairs:
        keys = pair_keys(job.wildcards.study, job.wildcards.cell, recipe, pair)
        fixed = keys | fixed_columns(recipe, dataset, job.params.options)
        keys |= example_counts(recipe, dataset, job.params.options)
        for kind in job.params.options["kinds"]:
            record = measured.get((pair, kind))
            connections.append(connection_row(fixed, kind, points_of(job.params.options, kind), record))
            paths += path_rows(keys, kind, record)
        if pair == plane_pair:
            planes = plane_rows(keys, plane_names(job.params.options["kinds"]), measured.get((pair, "planes")))
    write_table(job.output.connections, "connections", connections)
    write_table(job.output.paths, "paths", paths)
    write_table(job.output.planes, "planes", planes)


def main(job: Any) -> None:
    recipe, options = Recipe.from_dict(job.params.recipe), job.params.options
    pairs: list[Pair] = [(first, second) for first, second in job.params.pairs]
    plane_pair = tuple(job.params.plane_pair) if options["planes"]["points"] else None
    dataset, networks = load_dataset(job.input.data), read_networks(job, pairs)
    place = set_up(job.config["jobs"], job.threads, recipe, dataset)
    sound = [pair for pair in pairs if set(pair) <= networks.keys()]
    logging.info("%d of %d pairs without divergence", len(sound), len(pairs))

    def mark(members: list[Pair], *parts: Any) -> str:
        """The fingerprint of all that a measurement of these pairs depends on; `parts` of the options among it."""
        ends = [networks[seed].checksum() if seed in networks else None for pair in members for seed in pair]
        base = [job.params.recipe, dataset.checksum, job.params.code, ends, parts]
        return stacks.fingerprint(json.dumps(base, sort_keys=True))

    measured: Measured = {}
    if sound:
        stack = place.stack(place.settings.evaluation_batch_size, options["line_points"])
        evaluated, differentiated = options["evaluation_examples"], options["sharpness"]["images"]
        seeds = tuple(sorted(networks))
        ground = Ground.of(recipe, dataset, seeds, options, place.settings, stack, evaluated, differentiated)
        session = Session(ground, networks)
        with StopRequest() as stop:
            fit_curves(job, place, session, sound, mark, stop)
            measured = measure(job, session, sound, plane_pair, mark, stop)
    write_rows(job, recipe, dataset, pairs, plane_pair, measured)


with job_log(snakemake.log[0]):
    main(snakemake)
