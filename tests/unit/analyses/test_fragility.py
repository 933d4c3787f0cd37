"""Fragility at the moments of training: against dense matrices in float64, and against what trained networks have."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers import CPU, recipe, trained
from scipy.stats import binomtest
from torch import Tensor
from torch.func import functional_call

from isthmus.analyses.curvature.noise import perturbation_rows
from isthmus.analyses.fragility.measure import disturbances, measure, with_interval
from isthmus.analyses.robustness import measure as robustness
from isthmus.core.seeds import Stream, generator
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.landscape.corrupted_images import CorruptedTest, scoring
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.perturbations import gaussian, noise_spread
from isthmus.models.evaluation import losses
from isthmus.statistics.bootstrap import bootstrap_intervals

RECIPE = recipe(
    4, 1, 16, data={"train_size": 60}, network={"activation": "tanh"}, training={"epochs": 4, "snapshots": [1]}
)
CORRUPTIONS: dict[str, Any] = {"corruptions": ["contrast", "gaussian_noise"], "severities": [1, 5], "seed": 0}
OPTIONS: dict[str, Any] = {
    "images": 40,
    "draws": 3,
    "relative_sigma": 0.2,
    "adaptive_radius": 0.5,
    "ascent_steps": 1,
    "robustness": CORRUPTIONS,
}
MOMENTS = ("initial", "epoch-1", "final")
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def evaluator(digits: Dataset) -> Evaluator:
    return Evaluator.of(RECIPE, digits, (0, 1), CPU, stack=2, evaluation_examples=100)


@pytest.fixture(scope="module")
def weights(digits: Dataset) -> list[Tensors]:
    """The weights of network 1 at three moments."""
    snapshots = trained(RECIPE, digits, (0, 1)).snapshots[1]
    return [snapshots[moment] for moment in MOMENTS]


@pytest.fixture(scope="module")
def test_set(evaluator: Evaluator, digits: Dataset) -> CorruptedTest:
    return CorruptedTest.of(evaluator, digits, CORRUPTIONS)


@pytest.fixture(scope="module")
def found(evaluator: Evaluator, test_set: CorruptedTest, weights: list[Tensors]) -> list[tuple[dict[str, Any], Rows]]:
    return measure(evaluator, test_set, OPTIONS, 1, weights)


def test_small_disturbances_raise_the_loss_by_gradient_and_hessian(
    evaluator: Evaluator, weights: list[Tensors]
) -> None:
    """By the dense Hessian in float64 and the same draws of noise, in the middle of training."""
    at = {name: value.double()[None] for name, value in weights[1].items()}
    names, chosen = list(at), evaluator.examples.subset(40)
    images, labels = evaluator.examples.images[chosen].double(), evaluator.labels(1)[chosen]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([at[name].numel() for name in names])
        moved = {name: part.view_as(at[name]) for name, part in zip(names, parts, strict=True)}
        return losses(functional_call(evaluator.single, moved, (images[None],)), labels[None], "cross_entropy")[0]

    def flat(of: Tensors) -> Tensor:
        return torch.cat([of[name].expand_as(at[name]).flatten() for name in names])

    point = flat(at)
    gradient = torch.autograd.functional.jacobian(loss, point)
    hessian = torch.autograd.functional.hessian(loss, point, vectorize=True)
    small = OPTIONS | {"relative_sigma": 0.02, "adaptive_radius": 0.02}
    row = disturbances(evaluator, small, 1, weights[1])

    spread = flat(noise_spread(at, 0.02, relative=True))
    draws = [spread * flat(gaussian(at, child)) for child in generator(1, Stream.PERTURBATIONS, 1).spawn(3)]
    rises = [float(gradient @ e + e @ hessian @ e / 2) for e in draws]
    assert row["loss"] == pytest.approx(float(loss(point)), rel=1e-6)
    assert row["noise_rise"] == pytest.approx(np.mean(rises), rel=0.02)
    scale = point.abs() + 0.01
    step = 0.02 * scale**2 * gradient / (scale * gradient).norm()
    assert row["worst_rise"] == pytest.approx(float(gradient @ step + step @ hessian @ step / 2), rel=0.02)


def test_the_end_of_training_has_the_numbers_of_perturbations_and_robustness(
    evaluator: Evaluator, test_set: CorruptedTest, weights: list[Tensors], found: list[tuple[dict[str, Any], Rows]]
) -> None:
    row, corrupted = found[-1]
    sizes = {"sigmas": [], "relative_sigmas": [0.2], "radii": [], "adaptive_radii": [0.5], "ascent_steps": 1}
    noise, worst = perturbation_rows(evaluator, sizes | {"images": 40, "draws": 3}, 1, weights[-1])
    assert (row["loss"], row["worst_rise"]) == (noise["loss"], worst["rise"])
    assert row["noise_rise"] == pytest.approx(noise["rise"], rel=1e-12)
    assert row["noise_error_rise"] == pytest.approx(1 - row["error"] - noise["disturbed_accuracy"])
    with scoring(evaluator, [weights[-1]]) as scores:
        names = ("none", *test_set.corruptions)
        alone = [row for name in names for row in robustness.measure(evaluator, test_set, None, scores, name)[0]]
    assert [{**each, "loss": pytest.approx(each["loss"], rel=1e-6)} for each in alone] == corrupted
    assert row["test_accuracy"] == corrupted[0]["accuracy"]
    assert row["corrupted_accuracy"] == pytest.approx(np.mean([each["accuracy"] for each in corrupted[1:]]))
    assert row["corruption_drop"] == pytest.approx(row["test_accuracy"] - row["corrupted_accuracy"])
    assert row["test_images"] == 100


def test_a_network_has_the_same_draws_at_all_moments_and_another_seed_has_others(
    evaluator: Evaluator, weights: list[Tensors]
) -> None:
    same = [row for row, _ in measure(evaluator, None, OPTIONS, 1, [weights[2], weights[2]])]
    other = disturbances(evaluator, OPTIONS, 0, weights[2])
    assert same[0] == same[1]
    assert other["loss"] == same[0]["loss"]
    assert other["noise_rise"] != same[0]["noise_rise"]


def test_each_moment_is_measured_at_its_own_weights(
    evaluator: Evaluator, test_set: CorruptedTest, weights: list[Tensors], found: list[tuple[dict[str, Any], Rows]]
) -> None:
    for each, together in zip(weights, found, strict=True):
        (alone,) = measure(evaluator, test_set, OPTIONS, 1, [each])
        assert alone[0] == together[0]
        assert [row["accuracy"] for row in alone[1]] == [row["accuracy"] for row in together[1]]
    losses_there = [row["loss"] for row, _ in found]
    assert losses_there == sorted(losses_there, reverse=True)
    assert len(set(losses_there)) == 3


def test_without_corruptions_there_are_clean_images_only(evaluator: Evaluator, weights: list[Tensors]) -> None:
    ((row, corrupted),) = measure(evaluator, None, OPTIONS, 1, weights[2:])
    assert [each["corruption"] for each in corrupted] == ["none"]
    assert row["test_accuracy"] == corrupted[0]["accuracy"]
    assert "corrupted_accuracy" not in row


def test_losses_that_are_not_finite_have_no_mean() -> None:
    assert with_interval("noise_rise", np.array([1.0, np.inf])) == {}


# Coverage: rises of a quadratic loss, sum of eigenvalues times squares of normal numbers, with the expectation 1


@pytest.mark.parametrize(("eigenvalues", "coverage"), [(10, 0.94), (3, 0.91), (1, 0.86)])
def test_intervals_over_draws_contain_the_expected_rise_as_often_as_documented(
    eigenvalues: int, coverage: float
) -> None:
    random, cases = np.random.default_rng(0), 4000
    rises = np.square(random.standard_normal((cases, 10, eigenvalues))).mean(axis=2)
    rows = [with_interval("rise", each) for each in rises]
    assert np.mean([row["rise_low"] <= 1 <= row["rise_high"] for row in rows]) == pytest.approx(coverage, abs=0.01)


def test_intervals_over_networks_hold_with_draws_of_their_own_and_not_with_shared_ones() -> None:
    random, cases = np.random.default_rng(0), 400

    def responses(networks: int) -> np.ndarray:
        return np.square(random.standard_normal((cases, networks, 4, 10)))  # [cases, networks, draws, eigenvalues]

    own, apart, shared = responses(5), responses(5), responses(1)
    spread = 0.1 * random.standard_normal((cases, 5))
    covered = {}
    for name, common in (("own", own), ("shared", np.broadcast_to(shared, own.shape))):
        values = 1 + spread + np.concatenate([common, apart], axis=3).mean(axis=(2, 3)) - 1
        low, high = bootstrap_intervals(values)
        covered[name] = int(((low <= 1) & (high >= 1)).sum())
    assert binomtest(covered["own"], cases, 0.95).pvalue > 0.01
    assert covered["shared"] / cases == pytest.approx(0.77, abs=0.02)
