"""Fold batch normalization into the convolution before it: the same function of the same weights, in fewer operations.

In evaluation mode, batch-norm statistics are constants, so batch normalization multiplies each channel by one number
and adds another. Both numbers can move into the weights and bias of the preceding convolution, which saves several
passes over the activations. The function still takes the original weights of both layers, so its derivatives of any
order equal the network's, up to rounding.
"""

import copy

import torch
from torch import Tensor, nn

from isthmus.models.functional import Stacked
from isthmus.models.stacked import BatchNorm, Convolution, convolve


def folded(network: nn.Module) -> nn.Module:
    """A copy of `network` that shares its parameters and folds batch normalization during the forward pass.

    Call it in evaluation mode (`isthmus.models.evaluation.evaluation_mode`) only: it keeps that mode's statistics.

    >>> from isthmus.models.evaluation import evaluation_mode
    >>> network = nn.Sequential(Convolution(1, 2, 3), BatchNorm(1, 3))
    >>> _ = [parameter.data.fill_(0.5) for parameter in network.parameters()]
    >>> images = torch.arange(64.0).view(2, 2, 4, 4) / 64
    >>> with evaluation_mode(network, images):
    ...     torch.allclose(folded(network)(images), network(images), atol=1e-4)
    True
    """
    twin = copy.deepcopy(network, {id(parameter): parameter for parameter in network.parameters()})
    for module in (twin.template if isinstance(twin, Stacked) else twin).modules():
        if type(module) is nn.Sequential:
            module.__class__ = _Folding
    return twin


class _Folding(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        before: Convolution | None = None  # a convolution that waits for its batch norm
        for layer, after in zip(self, [*list(self)[1:], None], strict=False):  # an empty Sequential has no layers
            if isinstance(layer, Convolution) and isinstance(after, BatchNorm) and after.statistics is not None:
                before = layer
            elif isinstance(layer, BatchNorm) and before is not None:
                x, before = _normalized_convolution(before, layer, x), None
            else:
                x = layer(x)
        return x


def _normalized_convolution(layer: Convolution, norm: BatchNorm, x: Tensor) -> Tensor:
    assert norm.statistics is not None
    mean, variance = norm.statistics
    scale = norm.weight.flatten() * torch.rsqrt(variance + norm.epsilon)
    before = -mean if layer.bias is None else layer.bias.flatten() - mean
    weight = layer.weight.flatten(0, 1) * scale[:, None, None, None]
    shift = norm.bias.flatten() + scale * before
    return convolve(x, weight, shift, layer.stride)
