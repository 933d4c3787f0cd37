"""Connect the pairs of one block: read networks and data, call the library, write the tables."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

from isthmus import devices, groups
from isthmus.connect import Session, curve_training
from isthmus.connect_tables import connection_row, fixed_columns, pair_keys, path_rows, plane_names, plane_rows
from isthmus.data import Dataset, load_dataset
from isthmus.errors import Interrupted
from isthmus.ground import Ends, Ground
from isthmus.logs import StopRequest, job_log
from isthmus.networks import count_parameters
from isthmus.pairs import Pair, pair_number, pair_of
from isthmus.path_measures import KINDS, first_curve, points_of
from isthmus.recipe import Recipe
from isthmus.records import Records
from isthmus.tables import read_table, write_table
from isthmus.train import Settings
from isthmus.weights import load_snapshots


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


def write_rows(
    job: Any, recipe: Recipe, dataset: Dataset, pairs: list[Pair], plane_pair: Pair | None, measured: dict[Any, Any]
) -> None:
    """Write the tables of the block; what is not in `measured` was left out since a network diverged."""
    connections, paths, planes = [], [], []
    for pair in pairs:
        keys = pair_keys(job.wildcards.study, job.wildcards.cell, recipe, pair)
        fixed = keys | fixed_columns(recipe, dataset, job.params.options)
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
    recipe, options, jobs = Recipe.from_dict(job.params.recipe), job.params.options, job.config["jobs"]
    pairs: list[Pair] = [(first, second) for first, second in job.params.pairs]
    dataset, networks = load_dataset(job.input.data), read_networks(job, pairs)
    sound = [pair for pair in pairs if set(pair) <= networks.keys()]
    curves = [kind for kind in options["kinds"] if KINDS[kind]]
    plane_pair = tuple(job.params.plane_pair) if options["planes"]["points"] else None
    device = devices.choose_device(jobs["device"])
    devices.set_up(job.threads, jobs["deterministic"])
    channels_last = devices.use_channels_last(jobs["channels_last"], recipe.network, device)
    settings = Settings(device, channels_last, jobs["evaluation_batch_size"], jobs["checkpoint_seconds"])
    parameters = count_parameters(recipe.network, tuple(dataset.train_images.shape[1:]), dataset.classes)
    logging.info("%d parameters on %s, %d of %d pairs without divergence", parameters, device, len(sound), len(pairs))

    def stack(batch_size: int, most: int) -> int:
        return devices.stack_size(jobs["stack"], recipe.network, parameters, batch_size, device, most)

    def mark(members: tuple[Pair, ...], *parts: Any) -> str:
        """The fingerprint of all that a measurement of these pairs depends on; `parts` of the options among it."""
        ends = [networks[seed].checksum() if seed in networks else None for pair in members for seed in pair]
        base = [job.params.recipe, dataset.checksum, job.params.code, ends, parts]
        return groups.fingerprint(json.dumps(base, sort_keys=True))

    def measure(ground: Ground, stop: StopRequest) -> dict[tuple[Pair, str], Any]:
        """Fit the curves and measure all paths and planes, as far as that is not on record."""
        session, folder, found = Session(ground, networks), Path(job.params.checkpoints), {}
        records = Records(folder / "measured")
        numbers = tuple(pair_number(*pair) for pair in sound)
        batch_size = curve_training(recipe.training, options["curve"], len(ground.examples.images)).batch_size
        for kind in curves:

            def own(members: tuple[int, ...], kind: str = kind) -> str:
                return mark(tuple(map(pair_of, members)), kind, options["curve"], options["alignment"])

            planned = groups.plan(numbers, stack(batch_size, len(sound)), folder / kind, own)
            run = partial(session.fit, kind, stop_signal=lambda: stop.signal_number)
            groups.run_groups(planned, folder / kind, own, partial(session.begin, kind), run)
        shared = {key: value for key, value in options.items() if key not in ("pairs", "kinds", "where")}
        work = [(pair, kind, partial(session.measure, pair, kind)) for pair in sound for kind in options["kinds"]]
        if plane_pair is not None and plane_pair in sound:
            work.append(
                (plane_pair, "planes", partial(session.measure_planes, plane_pair, first_curve(options["kinds"])))
            )
        for pair, what, function in work:
            name = f"{pair[0]}-{pair[1]}.{what}"
            found[pair, what] = records.recall(name, mark((pair,), what, curves[:1], shared), function)
            if stop.signal_number is not None:
                raise Interrupted(stop.signal_number)
        return found

    measured: dict[tuple[Pair, str], Any] = {}
    if sound:
        points = stack(settings.evaluation_batch_size, options["line_points"])
        ground = Ground.of(recipe, dataset, tuple(sorted(networks)), options, settings, points)
        with StopRequest() as stop:
            measured = measure(ground, stop)
    write_rows(job, recipe, dataset, pairs, plane_pair, measured)


with job_log(snakemake.log[0]):
    main(snakemake)
