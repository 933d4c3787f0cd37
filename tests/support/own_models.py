"""Networks as users write them, in plain `torch.nn`, and with what the library has to refuse."""

import random
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(width: int, depth: int, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The built-in fully connected network without normalization, its layers under the same names."""
    channels, height, rows = shape
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = channels * height * rows
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def normalized_mlp(width: int, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The built-in fully connected network of one hidden layer with batch normalization, under the same names."""
    inputs = shape[0] * shape[1] * shape[2]
    first = nn.Linear(inputs, width, bias=False)
    return nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, classes))


def depthwise(width: int, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A convolutional network of depthwise and pointwise convolutions (Howard et al. 2017)."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.GELU(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.GELU(),
        ]

    first = nn.Conv2d(shape[0], width, 3, padding=1, stride=2)
    return nn.Sequential(
        first, *block(width, width), *block(width, 2 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2 * width, classes),
    )  # fmt: skip


class ViT(nn.Module):
    """A small vision transformer (Dosovitskiy et al. 2021): patches, a class token, attention, layer normalization.

    The head is defined before the layers that are called before it, and the width of a head is a buffer.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int = 8, heads: int = 2, dropout: float = 0):
        super().__init__()
        self.head = nn.Linear(width, classes)
        self.patches = nn.Conv2d(shape[0], width, 4, stride=4)
        count = (shape[1] // 4) * (shape[2] // 4)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, count + 1, width))
        self.register_buffer("scale", torch.ones(1))
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.ModuleList([layer])

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(x[:, 0] * self.scale)


class Scaled(nn.Module):
    """Dropped pixels, scaled and summed: element by element and in short sums, which round alike on every processor."""

    def __init__(self, classes: int = 10, pixels: int = 6, dropout: float = 0.5):
        super().__init__()
        self.size = (classes, pixels)
        self.scales = nn.Parameter(torch.randn(classes * pixels))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x).flatten(1)[:, : len(self.scales)]
        return (x * self.scales).unflatten(1, self.size).sum(2)


class Tied(nn.Module):
    """An autoencoder's weights, used twice, before a linear output."""

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int = 6):
        super().__init__()
        inputs = shape[0] * shape[1] * shape[2]
        self.encode, self.decode = nn.Linear(inputs, width, bias=False), nn.Linear(inputs, width, bias=False)
        self.decode.weight = self.encode.weight
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.encode(x.flatten(1)))
        return self.head(torch.tanh(hidden @ self.decode.weight))


class Reader(nn.Module):
    """A transformer of one layer that reads tokens and answers at the last of them, as for sums modulo a prime."""

    def __init__(self, shape: tuple[int], classes: int, tokens: int, width: int = 8, heads: int = 2):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.positions = nn.Parameter(0.02 * torch.randn(1, shape[0], width))
        self.layer = nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, "gelu", batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embedding(x) + self.positions)[:, -1])


class Branching(nn.Module):
    """What is computed depends on the data, which `torch.vmap` cannot follow."""

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int = 6):
        super().__init__()
        inputs = shape[0] * shape[1] * shape[2]
        self.layers = nn.ModuleDict(
            OrderedDict(first=nn.Linear(inputs, width), second=nn.Linear(width, width), last=nn.Linear(width, classes))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.layers["first"](x.flatten(1)))
        if x.sum().item() > -1e9:
            x = torch.tanh(self.layers["second"](x))
        return self.layers["last"](x)


class Refused(nn.Module):
    """A linear classifier with one thing that the library has to refuse."""

    def __init__(self, shape: tuple[int, int, int], classes: int, what: str):
        super().__init__()
        self.what = what
        self.linear = nn.Linear(shape[0] * shape[1] * shape[2], classes)
        if what == "frozen":
            self.linear.bias.requires_grad_(False)
        if what == "unused":
            self.extra = nn.Linear(2, 2)
        if what == "scalar":
            self.temperature = nn.Parameter(torch.tensor(1.0))
        if what == "double":
            self.linear.double()
        if what == "counting":
            self.register_buffer("calls", torch.zeros(1))
        if what == "random buffer":
            self.register_buffer("projection", torch.randn(2))
        if what == "shared norm":
            self.norm = nn.BatchNorm1d(classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = x.flatten(1)
        if self.what == "double":
            x = x.double()
        if self.what == "always dropping":
            x = F.dropout(x, 0.5)
        if self.what == "drawing elsewhere" and self.training:
            x = x * random.random()
        x = self.linear(x)
        if self.what == "scalar":
            x = x * self.temperature
        if self.what == "counting":
            self.calls += 1
        if self.what == "shared norm":
            x = self.norm(self.norm(x))
        if self.what == "two outputs":
            return x, x
        return x[:, :1] if self.what == "one output" else x
