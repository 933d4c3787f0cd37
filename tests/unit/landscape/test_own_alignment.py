"""Alignment of modules that are no built-in architecture: planted permutations are found, also of heads."""

from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import own_models
import permutable
import pytest
import torch
from permutable import CLASSES, SHAPE
from torch import Tensor, nn

from isthmus.core import seeds
from isthmus.landscape.alignment.activations import match_activations
from isthmus.landscape.alignment.result import assignment, check_same_function
from isthmus.landscape.alignment.weights import match_weights
from isthmus.models.functional import Stacked
from isthmus.models.hidden_units import Group, apply, inverse, random_permutations
from isthmus.models.permutations.check import random_weights
from isthmus.models.unit_groups import own_groups

MODULES: dict[str, Callable[[], nn.Module]] = {
    "ResNet-18": permutable.NarrowResNet,
    "ViT": lambda: own_models.ViT(SHAPE, CLASSES),
    "hand-written ViT": permutable.HandWrittenViT,
    "depthwise": lambda: own_models.depthwise(4, CLASSES, SHAPE),
    "a layer from a stream to itself": permutable.recurrent,
}
IMAGES = torch.randn(100, *SHAPE, generator=torch.Generator().manual_seed(0))
every_module = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)


def fresh() -> np.random.Generator:
    return seeds.generator(0, seeds.Stream.PROBES, 1)


def planted(make: Callable[[], nn.Module]) -> tuple[Stacked, dict[str, Group], dict[str, Tensor], dict[str, Tensor]]:
    """A network, its groups, its weights, and random permutations."""
    network, found = Stacked(make, 1), own_groups(make(), IMAGES).groups
    return network, found, random_weights(network), random_permutations(found, np.random.default_rng(5))


def copied(weights: dict[str, Tensor], moved: dict[str, Tensor], found: dict[str, Group]) -> dict[str, Tensor]:
    """The weights after permutations, with noise of a hundredth of each parameter's own size."""
    generator = torch.Generator().manual_seed(6)
    return {
        name: value + 0.01 * value.std(correction=0) * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in apply(moved, weights, found).items()
    }


@every_module
def test_weight_matching_finds_a_planted_permutation(make: Callable[[], nn.Module]) -> None:
    network, found, weights, moved = planted(make)
    other = copied(weights, moved, found)
    alignment = match_weights(weights, other, found, fresh())
    for name, expected in inverse(moved).items():
        assert torch.equal(alignment.permutations[name], expected), name
    assert list(alignment.course) == sorted(alignment.course)
    check_same_function(network, other, alignment.weights, IMAGES)


@every_module
def test_activation_matching_finds_a_planted_permutation(make: Callable[[], nn.Module]) -> None:
    network, found, weights, moved = planted(make)
    other = copied(weights, moved, found)
    alignment = match_activations(network, weights, other, found, IMAGES, generator=fresh())
    for name, expected in inverse(moved).items():
        assert torch.equal(alignment.permutations[name], expected), name
    check_same_function(network, other, alignment.weights, IMAGES)


def test_blocks_are_assigned_as_by_brute_force() -> None:
    inside = [torch.tensor(order) for order in permutations((0, 1, 2))]
    every = [
        torch.cat([block * 3 + order for block, order in zip(blocks, orders, strict=True)])
        for blocks in permutations((0, 1, 2))
        for orders in product(inside, repeat=3)
    ]
    for seed in range(5):
        similarities = torch.randn(9, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        totals = [similarities[torch.arange(9), order].sum().item() for order in every]
        step, gain = assignment(similarities, block=3)
        assert torch.equal(step, every[int(np.argmax(totals))])
        assert gain == pytest.approx(max(totals) - similarities.trace().item(), rel=1e-12)


def test_units_that_no_module_reads_or_returns_need_a_generator() -> None:
    network, found, weights, _ = planted(MODULES["ViT"])
    with pytest.raises(ValueError, match=r"units layers\.0\.self_attn are matched by their weights"):
        match_activations(network, weights, weights, found, IMAGES)
