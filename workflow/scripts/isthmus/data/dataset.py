"""The prepared data set as jobs read it.

A data set is one safetensors file. `isthmus.data.sources` writes it once, and every job maps it into memory, so
the processes of a machine share its pages. A study's subset and noisy labels are never stored; they are computed from
seeds whenever they are needed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from isthmus.core.errors import ConfigurationError, DataError
from isthmus.core.seeds import Stream, generator
from isthmus.core.tensors import load_tensors

FORMATS = {"images": "isthmus-dataset-1", "others": "isthmus-dataset-2"}
"""Kind and version of a prepared file, stored in its metadata: 8-bit images with classes, and everything else."""

TENSORS = ("train_images", "train_labels", "test_images", "test_labels", "mean", "std")
"""The tensors of a prepared file."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory.

    `train_images`, `test_images`: uint8 [examples, channels, height, width], as stored; or other inputs
    [examples, ...]: uint8, float32, or int64 for tokens.
    `train_labels`, `test_labels`: int64 [examples], in 0 .. `classes` - 1; or real targets, float32
    [examples, `classes`].
    `mean`, `std`: float32 [channels], of the training images in raw units; a constant channel has `std` 1. For inputs
    that are no images, every value has its own; tokens are not normalized.
    `checksum`: SHA-256 of the whole data set, in hexadecimal.
    """

    name: str
    classes: int
    checksum: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input: channels, height and width of an image."""
        return tuple(self.train_images.shape[1:])


def load_dataset(path: Path | str) -> Dataset:
    """Read a prepared file, memory-mapped, on the CPU, and verify its checksum.

    Raises DataError, naming the file, if it is missing, truncated, altered or not a prepared data set.
    """
    tensors, metadata = load_tensors(path)
    if metadata.get("format") not in FORMATS.values():
        formats = " or ".join(FORMATS.values())
        raise DataError(
            f"{path} is not a prepared data set of the format {formats}; delete it and run the workflow again"
        )
    return Dataset(metadata["name"], int(metadata["classes"]), metadata["checksum"], **tensors)


def normalized(images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """(images - mean) / std, channel by channel: float32 [..., channels, height, width].

    `images`: uint8 or float32 [..., channels, height, width]; `mean`, `std`: float32 [channels], on the same device.
    Inputs that are no images, [examples, ...], have a mean for each value, [...]. Tokens (int64) stay as they are.
    """
    if images.dtype == torch.int64:
        return images
    if mean.dim() == 1 and images.dim() > 2:
        mean, std = mean[:, None, None], std[:, None, None]
    return (images - mean).div_(std)


def select(labels: np.ndarray, train_size: int | None, selection: str, seed: int) -> np.ndarray:
    """The training examples that a study uses: sorted indices, int64 [train_size], or all if `train_size` is None.

    `labels`: int64 [examples]. `selection`: "first" takes the first examples. "balanced" draws a random subset from
    `seed`, in which the counts of any two classes differ by at most one; a class with too few examples gives all it
    has, and the others make up for it. Among real targets, float32 [examples, outputs], which have no classes, it draws
    at random. With the same seed, a larger subset contains every smaller one.

    Raises ConfigurationError if `train_size` is not between 1 and the number of examples, or if `selection` is unknown.
    """
    if selection not in ("balanced", "first"):
        raise ConfigurationError(f"`selection` is `{selection}`; allowed are `balanced` and `first`.")
    examples = len(labels)
    if train_size is None:
        return np.arange(examples)
    if not 1 <= train_size <= examples:
        raise ConfigurationError(
            f"`train_size` is {train_size}, but the training set has {examples} examples: choose at least 1 "
            f"and at most {examples}, or null for all."
        )
    if selection == "first":
        return np.arange(train_size)
    return np.sort(_balanced_order(labels, generator(seed, Stream.SELECTION))[:train_size])


def _balanced_order(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An order of all examples, int64 [examples], in which the first k are balanced for every k.

    The examples of each class are shuffled, then dealt in rounds: one from every class that has some left, in random
    order.
    """
    labels = labels if labels.dtype.kind == "i" else np.zeros(len(labels), np.int64)
    shuffled = random.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    firsts = np.cumsum(counts) - counts
    rounds = np.arange(len(labels)) - np.repeat(firsts, counts)
    return by_class[np.lexsort((random.random(len(labels)), rounds))]


def noisy_labels(labels: np.ndarray, classes: int, fraction: float, generator: np.random.Generator) -> np.ndarray:
    """A copy of `labels` with round(`fraction` * examples) wrong ones (Zhang et al. 2017).

    `labels` and the result: int64 [examples], in 0 .. `classes` - 1. The changed examples are drawn uniformly, and each
    gets a label drawn uniformly from the other classes.

    Raises ConfigurationError if `fraction` is outside [0, 1] or there is no other class.
    """
    if not 0 <= fraction <= 1:
        raise ConfigurationError(f"`label_noise` is {fraction}; it must be a fraction between 0 and 1.")
    if fraction and classes < 2:
        raise ConfigurationError("`label_noise` needs at least two classes, and the data set has one.")
    noisy = labels.copy()
    count = round(fraction * len(labels))
    if not count:  # real targets never have noise
        return noisy
    chosen = generator.choice(len(labels), count, replace=False)
    noisy[chosen] = (labels[chosen] + generator.integers(1, max(classes, 2), count)) % classes
    return noisy
