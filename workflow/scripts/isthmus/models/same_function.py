"""Whether two sets of weights compute the same function, up to rounding."""

import copy

import torch
from torch import Tensor, nn

from isthmus.models.evaluation import converted, evaluation_mode
from isthmus.models.hidden_units import Weights

TOLERANCE = 1e-8  # in float64, the order of sums makes far smaller differences, also in deep networks


def with_weights(network: nn.Module, weights: Weights, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A copy of `network`, a stack of one, with other weights."""
    own = copy.deepcopy(network).to(device, dtype)
    with torch.no_grad():
        for name, parameter in own.named_parameters():
            parameter.copy_(weights[name][None])
    return own


def difference(network: nn.Module, first: Weights, second: Weights, images: Tensor) -> tuple[float, float]:
    """The largest difference of two outputs on images `[N, C, H, W]`, and the largest output, in absolute value.

    network: a stack of one that supplies the architecture. Computes in float64. Batch-norm statistics are computed over
    all of `images`.
    """
    images = converted(images, torch.float64)[None]
    outputs = []
    for each in (first, second):
        copied = with_weights(network, each, images.device, torch.float64)
        with torch.no_grad(), evaluation_mode(copied, images):
            outputs.append(copied(images))
    return (outputs[0] - outputs[1]).abs().max().item(), outputs[0].abs().max().item()
