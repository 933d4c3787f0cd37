"""Built-in architectures and modules of one's own, alone and in a stack, on the device and in float64 on the CPU."""

from collections.abc import Callable

import own_models
import pytest
import torch
from architectures import CLASSES, SHAPE, recipe_name, recipes
from torch import Tensor

from isthmus.models.evaluation import evaluation_mode, losses
from isthmus.models.functional import Stacked
from isthmus.models.networks import build

OWN_SHAPE, BATCH, BOUND = (1, 8, 8), 24, 2e-4
"""BOUND: on |difference| / |value| in float32, through some twenty layers and normalizations over 24 images."""
BUILT_IN = {recipe_name(each): lambda stack, each=each: build(each, SHAPE, CLASSES, stack) for each in recipes(6)}
OWN = {
    "own-vit": (lambda: own_models.ViT(OWN_SHAPE, CLASSES), "head"),
    "own-depthwise": (lambda: own_models.depthwise(4, CLASSES, OWN_SHAPE), "15"),
    "own-tied": (lambda: own_models.Tied(OWN_SHAPE, CLASSES), "head"),
}
NETWORKS: dict[str, Callable[[int], Stacked]] = BUILT_IN | {
    name: lambda stack, make=make, last=last: Stacked(make, stack, last_layer=last)
    for name, (make, last) in OWN.items()
}


def computed(network: Stacked, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Losses and their gradients in training mode, and outputs in evaluation mode, in float64 on the CPU."""
    weights = tuple(network.parameters())
    value = losses(network.train()(images), labels, "cross_entropy")
    gradients = torch.autograd.grad(value.sum(), weights)
    with evaluation_mode(network, images), torch.no_grad():
        outputs = network(images)
    return [each.detach().cpu().double() for each in (value, *gradients, outputs)]


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_losses_gradients_and_outputs_are_those_of_float64(name: str, stack: int, device: torch.device) -> None:
    network = NETWORKS[name](stack)
    network.initialize(range(stack))
    shape = OWN_SHAPE if name.startswith("own") else SHAPE
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(stack, BATCH, *shape, generator=generator)
    labels = torch.randint(CLASSES, (stack, BATCH), generator=generator)
    found = computed(network.to(device), images.to(device), labels.to(device))
    exact = computed(network.cpu().double(), images.double(), labels)
    scale = torch.stack([each.norm() for each in exact[1:-1]]).norm()  # of the whole gradient: some parts are zero
    for ours, theirs in zip(found[1:-1], exact[1:-1], strict=True):
        assert (ours - theirs).norm() < BOUND * scale
    for ours, theirs in ((found[0], exact[0]), (found[-1], exact[-1])):
        assert (ours - theirs).norm() < BOUND * theirs.norm()
