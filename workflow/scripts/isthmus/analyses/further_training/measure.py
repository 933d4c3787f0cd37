"""Further training of trained networks, pruned or not, on corrupted images or on another data set.

All networks of a seed see the second data set in the same new order and start with a fresh optimizer. Masks stay in
force, so pruned weights stay zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.core import seeds
from isthmus.core.tensors import Tensors, checksum, flatten
from isthmus.data.corruptions import corrupt
from isthmus.data.dataset import Dataset
from isthmus.landscape.corrupted_images import white
from isthmus.landscape.evaluator import Evaluator
from isthmus.tables.rows import Row, Rows, finite
from isthmus.training.checkpoint import State
from isthmus.training.starts import Start, begin
from isthmus.training.trainer import Member


@dataclass(frozen=True)
class Trained:
    """A trained network: its seed, kind and level of pruning, its weights by name `[...]`, and its mask, if pruned."""

    seed: int
    kind: str
    level: int
    weights: Tensors
    mask: Tensors

    @property
    def digest(self) -> str:
        """A digest of weights and mask."""
        return checksum(flatten({"weights": self.weights, "mask": self.mask}), {})


def kept_networks(tensors: Mapping[str, Any], seed: int, kind: str, level: int) -> Trained | None:
    """A pruned network in the file of the analysis `tickets`, unflattened; None if it is not kept there.

    >>> kept = {"mask": {"a": torch.tensor([True])}, "weights": {"a": torch.tensor([2.0])}}
    >>> kept_networks({"3": {"1": kept}}, 3, "ticket", 1).weights
    {'a': tensor([2.])}
    >>> kept_networks({"3": {"1": kept}}, 3, "random", 1) is None
    True
    """
    own = tensors.get(str(seed), {}).get(str(level), {})
    own = own if kind == "ticket" else own.get("controls", {}).get(kind, {})
    return Trained(seed, kind, level, own["weights"], own["mask"]) if "weights" in own else None


def second_data(first: Dataset, other: Dataset | None, options: Mapping[str, Any]) -> Dataset:
    """The data set to train on: that of the networks or `other`, with the `corruption` of the options.

    Images are normalized by the constants of the first. Raises ValueError if image shapes or numbers of classes differ.
    """
    source = other or first
    if source.shape != first.shape or source.classes != first.classes:
        raise ValueError(f"the data sets {first.name} and {source.name} differ in the shape of images or in classes")
    # Training and test images have draws of their own; those of test images are the same as in `robustness`.
    draws = seeds.integer(options["seed"], "corrupted training images"), options["seed"]
    halves = source.train_images, source.test_images
    train, test = (_shifted(raw, first, source, options, draw) for raw, draw in zip(halves, draws, strict=True))
    return replace(source, train_images=train, test_images=test, mean=first.mean, std=first.std)


def _shifted(raw: Tensor, first: Dataset, source: Dataset, options: Mapping[str, Any], draw: int) -> Tensor:
    """Raw images of `source`, corrupted, in the units of `first`; exactly as they are if nothing has to change."""
    if options["corruption"] is None and (source is first or raw.dtype != torch.uint8):
        return raw
    scale, unit = white(source.train_images), white(first.train_images)
    if options["corruption"] is None:
        return raw if scale == unit else raw * (unit / scale)
    return corrupt(raw / scale, options["corruption"], options["severity"], draw) * unit


def name_of(data: Dataset, options: Mapping[str, Any]) -> str:
    """The second data set in words, such as `digits, contrast of severity 3`."""
    corruption = options["corruption"]
    return data.name if corruption is None else f"{data.name}, {corruption} of severity {options['severity']}"


def member_of(network: Trained) -> Member:
    """How a network is trained further: its seed's labels, and a data order that all networks of the seed share."""
    return Member(network.seed, seeds.integer(network.seed, "further training"), network.mask)


def start_state(networks: Mapping[int, Trained]) -> State:
    """The state of a stack of trained networks, by number, before its first further step."""
    starts = {number: Start(each.weights, {}, 0) for number, each in networks.items()}
    return begin(starts, {number: each.mask for number, each in networks.items()})


def on_first_data(evaluator: Evaluator, seed: int, networks: Sequence[Tensors]) -> Rows:
    """Losses and accuracies of networks of a seed, by name `[...]`, on the data that they learned at first."""

    def weights_at(chosen: Tensor) -> Tensors:
        own = [evaluator.placed(networks[number]) for number in chosen.tolist()]
        return {name: torch.cat([each[name] for each in own]) for name in own[0]}

    scores = evaluator.at(weights_at, np.zeros(len(networks)), evaluator.labels(seed)[None])
    columns = {
        f"first_{name}_{measured}": values
        for name, both in scores.items()
        for measured, values in zip(("loss", "accuracy"), both, strict=True)
    }
    return [{name: finite(values[member]) for name, values in columns.items()} for member in range(len(networks))]


def rows_of(history: Rows, before: Row, after: Row | None) -> Rows:
    """The rows of a network, one for each evaluation on the second data, at the ends with those on the first data.

    history: what training recorded. before, after: from `on_first_data`; after is None if the network diverged.
    """
    columns = ("epoch", "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "movement")
    rows = [{name: row[name] for name in columns} | {"final": False, "diverged": after is None} for row in history]
    rows[0] |= before
    rows[-1] |= {"final": True} | (after or {})
    accuracies = before["first_test_accuracy"], (after or {}).get("first_test_accuracy")
    if None not in accuracies:
        rows[-1]["forgotten"] = accuracies[0] - accuracies[1]
    return rows
