"""Known layers in place of those of one module: the same network, several times, as batched and grouped operations.

`torch.vmap` computes a stack of any module (`isthmus.models.functional`). If a module consists of layers that have a
counterpart in `isthmus.models.stacked`, in sequence or in residual blocks, those compute the stack faster.
"""

import copy
from typing import cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.models import stacked
from isthmus.models.architectures import ResidualBlock

ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Softplus)
BY_CHANNEL = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)


class UnknownLayer(Exception):
    """A layer without a stacked counterpart."""


def layer_stack(module: nn.Module, stack: int) -> nn.Module | None:
    """The module with stacked layers in place of its own, which keep their names; None if it has others, unchanged.

    It maps images `[S or 1, B, channels, height, width]` to outputs `[S, B, outputs]`. Its weights `[S, ...]` are not
    initialized.

    >>> import torch
    >>> made = layer_stack(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), stack=2)
    >>> made(torch.zeros(1, 5, 1, 2, 2)).shape, layer_stack(nn.Sequential(nn.Dropout()), stack=2)
    (torch.Size([2, 5, 3]), None)
    """
    everything = [each for _, each in module.named_modules(remove_duplicate=False)]
    weighted = [id(each) for each in everything if next(each.parameters(recurse=False), None) is not None]
    hooked = any(each._forward_hooks or each._forward_pre_hooks for each in everything)
    first = next((each for each in everything if not isinstance(each, nn.Sequential | nn.Identity)), None)
    affine = any(isinstance(each, nn.Linear | nn.Conv2d) for each in everything)
    if hooked or not affine or len(set(weighted)) < len(weighted) or not isinstance(first, nn.Flatten | nn.Conv2d):
        return None
    try:
        return _stacked(copy.deepcopy(module), stack, channels=0)[0]
    except UnknownLayer:
        return None


def _stacked(module: nn.Module, stack: int, channels: int | None) -> tuple[nn.Module, int | None]:
    """A stacked module and how many channels its outputs have. channels: of its inputs; 0 for those
    of the network, None for features.

    Containers are changed in place.
    """
    if type(module) is nn.Sequential:
        for name, child in module.named_children():
            layer, channels = _stacked(child, stack, channels)
            setattr(module, name, layer)
        return module, channels
    if isinstance(module, ResidualBlock):
        _stacked(module.shortcut, stack, channels)
        _, channels = _stacked(module.residual, stack, channels)
        return module, channels
    return _layer(module, stack, channels)


def _layer(layer: nn.Module, stack: int, channels: int | None) -> tuple[nn.Module, int | None]:
    """The same for a single layer. Raises UnknownLayer."""
    kind = type(layer)
    if kind in (*ACTIVATIONS, nn.Identity) or (kind in BY_CHANNEL and channels is not None):
        average = isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1))
        return (stacked.GlobalAverage() if average else layer), channels
    if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1) and channels is not None:
        return stacked.Flatten(channels), None
    if kind is nn.Linear and isinstance(layer, nn.Linear) and channels is None:
        return stacked.Linear(stack, layer.in_features, layer.out_features, layer.bias is not None), None
    if kind is nn.Conv2d and isinstance(layer, nn.Conv2d) and channels is not None and _keeps_size(layer):
        sizes = (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
        return stacked.Convolution(stack, *sizes, bias=layer.bias is not None), layer.out_channels
    if kind is (nn.BatchNorm1d if channels is None else nn.BatchNorm2d):
        batch_norm = cast(_BatchNorm, layer)
        if batch_norm.affine and batch_norm.eps == stacked.BatchNorm.epsilon:
            return stacked.BatchNorm(stack, batch_norm.num_features), channels
    whole = isinstance(layer, nn.GroupNorm) and layer.num_groups == 1 and channels is not None
    flat = isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1 and channels is None
    if (whole or flat) and layer.eps == stacked.LayerNorm.epsilon and layer.bias is not None:
        return stacked.LayerNorm(stack, cast(Tensor, layer.weight).numel()), channels
    raise UnknownLayer(f"{kind.__name__} has no stacked counterpart")


def _keeps_size(layer: nn.Conv2d) -> bool:
    """Whether a convolution is square, with "same" padding by zeros, and neither dilated nor grouped."""
    (size, width), stride = layer.kernel_size, layer.stride
    plain = layer.dilation == (1, 1) and layer.groups == 1 and layer.padding_mode == "zeros"
    return plain and size == width and stride[0] == stride[1] and layer.padding in ((size // 2,) * 2, "same")
