"""Every architecture with every normalization, with random weights, for tests that hold for all of them."""

from itertools import product

import torch
from helpers import recipe
from torch import Tensor, nn

from isthmus.models.evaluation import evaluation_mode
from isthmus.models.networks import build
from isthmus.models.stacked import BatchNorm, LayerNorm
from isthmus.recipes.recipe import NetworkRecipe

SHAPE, CLASSES = (2, 13, 10), 7
NORMALIZATIONS = ("none", "batch", "layer")


def network_recipe(architecture: str, width: int, depth: int, normalization: str, **options: object) -> NetworkRecipe:
    """GELU, so that no unit is dead and every weight matters to the logits."""
    chosen = {"architecture": architecture, "normalization": normalization, "activation": "gelu"}
    return recipe(width, depth, network=chosen | options).network


def recipes(width: int) -> list[NetworkRecipe]:
    """Every architecture with every normalization."""
    kinds = [("mlp", 3, {}), ("cnn", 2, {"blocks": 2, "hidden_units": 6}), ("resnet", 14, {})]
    return [
        network_recipe(name, width, depth, norm, **extra)
        for (name, depth, extra), norm in product(kinds, NORMALIZATIONS)
    ]


def recipe_name(chosen: NetworkRecipe) -> str:
    return f"{chosen.architecture}-{chosen.normalization}-{chosen.hidden_units}"


def random_weights(chosen: NetworkRecipe, seed: int, shape: tuple[int, int, int] = SHAPE) -> dict[str, Tensor]:
    """Weights in float64 of an initialized network whose normalizations are not the identity map."""
    network = build(chosen, shape, CLASSES)
    network.initialize([seed])
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, BatchNorm | LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return {name: parameter[0].detach().double() for name, parameter in network.named_parameters()}


def logits(chosen: NetworkRecipe, weights: dict[str, Tensor], images: Tensor) -> Tensor:
    network = build(chosen, tuple(images.shape[1:]), CLASSES).double()
    network.load_state_dict({name: value[None] for name, value in weights.items()})
    with torch.no_grad(), evaluation_mode(network, images[None]):
        return network(images[None])[0]


def some_images(count: int = 12) -> Tensor:
    return torch.randn(count, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
