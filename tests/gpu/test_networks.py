"""Built-in architectures and modules of one's own, alone and in a stack, on the device and in float64 on the CPU."""

from collections.abc import Callable

import own_models
import pytest
import torch
from architectures import CLASSES, SHAPE, recipe_name, recipes
from rounding import rounding_error
from torch import Tensor

from isthmus.models.evaluation import evaluation_mode, losses
from isthmus.models.functional import Stacked
from isthmus.models.networks import build

OWN_SHAPE, BATCH = (1, 8, 8), 24
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


def computed(network: Stacked, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Losses and all their gradients in training mode, and outputs in evaluation mode, in float64 on the CPU."""
    weights = tuple(network.parameters())
    value = losses(network.train()(images), labels, "cross_entropy")
    gradients = torch.autograd.grad(value.sum(), weights)
    with evaluation_mode(network, images), torch.no_grad():
        outputs = network(images)
    found = value, torch.cat([each.flatten() for each in gradients]), outputs.flatten()
    return tuple(each.detach().cpu().double() for each in found)


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
    network.cpu().double()
    # The bound: what rounding every operation to float32 does to the computation in float64, sums by their lengths.
    exact, error = rounding_error(lambda: torch.cat(computed(network, images.double(), labels)), repeats=4)
    sizes = [len(each) for each in found]
    for ours, theirs, bound in zip(found, exact.split(sizes), error.split(sizes), strict=True):
        assert (ours - theirs).norm() <= bound.norm()
