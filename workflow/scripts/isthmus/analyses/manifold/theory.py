"""Networks for exact theorems: fully connected, in float64, as functions of one flat vector of weights.

Theorems about the loss landscape (Cooper 2018, arXiv 1804.10200) involve n weights, d data points, the residuals r(w)
in R^(d k) of a network with k outputs, their Jacobian J, and the squared loss L = |r|^2 / 2, whose Hessian is J^T J +
sum_i r_i Hessian(r_i). This module computes all of these, J in closed form (backpropagation, once per output), for
networks small enough to hold J in memory. There is no normalization, no penalty and no rounding to float32.

    network = TheoryNetwork(inputs=3, width=8, depth=1, outputs=1, activation="tanh")
    weights = network.start(np.random.default_rng(0))               # [41]
    network.jacobian(weights, torch.randn(10, 3).double()).shape     # [10, 41]
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Map = Callable[[Tensor], Tensor]

HESSIAN_ROWS = 64  # rows of the Hessian computed at once


def _gelu_slope(z: Tensor) -> Tensor:
    normal = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return (1 + torch.erf(z / math.sqrt(2))) / 2 + z * normal


ACTIVATIONS: dict[str, tuple[Map, Map]] = {
    "tanh": (torch.tanh, lambda z: 1 - torch.tanh(z).square()),
    "softplus": (F.softplus, torch.sigmoid),
    "gelu": (F.gelu, _gelu_slope),
    "relu": (torch.relu, lambda z: (z > 0).to(z.dtype)),
}
"""Activations by name, each with its derivative."""

SMOOTH = frozenset({"tanh", "softplus", "gelu"})
"""Activations without kinks, as the theorems assume."""


@dataclass(frozen=True)
class TheoryNetwork:
    """`depth` hidden layers of `width` units, every layer with a bias; the weights are not part of it.

    Weights are one vector `[n]`, layer by layer: each layer's matrix `[outputs, inputs]` row by row, then its bias.
    """

    inputs: int
    width: int
    depth: int
    outputs: int
    activation: str

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(outputs, inputs) of each layer."""
        widths = [self.inputs, *[self.width] * self.depth, self.outputs]
        return list(zip(widths[1:], widths[:-1], strict=True))

    @property
    def parameters(self) -> int:
        """n, the number of weights and biases."""
        return sum(outputs * (inputs + 1) for outputs, inputs in self.sizes)

    def start(self, random: np.random.Generator) -> Tensor:
        """Weights `[n]` as PyTorch initializes linear layers: uniform in plus or minus 1 / sqrt(fan-in), biases too."""
        drawn = [random.uniform(-1, 1, outputs * (inputs + 1)) / math.sqrt(inputs) for outputs, inputs in self.sizes]
        return torch.from_numpy(np.concatenate(drawn))

    def layers(self, weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Matrix and bias of each layer, views of `weights` `[n]`."""
        begin = 0
        for outputs, inputs in self.sizes:
            matrix = weights[begin : begin + outputs * inputs].view(outputs, inputs)
            begin += outputs * inputs
            yield matrix, weights[begin : begin + outputs]
            begin += outputs

    def features(self, weights: Tensor, x: Tensor) -> Tensor:
        """The outputs `[N, width]` of the last hidden layer for inputs x `[N, inputs]`."""
        act, _ = ACTIVATIONS[self.activation]
        for matrix, bias in list(self.layers(weights))[:-1]:
            x = act(F.linear(x, matrix, bias))
        return x

    def function(self, weights: Tensor, x: Tensor) -> Tensor:
        """The outputs `[N, outputs]` for inputs x `[N, inputs]`."""
        *_, (matrix, bias) = self.layers(weights)
        return F.linear(self.features(weights, x), matrix, bias)

    def _passes(self, weights: Tensor, x: Tensor, cotangents: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Per layer, last first: inputs `[N, inputs]` and C cotangents `[N, C, outputs]` pulled back to its outputs."""
        act, slope = ACTIVATIONS[self.activation]
        layers, entered, sums = list(self.layers(weights)), [x], []
        for matrix, bias in layers[:-1]:
            sums.append(F.linear(entered[-1], matrix, bias))
            entered.append(act(sums[-1]))
        yield entered[-1], cotangents
        for (matrix, _), before, own in zip(layers[:0:-1], sums[::-1], entered[-2::-1], strict=True):
            cotangents = (cotangents @ matrix) * slope(before)[:, None]
            yield own, cotangents

    def jacobian(self, weights: Tensor, x: Tensor) -> Tensor:
        """J `[N outputs, n]`: derivatives of all outputs on all examples by the weights; examples are outermost."""
        ones = torch.eye(self.outputs, dtype=weights.dtype, device=weights.device).expand(len(x), -1, -1)
        jacobian = weights.new_empty(len(x), self.outputs, self.parameters)
        end = self.parameters
        for (outputs, inputs), (entered, back) in zip(self.sizes[::-1], self._passes(weights, x, ones), strict=True):
            jacobian[..., end - outputs : end] = back
            end -= outputs
            part = jacobian[..., end - outputs * inputs : end].unflatten(-1, (outputs, inputs))
            torch.mul(back[..., None], entered[:, None, None], out=part)
            end -= outputs * inputs
        return jacobian.flatten(0, 1)

    def pulled_back(self, weights: Tensor, x: Tensor, factors: Tensor) -> Tensor:
        """J^T c `[n]` for factors c `[N, outputs]`: the gradient of sum c_ik f_k(x_i), itself differentiable."""
        parts: list[Tensor] = []
        for entered, back in self._passes(weights, x, factors[:, None]):
            parts += [back.sum((0, 1)), (back[:, 0].T @ entered).flatten()]
        return torch.cat(parts[::-1])

    def curved(self, weights: Tensor, x: Tensor, factors: Tensor) -> Tensor:
        """The Hessian `[n, n]` of sum c_ik f_k(x_i), with constant factors c `[N, outputs]`."""
        weights = weights.detach().requires_grad_()
        gradient = self.pulled_back(weights, x, factors)
        hessian = weights.new_empty(len(weights), len(weights))
        ones = torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
        for start in range(0, len(weights), HESSIAN_ROWS):
            rows = ones[start : start + HESSIAN_ROWS]
            (hessian[start : start + HESSIAN_ROWS],) = torch.autograd.grad(
                gradient, weights, rows, retain_graph=True, is_grads_batched=True
            )
        return (hessian + hessian.T) / 2


@dataclass(frozen=True, eq=False)
class Problem:
    """The data that a theory network must fit exactly, and inputs off the data.

    inputs `[d, inputs]`, targets `[d, outputs]`: the d data points. off_inputs `[M, inputs]`: other inputs from the
    same source. off_targets `[M, outputs]`: their targets; None if targets are arbitrary and say nothing about other
    inputs.
    """

    network: TheoryNetwork
    inputs: Tensor
    targets: Tensor
    off_inputs: Tensor
    off_targets: Tensor | None = None

    @property
    def constraints(self) -> int:
        """d times the outputs: the number of equations that a zero of the loss fulfils."""
        return self.targets.numel()

    def residuals(self, weights: Tensor) -> Tensor:
        """r `[d outputs]`: outputs minus targets."""
        return (self.network.function(weights, self.inputs) - self.targets).flatten()

    def jacobian(self, weights: Tensor) -> Tensor:
        """J `[d outputs, n]`, the derivative of the residuals."""
        return self.network.jacobian(weights, self.inputs)

    def loss(self, weights: Tensor) -> float:
        """L = |r|^2 / 2, summed over data points and outputs."""
        return float(self.residuals(weights).square().sum()) / 2

    def hessian(self, weights: Tensor) -> Tensor:
        """The whole Hessian `[n, n]` of the loss, including second derivatives of the residuals."""
        jacobian = self.jacobian(weights)
        return jacobian.T @ jacobian + self.network.curved(
            weights, self.inputs, self.residuals(weights).view_as(self.targets)
        )


def solution_expected(network: TheoryNetwork, points: int) -> bool:
    """Whether zeros of the loss are expected for generic targets: more weights than equations, and no bottleneck.

    The outputs lie in the span of the last hidden layer's units and the constant, so generic targets of k outputs on d
    points also need a width of at least min(d - 1, k). Counting weights alone overlooks this bottleneck.
    """
    return network.parameters > points * network.outputs and network.width >= min(points - 1, network.outputs)
