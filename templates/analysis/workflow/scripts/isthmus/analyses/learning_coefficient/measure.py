"""The local learning coefficient: how degenerate the loss is around the weights w* of a trained network.

The weights near w* whose loss is at most epsilon higher fill a volume that shrinks as epsilon^lambda. Where the Hessian
has full rank, lambda is half the number of parameters; where the loss is degenerate, it is smaller (Watanabe 2009). Lau
et al. (2023) estimate it as

    lambda = n beta (E[L(w)] - L(w*)),   beta = 1 / log n,

where L is the mean loss over the n training examples and w has a density proportional to
exp(-n beta L(w) - gamma |w - w*|^2 / 2), sampled by stochastic gradient Langevin dynamics (SGLD; Welling and Teh 2011).
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.core.seeds import generator
from isthmus.core.tensors import Tensors
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.loss_surface import LossSurface
from isthmus.landscape.perturbations import gaussian
from isthmus.tables.rows import Row, finite


def excess_losses(
    surfaces: Iterable[LossSurface],
    center: Tensors,
    *,
    inverse_temperature: float,
    localization: float,
    step_size: float,
    random: np.random.Generator,
) -> Tensor:
    """How far the loss along a Langevin chain that starts at `center` lies above that at `center`, `[steps]`, float64.

    surfaces: the loss of each step, on examples of its own. center: weights by name `[1, ...]`, on the device.
    inverse_temperature: n beta. localization: gamma. Both losses of a step are taken on the same examples, which
    cancels most of their noise.
    """
    weights, found = center, []
    for surface in surfaces:
        loss, gradient = surface.with_gradient(weights)
        found.append(loss - float(surface.at(center)[0]))
        noise, moved = gaussian(weights, random), {}
        for name, value in weights.items():
            drift = inverse_temperature * gradient[name] + localization * (value - center[name])
            step = math.sqrt(step_size) * noise[name] - step_size / 2 * drift
            moved[name] = (value + step).to(value.dtype)
        weights = moved
    return torch.tensor(found, dtype=torch.float64)


def batches(
    evaluator: Evaluator, seed: int, size: int, count: int, random: np.random.Generator
) -> Iterator[LossSurface]:
    """The loss of a network on `count` batches of training examples, drawn with replacement."""
    for _ in range(count):
        drawn = torch.from_numpy(random.integers(len(evaluator.examples.images), size=size))
        yield evaluator.loss_surface(evaluator.single, seed, drawn.to(evaluator.settings.device))


def measure(evaluator: Evaluator, seed: int, weights: Tensors, options: Mapping[str, Any]) -> Row:
    """The measured columns of the row of one network, from its weights by name `[...]`."""
    examples, center = len(evaluator.examples.images), evaluator.placed(weights)
    inverse_temperature, means = examples / math.log(examples), []
    for chain in range(options["chains"]):
        random = generator(seed, "learning_coefficient", chain)
        excess = excess_losses(
            batches(evaluator, seed, options["batch_size"], options["burn_in"] + options["draws"], random),
            center,
            inverse_temperature=inverse_temperature,
            localization=options["localization"],
            step_size=options["step_size"],
            random=random,
        )
        means.append(excess[options["burn_in"] :].mean())
    estimates = inverse_temperature * torch.stack(means)
    parameters = sum(value.numel() for value in weights.values())
    return {
        "examples": examples,
        "coefficient": finite(estimates.mean()),
        "standard_error": finite(estimates.std() / math.sqrt(len(estimates))),
        "relative": finite(estimates.mean() / (parameters / 2)),
    }
