"""The local learning coefficient where it is known: a linear model has half the rank of its features."""

import math
from itertools import repeat

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.analyses.learning_coefficient.measure import excess_losses
from isthmus.landscape.loss_surface import LossSurface
from isthmus.models.stacked import Flatten, Linear

FEATURES = 200


@pytest.mark.parametrize("rank", [FEATURES, 50])
def test_the_coefficient_of_a_linear_model_is_half_its_rank(rank: int) -> None:
    """The loss is |w - w*|^2 / 2 in `rank` directions and flat in the others: each weight is an autoregression.

    With p = n beta + gamma, the variance of a weight about w* is 1 / (p (1 - step p / 4)) under steps of finite size.
    """
    scale = math.sqrt(rank / 2)
    images = scale * torch.eye(rank, FEATURES).view(rank, 1, 1, FEATURES)
    network = nn.Sequential(Flatten(), Linear(1, FEATURES, 1, bias=False))
    surface = LossSurface(network, images, torch.zeros(rank, dtype=torch.int64), "squared_error", images[None], 256)
    center = {"1.weight": images.sum(0).view(1, 1, FEATURES) / scale**2}  # every output is 1, as its label asks
    given = {"inverse_temperature": 100.0, "localization": 2.0, "step_size": 0.005}
    excess = excess_losses(repeat(surface, 350), center, **given, random=np.random.default_rng(0))[50:]

    p = given["inverse_temperature"] + given["localization"]
    correlation = 1 - given["step_size"] * p / 2
    expected = rank / 2 * given["inverse_temperature"] / (p * (1 - given["step_size"] * p / 4))
    independent = len(excess) * (1 - correlation**2) / (1 + correlation**2)
    error = expected * math.sqrt(2 / (rank * independent))
    estimate = given["inverse_temperature"] * float(excess.mean())
    assert abs(estimate - expected) < 4 * error
    assert abs(estimate / (rank / 2) - 1) < 0.2  # the coefficient itself, but for gamma and the size of the steps
