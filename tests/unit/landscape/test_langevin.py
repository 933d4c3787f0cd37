"""Langevin chains where the learning coefficient is known: powers, regular models, a normal crossing."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from isthmus.landscape.langevin import Chains, langevin
from isthmus.statistics.chains import mean_of_chains, split_r_hat


def sampled(loss: Any, scale: float, dimensions: int, beta: float, gamma: float = 0.0, **given: Any) -> Chains:
    """Chains around zero, with the metric of a density that is `scale` wide in all directions."""
    options = {"chains": 64, "burn_in": 200, "draws": 1000, "random": np.random.default_rng(0)} | given
    zero, metric = torch.zeros(dimensions, dtype=torch.float64), scale * torch.eye(dimensions, dtype=torch.float64)
    return langevin(loss, zero, metric, inverse_temperature=beta, localization=gamma, **options)


@pytest.mark.parametrize(("k", "dimensions"), [(1, 3), (2, 2), (3, 1)])
def test_a_power_has_the_coefficient_of_its_degree(k: int, dimensions: int) -> None:
    """Each x^(2k) adds 1 / (2k), at any temperature."""
    beta = 1e6
    found = sampled(lambda w: (w ** (2 * k)).sum(1), beta ** (-1 / (2 * k)) / 1.5, dimensions, beta)
    mean, error, _, _ = mean_of_chains(found.excess)
    assert abs(mean - dimensions / (2 * k)) < 4 * error
    assert error < 0.03 * mean
    assert split_r_hat(found.excess) < 1.02


def test_a_normal_crossing_has_what_quadrature_gives() -> None:
    """x^2 y^2 has the coefficient 1/2, but with multiplicity 2 it is reached as slowly as 1 / log beta falls."""
    beta, gamma = 1e2, 4.0
    found = sampled(lambda w: w.square().prod(1), 0.1, 2, beta, gamma)

    def integral(power: int) -> float:
        """Over x, the integral over y of K^power exp(-U), which is Gaussian."""

        def over_y(x: float) -> float:
            precision = 2 * beta * x**2 + gamma
            return math.exp(-gamma * x**2 / 2) * math.sqrt(2 * math.pi / precision) * (x**2 / precision) ** power

        return float(quad(over_y, 0, 10, points=[1e-3, 1e-2, 1e-1, 1])[0])

    expected = beta * integral(1) / integral(0)
    mean, error, _, _ = mean_of_chains(found.excess)
    assert abs(mean - expected) < 4 * error
    assert error < 0.05 * mean
    assert expected < 0.3  # far below 1/2 still


def test_localization_hides_weak_equations() -> None:
    """Each direction adds beta s^2 / (beta s^2 + gamma) / 2."""
    squares = torch.tensor([100.0, 1.0, 0.01], dtype=torch.float64)
    beta, gamma = 50.0, 50.0
    zero, metric = torch.zeros(3, dtype=torch.float64), torch.diag((beta * squares + gamma).rsqrt())
    found = langevin(
        lambda w: (squares * w.square()).sum(1) / 2,
        zero,
        metric,
        inverse_temperature=beta,
        localization=gamma,
        chains=64,
        burn_in=50,
        draws=400,
        random=np.random.default_rng(0),
    )
    mean, error, _, _ = mean_of_chains(found.excess)
    assert abs(mean - float((beta * squares / (beta * squares + gamma)).sum()) / 2) < 4 * error
    spread = math.sqrt(float((1 / (beta * squares + gamma)).sum()))
    assert found.distance == pytest.approx(spread, rel=0.05)
    assert 0.7 < found.acceptance < 0.9


@pytest.mark.parametrize("repeats", [100, pytest.param(1000, marks=pytest.mark.exhaustive)])
def test_intervals_cover_the_coefficient(repeats: int) -> None:
    """Of five equations, by 16 chains of 25 draws: Student's 95 % intervals, within the exact limits of so many."""
    inside = 0
    for number in range(repeats):
        random = np.random.default_rng(number)
        given = {"chains": 16, "burn_in": 25, "draws": 25, "random": random}
        found = sampled(lambda w: w.square().sum(1) / 2, 0.01, 5, 1e4, **given)
        _, _, low, high = mean_of_chains(found.excess)
        inside += low <= 2.5 <= high
    deviation = math.sqrt(repeats * 0.95 * 0.05)
    assert abs(inside - 0.95 * repeats) < 3.5 * deviation


def test_r_hat_is_that_of_the_formula_and_sees_drift_and_disagreement() -> None:
    values = np.random.default_rng(0).standard_normal((50, 4)).cumsum(0)
    parts = [half[:, chain] for half in (values[:25], values[25:]) for chain in range(4)]
    within = float(np.mean([part.var(ddof=1) for part in parts]))
    between = 25 * float(np.var([part.mean() for part in parts], ddof=1))
    assert split_r_hat(values) == pytest.approx(math.sqrt((24 / 25 * within + between / 25) / within))
    calm = np.random.default_rng(0).standard_normal((400, 8))
    assert split_r_hat(calm) < 1.01
    assert split_r_hat(calm + np.arange(8)) > 2
    assert split_r_hat(calm + np.linspace(0, 6, 400)[:, None]) > 1.3


def test_too_few_draws_or_chains_are_refused() -> None:
    with pytest.raises(ValueError, match="give four or more"):
        split_r_hat(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="give two or more"):
        mean_of_chains(np.zeros((5, 1)))


def test_equal_seeds_give_equal_chains() -> None:
    def once() -> Tensor:
        random = np.random.default_rng(3)
        return torch.from_numpy(sampled(lambda w: w.square().sum(1), 0.1, 4, 100.0, draws=10, random=random).excess)

    assert torch.equal(once(), once())
