"""Import the networks of one block, trained elsewhere: read their files, call the library, write weights and tables."""

import logging
from typing import Any

from isthmus.core.errors import UserError
from isthmus.core.logs import job_log
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import load_dataset
from isthmus.models.networks import build
from isthmus.models.state_dicts import load_parameters
from isthmus.recipes.recipe import Recipe
from isthmus.tables.parquet import write_table
from isthmus.training.imported import imported
from isthmus.training.placement import Placement
from isthmus.training.rows import rows
from isthmus.training.weights import write_weights


def main(job: Any) -> None:
    recipe, seeds = Recipe.from_dict(job.params.recipe), list(job.params.seeds)
    dataset = load_dataset(job.input.data)
    placement = Placement.set_up(job, recipe, dataset)
    network = build(recipe.network, dataset.shape, dataset.classes)

    def read(path: str, entry: str) -> Tensors:
        try:
            return load_parameters(path, entry, network)
        except UserError as error:  # the file has changed since the configuration was checked
            raise UserError(f"{path}: {error}") from error

    snapshots = {
        seed: {name: read(given["files"][place], given["entry"]) for name, given in job.params.snapshots.items()}
        for place, seed in enumerate(seeds)
    }
    state = imported(recipe, dataset, placement.settings, snapshots)
    for seed in seeds:
        logging.info("network %d: %s", seed, state.results[seed])

    networks, history = rows(job.wildcards.study, job.wildcards.cell, recipe, dataset, [state], seeds)
    write_weights(job.output.weights, recipe, dataset, [state], seeds)
    write_table(job.output.networks, "networks", networks)
    write_table(job.output.history, "history", history)


with job_log(snakemake.log[0]):
    main(snakemake)
