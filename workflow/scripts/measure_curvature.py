"""Measure the curvature at the networks of one block: read networks and data, call the library, write the tables."""

import logging
from typing import Any

from isthmus.analyses.curvature.measure import measure
from isthmus.analyses.curvature.noise import measure_disturbed
from isthmus.core.logs import job_log
from isthmus.data.dataset import load_dataset
from isthmus.landscape.evaluator import Ground
from isthmus.landscape.moments import moments
from isthmus.models.placement import set_up
from isthmus.recipes.recipe import Recipe
from isthmus.recipes.schedules import peak_rate
from isthmus.tables.parquet import write_table
from isthmus.training.block import Snapshots, complete, network_rows, recorded
from isthmus.training.rows import keys, statistics_column

TABLES = ("curvature", "eigenvalues", "spectrum", "perturbations")


def main(job: Any) -> None:
    recipe, options, seeds = Recipe.from_dict(job.params.recipe), job.params.options, list(job.params.seeds)
    dataset, networks = load_dataset(job.input.data), network_rows(job.input.networks)
    place = set_up(job.config["jobs"], job.threads, recipe, dataset)
    good = [seed for seed in seeds if not networks[seed]["diverged"]]
    logging.info("%d of %d networks without divergence", len(good), len(seeds))
    found: dict[int, Any] = {}
    if good:
        stack = place.stack(place.settings.evaluation_batch_size, options["noise"]["draws"])
        ground = Ground.of(recipe, dataset, tuple(good), options, place.settings, stack, None, options["images"])

        def measured(seed: int, snapshots: Snapshots) -> dict[str, Any]:
            looked_at = moments(snapshots, networks[seed]["epochs"], options["during_training"])
            each = [
                measure(ground, seed, snapshots[moment.name], moment) | {"epoch": moment.epoch, "final": moment.final}
                for moment in looked_at
            ]
            disturbed = measure_disturbed(ground, seed, snapshots["final"])
            logging.info("network %d: top eigenvalue %.4g", seed, each[-1]["curvature"]["top_eigenvalue"])
            return {"moments": each, "perturbations": disturbed}

        found = recorded(job, dataset.checksum, good, measured)

    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for seed in seeds:
        first = keys(job.wildcards.study, job.wildcards.cell, recipe, seed) | statistics_column(recipe, dataset)
        fixed = first | {
            "dataset": dataset.name,
            "architecture": recipe.network.architecture,
            "parameters": place.parameters,
            "diverged": seed not in found,
        }
        if seed not in found:
            lost = {"final": True, "epoch": networks[seed]["epochs"], "images": 0, "products": 0, "seconds": 0.0}
            rows["curvature"].append(complete("curvature", fixed, lost | {"learning_rate": peak_rate(recipe.training)}))
            continue
        for moment in found[seed]["moments"]:
            when = {"final": moment["final"], "epoch": moment["epoch"]}
            rows["curvature"].append(complete("curvature", fixed | when, moment["curvature"]))
            images = {"images": moment["curvature"]["images"]}
            for name in ("eigenvalues", "spectrum"):
                rows[name] += [first | images | row for row in moment[name]]
        rows["perturbations"] += [first | row for row in found[seed]["perturbations"]]
    for name, content in rows.items():
        write_table(job.output[name], name, content)


with job_log(snakemake.log[0]):
    main(snakemake)
