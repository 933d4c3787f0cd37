"""Train the networks of one block: read the data, call the library, write weights and tables."""

import json
import logging
from pathlib import Path
from typing import Any

from isthmus.core.logs import StopRequest, job_log
from isthmus.data.dataset import load_dataset
from isthmus.models.placement import set_up
from isthmus.recipes.recipe import Recipe
from isthmus.tables.parquet import write_table
from isthmus.training import stacks
from isthmus.training.rows import rows
from isthmus.training.trainer import new_state, train
from isthmus.training.weights import write_weights


def main(job: Any) -> None:
    recipe, seeds = Recipe.from_dict(job.params.recipe), list(job.params.seeds)
    dataset = load_dataset(job.input.data)
    place = set_up(job.config["jobs"], job.threads, recipe, dataset)
    size = place.stack(recipe.training.batch_size, len(seeds))
    folder = Path(job.params.checkpoints)
    fingerprint = stacks.fingerprint(json.dumps(job.params.recipe, sort_keys=True), dataset.checksum, job.params.code)
    planned = stacks.plan(tuple(seeds), size, folder, lambda _: fingerprint)
    logging.info("groups %s", [group for group, _ in planned])

    with StopRequest() as stop:
        states = stacks.run_groups(
            planned,
            folder,
            lambda _: fingerprint,
            lambda group: new_state(recipe, dataset, group),
            lambda state, save: train(recipe, state, dataset, place.settings, save, lambda: stop.signal_number),
        )

    networks, history = rows(job.wildcards.study, job.wildcards.cell, recipe, dataset, states, seeds)
    write_weights(job.output.weights, recipe, dataset, states, seeds)
    write_table(job.output.networks, "networks", networks)
    write_table(job.output.history, "history", history)


with job_log(snakemake.log[0]):
    main(snakemake)
