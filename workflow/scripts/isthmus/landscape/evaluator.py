"""The ground that paths, planes and curvature are measured on: data on the device, and a place for the networks.

A `Ground` is made once by a job and shared by all its measurements; what is measured depends on the networks alone.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from isthmus.core.devices import Settings
from isthmus.core.tensors import Tensors, checksum
from isthmus.data.dataset import Dataset
from isthmus.data.examples import Examples, pair_labels, place_examples
from isthmus.landscape.graph_memory import keeps_graph
from isthmus.landscape.sharpness import Setup
from isthmus.models.architectures import build
from isthmus.recipes.pairs import Pair
from isthmus.recipes.recipe import Recipe


@dataclass(frozen=True)
class Ends:
    """A trained network, by name `[...]` on the CPU: its weights at the start and at the end of training."""

    initial: Tensors
    final: Tensors

    def checksum(self) -> str:
        """A digest of all of it."""
        named = {f"initial/{name}": value for name, value in self.initial.items()}
        return checksum(named | {f"final/{name}": value for name, value in self.final.items()}, {})


@dataclass
class Ground:
    """What the networks of a cell are measured on: data on the device, a place for them, and the options.

    options: those of the analysis. seeds: the networks whose labels `examples` holds. network: a stack for many points
    at once; single: a stack of one. evaluated: number of training examples, and of test examples, that losses are
    measured on; differentiated: number of training examples that Hessians are. Which ones they are says
    `isthmus.data.subsets`. What belongs to one network is measured once and kept in `known`.
    """

    recipe: Recipe
    options: dict[str, Any]
    settings: Settings
    seeds: tuple[int, ...]
    examples: Examples
    network: nn.Module
    single: nn.Module
    shape: tuple[int, int, int]
    classes: int
    evaluated: int
    differentiated: int
    known: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        dataset: Dataset,
        network_seeds: tuple[int, ...],
        options: dict[str, Any],
        settings: Settings,
        stack: int,
        evaluated: int | None,
        differentiated: int,
    ) -> "Ground":
        """Place the data, and room for `stack` points at once, on the device. `evaluated` None stands for all."""
        network, single = (
            build(recipe.network, dataset.shape, dataset.classes, count).to(settings.device) for count in (stack, 1)
        )
        examples = place_examples(recipe, dataset, network_seeds, settings)
        most = max(len(examples.images), len(examples.test_images)) if evaluated is None else evaluated
        given = (recipe, options, settings, network_seeds, examples, network, single, dataset.shape, dataset.classes)
        return cls(*given, most, differentiated)

    def __post_init__(self) -> None:
        examples = self.examples
        self.train_indices, self.test_indices = examples.subset(self.evaluated), examples.test_subset(self.evaluated)
        self.train_images = examples.images[self.train_indices]
        self.test_images = examples.test_images[self.test_indices]
        self.statistics_images = examples.images[examples.subset(self.recipe.training.statistics_size)][None]
        self.hessian_indices = examples.subset(self.differentiated)

    def placed(self, weights: Tensors) -> Tensors:
        """The weights of one network, by name `[...]`, on the device as a stack of one, `[1, ...]`."""
        return {name: value[None].to(self.settings.device) for name, value in weights.items()}

    def own_labels(self, seed: int) -> Tensor:
        """The training labels of one network, `[N]`."""
        return self.examples.labels[self.seeds.index(seed)]

    def labels(self, pair: Pair) -> Tensor:
        """The training labels of a pair, `[K, N]`."""
        return pair_labels(self.examples.labels, self.seeds, (pair,))[:, 0]

    def sets(self, labels: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The examples to evaluate on, for the training labels `[K, N]`."""
        test = self.examples.test_labels[:, self.test_indices].expand(len(labels), -1)
        return {"train": (self.train_images, labels[:, self.train_indices]), "test": (self.test_images, test)}

    def sharpness_setup(self, tolerance: float, precision: float | None, maximum_products: int = 1000) -> Setup:
        """Where sharpness is measured, and how precisely (`isthmus.landscape.sharpness.Setup`)."""
        images = self.examples.images[self.hessian_indices]
        keep, loss = keeps_graph(self.recipe.network, self.shape, self.classes, len(images)), self.recipe.training.loss
        return Setup(self.single, images, self.statistics_images, loss, tolerance, precision, maximum_products, keep)


def finite(value: float | Tensor | np.ndarray | None) -> float | None:
    """A number as it stands in a table: None where it is not finite."""
    return float(value) if value is not None and np.isfinite(float(value)) else None
