"""Modules whose hidden units can be permuted, each with one thing that decides how. Images are [2, 8, 8], classes 5."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

SHAPE, CLASSES = (2, 8, 8), 5


class Given(nn.Module):
    """Layers, and a function that says what is computed with them."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def normalized_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(128, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, CLASSES)
    )


def flattened_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.Flatten(),
        nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, CLASSES),
    )  # fmt: skip


def residual() -> nn.Module:
    """Two stages; the second begins with a convolution as its shortcut."""

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        x = net.stem(x)
        x = F.relu(x + net.second(F.relu(net.first(x))))
        x = F.relu(net.shortcut(x) + net.fourth(F.relu(net.third(x))))
        return net.head(x.mean((2, 3)))

    def block(inputs: int, outputs: int, size: int = 3) -> nn.Module:
        stride = 1 if inputs == outputs else 2
        return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))

    return Given(
        forward, stem=block(2, 3), first=nn.Conv2d(3, 4, 3, padding=1), second=nn.Conv2d(4, 3, 3, padding=1),
        third=block(3, 6), fourth=block(6, 6), shortcut=block(3, 6, 1), head=nn.Linear(6, CLASSES),
    )  # fmt: skip


class NarrowResNet(ResNet):
    """torchvision's ResNet-18 with a sixteenth of the channels after the first layer."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], CLASSES)
        self.conv1, self.fc = nn.Conv2d(2, 64, 3, padding=1), nn.Linear(32, CLASSES)

    def _make_layer(
        self, block: type, planes: int, blocks: int, stride: int = 1, dilate: bool = False
    ) -> nn.Sequential:
        return super()._make_layer(block, planes // 16, blocks, stride, dilate)


def grouped() -> nn.Module:
    """Between two pointwise convolutions, one in two groups of three channels each, which become four each."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, CLASSES),
    )  # fmt: skip


def group_normalized() -> nn.Module:
    """Three groups of two channels have statistics of their own."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.GroupNorm(3, 6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.GroupNorm(1, 4), nn.ReLU(),
        nn.Flatten(), nn.Linear(64, CLASSES),
    )  # fmt: skip


class Attention(nn.Module):
    """A transformer's block, written by hand: softmax(q k') v with one linear layer for all three.

    among: `tokens`, as usual; `heads` of each token; or `units`, whose softmax is over heads.
    """

    def __init__(self, width: int, heads: int, among: str = "tokens") -> None:
        super().__init__()
        self.heads, self.among = heads, among
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        parts = self.qkv(self.norm1(x)).chunk(3, -1)
        q, k, v = (each.view(batch, count, self.heads, -1) for each in parts)
        if self.among == "tokens":
            q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        if self.among == "units":
            found = torch.softmax(q, 2) * k * v
        else:
            found = torch.softmax(q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5, -1) @ v
        found = found.transpose(1, 2) if self.among == "tokens" else found
        x = x + self.proj(found.reshape(batch, count, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class HandWrittenViT(nn.Module):
    def __init__(self, among: str = "tokens") -> None:
        super().__init__()
        self.patches = nn.Conv2d(2, 6, 4, stride=4)
        self.token, self.positions = nn.Parameter(torch.zeros(6)), nn.Parameter(torch.randn(5, 6))
        self.block, self.head = Attention(6, 2, among), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), 1, -1), x], 1) + self.positions
        return self.head(self.block(x).mean(1))


def dense() -> nn.Module:
    """Each layer reads the concatenation of all before it, the images among them (Huang et al. 2017)."""

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        x = torch.cat([x, F.relu(net.first(x))], 1)
        x = torch.cat([x, F.relu(net.second(net.norm(x)))], 1)
        return net.head(F.relu(net.last(x)).flatten(1))

    return Given(
        forward, first=nn.Conv2d(2, 3, 3, padding=1), norm=nn.BatchNorm2d(5), second=nn.Conv2d(5, 4, 3, padding=1),
        last=nn.Conv2d(9, 6, 3, stride=3), head=nn.Linear(24, CLASSES),
    )  # fmt: skip


def recurrent() -> nn.Module:
    """One linear layer from a residual stream to itself, called twice."""

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        x = net.enter(x.flatten(1))
        for _ in range(2):
            x = x + torch.tanh(net.again(x))
        return net.head(x)

    return Given(forward, enter=nn.Linear(128, 6), again=nn.Linear(6, 6), head=nn.Linear(6, CLASSES))


def sorting() -> nn.Module:
    """Half of the hidden layers are sorted, which no rule covers."""

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        x = net.second(torch.relu(net.first(x.flatten(1))))
        return net.head(x.sort(-1).values)

    return Given(forward, first=nn.Linear(128, 4), second=nn.Linear(4, 6), head=nn.Linear(6, CLASSES))


def self_described(wrong: bool = False) -> nn.Module:
    """A module that says itself what can be permuted, rightly or wrongly."""
    module = sorting()
    swapped = [("second.weight", 0), ("head.weight", 1)]
    hidden = [("first.weight", 0), ("first.bias", 0), ("second.weight", 1)]
    module.permutable_units = {"hidden": hidden} | ({"sorted": swapped} if wrong else {})
    return module
