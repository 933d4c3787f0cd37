"""The time of a call in seconds, and a training step to be timed."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset
from isthmus.recipes.recipe import Recipe
from isthmus.training.trainer import Member, TrainingRun, new_state

MOST_EXAMPLES = 20_000  # that a step is timed on

Call = Callable[[], object]


def timed(call: Call, device: torch.device) -> float:
    """Seconds of one call: core time on a CPU, so that other processes hardly count, wall-clock time on a GPU."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    _wait(device)
    started = clock()
    call()
    _wait(device)
    return clock() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def training_step(recipe: Recipe, dataset: Dataset, stack: int, batch_size: int, settings: Settings) -> Call:
    """A function that makes one step of training of `stack` networks, with data, augmentation and optimizer.

    It uses the first examples alone, so that it is soon set up.
    """
    first = slice(min(16 * batch_size, max(MOST_EXAMPLES, batch_size)))
    dataset = replace(
        dataset,
        train_images=dataset.train_images[first],
        train_labels=dataset.train_labels[first],
        test_images=dataset.test_images[:1],
        test_labels=dataset.test_labels[:1],
    )
    training = replace(
        recipe.training, batch_size=batch_size, epochs=10**6, steps=None, snapshots=(), sharpness_radius=0.0
    )
    chosen = replace(recipe.data, train_size=None, selection="first", label_noise=0.0)
    recipe, seeds = replace(recipe, data=chosen, training=training), tuple(range(stack))
    state = new_state(recipe, dataset, seeds)
    return TrainingRun(recipe, state, dataset, settings, {seed: Member(seed, seed) for seed in seeds}).update
