"""Set up the device of a job, and choose how many networks it computes at once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.core import devices
from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset
from isthmus.models.networks import count_parameters
from isthmus.recipes.recipe import AnyNetwork, ModuleRecipe, Recipe


@dataclass(frozen=True)
class Placement:
    """A job's settings and its choice of stack sizes. parameters: trainable scalars of one network.

    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> placement = Placement(Settings(devices.choose_device("cpu")), recipe, parameters=310, wanted_stack="auto")
    >>> placement.stack_size(batch_size=32, most=5), placement.stack_size(batch_size=1_000_000, most=5)
    (5, 1)
    """

    settings: Settings
    network: AnyNetwork
    parameters: int
    wanted_stack: int | str

    @classmethod
    def set_up(cls, jobs: Mapping[str, Any], threads: int, recipe: Recipe, dataset: Dataset) -> "Placement":
        """Set up this process according to the section `jobs` of the configuration.

        Raises UserError if a GPU is wanted but none is visible.
        """
        device = devices.choose_device(jobs["device"])
        devices.set_up(threads, jobs["deterministic"])
        channels_last = devices.use_channels_last(jobs["channels_last"], recipe.network.convolutional, device)
        settings = Settings(device, channels_last, jobs["evaluation_batch_size"], jobs["checkpoint_seconds"])
        parameters = count_parameters(recipe.network, dataset.shape, dataset.classes)
        logging.info("%d parameters on %s", parameters, device)
        if isinstance(recipe.network, ModuleRecipe) and not recipe.network.stacks:
            logging.info("networks are computed one after another: torch.vmap cannot compute several of them at once")
        return cls(settings, recipe.network, parameters, jobs["stack"])

    def stack_size(self, batch_size: int, most: int) -> int:
        """How many of `most` networks or points to compute at once, on batches of this size."""
        wanted = self.wanted_stack if self.network.stacks else 1
        return devices.stack_size(
            wanted, self.network.convolutional, self.parameters, batch_size, self.settings.device, most
        )
