"""The same function of the same weights in fewer operations: batch norm folded into the convolution before it.

In evaluation mode, where its statistics are constants, batch normalization multiplies every channel by a number and
adds one. Both can go into the weights and the bias of the convolution before it, which leaves one pass over the
activations of several. The weights of either layer stay the arguments of the function, so that derivatives by them of
any order are those of the network as it was, up to rounding.
"""

import copy

import torch
from torch import Tensor, nn

from isthmus.models.stacked import BatchNorm, Convolution, convolve


def folded(network: nn.Module) -> nn.Module:
    """A copy of `network`, with the very same parameters, that folds as it goes.

    For use in evaluation mode only (`isthmus.models.evaluation.evaluation_mode`), whose batch-norm statistics it keeps.
    """
    twin = copy.deepcopy(network, {id(parameter): parameter for parameter in network.parameters()})
    for module in twin.modules():
        if type(module) is nn.Sequential:
            module.__class__ = _Folding
    return twin


class _Folding(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        before: Convolution | None = None  # a convolution that waits for its normalization
        for layer, after in zip(self, [*list(self)[1:], None], strict=False):  # an empty one has none
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
