"""Where a job computes: the device it was given, set up, and how much fits on it at once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.core import devices
from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset
from isthmus.models.architectures import count_parameters
from isthmus.recipes.recipe import NetworkRecipe, Recipe


@dataclass(frozen=True)
class Placement:
    """The settings of a job, and the choice of stacks. parameters: trainable scalars of one network."""

    settings: Settings
    network: NetworkRecipe
    parameters: int
    wanted_stack: int | str

    @classmethod
    def set_up(cls, jobs: Mapping[str, Any], threads: int, recipe: Recipe, dataset: Dataset) -> "Placement":
        """Set this process up as the section `jobs` of the configuration asks.

        Raises UserError where a GPU is wanted and none is seen.
        """
        device = devices.choose_device(jobs["device"])
        devices.set_up(threads, jobs["deterministic"])
        channels_last = devices.use_channels_last(jobs["channels_last"], recipe.network.convolutional, device)
        settings = Settings(device, channels_last, jobs["evaluation_batch_size"], jobs["checkpoint_seconds"])
        parameters = count_parameters(recipe.network, dataset.shape, dataset.classes)
        logging.info("%d parameters on %s", parameters, device)
        return cls(settings, recipe.network, parameters, jobs["stack"])

    def stack_size(self, batch_size: int, most: int) -> int:
        """How many of `most` networks, or points, to compute with at once on batches of a size."""
        return devices.stack_size(
            self.wanted_stack, self.network.convolutional, self.parameters, batch_size, self.settings.device, most
        )
