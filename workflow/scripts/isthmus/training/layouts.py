"""Which memory layout trains a network fastest, measured once in a study and then kept.

It depends on the processor, so it cannot be looked up in a table. The first job that computes with a network times a
few steps in each layout and records the fastest, which all other jobs of the study read, on any node and in any later
run. If each job timed for itself, their choices would vary, and results would differ by rounding from job to job.
"""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from isthmus.core.devices import Settings
from isthmus.core.hardware import processor
from isthmus.core.resume import fingerprint, first_record
from isthmus.data.dataset import Dataset
from isthmus.recipes.recipe import Recipe
from isthmus.training.timing import timed, training_step

TOGETHER = 5
"""How many networks are timed in a stack, whatever the packing of jobs, so that a new seed changes no answer."""
LARGE_STEP = 0.03  # seconds of one network's step that leave a stack nothing to gain: most of it is arithmetic
GAIN = 0.97  # of a step's time, from which on channels-last is chosen, so that noise seldom does
ROUNDS, ENOUGH_SECONDS = 20, 1.0  # a step is timed so often, or until that has taken so long, but at least twice

Way = tuple[bool, int]  # channels-last, and how many networks are computed together


@dataclass(frozen=True)
class Layout:
    """channels_last: whether the channels of a pixel are stored side by side.

    together: whether the networks of a job train in one stack; None if that was not measured.
    """

    channels_last: bool = False
    together: bool | None = None


def kept_layout(folder: Path | str, recipe: Recipe, dataset: Dataset, settings: Settings) -> Layout:
    """The layout written down in `folder` for this network and batch size, or else the fastest, which is written down.

    If two jobs measure it at once, both use what the first one wrote. Raises DataError if the file is damaged.
    """
    training = recipe.training
    asked = {
        "network": recipe.as_dict()["network"],
        "shape": list(dataset.shape),
        "classes": dataset.classes,
        "batch_size": training.batch_size,
        "precision": training.precision,
    }
    mark = fingerprint(asked)
    found = first_record(
        Path(folder, f"{mark[:16]}.json"), mark, lambda: fastest_layout(recipe, dataset, settings) | asked
    )
    return Layout(found["channels_last"], found["together"])


def fastest_layout(recipe: Recipe, dataset: Dataset, settings: Settings) -> dict[str, Any]:
    """The fields of `Layout`, with milliseconds of a step of one network in each way, and what they were measured on.

    Networks are timed one by one, with images stored either way if they are convolutional, and in a stack, for which
    images are copied anyway, if a step is small and they can be stacked. Where bfloat16 was asked for, the log has a
    warning if it is slower than float32 in the same layout.
    """
    ways = [(False, 1), (True, 1)] if recipe.network.convolutional else [(False, 1)]
    found = _seconds(recipe, dataset, settings, ways)
    if recipe.network.stacks and min(found.values()) < LARGE_STEP:
        found |= _seconds(recipe, dataset, settings, [(False, TOGETHER)])
    channels_last, stack = chosen = min(found, key=lambda way: found[way] / GAIN if way[0] else found[way])
    names = {(False, 1): "contiguous", (True, 1): "channels_last", (False, TOGETHER): "together"}
    milliseconds = {names[way]: round(1000 * seconds, 3) for way, seconds in found.items()}
    if recipe.training.precision == "bfloat16":
        full = replace(recipe, training=replace(recipe.training, precision="float32"))
        (seconds,) = _seconds(full, dataset, settings, [chosen]).values()
        milliseconds["float32"] = round(1000 * seconds, 3)
        if seconds < found[chosen]:
            logging.warning("this machine is slower in bfloat16 than in float32")
    logging.info("milliseconds of a step of one network: %s", milliseconds)
    cuda = settings.device.type == "cuda"
    machine = torch.cuda.get_device_name(settings.device) if cuda else processor()
    return asdict(Layout(channels_last, stack > 1)) | {
        "milliseconds": milliseconds,
        "machine": f"{machine}, {torch.get_num_threads()} thread(s), PyTorch {torch.__version__}",
    }


def _seconds(recipe: Recipe, dataset: Dataset, settings: Settings, ways: Iterable[Way]) -> dict[Way, float]:
    """The shortest step in each way, divided by its networks; the ways take turns, so that a busy moment hits all."""
    size = recipe.training.batch_size
    steps = {
        (layout, stack): training_step(recipe, dataset, stack, size, replace(settings, channels_last=layout))
        for layout, stack in ways
    }
    for step in steps.values():
        step()  # the first one loads libraries
    taken: dict[Way, list[float]] = {way: [] for way in steps}
    for turn in range(ROUNDS):
        if turn > 1 and max(map(sum, taken.values())) > ENOUGH_SECONDS:
            break
        for way, step in steps.items():
            taken[way].append(timed(step, settings.device))
    return {way: min(each) / way[1] for way, each in taken.items()}
