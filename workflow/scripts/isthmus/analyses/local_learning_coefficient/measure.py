"""The local learning coefficient of a trained network at several localizations (Lau et al. 2023).

    lambda = n beta (E[L(w)] - L(w*)),   beta = 1 / log n,

where L is the mean loss over the n training examples and w has a density proportional to
exp(-n beta L(w) - gamma |w - w*|^2 / 2), sampled by stochastic gradient Langevin dynamics (SGLD; Welling and Teh 2011).

The Hessian of a trained network has eigenvalues of all sizes down to zero. A direction of eigenvalue h adds about
n beta h / (n beta h + gamma) / 2, so gamma decides how many directions count, and there is no value from which on it
does not matter. With weaker localizations, chains also take longer to mix: 2 / (step_size gamma) steps. R-hat and
the distance from w*, which is about sqrt(P / gamma) in equilibrium, tell whether the chains got there.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.core.seeds import generator
from isthmus.core.tensors import Tensors
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.sharpness import Setup, sharpness
from isthmus.models.evaluation import evaluation_mode, losses
from isthmus.models.networks import build
from isthmus.statistics.chains import mean_of_chains, split_r_hat
from isthmus.tables.rows import Row, Rows, finite

TOLERANCE = 0.05  # of the top eigenvalue, which only scales the steps


def sgld(
    network: nn.Module,
    statistics_images: Tensor,
    examples: tuple[Tensor, Tensor],
    loss: str,
    center: Tensors,
    *,
    inverse_temperature: float,
    localization: float,
    step_size: float,
    steps: int,
    batch_size: int,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """n beta (L(w) - L(w*)) and |w - w*|^2 at each of `steps` steps of chains that start at w*, `[steps, chains]` each.

    network: a stack of the C chains. examples: images `[N, ...]` and labels `[N]` on the device, of which each chain
    draws its own batch, with replacement; both losses of a step are taken on the same batch, which cancels most of its
    noise. center: w* by name `[1, ...]`. inverse_temperature: n beta; localization: gamma.
    """
    images, labels = examples
    chains = next(iter(network.parameters())).shape[0]
    start = {name: value.expand(chains, *value.shape[1:]).clone() for name, value in center.items()}
    weights, excesses, distances = start, [], []

    def loss_at(at: Tensors, drawn: Tensor) -> Tensor:
        with evaluation_mode(network, statistics_images, {name: value.detach() for name, value in at.items()}):
            return losses(functional_call(network, at, (images[drawn],)), labels[drawn], loss)

    for _ in range(steps):
        drawn = torch.from_numpy(random.integers(len(images), size=(chains, batch_size))).to(images.device)
        leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
        values = loss_at(leaves, drawn)
        slopes = torch.autograd.grad(values.sum(), tuple(leaves.values()))
        with torch.no_grad():
            excess = inverse_temperature * (values.detach() - loss_at(start, drawn))
        away = {name: value - start[name] for name, value in weights.items()}
        excesses.append(excess.double().cpu().numpy())
        far = torch.stack([each.double().square().flatten(1).sum(1) for each in away.values()]).sum(0)
        distances.append(far.cpu().numpy())
        moved = {}
        for (name, value), slope in zip(weights.items(), slopes, strict=True):
            noise = torch.from_numpy(random.standard_normal(value.shape)).to(value)
            drift = inverse_temperature * slope + localization * away[name]
            moved[name] = value - step_size / 2 * drift + math.sqrt(step_size) * noise
        weights = moved
    return np.stack(excesses), np.stack(distances)


def measure(evaluator: Evaluator, seed: int, weights: Tensors, options: Mapping[str, Any]) -> Rows:
    """The measured columns of the rows of one network, a row for each localization. weights: by name `[...]`."""
    examples, center = len(evaluator.examples.images), evaluator.placed(weights)
    inverse_temperature = examples / math.log(examples)
    labels = evaluator.labels(seed)
    top = sharpness(
        Setup.of(evaluator, TOLERANCE, None),
        center,
        labels[evaluator.hessian_indices][None],
        [1.0],
        generator(seed, "local learning coefficient"),
    )
    network = build(evaluator.recipe.network, evaluator.shape, evaluator.classes, options["chains"])
    rows = []
    for number, localization in enumerate(options["localizations"]):
        stiffest = inverse_temperature * max(top.top_eigenvalue, 0.0) + localization
        step_size = options["step"] / stiffest
        excess, squares = sgld(
            network.to(evaluator.settings.device),
            evaluator.statistics_images,
            (evaluator.examples.images, labels),
            evaluator.recipe.training.loss,
            center,
            inverse_temperature=inverse_temperature,
            localization=localization,
            step_size=step_size,
            steps=options["burn_in"] + options["draws"],
            batch_size=options["batch_size"],
            random=generator(seed, "local learning coefficient", number),
        )
        kept, far = excess[options["burn_in"] :], squares[options["burn_in"] :]
        rows.append(
            {
                "localization": localization,
                "examples": examples,
                "top_eigenvalue": top.top_eigenvalue,
                "step_size": step_size,
                **_estimate(kept),
                "distance": finite(np.sqrt(far.mean())),
                "expected_distance": math.sqrt(sum(value.numel() for value in weights.values()) / localization),
            }
        )
        logging.info("network %d, localization %g: %s", seed, localization, rows[-1]["coefficient"])
    return rows


def _estimate(excess: np.ndarray) -> Row:
    """The coefficient with its error; null where the losses of a chain exploded."""
    if not np.isfinite(excess).all():
        return dict.fromkeys(("coefficient", "standard_error", "low", "high", "r_hat"))
    mean, error, low, high = mean_of_chains(excess)
    return {
        "coefficient": mean,
        "standard_error": error,
        "low": low,
        "high": high,
        "r_hat": finite(split_r_hat(excess)),
    }
