"""Layers that hold the weights of several networks and apply each network to its own input.

Small networks leave a processor idle: five networks of width 32 together take hardly longer than one alone. The
parameters of every layer here therefore have a leading dimension `stack`, the number of networks. One network is a
stack of one and costs nothing extra. Networks in a stack never mix: output s depends only on weights s and input s.

Layout of activations, with stack size S and batch size B:

* after a linear layer: `[S, B, features]`;
* in convolutional layers: `[B, S * channels, height, width]`, with one group of channels per network, as grouped
  convolution and group normalization need it.

An input that all networks share has a stack of 1, which the first layer broadcasts.

These layers compute the same as `torch.func.vmap` over `functional_call`. For small MLPs, they take half the time per
step (benchmarks/bench_stacking.py), because they call the batched products directly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models.in_turns import moments


class Linear(nn.Module):
    """Affine maps `x[s] @ weight[s].T + bias[s]`: `[S or 1, B, inputs] -> [S, B, outputs]`.

    `weight` is `[S, outputs, inputs]`, `bias` is `[S, outputs]` or None.

    >>> Linear(stack=2, inputs=4, outputs=3)(torch.zeros(1, 5, 4)).shape
    torch.Size([2, 5, 3])
    """

    def __init__(self, stack: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(stack, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(stack, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        stack = self.weight.shape[0]
        if stack == 1:
            bias = None if self.bias is None else self.bias.squeeze(0)
            return F.linear(x.squeeze(0), self.weight.squeeze(0), bias)[None]
        # The weight on the left, so that its gradient has its memory layout and the optimizer need not copy it.
        x = x.expand(stack, -1, -1).mT
        if self.bias is None:
            return torch.bmm(self.weight, x).mT
        return torch.baddbmm(self.bias.unsqueeze(2), self.weight, x).mT


class Convolution(nn.Module):
    """Square convolutions with "same" padding: `[B, (S or 1) * inputs, H, W] -> [B, S * outputs, H', W']`.

    The first convolution of a network gets images `[S or 1, B, inputs, H, W]`.

    `weight` is `[S, outputs, inputs, size, size]`, `bias` is `[S, outputs]` or None.

    >>> Convolution(stack=2, inputs=1, outputs=3, stride=2)(torch.zeros(5, 2, 8, 8)).shape
    torch.Size([5, 6, 4, 4])
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
    """Convolve groups of channels, `[B, G * inputs, H, W]`, with filters `[G * outputs, inputs, k, k]`; "same" padding.

    x can also be images as a stack gets them, `[G, B, inputs, H, W]`. bias: `[G * outputs]` or None.

    >>> convolve(torch.ones(1, 1, 2, 2), torch.full((1, 1, 1, 1), 3.0), torch.ones(1), stride=1).flatten().tolist()
    [4.0, 4.0, 4.0, 4.0]
    """
    x = as_channels(x)
    inputs, size = weight.shape[1:3]
    if size == 1 and stride > 1:
        # Computes the same function. oneDNN 3.12's strided 1x1 convolution writes past its buffer if channels-last
        # images have fewer channels than a vector has lanes, which gives wrong gradients or a crash
        # (uxlfoundation/oneDNN, issue 6035).
        x, stride = x[:, :, ::stride, ::stride], 1
    return F.conv2d(x, weight, bias, stride, padding=size // 2, groups=x.shape[1] // inputs)


def as_channels(x: Tensor) -> Tensor:
    """`[B, S * C, H, W]`, also from images as a stack gets them, `[S, B, C, H, W]`.

    >>> as_channels(torch.zeros(2, 5, 3, 8, 8)).shape, as_channels(torch.zeros(5, 6, 8, 8)).shape
    (torch.Size([5, 6, 8, 8]), torch.Size([5, 6, 8, 8]))
    """
    if x.dim() == 4:
        return x
    # For one network this is a view, which keeps a channels-last layout.
    return x.squeeze(0) if x.shape[0] == 1 else x.transpose(0, 1).flatten(1, 2)


class BatchNorm(nn.Module):
    """Batch normalization (Ioffe & Szegedy 2015) without running statistics.

    Training mode normalizes each batch by its own mean and biased variance. Evaluation mode uses `statistics`, a pair
    of `[S * channels]` tensors, which must be computed first at the weights to be evaluated
    (`isthmus.models.evaluation.evaluation_mode` does this); otherwise it raises RuntimeError. If `collecting` is True,
    the layer uses the statistics of the current images (`isthmus.models.in_turns`) and keeps them.

    >>> norm = BatchNorm(stack=1, channels=1)
    >>> norm(torch.tensor([[[1.0], [3.0]]])).round(decimals=2).tolist()
    [[[-1.0], [1.0]]]
    """

    epsilon = 1e-5

    def __init__(self, stack: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(stack, channels))
        self.bias = nn.Parameter(torch.zeros(stack, channels))
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
            self.statistics = moments(self, x)
        elif self.training:
            return F.batch_norm(x, None, None, weight, bias, training=True, eps=self.epsilon)
        if self.statistics is None:
            raise RuntimeError("batch-norm statistics were not computed before evaluation")
        mean, variance = self.statistics
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=self.epsilon)


class LayerNorm(nn.Module):
    """Layer normalization (Ba et al. 2016) of each example, over features, or over channels and pixels together.

    >>> norm = LayerNorm(stack=1, channels=2)
    >>> norm(torch.tensor([[[1.0, 3.0]]])).round(decimals=2).tolist()
    [[[-1.0, 1.0]]]
    """

    epsilon = 1e-5

    def __init__(self, stack: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(stack, channels))
        self.bias = nn.Parameter(torch.zeros(stack, channels))

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            stack = self.weight.shape[0]
            return F.group_norm(x, stack, self.weight.flatten(), self.bias.flatten(), self.epsilon)
        normalized = F.layer_norm(x, x.shape[-1:], eps=self.epsilon)
        return torch.addcmul(self.bias.unsqueeze(1), normalized, self.weight.unsqueeze(1))


class Flatten(nn.Module):
    """From inputs `[S, B, ...]`, or from C channels `[B, S * C, H, W]`, to linear layers: `[S, B, features]`.

    channels: C, or 0 for inputs.

    >>> Flatten()(torch.zeros(2, 5, 3, 8, 8)).shape, Flatten(channels=3)(torch.zeros(5, 6, 8, 8)).shape
    (torch.Size([2, 5, 192]), torch.Size([2, 5, 192]))
    """

    def __init__(self, channels: int = 0) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.channels)).flatten(2).transpose(0, 1) if self.channels else x.flatten(2)


class GlobalAverage(nn.Module):
    """Mean over the pixels: `[B, S * C, H, W] -> [B, S * C, 1, 1]`.

    >>> GlobalAverage()(torch.tensor([[[[1.0, 3.0]]]])).tolist()
    [[[[2.0]]]]
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)
