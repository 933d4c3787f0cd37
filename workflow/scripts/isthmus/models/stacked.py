"""Layers that hold the weights of several networks and apply each to its own input.

Small networks leave a processor idle: five of width 32 take hardly longer together than one alone. Every layer
here therefore carries a leading dimension `stack`, the number of networks side by side. One network is a stack of
one and costs nothing extra. Networks in a stack never mix: output s depends on the weights s and the input s alone.

Layout of activations, with `stack` S, batch B:

* after a linear layer `[S, B, features]`;
* in convolutional trunks `[B, S * channels, height, width]`, the networks being groups of channels, as grouped
  convolution and group normalization want them.

An input that all networks share has a stack of 1 and is broadcast by the first layer.

These layers do what `torch.func.vmap` over `functional_call` would do, at half its time per step for small MLPs
(benchmarks/bench_stacking.py), because the batched products are issued directly.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Module):
    """Affine maps `x[s] @ weight[s].T + bias[s]`: `[S or 1, B, inputs] -> [S, B, outputs]`.

    `weight` is `[S, outputs, inputs]`, `bias` `[S, outputs]` or None.
    """

    def __init__(self, stack: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(stack, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(stack, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        stack = self.weight.shape[0]
        if stack == 1:
            return F.linear(x[0], self.weight[0], None if self.bias is None else self.bias[0])[None]
        x = x.expand(stack, -1, -1)
        if self.bias is None:
            return torch.bmm(x, self.weight.mT)
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.mT)


class Convolution(nn.Module):
    """Square convolutions with "same" padding: `[B, (S or 1) * inputs, H, W] -> [B, S * outputs, H', W']`.

    `weight` is `[S, outputs, inputs, size, size]`, `bias` `[S, outputs]` or None.
    """

    def __init__(
        self, stack: int, inputs: int, outputs: int, size: int = 3, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(stack, outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.empty(stack, outputs)) if bias else None
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.flatten()
        return convolve(x, self.weight.flatten(0, 1), bias, self.stride)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """ "Same" convolution of groups of channels, `[B, G * inputs, H, W]`, with filters `[G * outputs, inputs, k, k]`.

    bias: `[G * outputs]` or None.
    """
    inputs, size = weight.shape[1:3]
    if size == 1 and stride > 1:
        # The same function. oneDNN 3.12's strided 1x1 convolution writes past its buffer if channels-last images have
        # fewer channels than a vector has lanes: wrong gradients or a crash (uxlfoundation/oneDNN, issue 6035).
        x, stride = x[:, :, ::stride, ::stride], 1
    return F.conv2d(x, weight, bias, stride, padding=size // 2, groups=x.shape[1] // inputs)


class BatchNorm(nn.Module):
    """Batch normalization (Ioffe & Szegedy 2015) whose statistics are no state of the network.

    In training mode each batch is normalized by its own mean and biased variance. In evaluation mode by
    `statistics`, a pair of `[S * channels]` tensors that whoever evaluates has to compute first at the very weights
    in question (`isthmus.models.evaluation.evaluation_mode` does); RuntimeError without them. While `collecting`, the
    statistics of the batch at hand are used and kept.
    """

    epsilon = 1e-5

    def __init__(self, stack: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(stack, channels))
        self.bias = nn.Parameter(torch.empty(stack, channels))
        self.collecting = False
        self.statistics: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            return self._normalize(x)
        stack, batch, features = x.shape
        flat = x.transpose(0, 1).reshape(batch, stack * features)
        return self._normalize(flat).view(batch, stack, features).transpose(0, 1)

    def _normalize(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.flatten(), self.bias.flatten()
        if self.collecting:
            mean = _channel_means(x)
            centred = x - (mean[:, None, None] if x.dim() == 4 else mean)
            self.statistics = mean, _channel_means(centred.square_())
        elif self.training:
            return F.batch_norm(x, None, None, weight, bias, training=True, eps=self.epsilon)
        if self.statistics is None:
            raise RuntimeError("batch-norm statistics were not computed before evaluation")
        mean, variance = self.statistics
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=self.epsilon)


def _channel_means(x: Tensor) -> Tensor:
    """Means over examples and pixels, pixels first: three times as fast as `torch.var_mean` over all of them."""
    return x.mean((2, 3)).mean(0) if x.dim() == 4 else x.mean(0)


class LayerNorm(nn.Module):
    """Layer normalization (Ba et al. 2016), over features, or over channels and pixels together, per example."""

    epsilon = 1e-5

    def __init__(self, stack: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(stack, channels))
        self.bias = nn.Parameter(torch.empty(stack, channels))

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            stack = self.weight.shape[0]
            return F.group_norm(x, stack, self.weight.flatten(), self.bias.flatten(), self.epsilon)
        normalized = F.layer_norm(x, x.shape[-1:], eps=self.epsilon)
        return torch.addcmul(self.bias.unsqueeze(1), normalized, self.weight.unsqueeze(1))


class ImagesToChannels(nn.Module):
    """`[S, B, C, H, W] -> [B, S * C, H, W]`: the entrance of a convolutional trunk."""

    def forward(self, x: Tensor) -> Tensor:
        # For one network this is a view, which keeps a channels-last layout as it is.
        return x[0] if x.shape[0] == 1 else x.transpose(0, 1).flatten(1, 2)


class ChannelsToFeatures(nn.Module):
    """`[B, S * C, H, W] -> [S, B, C * H * W]`: from a trunk of C channels to linear layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.channels)).flatten(2).transpose(0, 1)


class ImagesToFeatures(nn.Module):
    """`[S, B, C, H, W] -> [S, B, C * H * W]`: the entrance of a fully connected network."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2)


class GlobalAverage(nn.Module):
    """Mean over the pixels: `[B, S * C, H, W] -> [B, S * C, 1, 1]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


def reset(module: nn.Module, member: int, generator: torch.Generator) -> None:
    """Initialize network `member` of one layer as PyTorch initializes the layer of the same kind.

    Linear layers and convolutions: weights and biases uniform in +-1/sqrt(fan-in), which is what
    `torch.nn.Linear` and `torch.nn.Conv2d` do (He et al. 2015 with a = sqrt(5)). Normalization: weight 1, bias 0.
    """
    with torch.no_grad():
        if isinstance(module, Linear | Convolution):
            weight = module.weight[member]
            bound = 1 / math.sqrt(weight[0].numel())
            weight.uniform_(-bound, bound, generator=generator)
            if module.bias is not None:
                module.bias[member].uniform_(-bound, bound, generator=generator)
        elif isinstance(module, BatchNorm | LayerNorm):
            cast(Tensor, module.weight)[member].fill_(1)
            cast(Tensor, module.bias)[member].fill_(0)
