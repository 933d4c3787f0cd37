"""What no rescaling can change about sharpness by perturbation, and what is refused."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from perturbed import (
    IMAGES,
    KINDS,
    LABELS,
    network_of,
    respond,
    weights_of,
    worst,
)
from rounding import assert_within, rounding_error
from torch import Tensor, nn

from isthmus.core.errors import UserError

# Rescaling


def rescaled(weights: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """The first layer of a ReLU network times a factor, the second divided by it: the same function."""
    first, bias, second = list(weights)[:3]
    return weights | {
        first: weights[first] * factor,
        bias: weights[bias] * factor,
        second: weights[second] / factor,
    }


def relative_noise(network: nn.Module, weights: dict[str, Tensor]) -> float:
    return respond(network, weights, relative=True, sigma=0.2).mean_loss


def absolute_noise(network: nn.Module, weights: dict[str, Tensor]) -> float:
    return respond(network, weights, relative=False, sigma=0.2).mean_loss


def adaptive_ball(network: nn.Module, weights: dict[str, Tensor]) -> float:
    return worst(network, weights, rho=0.2, steps=2, adaptive=True, eta=0.0).worst_loss


def plain_ball(network: nn.Module, weights: dict[str, Tensor]) -> float:
    return worst(network, weights, rho=0.2, steps=2).worst_loss


@pytest.mark.parametrize(
    ("measure", "invariant"),
    [(relative_noise, True), (absolute_noise, False), (adaptive_ball, True), (plain_ball, False)],
)
def test_only_relative_measures_agree_on_networks_that_compute_the_same(
    measure: Callable[[nn.Module, dict[str, Tensor]], float], invariant: bool
) -> None:
    weights, network = weights_of(activation="relu"), network_of(activation="relu")
    scaled = rescaled(weights, 10.0)
    outputs = [torch.func.functional_call(network, each, (IMAGES[None],)) for each in (weights, scaled)]
    torch.testing.assert_close(*outputs)
    first, second = (measure(network, each) for each in (weights, scaled))
    assert (second == pytest.approx(first, rel=1e-10)) == invariant


# What is refused


def test_impossible_requests_are_refused() -> None:
    weights, network = weights_of(), network_of()
    pair = {name: torch.cat([value, value]) for name, value in weights.items()}
    for measure in (respond, worst):
        with pytest.raises(ValueError, match="stack of one"):
            measure(network, pair)
        with pytest.raises(ValueError, match="as many"):
            measure(network, weights, labels=LABELS[:3])
        with pytest.raises(ValueError, match="at least one"):
            measure(network, weights, images=IMAGES[:0], labels=LABELS[:0])
        with pytest.raises(UserError, match="diverged"):
            measure(network, {name: value * math.nan for name, value in weights.items()})
    for wrong in ({"sigma": -1.0}, {"sigma": math.nan}, {"draws": 0}):
        with pytest.raises(ValueError, match="sigma"):
            respond(network, weights, **wrong)
    for wrong in ({"rho": -1.0}, {"eta": -0.1}, {"steps": 0}):
        with pytest.raises(ValueError, match="rho"):
            worst(network, weights, **wrong)


def test_the_parameters_of_a_network_serve_as_weights() -> None:
    network = network_of()
    network.initialize([3])
    own: dict[str, Tensor] = dict(network.named_parameters())
    apart = {name: value.detach().clone() for name, value in own.items()}
    np.testing.assert_array_equal(respond(network, own).losses, respond(network, apart).losses)
    np.testing.assert_array_equal(worst(network, own, steps=2).losses, worst(network, apart, steps=2).losses)
    assert all(value.grad is None and torch.equal(value, apart[name]) for name, value in own.items())


def test_single_precision_agrees_with_double() -> None:
    weights = weights_of(**KINDS[1])

    def losses_of(dtype: torch.dtype) -> Tensor:
        """Those with noise, of a stack of two, and the rise in the worst direction."""
        own = {name: value.to(dtype) for name, value in weights.items()}
        noisy = respond(network_of(2, **KINDS[1]).to(dtype), own).losses
        return torch.tensor([*noisy, worst(network_of(**KINDS[1]).to(dtype), own).rise], dtype=torch.float64)

    assert_within(losses_of(torch.float32), *rounding_error(lambda: losses_of(torch.float64)))
