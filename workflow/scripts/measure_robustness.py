"""Test the networks of one block on corrupted images: read networks and data, call the library, write the table."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.analyses.robustness.measure import measure, measured_sets, with_relative
from isthmus.core.errors import Interrupted
from isthmus.core.logs import StopRequest, job_log
from isthmus.core.resume import Records
from isthmus.core.tensors import checksum
from isthmus.data.dataset import load_dataset
from isthmus.landscape.corrupted_images import CorruptedTest, scoring, shifted_examples
from isthmus.landscape.evaluator import Ground
from isthmus.models.placement import set_up
from isthmus.recipes.recipe import Recipe
from isthmus.tables.parquet import write_table
from isthmus.training.block import complete, network_rows
from isthmus.training.rows import keys, statistics_column
from isthmus.training.stacks import fingerprint
from isthmus.training.weights import load_snapshots


def main(job: Any) -> None:
    recipe, options, seeds = Recipe.from_dict(job.params.recipe), job.params.options, list(job.params.seeds)
    dataset, networks = load_dataset(job.input.data), network_rows(job.input.networks)
    others = [load_dataset(path) for path in job.input.shifted]
    place = set_up(job.config["jobs"], job.threads, recipe, dataset)
    good = [seed for seed in seeds if not networks[seed]["diverged"]]
    logging.info("%d of %d networks without divergence", len(good), len(seeds))
    sets = measured_sets(options["corruptions"], options["severities"], bool(others))
    found: dict[int, list[dict[str, Any]]] = {seed: [] for seed in good}
    if good:
        snapshots = load_snapshots(job.input.weights)
        weights = [snapshots[seed]["final"] for seed in good]
        stack = place.stack(place.settings.evaluation_batch_size, len(good))
        ground = Ground.of(recipe, dataset, tuple(good), options, place.settings, stack, options["test_size"], 1)
        test = CorruptedTest.of(ground, dataset)
        other = next((shifted_examples(ground, dataset, each) for each in others), None)
        named = {f"{seed}/{name}": value for seed in good for name, value in snapshots[seed]["final"].items()}
        parts = [job.params.recipe, options, job.params.code, *(each.checksum for each in (dataset, *others))]
        mark = fingerprint(json.dumps([*parts, checksum(named, {})], sort_keys=True))
        records = Records(Path(job.params.checkpoints))
        with StopRequest() as stop, scoring(ground, weights) as scores:
            for corruption in dict.fromkeys(name for name, _ in sets):
                measured = partial(measure, ground, test, other, scores, corruption)
                for seed, rows in zip(good, records.recall(corruption, mark, measured), strict=True):
                    found[seed] += rows
                logging.info("%s: done", corruption)
                if stop.signal_number is not None:
                    raise Interrupted(stop.signal_number)

    rows = []
    for seed in seeds:
        fixed = keys(job.wildcards.study, job.wildcards.cell, recipe, seed)
        fixed |= {"parameters": place.parameters, "diverged": seed not in found} | statistics_column(recipe, dataset)
        lost = [{"corruption": corruption, "severity": severity, "images": 0} for corruption, severity in sets]
        measured_rows = with_relative(found[seed]) if seed in found else lost
        rows += [complete("robustness", fixed, row) for row in measured_rows]
    write_table(job.output[0], "robustness", rows)


with job_log(snakemake.log[0]):
    main(snakemake)
