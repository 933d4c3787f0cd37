"""Which layers can be repaired, in modules of every kind, and why others cannot."""

from collections.abc import Callable

import own_models
import permutable
import pytest
import torch
from permutable import CLASSES, SHAPE
from torch import nn

from isthmus.core.errors import UserError
from isthmus.models.repairable import repairable_layers
from isthmus.models.unit_groups import own_groups

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "MLP with layer normalization": (permutable.normalized_mlp, ("1", "4")),
    "CNN with flattened channels": (permutable.flattened_cnn, ("0", "3", "6")),
    # Batch normalization follows all others.
    "ResNet": (permutable.residual, ("first", "second")),
    "torchvision's ResNet-18": (permutable.NarrowResNet, ()),
    "depthwise convolutions": (lambda: own_models.depthwise(4, CLASSES, SHAPE), ("0",)),
    "grouped convolution": (permutable.grouped, ("0", "2", "4")),
    "group normalization": (permutable.group_normalized, ("0", "3")),
    "concatenated channels": (permutable.dense, ("first", "second", "last")),
}
REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a layer called twice": (permutable.recurrent, "the layer again computes hidden units in several places"),
    "a layer without bias": (permutable.HandWrittenViT, "the layer block.qkv has no bias, and no batch normalization"),
    "attention": (
        lambda: own_models.ViT(SHAPE, CLASSES),
        r"the hidden units of layers.0.self_attn.in_proj_weight are not computed by a linear layer",
    ),
    "tied weights": (lambda: own_models.Tied(SHAPE, CLASSES), "the layer encode computes hidden units in several"),
}


def layers_of(module: nn.Module) -> tuple[str, ...]:
    images = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    return repairable_layers(module.eval(), images, own_groups(module, images).groups)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_those_that_compute_hidden_units_and_no_batch_normalization_follows(name: str) -> None:
    make, expected = LAYERS[name]
    assert layers_of(make()) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_repaired_is_refused_by_name(name: str) -> None:
    make, why = REFUSED[name]
    with pytest.raises(UserError, match=why):
        layers_of(make())
