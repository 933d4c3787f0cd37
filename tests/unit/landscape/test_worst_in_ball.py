"""The worst loss in a ball: closed forms on quadratic losses, and what no packing can change."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from perturbed import (
    CLASSES,
    IMAGES,
    KINDS,
    LABELS,
    Linear,
    network_of,
    quadratic,
    weights_of,
    worst,
)
from scipy.optimize import brentq
from torch import Tensor

from isthmus.landscape.perturbations import (
    WorstCase,
)


def test_one_step_on_a_quadratic_is_sams_closed_form() -> None:
    weights, form = quadratic()
    for rho in (0.05, 2.0):
        found = worst(Linear(1), weights, loss="squared_error", rho=rho, batch_size=3)
        expected = form.at(rho * form.gradient / form.gradient.norm())
        assert found.loss == pytest.approx(form.loss, rel=1e-12)
        assert found.worst_loss == pytest.approx(expected, rel=1e-12)
        assert found.rise == pytest.approx(expected - form.loss, rel=1e-9)
        assert found.relative_rise == pytest.approx((expected - form.loss) / form.loss, rel=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.01])
def test_one_adaptive_step_on_a_quadratic_is_asams_closed_form(eta: float) -> None:
    weights, form = quadratic()
    scale = weights["weight"].flatten().abs() + eta
    e = 0.5 * scale**2 * form.gradient / (scale * form.gradient).norm()
    found = worst(Linear(1), weights, loss="squared_error", rho=0.5, adaptive=True, eta=eta)
    assert found.worst_loss == pytest.approx(form.at(e), rel=1e-12)


@pytest.mark.parametrize("adaptive", [False, True])
def test_many_steps_rise_to_the_highest_value_in_the_ball(adaptive: bool) -> None:
    """The highest a . u + u . A u / 2 over |u| <= rho lies where (mu - A) u = a, |u| = rho, mu above all of A.

    That is the trust-region problem (Conn, Gould & Toint 2000), solved by its secular equation in mu.
    """
    weights, form = quadratic()
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


def test_a_ball_of_no_size_and_a_flat_loss_have_no_rise() -> None:
    weights, _ = quadratic()
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
