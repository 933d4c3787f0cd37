"""Loss under random noise: closed forms on quadratic losses, and what no packing can change."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from perturbed import (
    CLASSES,
    IMAGES,
    KINDS,
    LABELS,
    Linear,
    network_of,
    quadratic,
    respond,
    weights_of,
)
from torch import Tensor

from isthmus.landscape.perturbations import (
    NoiseResponse,
    filter_norms,
    gaussian,
    noise_spread,
)
from isthmus.models.evaluation import losses


def spreads(weights: Tensor, sigma: float, relative: bool) -> Tensor:
    """The definition written out: sigma |row| / sqrt(inputs) for every weight of a row, or sigma, flat."""
    rows = weights[0].square().sum(1, keepdim=True).sqrt() / 4 if relative else torch.ones(CLASSES, 1)
    return (sigma * rows).expand(CLASSES, 16).flatten().double()


@pytest.mark.parametrize("relative", [False, True])
def test_noise_raises_a_quadratic_by_half_the_trace_of_the_hessian_times_the_variance(relative: bool) -> None:
    weights, form = quadratic()
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
