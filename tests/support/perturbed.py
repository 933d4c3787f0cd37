"""Networks and quadratic losses that are perturbed, and the calls that perturb them."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from helpers import recipe
from torch import Tensor, nn

from isthmus.landscape.loss_surface import LossSurface
from isthmus.landscape.perturbations import (
    NoiseResponse,
    WorstCase,
    noise_response,
    worst_in_ball,
)
from isthmus.models.networks import build

CLASSES, EXAMPLES = 3, 7


def data(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images `[7, 1, 4, 4]`, float64, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(EXAMPLES, 1, 4, 4, generator=generator, dtype=torch.float64)
    return images, torch.randint(0, CLASSES, (EXAMPLES,), generator=generator)


IMAGES, LABELS = data()


def surface_of(network: nn.Module, changes: dict[str, Any]) -> LossSurface:
    """The loss of a network on these images, with what `changes` say of it, which are taken out of them."""
    keys: dict[str, Any] = {"images": IMAGES, "labels": LABELS, "loss": "cross_entropy"}
    keys |= {"statistics_images": IMAGES[None], "batch_size": EXAMPLES}
    return LossSurface(network, **{key: changes.pop(key, value) for key, value in keys.items()})


def respond(network: nn.Module, weights: dict[str, Tensor], seed: int = 0, **changes: Any) -> NoiseResponse:
    keys: dict[str, Any] = {"sigma": 0.1, "relative": False, "draws": 5}
    surface = surface_of(network, changes)
    return noise_response(surface, weights, generator=np.random.default_rng(seed), **keys | changes)


def worst(network: nn.Module, weights: dict[str, Tensor], **changes: Any) -> WorstCase:
    surface = surface_of(network, changes)
    return worst_in_ball(surface, weights, **{"rho": 0.1} | changes)


def network_of(stack: int = 1, **keys: Any) -> nn.Module:
    return build(recipe(width=4, depth=1, network=keys).network, (1, 4, 4), CLASSES, stack).double()


def weights_of(**keys: Any) -> dict[str, Tensor]:
    """Initial weights by name `[1, ...]`, scales and shifts of normalization layers moved from 1 and 0."""
    network = network_of(**keys)
    network.initialize([3])
    torch.manual_seed(5)
    return {name: (value + 0.1 * torch.randn_like(value)).detach() for name, value in network.named_parameters()}


KINDS: list[dict[str, Any]] = [
    {"architecture": "mlp", "normalization": "none"},
    {"architecture": "mlp", "normalization": "batch"},
    {"architecture": "cnn", "normalization": "batch", "blocks": 2, "hidden_units": 0},
    {"architecture": "cnn", "normalization": "layer", "blocks": 2, "hidden_units": 0},
]


class Linear(nn.Module):
    """Outputs linear in the weights, so that the squared error is a quadratic function of them."""

    def __init__(self, stack: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(stack, CLASSES, 16, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2) @ self.weight.mT


class Quadratic:
    """The loss |X W^T - Y|^2 / (C N) = L + g . e + e . H e / 2 at W + e, by the textbook, as a function of flat e."""

    def __init__(self, weights: Tensor) -> None:
        x, y = IMAGES.flatten(1), F.one_hot(LABELS, CLASSES).double()
        residual = x @ weights[0].mT - y
        count = residual.numel()
        self.loss = float(residual.square().sum() / count)
        self.gradient = (2 / count * residual.mT @ x).flatten()
        self.hessian = torch.block_diag(*[2 / count * x.mT @ x] * CLASSES)

    def at(self, e: Tensor) -> float:
        return float(self.loss + self.gradient @ e + e @ self.hessian @ e / 2)


def quadratic() -> tuple[dict[str, Tensor], Quadratic]:
    weight = torch.randn(1, CLASSES, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return {"weight": weight}, Quadratic(weight)
