"""The architectures: fully connected, convolutional and residual, of any width and depth, for one network or a stack.

A network is built from a recipe, the shape of its inputs and the number of classes. It maps images
`[S or 1, B, channels, height, width]` to logits `[S, B, classes]`, where S is the number of networks in the stack.
Networks of the user's own are built here, too (`isthmus.models.own`).
"""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.core import seeds
from isthmus.models import sizes
from isthmus.models.functional import Stacked
from isthmus.models.own import Shape, build_own
from isthmus.models.stacked import (
    BatchNorm,
    ChannelsToFeatures,
    Convolution,
    GlobalAverage,
    ImagesToChannels,
    ImagesToFeatures,
    LayerNorm,
    Linear,
    reset,
)
from isthmus.recipes.recipe import AnyNetwork, ModuleRecipe, NetworkRecipe

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def build(recipe: AnyNetwork, shape: Shape, classes: int, stack: int = 1) -> nn.Module:
    """An uninitialized stack of `stack` networks for images of `shape` (channels, height, width), or other inputs.

    Raises UserError if the recipe names a function of the user's own that does not exist.

    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> build(recipe, (1, 8, 8), classes=10, stack=3)(torch.zeros(1, 5, 1, 8, 8)).shape
    torch.Size([3, 5, 10])
    """
    if isinstance(recipe, ModuleRecipe):
        return build_own(recipe, shape, classes, stack)
    builders = {"mlp": _mlp, "cnn": _cnn, "resnet": _resnet}
    return builders[recipe.architecture](recipe, shape, classes, stack)


def initialize(network: nn.Module, network_seeds: list[int] | tuple[int, ...]) -> None:
    """Initialize network s of a stack from `network_seeds[s]`, on the CPU, independent of the rest of the stack.

    A network of the user's own gets the parameters that its constructor draws.

    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> pair, single = build(recipe, (1, 8, 8), 10, stack=2), build(recipe, (1, 8, 8), 10)
    >>> initialize(pair, [5, 7]); initialize(single, [7])
    >>> torch.equal(pair[1].weight[1], single[1].weight[0])
    True
    """
    if isinstance(network, Stacked):
        network.initialize(network_seeds)
        return
    for member, seed in enumerate(network_seeds):
        generator = torch.Generator().manual_seed(seeds.integer(seed, seeds.Stream.INITIALIZATION))
        for module in network.modules():
            reset(module, member, generator)


def count_parameters(recipe: AnyNetwork, shape: Shape, classes: int) -> int:
    """The number of trainable scalars of one network; allocates no memory for them.

    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> count_parameters(recipe, (1, 8, 8), 10)  # (64 + 1) * 4 + (4 + 1) * 10
    310
    """
    if isinstance(recipe, ModuleRecipe):
        return sizes.parameters(recipe, shape, classes)
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(recipe, shape, classes).parameters())


def _norm(recipe: NetworkRecipe, stack: int, channels: int) -> list[nn.Module]:
    kinds: dict[str, list[Any]] = {"none": [], "batch": [BatchNorm], "layer": [LayerNorm]}
    return [kind(stack, channels) for kind in kinds[recipe.normalization]]


def _activation(recipe: NetworkRecipe) -> nn.Module:
    return ACTIVATIONS[recipe.activation]()


def _has_bias(recipe: NetworkRecipe) -> bool:
    # Batch normalization subtracts the mean, which removes any bias before it.
    return recipe.normalization != "batch"


def _mlp(recipe: NetworkRecipe, shape: Shape, classes: int, stack: int) -> nn.Module:
    """`depth` hidden layers of `width` units each, or with `taper` ever fewer units.

    Width 300, depth 2 and taper 3 give LeNet-300-100 (LeCun et al. 1998).
    """
    layers: list[nn.Module] = [ImagesToFeatures()]
    inputs = prod(shape)
    for units in recipe.hidden_widths():
        layers += [Linear(stack, inputs, units, _has_bias(recipe)), *_norm(recipe, stack, units)]
        layers += [_activation(recipe)]
        inputs = units
    return nn.Sequential(*layers, Linear(stack, inputs, classes))


def _cnn(recipe: NetworkRecipe, shape: Shape, classes: int, stack: int) -> nn.Module:
    """`blocks` blocks of `depth` 3x3 convolutions and 2x2 max pooling, then linear layers; channels double per block.

    Three blocks of two, batch norm, ReLU and 256 hidden units give the CNN of arXiv 2604.07603.
    """
    layers: list[nn.Module] = [ImagesToChannels()]
    inputs, height, width = shape
    for block in range(recipe.blocks):
        channels = recipe.width * 2**block
        for _ in range(recipe.depth):
            layers += [Convolution(stack, inputs, channels, bias=_has_bias(recipe)), *_norm(recipe, stack, channels)]
            layers += [_activation(recipe)]
            inputs = channels
        layers += [nn.MaxPool2d(2)]
        height, width = height // 2, width // 2
    layers += [ChannelsToFeatures(inputs)]
    features = inputs * height * width
    if recipe.hidden_units:
        layers += [Linear(stack, features, recipe.hidden_units), _activation(recipe)]
        features = recipe.hidden_units
    return nn.Sequential(*layers, Linear(stack, features, classes))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the identity, or a 1x1 projection if the shape changes.

    >>> recipe = NetworkRecipe("resnet", 2, 8, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> ResidualBlock(recipe, stack=1, inputs=2, outputs=4, stride=2)(torch.zeros(5, 2, 8, 8)).shape
    torch.Size([5, 4, 4, 4])
    """

    def __init__(self, recipe: NetworkRecipe, stack: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        bias = _has_bias(recipe)
        self.residual = nn.Sequential(
            Convolution(stack, inputs, outputs, stride=stride, bias=bias),
            *_norm(recipe, stack, outputs),
            _activation(recipe),
            Convolution(stack, outputs, outputs, bias=bias),
            *_norm(recipe, stack, outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                Convolution(stack, inputs, outputs, size=1, stride=stride, bias=bias), *_norm(recipe, stack, outputs)
            )
        self.activation = _activation(recipe)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual(x) + self.shortcut(x))


def _resnet(recipe: NetworkRecipe, shape: Shape, classes: int, stack: int) -> nn.Module:
    """A CIFAR-style residual network with 6n + 2 layers (He et al. 2016) and projections (option B) between stages."""
    per_stage = (recipe.depth - 2) // 6
    layers: list[nn.Module] = [
        ImagesToChannels(),
        Convolution(stack, shape[0], recipe.width, bias=_has_bias(recipe)),
        *_norm(recipe, stack, recipe.width),
        _activation(recipe),
    ]
    inputs = recipe.width
    for stage in range(3):
        outputs = recipe.width * 2**stage
        for block in range(per_stage):
            stride = 2 if stage > 0 and block == 0 else 1
            layers += [ResidualBlock(recipe, stack, inputs, outputs, stride)]
            inputs = outputs
    return nn.Sequential(*layers, GlobalAverage(), ChannelsToFeatures(inputs), Linear(stack, inputs, classes))
