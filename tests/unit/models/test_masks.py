"""Masks: magnitudes ranked as PyTorch's own pruning ranks them, exact counts, and the output layer's own rate."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers import recipe
from torch import nn
from torch.nn.utils import prune

from isthmus.models.masks import (
    Kept,
    Pool,
    count_kept,
    free,
    magnitude_mask,
    masked,
    pools,
    prunable,
    random_mask,
    schedule,
)
from isthmus.models.networks import build


def weights_of(
    architecture: str = "mlp", depth: int = 2, **options: Any
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    network = build(recipe(6, depth, network={"architecture": architecture} | options).network, (1, 8, 8), 10)
    network.initialize([0])
    return {name: value.detach()[0] for name, value in network.named_parameters()}, prunable(network)


@pytest.mark.parametrize(
    ("architecture", "depth", "layers"), [("mlp", 3, 4), ("cnn", 2, 6 + 2), ("resnet", 14, 1 + 12 + 2 + 1)]
)
def test_weights_of_linear_and_convolution_layers_can_be_pruned_and_nothing_else(
    architecture: str, depth: int, layers: int
) -> None:
    weights, names = weights_of(architecture, depth, normalization="batch")
    assert len(names) == layers
    assert all(weights[name].dim() in (2, 4) for name in names)
    assert not any(value.dim() > 1 for name, value in weights.items() if name not in names)
    assert weights[names[-1]].shape[0] == 10  # the output layer is the last


def test_global_masks_are_those_of_pytorch() -> None:
    weights, names = weights_of("cnn", 1, normalization="batch")
    modules = []
    for name in names:
        module = nn.Module()
        module.weight = nn.Parameter(weights[name].clone())
        modules.append(module)
    prune.global_unstructured([(module, "weight") for module in modules], prune.L1Unstructured, amount=0.7)
    total = sum(weights[name].numel() for name in names)
    mask = magnitude_mask(weights, None, pools(names, "global", 1.0), Kept((total - round(0.7 * total)) / total, 0.0))
    for name, module in zip(names, modules, strict=True):
        assert torch.equal(mask[name], module.weight_mask.bool())


def test_layerwise_masks_are_those_of_pytorch() -> None:
    weights, names = weights_of(depth=3)
    (kept,) = schedule([0.5], 1.0)
    mask = magnitude_mask(weights, None, pools(names, "layerwise", 1.0), kept)
    for name in names:
        module = nn.Module()
        module.weight = nn.Parameter(weights[name].clone())
        prune.l1_unstructured(module, "weight", amount=0.5)
        assert torch.equal(mask[name], module.weight_mask.bool())


def test_counts_are_exact_at_every_level_and_masks_are_nested() -> None:
    weights, names = weights_of(depth=2)
    total, before = sum(weights[name].numel() for name in names), None
    ranked = pools(names, "global", 1.0)
    generator = torch.Generator().manual_seed(1)
    for kept in schedule([0.8**level for level in range(1, 25)], 1.0):
        trained = {name: torch.randn(value.shape, generator=generator) for name, value in weights.items()}
        mask = magnitude_mask(trained, before, ranked, kept)
        assert sum(int(each.sum()) for each in mask.values()) == count_kept(kept.fraction, total)
        if before is not None:
            assert not any((mask[name] & ~before[name]).any() for name in names)
        before = mask


def test_of_equal_magnitudes_the_first_are_kept() -> None:
    weights = {"a": torch.full((2, 3), -0.5), "b": torch.full((4,), 0.5)}
    mask = magnitude_mask(weights, None, [Pool(("a", "b"), False)], Kept(0.7, 0.7))
    assert mask["a"].all()
    assert mask["b"].tolist() == [True, False, False, False]


def test_a_survivor_of_value_zero_outranks_what_was_pruned() -> None:
    before = {"a": torch.tensor([False, True, True, False])}
    mask = magnitude_mask({"a": torch.tensor([9.0, 0.0, 1.0, 8.0])}, before, [Pool(("a",), False)], Kept(0.5, 0.5))
    assert mask["a"].tolist() == [False, True, True, False]


def test_the_output_layer_gets_its_share_of_every_level() -> None:
    """Frankle & Carbin (2019): 20 % per level, 10 % of the output layer: 0.8^k and 0.9^k are left after k levels."""
    levels = schedule([0.8**level for level in range(1, 6)], 0.5)
    assert [kept.output_fraction for kept in levels] == pytest.approx([0.9**level for level in range(1, 6)])
    assert [kept.output_fraction for kept in schedule([0.5, 0.1], 1.0)] == pytest.approx([0.5, 0.1])
    assert [kept.output_fraction for kept in schedule([0.5, 0.1], 0.0)] == [1, 1]
    weights, names = weights_of(depth=2)
    for scope in ("global", "layerwise"):
        mask = magnitude_mask(weights, None, pools(names, scope, 0.5), levels[2])
        hidden = sum(int(mask[name].sum()) for name in names[:-1])
        sizes = [weights[name].numel() for name in names]
        rounded = [count_kept(0.8**3, size) for size in ([sum(sizes[:-1])] if scope == "global" else sizes[:-1])]
        assert hidden == sum(rounded)
        assert int(mask[names[-1]].sum()) == count_kept(0.9**3, sizes[-1])


def test_random_masks_have_the_counts_of_the_ticket_in_every_layer() -> None:
    weights, names = weights_of(depth=2)
    ticket = magnitude_mask(weights, None, pools(names, "global", 1.0), Kept(0.2, 0.2))
    one, same, other = (random_mask(ticket, np.random.default_rng(seed)) for seed in (0, 0, 1))
    for name in names:
        assert one[name].sum() == ticket[name].sum()
        assert torch.equal(one[name], same[name])
    assert any(not torch.equal(one[name], other[name]) for name in names)


def test_a_mask_leaves_biases_and_normalization_alone() -> None:
    weights, names = weights_of("mlp", 2, normalization="layer")
    mask = magnitude_mask(weights, None, pools(names, "global", 1.0), Kept(0.01, 0.01))
    for name, value in masked(weights, mask).items():
        assert torch.equal(value, weights[name] * mask[name] if name in names else weights[name])
    others = sum(value.numel() for name, value in weights.items() if name not in names)
    assert int(free(weights, mask).sum()) == sum(int(each.sum()) for each in mask.values()) + others
