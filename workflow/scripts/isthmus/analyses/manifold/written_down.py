"""Zeros of the loss by construction, if the last hidden layer has more units than data points (Cooper 2018).

Draw all layers but the last at random. If the activation is analytic and no polynomial, the features of d distinct
points in a layer of at least d units are linearly independent with probability one. The last layer then solves a linear
system, which has a solution for any targets. Nothing is trained: the network memorizes arbitrary labels.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from isthmus.analyses.manifold.theory import Problem, TheoryNetwork

GAINS = (1.0, 2.0, 4.0, 8.0)  # factors on the usual random weights; the best conditioned features are used
REFINEMENTS = 3


@dataclass(frozen=True, eq=False)
class Construction:
    """Constructed weights `[n]`, their loss |r|^2 / 2 and the condition number of the features."""

    weights: Tensor
    loss: float
    condition: float


def can_be_written_down(network: TheoryNetwork, points: int) -> bool:
    """Whether the last hidden layer has more units than data points, which guarantees a zero of the loss."""
    return network.width > points


def random_features(network: TheoryNetwork, inputs: Tensor, random: np.random.Generator) -> tuple[Tensor, float]:
    """Random weights `[n]` with well conditioned features of `inputs` `[d, inputs]`, and the condition number."""
    drawn = [network.start(random).to(inputs) * gain for gain in GAINS]
    singular = [torch.linalg.svdvals(_with_constant(network, weights, inputs)) for weights in drawn]
    conditions = [float(values[0] / values[-1].clamp_min(torch.finfo(values.dtype).tiny)) for values in singular]
    best = int(np.argmin(conditions))
    return drawn[best], conditions[best]


def construct(problem: Problem, random: np.random.Generator) -> Construction:
    """Construct weights that interpolate the problem: random features, and a last layer solved by least squares.

    The last layer has least norm and is refined against rounding. Raises ValueError if the last hidden layer does not
    have more units than data points.
    """
    network, inputs = problem.network, problem.inputs
    if not can_be_written_down(network, len(inputs)):
        raise ValueError(f"a last hidden layer of {network.width} is not wider than {len(inputs)} data points")
    weights, condition = random_features(network, inputs, random)
    features = _with_constant(network, weights, inputs)
    q, r = torch.linalg.qr(features.T)
    solved = inputs.new_zeros(features.shape[1], network.outputs)
    for _ in range(REFINEMENTS):
        rest = problem.targets - features @ solved
        solved = solved + q @ torch.linalg.solve_triangular(r.T, rest, upper=False)
    last = network.outputs * (network.width + 1)
    weights = torch.cat([weights[:-last], solved[:-1].T.flatten(), solved[-1]])
    return Construction(weights, problem.loss(weights), condition)


def worst_memorized(problem: Problem, draws: int, random: np.random.Generator) -> float:
    """The largest loss over `draws` draws of standard normal targets that were memorized by construction."""
    shape = tuple(problem.targets.shape)
    labels = [torch.from_numpy(random.standard_normal(shape)).to(problem.targets) for _ in range(draws)]
    return max(construct(replace(problem, targets=each), random).loss for each in labels)


def _with_constant(network: TheoryNetwork, weights: Tensor, inputs: Tensor) -> Tensor:
    """Features and the constant that the last bias multiplies, `[d, width + 1]`."""
    features = network.features(weights, inputs)
    return torch.cat([features, features.new_ones(len(inputs), 1)], 1)
