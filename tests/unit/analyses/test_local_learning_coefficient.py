"""SGLD where the coefficient is known: half the rank of a linear model, less what the localization hides."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CPU, recipe, trained
from torch import nn

from isthmus.analyses.local_learning_coefficient.measure import measure, sgld
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.landscape.evaluator import Evaluator
from isthmus.models.stacked import Flatten, Linear
from isthmus.statistics.chains import mean_of_chains, split_r_hat

FEATURES, CHAINS = 100, 16


@pytest.mark.parametrize("rank", [FEATURES, 25])
@pytest.mark.parametrize("localization", [2.0, 100.0])
def test_the_coefficient_of_a_linear_model_is_half_its_rank(rank: int, localization: float) -> None:
    """The loss is |w - w*|^2 / 2 in `rank` directions and flat in the others: each weight is an autoregression.

    With p = n beta + gamma, the variance of a weight about w* is 1 / (p (1 - step p / 4)) under steps of finite size.
    Batches are all examples, as often as each; their losses at w* are zero, and so is the noise of the gradient there.
    """
    scale = math.sqrt(rank / 2)
    images = scale * torch.eye(rank, FEATURES).view(rank, 1, 1, FEATURES)
    center = {"1.weight": images.sum(0).view(1, 1, FEATURES) / scale**2}  # every output is 1, as its label asks
    network = nn.Sequential(Flatten(), Linear(CHAINS, FEATURES, 1, bias=False))
    given: dict[str, Any] = {"inverse_temperature": 100.0, "localization": localization, "step_size": 0.002}
    every = (images, torch.zeros(rank, dtype=torch.int64))
    random = _AllInTurn(rank)
    excess, squares = sgld(
        network, images[None], every, "squared_error", center, **given, steps=400, batch_size=rank, random=random
    )
    p = given["inverse_temperature"] + localization
    expected = rank / 2 * given["inverse_temperature"] / (p * (1 - given["step_size"] * p / 4))
    mean, error, low, high = mean_of_chains(excess[100:])
    assert abs(mean - expected) < 4 * error
    assert low < mean < high
    assert error < 0.03 * expected
    assert split_r_hat(excess[100:]) < 1.05
    assert squares.shape == (400, CHAINS)


class _AllInTurn:
    """Random numbers for which every batch holds each example once."""

    def __init__(self, examples: int) -> None:
        self.random, self.examples = np.random.default_rng(0), examples

    def integers(self, most: int, size: tuple[int, int]) -> np.ndarray:
        assert most == size[1] == self.examples
        return np.tile(np.arange(most), (size[0], 1))

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.random.standard_normal(shape)


RECIPE = recipe(4, 1, 16, data={"train_size": 60}, network={"normalization": "batch"}, training={"epochs": 10})
OPTIONS = {"localizations": [100, 10000], "chains": 4, "burn_in": 20, "draws": 20, "batch_size": 16, "step": 0.2}


@pytest.fixture(scope="module")
def weights(digits: Dataset) -> Tensors:
    return trained(RECIPE, digits, (0,)).snapshots[0]["final"]


def test_a_network_has_an_estimate_for_each_localization_and_twice_the_same(digits: Dataset, weights: Tensors) -> None:
    evaluator = Evaluator.of(RECIPE, digits, (0,), CPU, hessian_examples=50)
    rows = measure(evaluator, 0, weights, OPTIONS)
    assert [row["localization"] for row in rows] == [100, 10000]
    assert rows == measure(evaluator, 0, weights, OPTIONS)
    inverse_temperature = 60 / math.log(60)
    for row in rows:
        stiffest = inverse_temperature * row["top_eigenvalue"] + row["localization"]
        assert row["step_size"] == pytest.approx(0.2 / stiffest)
        assert row["low"] < row["coefficient"] < row["high"]
        assert 0 < row["distance"] < 1.2 * row["expected_distance"]


def test_chains_that_explode_leave_the_estimate_null(digits: Dataset, weights: Tensors) -> None:
    evaluator = Evaluator.of(RECIPE, digits, (0,), CPU, hessian_examples=50)
    (row,) = measure(evaluator, 0, weights, OPTIONS | {"localizations": [100], "step": 1e6, "draws": 40})
    assert (row["coefficient"], row["r_hat"]) == (None, None)
