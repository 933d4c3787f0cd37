"""Train the networks of one block: read the data, call the library, write weights and tables."""

import logging
from pathlib import Path
from typing import Any

from isthmus.core.logs import StopRequest, job_log
from isthmus.core.resume import fingerprint
from isthmus.data.dataset import load_dataset
from isthmus.recipes.recipe import Recipe
from isthmus.tables.parquet import write_table
from isthmus.training.placement import Placement
from isthmus.training.rows import rows
from isthmus.training.stacks import plan_stacks, train_stacks
from isthmus.training.trainer import new_state, train
from isthmus.training.weights import write_weights


def main(job: Any) -> None:
    recipe, seeds = Recipe.from_dict(job.params.recipe), list(job.params.seeds)
    dataset = load_dataset(job.input.data)
    placement = Placement.set_up(job, recipe, dataset)
    size = placement.training_stack(recipe.training.batch_size, len(seeds))
    folder = Path(job.params.checkpoints)
    mark = fingerprint(job.params.recipe, dataset.checksum, job.params.code)
    planned = plan_stacks(tuple(seeds), size, folder, lambda _: mark)
    logging.info("stacks %s", [stack for stack, _ in planned])

    with StopRequest() as stop:
        states = train_stacks(
            planned,
            folder,
            lambda _: mark,
            lambda stack: new_state(recipe, dataset, stack),
            lambda state, save: train(recipe, state, dataset, placement.settings, save, lambda: stop.signal_number),
        )

    networks, history = rows(job.wildcards.study, job.wildcards.cell, recipe, dataset, states, seeds)
    write_weights(job.output.weights, recipe, dataset, states, seeds)
    write_table(job.output.networks, "networks", networks)
    write_table(job.output.history, "history", history)


with job_log(snakemake.log[0]):
    main(snakemake)
