"""How far apart two networks are: in weight space, in what they predict, and in what they represent.

Weights are dictionaries of tensors by name, as `isthmus.training.weights.load_weights` gives them. Outputs and
features are `[..., examples, values]`; leading dimensions (networks of a stack) are carried through. Sums are in
float64.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.models.functional import Stacked
from isthmus.models.stacked import Linear

Weights = Mapping[str, Tensor]


def euclidean(first: Weights, second: Weights) -> float:
    """|first - second| over all parameters, in the unit of the weights.

    >>> euclidean({"weight": torch.tensor([3.0, 4.0])}, {"weight": torch.zeros(2)})
    5.0
    """
    difference = _difference(first, second)
    return _inner(difference, difference) ** 0.5


def displacement_cosine(first: Weights, first_initial: Weights, second: Weights, second_initial: Weights) -> float:
    """Cosine of the angle between two networks' displacements from their initializations, in [-1, 1].

    NaN if one of them did not move.

    >>> start, right, up = ({"weight": torch.tensor(each)} for each in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]))
    >>> displacement_cosine(right, start, up, start)
    0.0
    """
    one, other = _difference(first, first_initial), _difference(second, second_initial)
    norms = (_inner(one, one) * _inner(other, other)) ** 0.5
    return _inner(one, other) / norms if norms > 0 else float("nan")


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Fraction of the examples for which two networks predict different classes, `[...]`, float64.

    first, second: outputs `[..., examples, classes]`.

    >>> disagreement(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([[0.3, 0.7], [0.4, 0.6]]))
    tensor(0.5000, dtype=torch.float64)
    """
    return (first.argmax(-1) != second.argmax(-1)).double().mean(-1)


def linear_cka(first: Tensor, second: Tensor) -> Tensor:
    """Linear centered kernel alignment of two representations of the same examples, `[...]`, in [0, 1], float64.

    |Y^T X|^2 / (|X^T X| |Y^T Y|) in Frobenius norms, where X and Y are the centered features
    `[..., examples, features]`, which may differ in number (Kornblith et al. 2019, eq. 4). It does not change when a
    representation is rotated, shifted or scaled. NaN if one of them is the same for all examples. For p and q unrelated
    features of n examples, it is not 0 but near sqrt(p q / ((n + p) (n + q))).

    >>> features = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    >>> linear_cka(features, 5 * features.flip(1) + 1).round(decimals=6)
    tensor(1., dtype=torch.float64)
    """
    x, y = (value.double() - value.double().mean(-2, keepdim=True) for value in (first, second))
    examples = x.shape[-2]
    if max(x.shape[-1], y.shape[-1]) < examples:
        similarity, own_x, own_y = _squared_norm(y.mT @ x), _squared_norm(x.mT @ x), _squared_norm(y.mT @ y)
    else:
        kernel_x, kernel_y = x @ x.mT, y @ y.mT
        similarity, own_x, own_y = (kernel_x * kernel_y).sum((-2, -1)), _squared_norm(kernel_x), _squared_norm(kernel_y)
    return similarity / (own_x * own_y).sqrt()


def total_variance(features: Tensor) -> Tensor:
    """The variance of features `[..., examples, features]` over the examples, summed over the features, `[...]`.

    Float64. It does not change when a representation is rotated, permuted or shifted.

    >>> total_variance(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    tensor(5., dtype=torch.float64)
    """
    return features.double().var(-2, correction=0).sum(-1)


def features_and_outputs(
    network: nn.Module, images: Tensor, batch_size: int, parameters: dict[str, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Penultimate features `[S, N, features]`, the input of the last linear layer, and outputs `[S, N, classes]`.

    images: `[N, C, H, W]`, shared by the stack. parameters: weights that replace the network's own, as for
    `torch.func.functional_call`. The network must be in `isthmus.models.evaluation.evaluation_mode` at these weights.
    A network that stacked layers do not compute is a stack of one, and its last layer may be a convolution as well.
    Raises ValueError if there is no such layer.

    >>> network = nn.Sequential(nn.Flatten(2), Linear(1, 4, 3))
    >>> features, outputs = features_and_outputs(network, torch.ones(5, 1, 2, 2), batch_size=2)
    >>> tuple(features.shape), tuple(outputs.shape)
    ((1, 5, 4), (1, 5, 3))
    """
    if isinstance(network, Stacked):
        linear = [network.get_submodule(network.last_layer)] if network.last_layer else []
    else:
        linear = [module for module in network.modules() if isinstance(module, Linear | nn.Linear)]
    if not linear:
        raise ValueError(f"{type(network).__name__} has no linear layer whose input could be taken for its features")
    inputs: list[Tensor] = []

    def keep(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        one = isinstance(network, Stacked) and not (network.layered and isinstance(module, Linear))
        inputs.append(arguments[0].flatten(1)[None] if one else arguments[0])

    handle = linear[-1].register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            outputs = [
                torch.func.functional_call(network, parameters or {}, (part[None],))
                for part in images.split(batch_size)
            ]
    finally:
        handle.remove()
    return torch.cat(inputs, dim=1), torch.cat(outputs, dim=1)


def _difference(first: Weights, second: Weights) -> dict[str, Tensor]:
    return {name: value.double() - second[name].double() for name, value in first.items()}


def _inner(first: Weights, second: Weights) -> float:
    return float(sum((value * second[name]).sum() for name, value in first.items()))


def _squared_norm(matrix: Tensor) -> Tensor:
    return matrix.square().sum((-2, -1))
