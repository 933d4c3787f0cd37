"""Train the networks of one block: read the data, call the library, write weights and tables."""

import json
import logging
from pathlib import Path
from typing import Any

from isthmus import devices, groups
from isthmus.data import load_dataset
from isthmus.logs import StopRequest, job_log
from isthmus.networks import count_parameters
from isthmus.recipe import Recipe
from isthmus.tables import write_table
from isthmus.train import Settings, new_state, train
from isthmus.training_tables import rows
from isthmus.weights import write_weights


def main(job: Any) -> None:
    recipe, seeds, jobs = Recipe.from_dict(job.params.recipe), list(job.params.seeds), job.config["jobs"]
    dataset = load_dataset(job.input.data)
    device = devices.choose_device(jobs["device"])
    devices.set_up(job.threads, jobs["deterministic"])
    channels_last = devices.use_channels_last(jobs["channels_last"], recipe.network, device)
    settings = Settings(device, channels_last, jobs["evaluation_batch_size"], jobs["checkpoint_seconds"])

    parameters = count_parameters(recipe.network, tuple(dataset.train_images.shape[1:]), dataset.classes)
    batch_size = recipe.training.batch_size
    size = devices.stack_size(jobs["stack"], recipe.network, parameters, batch_size, device, len(seeds))
    folder = Path(job.params.checkpoints)
    fingerprint = groups.fingerprint(json.dumps(job.params.recipe, sort_keys=True), dataset.checksum, job.params.code)
    planned = groups.plan(tuple(seeds), size, folder, lambda _: fingerprint)
    logging.info("%d parameters on %s, groups %s", parameters, device, [group for group, _ in planned])

    with StopRequest() as stop:
        states = groups.run_groups(
            planned,
            folder,
            lambda _: fingerprint,
            lambda group: new_state(recipe, dataset, group),
            lambda state, save: train(recipe, state, dataset, settings, save, lambda: stop.signal_number),
        )

    networks, history = rows(job.wildcards.study, job.wildcards.cell, recipe, dataset, states, seeds)
    write_weights(job.output.weights, recipe, dataset, states, seeds)
    write_table(job.output.networks, "networks", networks)
    write_table(job.output.history, "history", history)


with job_log(snakemake.log[0]):
    main(snakemake)
