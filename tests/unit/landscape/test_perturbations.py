"""Sharpness by perturbation: closed forms on quadratic losses, and what no rescaling or packing can change."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import recipe
from rounding import assert_within, rounding_error
from scipy.optimize import brentq
from torch import Tensor, nn

from isthmus.core.errors import UserError
from isthmus.landscape.loss_surface import LossSurface
from isthmus.landscape.perturbations import (
    NoiseResponse,
    WorstCase,
    filter_norms,
    gaussian,
    noise_response,
    noise_spread,
    worst_in_ball,
)
from isthmus.models.evaluation import losses
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


@pytest.fixture
def quadratic() -> tuple[dict[str, Tensor], Quadratic]:
    weight = torch.randn(1, CLASSES, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return {"weight": weight}, Quadratic(weight)


def spreads(weights: Tensor, sigma: float, relative: bool) -> Tensor:
    """The definition written out: sigma |row| / sqrt(inputs) for every weight of a row, or sigma, flat."""
    rows = weights[0].square().sum(1, keepdim=True).sqrt() / 4 if relative else torch.ones(CLASSES, 1)
    return (sigma * rows).expand(CLASSES, 16).flatten().double()


# Noise


@pytest.mark.parametrize("relative", [False, True])
def test_noise_raises_a_quadratic_by_half_the_trace_of_the_hessian_times_the_variance(
    quadratic: tuple[dict[str, Tensor], Quadratic], relative: bool
) -> None:
    weights, form = quadratic
    sigma, draws = 1.0, 400
    found = respond(Linear(50), weights, loss="squared_error", sigma=sigma, relative=relative, draws=draws)
    spread = spreads(weights["weight"], sigma, relative)
    expected = float((spread.square() * form.hessian.diagonal()).sum() / 2)
    assert found.loss == pytest.approx(form.loss, rel=1e-12)
    assert found.draws == draws
    assert abs(found.rise - expected) < 4 * found.mean_loss_error
    assert found.relative_rise == pytest.approx(found.rise / form.loss)
    assert found.relative_rise_error == pytest.approx(found.mean_loss_error / form.loss)
    assert found.mean_loss_error < 0.1 * expected
    # What varies from draw to draw, the linear term and the quadratic one about its mean, is known: less it, no draw
    # differs from the expectation.
    for loss, child in zip(found.losses, np.random.default_rng(0).spawn(draws), strict=True):
        e = spread * torch.from_numpy(child.standard_normal(spread.shape))
        varying = form.gradient @ e + e @ form.hessian @ e / 2 - expected
        assert loss - form.loss - float(varying) == pytest.approx(expected, rel=1e-9)


def test_relative_noise_has_sigma_times_the_norm_of_each_filter() -> None:
    weights = weights_of(**KINDS[3])
    assert {value.dim() for value in weights.values()} == {2, 3, 5}
    spread = noise_spread(weights, 0.3, relative=True)
    for name, value in weights.items():
        squares = spread[name].square().expand_as(value)
        filters = value[0].reshape(value.shape[1], -1) if value.dim() > 2 else value
        variances = squares[0].reshape(value.shape[1], -1) if value.dim() > 2 else squares
        torch.testing.assert_close(variances.sum(1).sqrt(), 0.3 * filters.norm(dim=1))
        torch.testing.assert_close(filter_norms(value).flatten(), filters.norm(dim=1))
        torch.testing.assert_close(
            noise_spread(weights, 0.3, relative=False)[name].expand_as(value), torch.full_like(value, 0.3)
        )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind['architecture']}-{kind['normalization']}")
def test_stack_batch_size_and_number_of_draws_change_nothing(kind: dict[str, Any]) -> None:
    weights = weights_of(**kind)
    found = respond(network_of(1, **kind), weights, relative=True, sigma=0.3)
    assert found.losses.shape == found.accuracies.shape == (5,)
    assert len(set(found.losses)) == 5
    for stack, batch_size, draws in ((2, 3, 5), (3, 7, 5), (9, 2, 7)):
        other = respond(
            network_of(stack, **kind), weights, relative=True, sigma=0.3, batch_size=batch_size, draws=draws
        )
        assert other.loss == pytest.approx(found.loss, rel=1e-12)
        assert other.accuracy == found.accuracy
        np.testing.assert_allclose(other.losses[:5], found.losses, rtol=1e-12)
        np.testing.assert_array_equal(other.accuracies[:5], found.accuracies)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind['architecture']}-{kind['normalization']}")
def test_without_noise_nothing_rises(kind: dict[str, Any]) -> None:
    weights = weights_of(**kind)
    for relative in (False, True):
        found = respond(network_of(3, **kind), weights, sigma=0.0, relative=relative)
        np.testing.assert_allclose(found.losses, found.loss, rtol=1e-14)
        assert found.mean_accuracy == found.accuracy
        assert found.rise == pytest.approx(0, abs=1e-14)
        assert found.mean_loss_error == pytest.approx(0, abs=1e-14)


def test_noise_depends_on_the_generator_and_not_on_order_or_precision() -> None:
    weights = weights_of()
    backwards = dict(reversed(weights.items()))
    noise, same = (gaussian(each, np.random.default_rng(1)) for each in (weights, backwards))
    single = gaussian({name: value.float() for name, value in weights.items()}, np.random.default_rng(1))
    assert list(noise) == list(weights)
    for name, value in noise.items():
        assert torch.equal(value, same[name])
        assert torch.equal(value, single[name])
    network = network_of(2)
    first, again, other = (respond(network, each, seed) for each, seed in ((weights, 0), (backwards, 0), (weights, 1)))
    np.testing.assert_array_equal(first.losses, again.losses)
    assert not set(first.losses) & set(other.losses)


def test_every_draw_has_batch_norm_statistics_of_its_own() -> None:
    kind = KINDS[2]
    weights, network = weights_of(**kind), network_of(1, **kind)
    found = respond(network, weights, sigma=0.2, batch_size=3)
    assert network.training
    for loss, child in zip(found.losses, np.random.default_rng(0).spawn(5), strict=True):
        noise = gaussian(weights, child)
        point = {name: value + 0.2 * noise[name] for name, value in weights.items()}
        # In training mode the statistics are those of the batch, here of all the images.
        outputs = torch.func.functional_call(network, point, (IMAGES[None],))
        assert loss == pytest.approx(float(losses(outputs, LABELS[None], "cross_entropy")), rel=1e-12)


def test_standard_errors_are_those_of_the_mean_and_need_two_draws() -> None:
    found = NoiseResponse(0.5, 1.0, np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.5, 0.9]))
    assert (found.mean_loss, found.mean_accuracy, found.rise, found.relative_rise) == (2, pytest.approx(0.8), 1.5, 3)
    assert found.mean_loss_error == pytest.approx(1 / math.sqrt(3))
    assert math.isnan(NoiseResponse(0.5, 1.0, np.ones(1), np.ones(1)).mean_loss_error)
    assert math.isnan(NoiseResponse(0.5, 1.0, np.array([1.0, np.inf]), np.ones(2)).mean_loss_error)
    assert NoiseResponse(0.0, 1.0, np.ones(2), np.ones(2)).relative_rise == math.inf
    assert math.isnan(NoiseResponse(0.0, 1.0, np.zeros(2), np.ones(2)).relative_rise)


# The worst case in a ball


def test_one_step_on_a_quadratic_is_sams_closed_form(quadratic: tuple[dict[str, Tensor], Quadratic]) -> None:
    weights, form = quadratic
    for rho in (0.05, 2.0):
        found = worst(Linear(1), weights, loss="squared_error", rho=rho, batch_size=3)
        expected = form.at(rho * form.gradient / form.gradient.norm())
        assert found.loss == pytest.approx(form.loss, rel=1e-12)
        assert found.worst_loss == pytest.approx(expected, rel=1e-12)
        assert found.rise == pytest.approx(expected - form.loss, rel=1e-9)
        assert found.relative_rise == pytest.approx((expected - form.loss) / form.loss, rel=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.01])
def test_one_adaptive_step_on_a_quadratic_is_asams_closed_form(
    quadratic: tuple[dict[str, Tensor], Quadratic], eta: float
) -> None:
    weights, form = quadratic
    scale = weights["weight"].flatten().abs() + eta
    e = 0.5 * scale**2 * form.gradient / (scale * form.gradient).norm()
    found = worst(Linear(1), weights, loss="squared_error", rho=0.5, adaptive=True, eta=eta)
    assert found.worst_loss == pytest.approx(form.at(e), rel=1e-12)


@pytest.mark.parametrize("adaptive", [False, True])
def test_many_steps_rise_to_the_highest_value_in_the_ball(
    quadratic: tuple[dict[str, Tensor], Quadratic], adaptive: bool
) -> None:
    """The highest a . u + u . A u / 2 over |u| <= rho lies where (mu - A) u = a, |u| = rho, mu above all of A.

    That is the trust-region problem (Conn, Gould & Toint 2000), solved by its secular equation in mu.
    """
    weights, form = quadratic
    rho = 1.5
    scale = weights["weight"].flatten().abs() + 0.01 if adaptive else torch.ones(CLASSES * 16, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(scale[:, None] * form.hessian * scale)
    parts = vectors.mT @ (scale * form.gradient)
    top = float(values[-1])
    mu = brentq(lambda mu: float((parts / (mu - values)).norm()) - rho, top * (1 + 1e-9), top + 1e3, xtol=1e-14)
    highest = form.at(scale * (vectors @ (parts / (mu - values))))
    found = worst(Linear(1), weights, loss="squared_error", rho=rho, steps=150, adaptive=adaptive)
    assert found.losses.shape == (150,)
    assert (np.diff(found.losses) > -1e-13).all(), "the loss is convex"
    assert found.worst_loss <= highest * (1 + 1e-12)
    assert found.worst_loss == pytest.approx(highest, rel=1e-6)
    few = worst(Linear(1), weights, loss="squared_error", rho=rho, steps=3, adaptive=adaptive)
    np.testing.assert_allclose(few.losses, found.losses[:3], rtol=1e-14)


def test_the_worst_is_the_highest_of_the_points_reached() -> None:
    found = WorstCase(2.0, np.array([3.0, 5.0, 4.0]))
    assert (found.worst_loss, found.rise, found.relative_rise) == (5, 3, 1.5)
    assert WorstCase(2.0, np.array([1.5])).rise == -0.5
    assert math.isnan(WorstCase(2.0, np.array([3.0, np.nan])).worst_loss)


def test_a_ball_of_no_size_and_a_flat_loss_have_no_rise(quadratic: tuple[dict[str, Tensor], Quadratic]) -> None:
    weights, _ = quadratic
    assert worst(Linear(1), weights, loss="squared_error", rho=0.0, steps=3).rise == 0
    # Images of nothing: outputs and loss do not depend on the weights.
    flat = worst(Linear(1), weights, images=0 * IMAGES, rho=1.0, steps=2)
    assert flat.loss == pytest.approx(math.log(CLASSES))
    assert flat.rise == 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind['architecture']}-{kind['normalization']}")
@pytest.mark.parametrize("adaptive", [False, True])
def test_the_size_of_batches_does_not_change_the_worst(kind: dict[str, Any], adaptive: bool) -> None:
    weights, network = weights_of(**kind), network_of(1, **kind)
    found = worst(network, weights, steps=3, adaptive=adaptive)
    assert found.rise > 0
    for batch_size in (1, 3, 100):
        other = worst(network, weights, steps=3, adaptive=adaptive, batch_size=batch_size)
        np.testing.assert_allclose(other.losses, found.losses, rtol=1e-9)


def test_gradients_hold_batch_norm_statistics_and_losses_have_fresh_ones() -> None:
    kind = KINDS[1]
    weights, network = weights_of(**kind), network_of(1, **kind)
    # Linear, batch norm, ReLU, linear, written out.
    first, scale, shift, last, bias = (value[0] for value in weights.values())
    x = IMAGES.flatten(1)

    def outputs(point: list[Tensor], mean: Tensor, variance: Tensor) -> Tensor:
        hidden = (x @ point[0].mT - mean) / (variance + 1e-5).sqrt() * point[1] + point[2]
        return F.cross_entropy(hidden.relu() @ point[3].mT + point[4], LABELS)

    def statistics(point: list[Tensor]) -> tuple[Tensor, Tensor]:
        hidden = x @ point[0].mT
        return hidden.mean(0), hidden.var(0, unbiased=False)

    centre = [first, scale, shift, last, bias]
    leaves = [value.clone().requires_grad_() for value in centre]
    gradients = torch.autograd.grad(outputs(leaves, *statistics(centre)), leaves)
    length = math.sqrt(sum(float(value.square().sum()) for value in gradients))
    moved = [value + 0.3 * gradient / length for value, gradient in zip(centre, gradients, strict=True)]
    expected = float(outputs(moved, *statistics(moved)))
    assert worst(network, weights, rho=0.3).worst_loss == pytest.approx(expected, rel=1e-12)
    assert expected != pytest.approx(float(outputs(moved, *statistics(centre))), rel=1e-3)
    assert network.training


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
