"""A network of one's own: the function that presets/own-model.yaml names. Copy both files and change them."""

from torch import Tensor, nn


class Block(nn.Module):
    """A depthwise and a pointwise convolution (Howard et al. 2017), beside a shortcut."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        self.normalization = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(nn.functional.gelu(self.normalization(self.depthwise(x))))


def build(width: int, depth: int, shape: tuple[int, int, int], classes: int, kernel: int = 3) -> nn.Module:
    """`depth` blocks of `width` channels. shape, classes: of the data, which Isthmus fills in."""
    return nn.Sequential(
        nn.Conv2d(shape[0], width, kernel, stride=2, padding=kernel // 2),
        *(Block(width, kernel) for _ in range(depth)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )
