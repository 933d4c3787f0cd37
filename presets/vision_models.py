"""Networks of one's own for small images: presets/own-models-cifar.yaml names them. Copy both files and change them."""

from torch import nn
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
