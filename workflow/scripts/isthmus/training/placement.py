"""Set up the device of a job, and choose how many networks it computes at once."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isthmus.core import devices
from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset
from isthmus.models.networks import count_parameters
from isthmus.recipes.recipe import AnyNetwork, ModuleRecipe, Recipe
from isthmus.training.layouts import Layout, kept_layout


@dataclass(frozen=True)
class Placement:
    """A job's settings and its choice of stack sizes.

    parameters: trainable scalars of one network. together: whether to train networks in a stack, if that was measured.

    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> placement = Placement(Settings(devices.choose_device("cpu")), recipe, parameters=310, wanted_stack="auto")
    >>> placement.training_stack(batch_size=32, most=5), placement.training_stack(batch_size=1_000_000, most=5)
    (5, 1)
    """

    settings: Settings
    network: AnyNetwork
    parameters: int
    wanted_stack: int | str
    together: bool | None = None

    @classmethod
    def set_up(cls, job: Any, recipe: Recipe, dataset: Dataset) -> "Placement":
        """Set up the process of a Snakemake job according to the section `jobs` of its configuration.

        Raises UserError if a GPU is wanted but none is visible.
        """
        jobs = job.config["jobs"]
        device = devices.choose_device(jobs["device"])
        devices.set_up(job.threads, jobs["deterministic"])
        settings = Settings(device, False, jobs["evaluation_batch_size"], jobs["checkpoint_seconds"], jobs["capture"])
        parameters = count_parameters(recipe.network, dataset.shape, dataset.classes)
        logging.info("%d parameters on %s", parameters, device)
        if isinstance(recipe.network, ModuleRecipe) and not recipe.network.stacks:
            logging.info("networks are computed one after another: torch.vmap cannot compute several of them at once")
        placement = cls(settings, recipe.network, parameters, jobs["stack"])
        return placement.laid_out(jobs["layout"], Path("results", job.wildcards.study, "layouts"), recipe, dataset)

    def laid_out(self, wanted: str, folder: Path, recipe: Recipe, dataset: Dataset) -> "Placement":
        """The same with the memory layout `wanted`; for `auto` that in `folder`, which is measured if it is not there.

        Nothing is measured for networks that are fastest in a stack on any machine: small ones without convolutions.
        """
        convolutional, layout = recipe.network.convolutional, Layout(wanted == "channels_last")
        undecided = recipe.network.stacks and self.training_stack(recipe.training.batch_size, most=2) == 1
        if wanted == "auto" and (convolutional or (undecided and self.wanted_stack == "auto")):
            layout = kept_layout(folder, recipe, dataset, self.settings)
        logging.info("%s", layout)
        settings = replace(self.settings, channels_last=layout.channels_last and convolutional)
        return replace(self, settings=settings, together=layout.together)

    def training_stack(self, batch_size: int, most: int) -> int:
        """How many of `most` networks to train at once, on batches of this size."""
        if self.wanted_stack == "auto" and self.together is not None:
            return most if self.together else 1
        return self._stack(batch_size, most)

    def evaluation_stack(self, most: int) -> int:
        """How many of `most` networks, or points of a path, to evaluate at once."""
        return self._stack(self.settings.evaluation_batch_size, most)

    def _stack(self, batch_size: int, most: int) -> int:
        wanted = self.wanted_stack if self.network.stacks else 1
        return devices.stack_size(
            wanted, self.network.convolutional, self.parameters, batch_size, self.settings.device, most
        )
