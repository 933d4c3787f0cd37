"""The data that theory networks fit: random inputs with arbitrary targets, or images with targets of their class."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from isthmus.analyses.manifold.theory import Problem, TheoryNetwork
from isthmus.core.seeds import Stream, generator
from isthmus.data.dataset import Dataset, normalized, select
from isthmus.data.subsets import subset
from isthmus.recipes.cells import combinations

AXES = ("data", "activation", "outputs", "depth", "width", "points")

# The purposes of random numbers: the first counter of `Stream.THEORY`.
INPUTS, TARGETS, OFF_INPUTS, START, GOAL, FEATURES = range(6)


@dataclass(frozen=True)
class TheorySpec:
    """One combination of a sweep. width: units of each of `depth` hidden layers; data: `random` or `images`."""

    width: int
    depth: int
    points: int
    outputs: int
    activation: str
    data: str

    @property
    def name(self) -> str:
        """A name for files."""
        return "-".join([self.data, self.activation, *(f"{key}={getattr(self, key)}" for key in AXES[2:])])

    def as_dict(self) -> dict[str, Any]:
        """The fields as a dictionary."""
        return asdict(self)


def specs_of(sweep: Mapping[str, Any]) -> Iterator[TheorySpec]:
    """All combinations of a sweep; the number of points varies fastest."""
    for values in combinations({axis: sweep[axis] for axis in AXES}):
        yield TheorySpec(**values)


def problem_of(
    spec: TheorySpec, seed: int, input_dimension: int, off_points: int, dataset: Dataset | None, device: torch.device
) -> Problem:
    """The problem of a seed; its larger data sets contain the smaller. Width, depth and activation change no data.

    input_dimension: of random data. off_points: number of inputs off the data, at most the number of test images.
    dataset: for `images`, which raise ValueError without it.
    """
    if spec.data == "random":
        inputs, targets, off_inputs, off_targets = _random(spec, seed, input_dimension, off_points)
    elif dataset is not None:
        inputs, targets, off_inputs, off_targets = _images(spec, seed, dataset, off_points)
    else:
        raise ValueError("a problem of images needs a data set")
    network = TheoryNetwork(inputs.shape[1], spec.width, spec.depth, spec.outputs, spec.activation)
    off_targets = None if off_targets is None else off_targets.to(device)
    return Problem(network, inputs.to(device), targets.to(device), off_inputs.to(device), off_targets)


def _random(spec: TheorySpec, seed: int, dimension: int, off_points: int) -> tuple[Tensor, Tensor, Tensor, None]:
    """Standard normal inputs with independent standard normal targets: arbitrary labels."""
    sizes = {
        INPUTS: (spec.points, dimension),
        TARGETS: (spec.points, spec.outputs),
        OFF_INPUTS: (off_points, dimension),
    }
    drawn = {use: generator(seed, Stream.THEORY, use).standard_normal(size) for use, size in sizes.items()}
    inputs, targets, off_inputs = (torch.from_numpy(each) for each in drawn.values())
    return inputs, targets, off_inputs, None


def class_targets(labels: Tensor, classes: int, outputs: int) -> Tensor:
    """Targets `[N, outputs]` of classes `[N]`: for one output -1 (even) or 1 (odd), else one-hot.

    Raises ValueError if there is neither 1 output nor one per class.
    """
    if outputs == 1:
        return (2.0 * (labels % 2) - 1).double()[:, None]
    if outputs != classes:
        raise ValueError(f"images of {classes} classes take 1 output or {classes}, not {outputs}")
    return torch.nn.functional.one_hot(labels, classes).double()


def _images(spec: TheorySpec, seed: int, dataset: Dataset, off_points: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A balanced selection of training images, flattened and normalized; off the data, a subset of the test images."""
    chosen = torch.from_numpy(select(dataset.train_labels.numpy(), spec.points, "balanced", seed))
    apart = subset(dataset.test_labels, off_points)
    parts: list[Tensor] = []
    for images, labels in (
        (dataset.train_images[chosen], dataset.train_labels[chosen]),
        (dataset.test_images[apart], dataset.test_labels[apart]),
    ):
        parts.append(normalized(images, dataset.mean, dataset.std).flatten(1).double())
        parts.append(class_targets(labels, dataset.classes, spec.outputs))
    return parts[0], parts[1], parts[2], parts[3]
