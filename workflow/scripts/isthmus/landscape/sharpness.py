"""Sharpness at a point in weight space: top eigenvalue and trace of the Hessian of the training loss there.

Points along paths and trained networks are measured alike: in evaluation mode, on a fixed subset of the training data,
with batch-norm statistics computed at these weights and then held fixed. The loss on that subset is part of the result,
since the Hessian of the cross-entropy vanishes with the loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.core.tensors import Tensors
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.hessian.graph_memory import keeps_graph
from isthmus.landscape.hessian.lanczos import eigenvalues
from isthmus.landscape.hessian.operator import CurvatureOperator
from isthmus.landscape.hessian.trace import Traces, traces
from isthmus.models.evaluation import evaluation_mode


@dataclass(frozen=True)
class Sharpness:
    """top_eigenvalue: algebraically the largest; residual: |Hv - lambda v|; traces: None if not requested; loss: mean
    over the Hessian's examples."""

    top_eigenvalue: float
    residual: float
    converged: bool
    traces: Traces | None
    loss: float


@dataclass(frozen=True)
class Setup:
    """What sharpness is measured on, and how precisely.

    network: a stack of one on the device, whose weights are overwritten; images `[N, C, H, W]`: for the Hessian;
    statistics_images `[1, B, C, H, W]`: for batch normalization; tolerance: relative, of the eigenvalue; precision:
    standard error / |trace|, None for no trace; maximum_products: of either estimate; keep: as for
    `isthmus.landscape.hessian.operator.CurvatureOperator`.
    """

    network: nn.Module
    images: Tensor
    statistics_images: Tensor
    loss: str
    tolerance: float
    precision: float | None
    maximum_products: int
    keep: bool

    @classmethod
    def of(
        cls, evaluator: Evaluator, tolerance: float, precision: float | None, maximum_products: int = 1000
    ) -> "Setup":
        """The setup for an evaluator's single network, on its Hessian examples."""
        images, recipe = evaluator.examples.images[evaluator.hessian_indices], evaluator.recipe
        keep = keeps_graph(recipe.network, evaluator.shape, evaluator.classes, len(images))
        where = (evaluator.single, images, evaluator.statistics_images, recipe.training.loss)
        return cls(*where, tolerance, precision, maximum_products, keep)


def put(network: nn.Module, weights: Tensors) -> None:
    """Overwrite the weights of a network, by name.

    >>> from isthmus.models.stacked import Linear
    >>> network = Linear(1, 1, 1, bias=False)
    >>> put(network, {"weight": torch.tensor([[[2.0]]])})
    >>> network.weight.item()
    2.0
    """
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(weights[name])


class WeightedSum:
    """A weighted sum of symmetric matrices `[P, P]`, applied to vectors (`lanczos.SymmetricOperator`)."""

    def __init__(self, operators: Sequence[CurvatureOperator], shares: Sequence[float]) -> None:
        self.operators, self.shares = operators, shares
        self.size, self.dtype, self.device = operators[0].size, operators[0].dtype, operators[0].device
        self.loss = sum(share * operator.loss for share, operator in zip(shares, operators, strict=True))
        gradients = [operator.gradient for operator in operators]
        known = [share * gradient for share, gradient in zip(shares, gradients, strict=True) if gradient is not None]
        self.gradient = torch.stack(known).sum(0) if len(known) == len(operators) else None

    def __call__(self, vectors: Tensor) -> Tensor:
        """Products with vectors `[K, P]`."""
        parts = [share * operator(vectors) for share, operator in zip(self.shares, self.operators, strict=True)]
        return torch.stack(parts).sum(0)


class Restricted:
    """A symmetric matrix without the rows and columns of weights that are held fixed.

    free `[P]` (bool): the other weights, stored as indices; `size` is their number.
    """

    def __init__(self, operator: CurvatureOperator | WeightedSum, free: Tensor) -> None:
        self.operator, self.free = operator, free.to(operator.device).nonzero()[:, 0]
        self.size, self.dtype, self.device, self.loss = len(self.free), operator.dtype, operator.device, operator.loss
        self.gradient = None if operator.gradient is None else operator.gradient[self.free]

    def __call__(self, vectors: Tensor) -> Tensor:
        """Products with vectors `[K, size]`."""
        whole = torch.zeros(len(vectors), self.operator.size, dtype=self.dtype, device=self.device)
        whole[:, self.free] = vectors
        return self.operator(whole)[:, self.free]


def sharpness(
    setup: Setup,
    weights: Tensors,
    labels: Tensor,
    shares: Sequence[float],
    generator: np.random.Generator,
    free: Tensor | None = None,
) -> Sharpness:
    """The sharpness of the loss at `weights`, by name `[1, ...]`.

    labels `[K, N]` and shares `[K]`: the loss is the weighted sum of the losses on each set of labels (one set, or two
    between networks that learned different labels). free `[P]`: False for weights that are held fixed, in the order of
    `network.named_parameters()`. Raises UserError if the loss is not finite.

    >>> from isthmus.models.stacked import Linear
    >>> network = nn.Sequential(nn.Flatten(2), Linear(1, 2, 1, bias=False))
    >>> images, labels = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 2.0]]]]), torch.tensor([[0, 0]])
    >>> setup = Setup(network, images, images[None], "squared_error", 1e-3, None, 100, keep=True)
    >>> weights = {"1.weight": torch.zeros(1, 1, 2)}  # the loss is (w_1 - 1)^2 / 2 + (2 w_2 - 1)^2 / 2
    >>> round(sharpness(setup, weights, labels, [1.0], np.random.default_rng(0)).top_eigenvalue, 4)
    4.0
    """
    put(setup.network, weights)
    used = [(row, share) for row, share in zip(labels, shares, strict=True) if share > 0]
    with evaluation_mode(setup.network, setup.statistics_images):
        parts = [
            CurvatureOperator(setup.network, setup.images, row, setup.loss, "hessian", keep=setup.keep)
            for row, _ in used
        ]
        whole = parts[0] if len(parts) == 1 else WeightedSum(parts, [share for _, share in used])
        operator = whole if free is None else Restricted(whole, free)
        how = (setup.tolerance, setup.maximum_products)
        top = eigenvalues(operator, 1, generator, "largest", *how, look_for_copies=False, start=operator.gradient)
        found = None
        if setup.precision is not None:
            found = traces(operator, top.space, generator, setup.precision, maximum_products=setup.maximum_products)
    return Sharpness(
        float(top.values[0]),
        float(top.residuals[0]),
        bool(top.converged[0]),
        found,
        float(operator.loss),
    )


def trace_columns(found: Traces | None) -> dict[str, Any]:
    """The table columns for the trace of the Hessian; all are None if it was not measured.

    >>> set(trace_columns(None).values())
    {None}
    """
    return {
        "trace": found and found.trace.value,
        "trace_error": found and found.trace.error,
        "trace_low": found and found.trace.low,
        "trace_high": found and found.trace.high,
        "trace_probes": found and found.probes,
        "trace_converged": found and found.trace.converged,
    }
