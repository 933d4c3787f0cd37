"""Sharpness without second derivatives: how much the loss rises when the weights are perturbed.

Two measures of one network with weights w and mean loss L(w) over given images:

* the mean rise under Gaussian noise on the weights (`noise_response`). For small sigma, the expected rise is
  sigma^2 / 2 times the trace of the Hessian. Noise of one size for all weights gives different rises for networks that
  compute the same function, since a ReLU layer may be scaled up and the next one down (Dinh et al. 2017). Noise
  relative to the norm of each filter, the rule of Li et al. (2018) for directions, does not;
* the worst rise in a ball of radius rho around w (`worst_in_ball`), after one step of gradient ascent to its surface,
  as in sharpness-aware minimization (SAM; Foret et al. 2021), or after several. The coordinates of adaptive SAM (ASAM;
  Kwon et al. 2021) are as insensitive to such scalings as relative noise.

Batch-norm statistics are computed anew at every perturbed point, because a network is its parameters. Only gradients
treat them as constants, as `isthmus.landscape.hessian.operator` does.

    surface = LossSurface(network, images, labels, "cross_entropy", statistics_images, batch_size=256)
    response = noise_response(surface, weights, sigma=0.01, relative=True, draws=20, generator=generator)
    response.relative_rise, response.relative_rise_error
    worst_in_ball(surface, weights, rho=0.05).rise
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.core.errors import UserError
from isthmus.core.tensors import Tensors
from isthmus.landscape.loss_surface import LossSurface
from isthmus.training.sam import coordinates

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseResponse:
    """Losses and accuracies of one network without noise, and under R draws of noise, `[R]`, float64.

    Losses are in nats (or squared errors), accuracies are fractions. Errors are standard errors of the mean over draws,
    NaN for a single draw. A rise relative to a loss of zero is inf, or NaN if nothing rose.
    """

    loss: float
    accuracy: float
    losses: Array
    accuracies: Array

    @property
    def draws(self) -> int:
        """R."""
        return len(self.losses)

    @property
    def mean_loss(self) -> float:
        """The mean loss under noise."""
        return float(self.losses.mean())

    @property
    def mean_loss_error(self) -> float:
        """The standard error of `mean_loss`, and of `rise`."""
        with np.errstate(invalid="ignore"):
            return float(self.losses.std(ddof=1) / math.sqrt(self.draws)) if self.draws > 1 else math.nan

    @property
    def mean_accuracy(self) -> float:
        """The mean accuracy under noise."""
        return float(self.accuracies.mean())

    @property
    def rise(self) -> float:
        """`mean_loss` minus the loss without noise."""
        return self.mean_loss - self.loss

    @property
    def relative_rise(self) -> float:
        """`rise` divided by the loss without noise."""
        return _ratio(self.rise, self.loss)

    @property
    def relative_rise_error(self) -> float:
        """The standard error of `relative_rise`; the loss without noise has no error."""
        return _ratio(self.mean_loss_error, self.loss)


@dataclass(frozen=True)
class WorstCase:
    """The loss of one network, and the losses after each step of an ascent, `[steps]`, float64."""

    loss: float
    losses: Array

    @property
    def worst_loss(self) -> float:
        """The highest of `losses`, a lower bound on the maximum in the ball; NaN if one of them is."""
        return float(self.losses.max())

    @property
    def rise(self) -> float:
        """`worst_loss` minus the loss at the centre; negative if every step overshot."""
        return self.worst_loss - self.loss

    @property
    def relative_rise(self) -> float:
        """`rise` divided by the loss at the centre; if that is zero, inf, or NaN if nothing rose."""
        return _ratio(self.rise, self.loss)


def noise_response(
    surface: LossSurface,
    weights: Tensors,
    *,
    sigma: float,
    relative: bool,
    draws: int,
    generator: np.random.Generator,
) -> NoiseResponse:
    """The loss of one network under `draws` independent draws of Gaussian noise on all of its weights.

    weights: by name `[1, ...]`, on the device. sigma, relative: as in `noise_spread`.

    Draw r comes from the r-th child that `generator` spawns, so it depends on neither the stack size nor the number of
    draws. Generators with equal seeds (not one generator used twice) give the same noise in units of sigma.

    Raises ValueError for a negative sigma, no draws or weights of several networks, and UserError if the loss without
    noise is not finite.

    >>> from torch import nn
    >>> from isthmus.models.stacked import Flatten, Linear
    >>> network = nn.Sequential(Flatten(), Linear(1, 4, 2, bias=False))
    >>> images, labels = torch.ones(3, 1, 2, 2), torch.tensor([0, 1, 0])
    >>> surface = LossSurface(network, images, labels, "cross_entropy", images[None], 256)
    >>> weights = {"1.weight": torch.zeros(1, 2, 4)}
    >>> given = {"relative": False, "draws": 2, "generator": np.random.default_rng(0)}
    >>> noise_response(surface, weights, sigma=0.0, **given).rise
    0.0
    """
    weights = _constants(weights)
    if not sigma >= 0 or draws < 1:
        raise ValueError(f"sigma {sigma} and {draws} draws: sigma must not be negative, and at least 1 draw is needed")
    spread = noise_spread(weights, sigma, relative)
    found = []
    # The network without noise comes first in the stack.
    members: list[np.random.Generator | None] = [None, *generator.spawn(draws)]
    for begin in range(0, len(members), surface.stack):
        points = [_perturbed(weights, spread, member) for member in members[begin : begin + surface.stack]]
        count = len(points)
        points += points[-1:] * (surface.stack - count)  # Repeat the last point to fill the stack.
        together = {name: torch.cat([point[name] for point in points]) for name in weights}
        found.append(surface.at(together)[:, :count])
    loss_values, accuracies = torch.cat(found, dim=1).numpy()
    _check_finite(loss_values[0])
    return NoiseResponse(float(loss_values[0]), float(accuracies[0]), loss_values[1:], accuracies[1:])


def noise_spread(weights: Tensors, sigma: float, relative: bool) -> Tensors:
    """The standard deviation of the noise on every weight, float64, by name, in a shape that broadcasts to the weights.

    weights: by name `[1, ...]`. The deviation is sigma, in the unit of the weights, or, if `relative`, sigma times the
    root mean square of the weight's filter, so that the noise on a filter has the root-mean-square norm
    sigma * |filter|. A filter computes one output: a row of a matrix, or a kernel over all input channels. Biases and
    the scales and shifts of normalization layers have one number per output; each such vector counts as one filter.
    Zero filters get no noise.

    >>> noise_spread({"1.weight": torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])}, 0.1, relative=True)["1.weight"]
    tensor([[[0.3536],
             [0.0000]]], dtype=torch.float64)
    """
    spread = {}
    for name, value in weights.items():
        norms = filter_norms(value.double())
        sizes = norms * math.sqrt(norms.numel() / value.numel()) if relative else torch.ones_like(norms)
        spread[name] = sigma * sizes
    return spread


def filter_norms(value: Tensor) -> Tensor:
    """Euclidean norms of a tensor's filters, for broadcasting: `[1, outputs, 1, ...]` from `[1, outputs, ...]`.

    A vector `[1, outputs]` is one filter and gives `[1, 1]`.

    >>> filter_norms(torch.tensor([[[3.0, 4.0], [0.0, 2.0]]]))
    tensor([[[5.],
             [2.]]])
    """
    first = 2 if value.dim() > 2 else 1
    return torch.linalg.vector_norm(value, dim=tuple(range(first, value.dim())), keepdim=True)


def gaussian(weights: Tensors, generator: np.random.Generator) -> Tensors:
    """Standard normal numbers in the shapes of `weights`, float64, on their device.

    They are drawn in alphabetical order of the names, so the order of the dictionary and the precision do not matter.

    >>> one, other = torch.zeros(1, 2), torch.zeros(1, 3)
    >>> noise = gaussian({"a": one, "b": other}, np.random.default_rng(0))
    >>> torch.equal(gaussian({"b": other, "a": one}, np.random.default_rng(0))["b"], noise["b"])
    True
    """
    drawn = {name: generator.standard_normal(tuple(weights[name].shape)) for name in sorted(weights)}
    return {name: torch.from_numpy(drawn[name]).to(value.device) for name, value in weights.items()}


def worst_in_ball(
    surface: LossSurface,
    weights: Tensors,
    *,
    rho: float,
    steps: int = 1,
    adaptive: bool = False,
    eta: float = 0.01,
) -> WorstCase:
    """The loss of one network at the worst weights w + e that gradient ascent finds in a ball around its weights w.

    The ball is |e| <= rho or, if `adaptive`, |T^-1 e| <= rho with T = diag(|w| + eta). One step leads to
    e = rho g / |g| (SAM) or e = rho T^2 g / |T g| (ASAM), where g is the gradient of the mean loss over all images.
    Each further step moves by rho along the gradient, in the coordinates T^-1 e, then back to the nearest point of the
    ball. If the loss is convex, no step lowers it. If a gradient is zero or not finite, the step does not move.

    The code of Kwon et al. leaves biases unscaled (T = 1). Here T covers all parameters, as in their definition;
    otherwise scaling a layer with biases would change the result. The small eta, their 0.01, lets weights of zero
    move, too; with eta = 0, the ball is exactly invariant under scalings.

    weights: by name `[1, ...]`, on the device. rho: in the unit of the weights, or relative if `adaptive`.

    Raises ValueError for a negative rho or eta, no steps or weights of several networks, and UserError if the loss at
    the centre is not finite.

    >>> from torch import nn
    >>> from isthmus.models.stacked import Flatten, Linear
    >>> network = nn.Sequential(Flatten(), Linear(1, 1, 1, bias=False))
    >>> image, label = torch.ones(1, 1, 1, 1), torch.tensor([0])  # the loss is (w - 1)^2
    >>> surface = LossSurface(network, image, label, "squared_error", image[None], 256)
    >>> worst_in_ball(surface, {"1.weight": torch.tensor([[[3.0]]])}, rho=0.5).worst_loss
    6.25
    """
    weights = _constants(weights)
    if not (rho >= 0 and eta >= 0) or steps < 1:
        raise ValueError(f"rho {rho}, eta {eta} and {steps} steps: none may be negative, and 1 step is the least")
    scale = {name: coordinates(value.double(), eta) if adaptive else 1.0 for name, value in weights.items()}
    moved = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in weights.items()}  # T^-1 e
    point, found = weights, []
    for _ in range(steps):
        value, gradient = surface.with_gradient(point)
        found.append(value)
        _check_finite(found[0])
        moved = _ascended(moved, {name: scale[name] * slope for name, slope in gradient.items()}, rho)
        point = {name: (w.double() + scale[name] * moved[name]).to(w.dtype) for name, w in weights.items()}
    found.append(float(surface.at(point)[0]))
    return WorstCase(found[0], np.array(found[1:]))


def _ascended(start: Tensors, slope: Tensors, rho: float) -> Tensors:
    """`start` moved by rho along `slope`, then back to the nearest point of the ball of radius rho around 0."""
    length = _norm(slope)
    if not 0 < length < math.inf:
        return start
    moved = {name: value + rho / length * slope[name] for name, value in start.items()}
    distance = _norm(moved)
    return {name: value * (rho / distance) for name, value in moved.items()} if distance > rho else moved


def _perturbed(weights: Tensors, spread: Tensors, generator: np.random.Generator | None) -> Tensors:
    """The weights with noise of the given standard deviations from `generator`; unchanged if that is None."""
    if generator is None:
        return weights
    noise = gaussian(weights, generator)
    return {name: (w.double() + spread[name] * noise[name]).to(w.dtype) for name, w in weights.items()}


def _norm(vector: Tensors) -> float:
    return math.hypot(*(float(torch.linalg.vector_norm(value)) for value in vector.values()))


def _ratio(value: float, by: float) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(value, by))


def _constants(weights: Tensors) -> Tensors:
    """The weights, detached. Raises ValueError if they belong to several networks."""
    if any(value.shape[0] != 1 for value in weights.values()):
        raise ValueError("sharpness is that of one network: give the weights of a stack of one")
    return {name: value.detach() for name, value in weights.items()}


def _check_finite(loss: float) -> None:
    if not math.isfinite(loss):
        raise UserError(f"the loss is {loss}, so no rise can be measured; leave out networks that diverged")
