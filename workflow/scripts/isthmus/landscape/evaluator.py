"""Data and networks on the device, shared by all measurements of a job.

One `Evaluator` serves all networks of a cell; its measurements depend only on the weights it is given.

    evaluator = Evaluator.of(recipe, dataset, seeds, settings, stack=8, evaluation_examples=5000)
    loss, accuracy = evaluator.along(path, t, evaluator.pair_labels((0, 1)))["test"]
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor, nn

from isthmus.core.devices import Settings
from isthmus.core.tensors import Tensors, checksum, flatten
from isthmus.data.dataset import Dataset
from isthmus.data.examples import Examples, pair_labels, place_examples
from isthmus.data.subsets import places
from isthmus.landscape.at_points import Scores, Sets, evaluate_path, evaluate_points
from isthmus.landscape.loss_surface import LossSurface
from isthmus.landscape.paths import Path
from isthmus.models.functional import Stacked
from isthmus.models.networks import build
from isthmus.recipes.pairs import Pair
from isthmus.recipes.recipe import Recipe


@dataclass(frozen=True)
class TrainedNetwork:
    """The weights of a network at the start, if known, and at the end of training, by name `[...]`, on the CPU."""

    initial: Tensors | None
    final: Tensors

    def checksum(self) -> str:
        """A digest of all these weights."""
        return checksum(flatten({"initial": self.initial or {}, "final": self.final}), {})


@dataclass(frozen=True)
class Evaluator:
    """Data and networks on the device, shared by all measurements.

    seeds: the networks whose labels `examples` holds. network: a stack for many points at once; single: a stack of
    one; the weights of neither matter. evaluation_examples: how many training examples, and how many test examples,
    losses are measured on. hessian_examples: how many training examples Hessians use. `isthmus.data.subsets` selects
    them.
    """

    recipe: Recipe
    settings: Settings
    seeds: tuple[int, ...]
    examples: Examples
    shape: tuple[int, ...]
    classes: int
    network: Stacked
    single: Stacked
    evaluation_examples: int
    hessian_examples: int

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        dataset: Dataset,
        seeds: tuple[int, ...],
        settings: Settings,
        *,
        stack: int = 1,
        evaluation_examples: int | None = None,
        hessian_examples: int = 1,
    ) -> "Evaluator":
        """Put the data, and networks for `stack` points at once, on the device. `evaluation_examples`: None for all."""
        network, single = (
            build(recipe.network, dataset.shape, dataset.classes, count).to(settings.device) for count in (stack, 1)
        )
        examples = place_examples(recipe, dataset, seeds, settings)
        given = (recipe, settings, seeds, examples, dataset.shape, dataset.classes, network, single)
        most = max(len(examples.images), len(examples.test_images))
        return cls(*given, most if evaluation_examples is None else evaluation_examples, hessian_examples)

    def with_fewer(self, examples: int) -> "Evaluator":
        """The same with at most so many examples of each kind for losses, and training examples for statistics."""
        training = self.recipe.training
        fewer = replace(training, statistics_size=min(training.statistics_size, examples))
        most = min(self.evaluation_examples, examples)
        return replace(self, recipe=replace(self.recipe, training=fewer), evaluation_examples=most)

    @property
    def regression(self) -> bool:
        """Whether targets are real numbers, so that there are no accuracies."""
        return self.examples.labels.is_floating_point()

    @cached_property
    def train_indices(self) -> Tensor:
        """Indices of the training examples that losses are measured on, in rising order."""
        return self.examples.subset(self.evaluation_examples)

    @cached_property
    def test_indices(self) -> Tensor:
        """Indices of the test examples that losses are measured on, in rising order."""
        return self.examples.test_subset(self.evaluation_examples)

    @cached_property
    def hessian_indices(self) -> Tensor:
        """Indices of the training examples that Hessians use, in rising order."""
        return self.examples.subset(self.hessian_examples)

    @cached_property
    def train_images(self) -> Tensor:
        """The training images that losses are measured on."""
        return self.examples.images[self.train_indices]

    @cached_property
    def test_images(self) -> Tensor:
        """The test images that losses are measured on."""
        return self.examples.test_images[self.test_indices]

    @cached_property
    def statistics_indices(self) -> Tensor:
        """Indices of the training examples that batch-norm statistics are computed over, in rising order."""
        return self.examples.subset(self.recipe.training.statistics_size)

    @cached_property
    def statistics_images(self) -> Tensor:
        """The images `[1, B, C, H, W]` that batch-norm statistics are computed over."""
        return self.examples.images[self.statistics_indices][None]

    def placed(self, weights: Tensors) -> Tensors:
        """The weights of one network, by name `[...]`, on the device as a stack of one, `[1, ...]`."""
        return {name: value[None].to(self.settings.device) for name, value in weights.items()}

    def labels(self, seed: int) -> Tensor:
        """The training labels of a network, `[N]`."""
        return self.examples.labels[self.seeds.index(seed)]

    def pair_labels(self, pair: Pair) -> Tensor:
        """The training labels of a pair, `[K, N]`: K is 2 if its networks learned different labels, else 1."""
        return pair_labels(self.examples.labels, self.seeds, (pair,))[:, 0]

    def sets(self, labels: Tensor) -> Sets:
        """The training and test examples that losses are measured on, given training labels `[K, N]`."""
        test = self.examples.test_labels[:, self.test_indices]
        test = test.expand(len(labels), *test.shape[1:])
        return {"train": (self.train_images, labels[:, self.train_indices]), "test": (self.test_images, test)}

    def along(self, path: Path, t: np.ndarray, labels: Tensor) -> Scores:
        """Losses and accuracies at the points t of a path on the device, for the training labels `[K, N]`."""
        return evaluate_path(self.network, path, t, self.sets(labels), *self._how(), self._places())

    def at(self, weights_at: Callable[[Tensor], Tensors], shares: np.ndarray, labels: Tensor) -> Scores:
        """Losses and accuracies at many points (`isthmus.landscape.at_points.evaluate_points`)."""
        return evaluate_points(self.network, weights_at, shares, self.sets(labels), *self._how(), self._places())

    def _how(self) -> tuple[str, Tensor, int]:
        return self.recipe.training.loss, self.statistics_images, self.settings.evaluation_batch_size

    def _places(self) -> dict[str, Tensor]:
        return {"train": places(self.train_indices, self.statistics_indices)}

    def loss_surface(self, network: nn.Module, seed: int, chosen: Tensor) -> LossSurface:
        """The loss of `network`, one of the two here, on the training examples `chosen`, with the labels of a seed."""
        seen = places(chosen, self.statistics_indices)
        return LossSurface(network, self.examples.images[chosen], self.labels(seed)[chosen], *self._how(), seen)
