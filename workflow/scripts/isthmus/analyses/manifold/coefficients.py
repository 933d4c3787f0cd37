"""The local learning coefficient at a zero of a theory network's loss, where its value is known.

At a zero with q independent equations, the loss is a sum of q squares in suitable coordinates, so the coefficient is
q / 2, however many weights there are (Watanabe 2009). Whether its estimate by Langevin chains (Lau et al. 2023) agrees
depends on the localization: `stiffness` is the curvature of the weakest equation, times the inverse temperature, over
that of the localization. The further it is below 1, the fewer equations count.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from isthmus.analyses.manifold.rank import matrix_rank
from isthmus.analyses.manifold.theory import ACTIVATIONS, Problem
from isthmus.core.seeds import generator
from isthmus.landscape.langevin import langevin
from isthmus.statistics.chains import mean_of_chains, split_r_hat
from isthmus.tables.rows import Rows, finite


def stacked_losses(problem: Problem, weights: Tensor) -> Tensor:
    """L at each of many weights `[C, n]` at once, `[C]`."""
    network, begin = problem.network, 0
    entered = problem.inputs.expand(len(weights), -1, -1)
    for outputs, inputs in network.sizes:
        matrix = weights[:, begin : begin + outputs * inputs].unflatten(1, (outputs, inputs))
        begin += outputs * inputs
        sums = torch.baddbmm(weights[:, None, begin : begin + outputs], entered, matrix.mT)
        begin += outputs
        entered = ACTIVATIONS[network.activation][0](sums)
    return (sums - problem.targets).square().sum((1, 2)) / 2


def coefficient_rows(problem: Problem, weights: Tensor, seed: int, name: str, options: Mapping[str, Any]) -> Rows:
    """The measured columns of `learning_coefficients` at the zero `weights` `[n]`: a row for each stiffness.

    name: that of the network among those of its seed, which all draw other numbers. options: `learning_coefficient` of
    the analysis. The localization lets the n - q flat directions spread to a root mean square of `radius` times the
    norm of the weights.
    """
    jacobian = problem.jacobian(weights)
    _, singular, right = torch.linalg.svd(jacobian, full_matrices=True)
    count, rank = len(weights), matrix_rank(singular.cpu().numpy(), *jacobian.shape)
    squares = torch.nn.functional.pad(singular[:rank], (0, count - rank)).square()
    norm = float(weights.norm())
    localization = max(count - rank, 1) / (options["radius"] * norm) ** 2

    rows = []
    for number, stiffness in enumerate(options["stiffnesses"]):
        inverse_temperature = stiffness * localization / float(squares[rank - 1])
        precisions = inverse_temperature * squares + localization
        found = langevin(
            partial(stacked_losses, problem),
            weights,
            right.T / precisions.sqrt(),
            inverse_temperature=inverse_temperature,
            localization=localization,
            chains=options["chains"],
            burn_in=options["burn_in"],
            draws=options["draws"],
            random=generator(seed, f"learning coefficient {name}", number),
        )
        mean, error, low, high = mean_of_chains(found.excess)
        rows.append(
            {
                "stiffness": stiffness,
                "rank": rank,
                "predicted": problem.constraints / 2,
                "coefficient": finite(mean),
                "standard_error": finite(error),
                "low": finite(low),
                "high": finite(high),
                "quadratic": float((inverse_temperature * squares / precisions).sum()) / 2,
                "r_hat": finite(split_r_hat(found.excess)),
                "acceptance": found.acceptance,
                "step_size": found.step_size,
                "distance": found.distance,
                "norm": norm,
                "inverse_temperature": inverse_temperature,
                "localization": localization,
                "chains": options["chains"],
                "draws": options["draws"],
            }
        )
    return rows
