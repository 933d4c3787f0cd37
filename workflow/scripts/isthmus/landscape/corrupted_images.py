"""Accuracy and loss on corrupted test images (Hendrycks & Dietterich 2019), or on those of another data set.

Images are corrupted as pixel values in [0, 1] (`isthmus.data.corruptions`), then normalized with the mean and deviation
of the data set that the networks were trained on. All networks see the same images. Batch-norm statistics come from
clean training images, as everywhere, and are never adapted to the test images.

    test = CorruptedTest.of(evaluator, dataset, options)
    accuracy = corrupted_accuracy(evaluator, test, [weights_of_one, weights_of_another])
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from isthmus.core.tensors import Tensors
from isthmus.data.corruptions import IMAGES_AT_ONCE, SEVERITIES, corrupt
from isthmus.data.dataset import Dataset, normalized
from isthmus.data.subsets import subset
from isthmus.landscape.evaluator import Evaluator
from isthmus.models.evaluation import evaluate, evaluation_mode

WHITES = (1.0, 16.0, 255.0)
"""Raw values that white can have: in masks, in scikit-learn's digits, in 8-bit images."""

KEPT_BYTES = 256e6
"""Corrupted images are kept for reuse if all of them together take no more memory than this."""

Scores = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def white(images: Tensor) -> float:
    """The raw value of white in a data set with these raw training images: the smallest of `WHITES` that none exceeds.

    >>> white(torch.tensor([0, 200], dtype=torch.uint8))
    255.0
    """
    largest = float(images.max())
    return next(value for value in WHITES if largest <= value)


@dataclass
class CorruptedTest:
    """Test images under the chosen corruptions and severities, computed on demand.

    pixels: `[N, C, H, W]` float32 in [0, 1], on the CPU. labels: `[1, N]` on the device. placed: a function from
    corrupted pixels to normalized images on the device. seed: for random corruptions, the same for all networks.
    """

    pixels: Tensor
    labels: Tensor
    placed: Callable[[Tensor], Tensor]
    corruptions: Sequence[str]
    severities: Sequence[int]
    seed: int
    kept: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, evaluator: Evaluator, dataset: Dataset, options: Mapping[str, Any]) -> "CorruptedTest":
        """The test images of `evaluator`, with the `corruptions`, `severities` and `seed` of the options."""
        pixels = dataset.test_images[evaluator.test_indices.cpu()] / white(dataset.train_images)
        labels = evaluator.examples.test_labels[:, evaluator.test_indices]
        chosen = [name for name in SEVERITIES if name in options["corruptions"]]
        placed = partial(placed_pixels, evaluator, dataset)
        return cls(pixels, labels, placed, chosen, sorted(options["severities"]), options["seed"])

    def images(self, corruption: str, severity: int) -> Tensor:
        """The normalized images `[N, C, H, W]` under one corruption, on the device."""
        if (corruption, severity) in self.kept:
            return self.kept[corruption, severity]
        made = self.placed(corrupt(self.pixels, corruption, severity, self.seed))
        together = made.nbytes * len(self.corruptions) * len(self.severities)
        if together <= KEPT_BYTES:
            self.kept[corruption, severity] = made
        return made

    def __iter__(self) -> Iterator[tuple[str, int, Tensor]]:
        """Every corruption at every severity, with its images, one after another."""
        for corruption in self.corruptions:
            for severity in self.severities:
                yield corruption, severity, self.images(corruption, severity)


def placed_pixels(evaluator: Evaluator, dataset: Dataset, pixels: Tensor) -> Tensor:
    """Pixels `[N, C, H, W]` in [0, 1], normalized like the training images of `dataset`, on the device."""
    scale, device = white(dataset.train_images), evaluator.settings.device
    mean, std = (dataset.mean / scale).to(device), (dataset.std / scale).to(device)
    layout = torch.channels_last if evaluator.settings.channels_last else torch.contiguous_format
    parts = [normalized(part.to(device), mean, std) for part in pixels.split(IMAGES_AT_ONCE)]
    return torch.cat(parts).contiguous(memory_format=layout)


def shifted_examples(evaluator: Evaluator, dataset: Dataset, other: Dataset, size: int | None) -> tuple[Tensor, Tensor]:
    """Test images of another data set `[N, C, H, W]`, normalized like those of `dataset`, and labels `[1, N]`.

    size: the maximum number, None for all. Raises ValueError if image shapes or numbers of classes differ.
    """
    if dataset.train_images.shape[1:] != other.train_images.shape[1:] or dataset.classes != other.classes:
        raise ValueError(f"the data sets {dataset.name} and {other.name} differ in the shape of images or in classes")
    chosen = subset(other.test_labels, size or len(other.test_labels))
    pixels = other.test_images[chosen] / white(other.train_images)
    return placed_pixels(evaluator, dataset, pixels), other.test_labels[chosen][None].to(evaluator.settings.device)


@contextmanager
def scoring(evaluator: Evaluator, weights: Sequence[Tensors]) -> Iterator[Scores]:
    """A function from images `[N, C, H, W]` and labels `[1, N]` to losses and accuracies of all networks, `[networks]`.

    weights: one dictionary by name `[...]` per network. The stack size of `evaluator.network` is the number of networks
    evaluated at once. Batch-norm statistics are computed once, when the context is entered.
    """
    stack = next(evaluator.network.parameters()).shape[0]
    functions = []
    with ExitStack() as modes:
        for start in range(0, len(weights), stack):
            # Repeat the last network to fill the stack.
            chosen = [evaluator.placed(weights[min(start + member, len(weights) - 1)]) for member in range(stack)]
            stacked = {name: torch.cat([each[name] for each in chosen]) for name in chosen[0]}
            network = copy.deepcopy(evaluator.network)
            modes.enter_context(evaluation_mode(network, evaluator.statistics_images, stacked))
            functions.append(partial(torch.func.functional_call, network, stacked))
        kind, size = evaluator.recipe.training.loss, evaluator.settings.evaluation_batch_size

        def scores(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            found = [torch.stack(evaluate(each, images, labels[None], kind, size))[:, 0] for each in functions]
            loss, accuracy = torch.cat(found, dim=-1)[:, : len(weights)]
            return loss, accuracy

        yield scores


def corrupted_accuracy(evaluator: Evaluator, test: CorruptedTest, weights: Sequence[Tensors]) -> Tensor:
    """Mean accuracy of each network over all corruptions and severities of `test`, `[networks]` float64.

    weights: one dictionary by name `[...]` per network; see `scoring`. Raises ValueError if `test` has no corruption.
    """
    if not test.corruptions:
        raise ValueError("a mean over corruptions needs at least one corruption")
    with scoring(evaluator, weights) as scores:
        return torch.stack([scores(images, test.labels)[1] for _, _, images in test]).mean(0)
