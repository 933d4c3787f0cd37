"""Measure how far the networks of one block moved: read networks and data, call the library, write the tables."""

import logging
from typing import Any

from isthmus.analyses.movement.measure import measure_displacement
from isthmus.analyses.movement.norms import ALL
from isthmus.core.logs import job_log
from isthmus.data.dataset import load_dataset
from isthmus.landscape.evaluator import Ground
from isthmus.landscape.moments import Moment, moments
from isthmus.models.placement import set_up
from isthmus.recipes.recipe import Recipe
from isthmus.tables.parquet import write_table
from isthmus.training.block import Snapshots, complete, network_rows, recorded
from isthmus.training.rows import keys, statistics_column


def main(job: Any) -> None:
    recipe, options, seeds = Recipe.from_dict(job.params.recipe), job.params.options, list(job.params.seeds)
    dataset, networks = load_dataset(job.input.data), network_rows(job.input.networks)
    place = set_up(job.config["jobs"], job.threads, recipe, dataset)
    good = [seed for seed in seeds if not networks[seed]["diverged"]]
    logging.info("%d of %d networks without divergence", len(good), len(seeds))
    found: dict[int, Any] = {}
    if good:
        ground = Ground.of(recipe, dataset, tuple(good), options, place.settings, 1, None, 1)

        def measured(seed: int, snapshots: Snapshots) -> dict[str, Any]:
            looked_at = moments(snapshots, networks[seed]["epochs"], options["during_training"])
            start = Moment("initial", 0.0, False)
            return measure_displacement(ground, seed, snapshots, [start, *(m for m in looked_at if m != start)])

        found = recorded(job, dataset.checksum, good, measured)

    movements, kernels = [], []
    for seed in seeds:
        fixed = keys(job.wildcards.study, job.wildcards.cell, recipe, seed) | {"diverged": seed not in found}
        size = {"parameters": place.parameters} | statistics_column(recipe, dataset)
        if seed in found:
            movements += [complete("movement", fixed, row) for row in found[seed]["movement"]]
            kernels += [complete("kernels", fixed | size, row) for row in found[seed]["kernels"]]
            continue
        lost = fixed | {"final": True, "epoch": networks[seed]["epochs"]}
        whole = {"layer": ALL, "layer_index": 0, "parameters": place.parameters}
        movements.append(complete("movement", lost, whole))
        if options["kernel_images"]:
            kernels.append(complete("kernels", lost | size, {"images": 0}))
    write_table(job.output.movement, "movement", movements)
    write_table(job.output.kernels, "kernels", kernels)


with job_log(snakemake.log[0]):
    main(snakemake)
