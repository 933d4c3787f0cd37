"""Langevin chains around a minimum, whose losses give its local learning coefficient (Lau et al. 2023).

The weights near w* whose loss K is at most epsilon fill a volume that shrinks as epsilon^lambda (Watanabe 2009). Where
the equations are independent, lambda is half their number; where the loss is degenerate, it is less: 1 / (2 k) for
x^(2k). With a density proportional to

    exp(-U),   U(w) = beta K(w) + gamma |w - w*|^2 / 2,

lambda = beta E[K(w) - K(w*)] as beta grows. gamma, the localization, keeps the chains near w*, and affects the
number: the direction of a singular value s of the Jacobian, where K = s^2 x^2 / 2, adds half of
beta s^2 / (beta s^2 + gamma), so equations weaker than gamma / beta do not count.

Lau et al. take gradients on batches, and steps that are the same in all directions (SGLD). With few data, the full
gradient costs no more than a batch. A metric makes all directions alike, so chains mix within about ten steps, and
rejections (Roberts and Tweedie 1996) remove the error of finite steps. These chains sample the same density.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# For a Gaussian in many dimensions 0.574 would be best (Roberts and Rosenthal 1998), but where a loss is steeper than a
# quadratic far out, such steps are long rejected there.
WANTED_ACCEPTANCE = 0.8


@dataclass(frozen=True, eq=False)
class Chains:
    """What some chains saw after the burn-in.

    excess: beta (K - K(w*)) at every draw, `[draws, chains]`, float64. distance: root mean square of |w - w*|.
    step_size: h, in units of the metric, in which the density has about unit variance in all directions. acceptance:
    the share of steps that were accepted.
    """

    excess: np.ndarray
    distance: float
    step_size: float
    acceptance: float


def langevin(
    loss: Callable[[Tensor], Tensor],
    center: Tensor,
    directions: Tensor,
    *,
    inverse_temperature: float,
    localization: float,
    chains: int,
    burn_in: int,
    draws: int,
    random: np.random.Generator,
) -> Chains:
    """Sample the density around `center` `[n]`, w*, by `chains` chains that start there and are computed at once.

    loss: K at weights `[chains, n]`, as `[chains]`, differentiable by autograd. directions: A `[n, n]`, the
    metric: w = w* + A u, with A A^T about the covariance of the density. inverse_temperature: beta; localization:
    gamma. The size of the steps is fitted to the share that is accepted during the burn-in, and then kept.

    >>> given = {"inverse_temperature": 100.0, "localization": 0.0, "chains": 50, "burn_in": 50, "draws": 200}
    >>> zero, metric = torch.zeros(3).double(), torch.eye(3).double() / 100**0.5
    >>> found = langevin(lambda w: w.square().sum(1) / 2, zero, metric, **given, random=np.random.default_rng(0))
    >>> bool(abs(found.excess.mean() - 3 / 2) < 0.1)  # three independent equations
    True
    """
    height = float(loss(center[None]))

    def energies(placed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """beta (K - K(w*)), U and the gradient of U by u at positions u `[chains, n]`."""
        moved = placed @ directions.T
        weights = (center + moved).requires_grad_()
        values = loss(weights)
        (slopes,) = torch.autograd.grad(values.sum(), weights)
        excess = inverse_temperature * (values.detach() - height)
        whole = excess + localization / 2 * moved.square().sum(1)
        return excess, whole, (inverse_temperature * slopes + localization * moved) @ directions

    def drawn(*shape: int) -> Tensor:
        return torch.from_numpy(random.standard_normal(shape)).to(center)

    place = center.new_zeros(chains, len(center))
    excess, energy, slope = energies(place)
    step = 1.65**2 / len(center) ** (1 / 3)  # the best for a Gaussian
    seen, squares, accepted = [], 0.0, 0.0
    for number in range(burn_in + draws):
        noise = math.sqrt(step) * drawn(chains, len(center))
        proposed = place - step / 2 * slope + noise
        its_excess, its_energy, its_slope = energies(proposed)
        back = (place - proposed + step / 2 * its_slope).square().sum(1)
        odds = energy - its_energy + (noise.square().sum(1) - back) / (2 * step)
        chance = torch.nan_to_num(odds, nan=-math.inf).clamp(max=0).exp()
        taken = torch.from_numpy(random.random(chains)).to(center) < chance
        place = torch.where(taken[:, None], proposed, place)
        slope = torch.where(taken[:, None], its_slope, slope)
        excess, energy = torch.where(taken, its_excess, excess), torch.where(taken, its_energy, energy)
        if number < burn_in:
            step *= math.exp((float(chance.mean()) - WANTED_ACCEPTANCE) / math.sqrt(number + 1))
        else:
            seen.append(excess)
            squares += float((place @ directions.T).square().sum())
            accepted += float(taken.double().mean())
    values = torch.stack(seen).double().cpu().numpy()
    return Chains(values, math.sqrt(squares / (draws * chains)), step, accepted / draws)
