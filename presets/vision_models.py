"""Networks of one's own for small images: presets/own-models-cifar.yaml names them. Copy both files and change them."""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.vision_transformer import VisionTransformer

Shape = tuple[int, int, int]


def resnet(width: int, depth: int, shape: Shape, classes: int) -> nn.Module:
    """Three stages of `depth` residual blocks (He et al. 2016), which are torchvision's: `width` channels, 2x, 4x."""
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage in range(3):
        planes = width * 2**stage
        for block in range(depth):
            stride, shortcut = 1, None
            if stage > 0 and block == 0:
                stride = 2
                shortcut = nn.Sequential(nn.Conv2d(channels, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
            layers.append(BasicBlock(channels, planes, stride, shortcut))
            channels = planes
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def vision_transformer(width: int, depth: int, shape: Shape, classes: int, patch: int = 8, heads: int = 2) -> nn.Module:
    """torchvision's vision transformer (Dosovitskiy et al. 2021), of `depth` layers."""
    return VisionTransformer(shape[1], patch, depth, heads, width, 2 * width, num_classes=classes)


class Separable(nn.Sequential):
    """A depthwise and a pointwise convolution (Howard et al. 2017)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.Hardswish(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.Hardswish(),
        )


class MobileNet(nn.Module):
    """A stem and two pairs of separable convolutions, the second of which halves the image and doubles the channels."""

    def __init__(self, width: int, shape: Shape, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(shape[0], width, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(
            Separable(width, width, 1),
            Separable(width, 2 * width, 2),
            Separable(2 * width, 2 * width, 1),
            Separable(2 * width, 4 * width, 2),
        )
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))
