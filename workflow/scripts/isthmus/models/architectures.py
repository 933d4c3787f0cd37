"""The built-in architectures: fully connected, convolutional and residual, of any width and depth.

They are ordinary modules, which map images `[B, channels, height, width]` to logits `[B, classes]`, with PyTorch's own
initialization. `isthmus.models.networks` makes stacks of them.
"""

from math import prod
from typing import Any

from torch import Tensor, nn

from isthmus.recipes.recipe import NetworkRecipe

Shape = tuple[int, ...]

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def architecture(recipe: NetworkRecipe, shape: Shape, classes: int) -> nn.Module:
    """A network for images of `shape` (channels, height, width).

    >>> import torch
    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> architecture(recipe, (1, 8, 8), classes=10)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    return {"mlp": _mlp, "cnn": _cnn, "resnet": _resnet}[recipe.architecture](recipe, shape, classes)


def _norm(recipe: NetworkRecipe, channels: int, images: bool = True) -> list[nn.Module]:
    """The normalization of channels of images, or of features; none if there is none."""
    if recipe.normalization == "batch":
        return [nn.BatchNorm2d(channels) if images else nn.BatchNorm1d(channels)]
    if recipe.normalization == "layer":  # over channels and pixels together
        return [nn.GroupNorm(1, channels) if images else nn.LayerNorm(channels)]
    return []


def _activation(recipe: NetworkRecipe) -> nn.Module:
    return ACTIVATIONS[recipe.activation]()


def _convolution(recipe: NetworkRecipe, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution with "same" padding, and its normalization."""
    options: Any = {"stride": stride, "padding": size // 2, "bias": _has_bias(recipe)}
    return [nn.Conv2d(inputs, outputs, size, **options), *_norm(recipe, outputs)]


def _has_bias(recipe: NetworkRecipe) -> bool:
    # Batch normalization subtracts the mean, which removes any bias before it.
    return recipe.normalization != "batch"


def _mlp(recipe: NetworkRecipe, shape: Shape, classes: int) -> nn.Module:
    """`depth` hidden layers of `width` units each, or with `taper` ever fewer units.

    Width 300, depth 2 and taper 3 give LeNet-300-100 (LeCun et al. 1998).
    """
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = prod(shape)
    for units in recipe.hidden_widths():
        layers += [nn.Linear(inputs, units, _has_bias(recipe)), *_norm(recipe, units, images=False)]
        layers += [_activation(recipe)]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def _cnn(recipe: NetworkRecipe, shape: Shape, classes: int) -> nn.Module:
    """`blocks` blocks of `depth` 3x3 convolutions and 2x2 max pooling, then linear layers; channels double per block.

    Three blocks of two, batch norm, ReLU and 256 hidden units give the CNN of arXiv 2604.07603.
    """
    layers: list[nn.Module] = [nn.Identity()]  # weights have always been numbered from 1
    inputs, height, width = shape
    for block in range(recipe.blocks):
        channels = recipe.width * 2**block
        for _ in range(recipe.depth):
            layers += [*_convolution(recipe, inputs, channels), _activation(recipe)]
            inputs = channels
        layers += [nn.MaxPool2d(2)]
        height, width = height // 2, width // 2
    layers += [nn.Flatten()]
    features = inputs * height * width
    if recipe.hidden_units:
        layers += [nn.Linear(features, recipe.hidden_units), _activation(recipe)]
        features = recipe.hidden_units
    return nn.Sequential(*layers, nn.Linear(features, classes))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the identity, or a 1x1 projection if the shape changes.

    >>> import torch
    >>> recipe = NetworkRecipe("resnet", 2, 8, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> ResidualBlock(recipe, inputs=2, outputs=4, stride=2)(torch.zeros(5, 2, 8, 8)).shape
    torch.Size([5, 4, 4, 4])
    """

    def __init__(self, recipe: NetworkRecipe, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_convolution(recipe, inputs, outputs, stride=stride),
            _activation(recipe),
            *_convolution(recipe, outputs, outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(*_convolution(recipe, inputs, outputs, size=1, stride=stride))
        self.activation = _activation(recipe)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual(x) + self.shortcut(x))


def _resnet(recipe: NetworkRecipe, shape: Shape, classes: int) -> nn.Module:
    """A CIFAR-style residual network with 6n + 2 layers (He et al. 2016) and projections (option B) between stages."""
    inputs = recipe.width
    layers: list[nn.Module] = [nn.Identity(), *_convolution(recipe, shape[0], inputs), _activation(recipe)]
    for stage in range(3):
        outputs = recipe.width * 2**stage
        for block in range((recipe.depth - 2) // 6):
            layers += [ResidualBlock(recipe, inputs, outputs, stride=2 if stage > 0 and block == 0 else 1)]
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
