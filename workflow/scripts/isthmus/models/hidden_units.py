"""Permutations of hidden units that leave the network's function unchanged.

Permute the units of a layer, that is, the rows of the weights that compute them and the columns of the weights that
read them, and the network still computes the same function (Hecht-Nielsen 1990). Units that are added to each other, as
in the residual stream of a ResNet, must be permuted together. A *group* is a set of units with a common numbering. This
module finds the groups of a network and permutes them. Ainsworth, Hayase & Srinivasa (2023) call this description a
permutation specification.

The groups are derived from the network itself, with one rule per kind of layer, from the images to the logits.
Architectures built from these layers need no description of their own.

A permutation is an int64 tensor p `[size]` that moves unit p[i] to position i. The permutations of a whole network are
a dictionary by group. Weights belong to one network and have no stack dimension, like those from
`isthmus.training.weights.load_weights`.

>>> from isthmus.recipes.recipe import NetworkRecipe
>>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
>>> weights = {name: torch.rand(value.shape[1:]) for name, value in build(recipe, (1, 8, 8), 10).named_parameters()}
>>> found = groups(recipe, (1, 8, 8), 10)
>>> permutations = random_permutations(found, np.random.default_rng(0))
>>> same_function = apply(permutations, weights, found)
>>> restored = apply(inverse(permutations), same_function, found)
>>> all(torch.equal(restored[name], value) for name, value in weights.items())
True
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.models.architectures import ACTIVATIONS, ResidualBlock, Shape, build
from isthmus.models.stacked import (
    BatchNorm,
    ChannelsToFeatures,
    Convolution,
    GlobalAverage,
    ImagesToChannels,
    ImagesToFeatures,
    LayerNorm,
    Linear,
)
from isthmus.recipes.recipe import AnyNetwork

Permutations = Mapping[str, Tensor]
Weights = Mapping[str, Tensor]

KEEP_ORDER = (ImagesToChannels, ImagesToFeatures, ChannelsToFeatures, GlobalAverage, nn.MaxPool2d)
"""Layers without weights that treat all channels alike and do not reorder them."""


@dataclass(frozen=True)
class Axis:
    """One dimension of one parameter that is indexed by the units of a group.

    Each unit has `repeat` consecutive indices: 1, or height * width if a linear layer reads flattened channels.

    >>> Axis("5.weight", dimension=1, repeat=49)
    Axis(parameter='5.weight', dimension=1, repeat=49)
    """

    parameter: str
    dimension: int
    repeat: int = 1


@dataclass(frozen=True)
class Group:
    """Hidden units with a common numbering: their number, their axes in the parameters, and where to record them.

    `places`: names of the modules that output the activations of these units, `[1, B, size]` or
    `[B, size, height, width]`, in the order in which they run. A residual stream has one per block.

    >>> Group(2, (Axis("1.weight", 0), Axis("3.weight", 1)), ("2",)).size
    2
    """

    size: int
    axes: tuple[Axis, ...] = ()
    places: tuple[str, ...] = ()


def groups(recipe: AnyNetwork, shape: Shape, classes: int) -> dict[str, Group]:
    """The groups of a network, from the images to the logits, each named after the layer that computes it first.

    A group never occurs on two axes of one parameter, so the weights are linear in each single permutation. Allocates
    no weights. Raises TypeError for a layer without a rule.

    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> group = groups(recipe, (1, 8, 8), 10)["1"]
    >>> group.size, [(axis.parameter, axis.dimension) for axis in group.axes]
    (4, [('1.weight', 0), ('1.bias', 0), ('3.weight', 1)])
    """
    with torch.device("meta"):
        network = build(recipe, shape, classes)
    found: dict[str, Group] = {}
    outputs = _follow(network, "", None, found)
    return {name: group for name, group in found.items() if name != outputs}  # classes keep their numbers


def _follow(module: nn.Module, name: str, carried: str | None, found: dict[str, Group]) -> str | None:
    """Add the axes and places of `module` to `found`. `carried` is the group of its input, None for images.

    Returns the group of its output.
    """
    if isinstance(module, nn.Sequential):
        for key, child in module.named_children():
            carried = _follow(child, f"{name}.{key}" if name else key, carried, found)
    elif isinstance(module, ResidualBlock):
        residual = _follow(module.residual, f"{name}.residual", carried, found)
        shortcut = _follow(module.shortcut, f"{name}.shortcut", carried, found)
        carried = _follow(module.activation, f"{name}.activation", _tie(residual, shortcut, found), found)
    elif isinstance(module, Linear | Convolution):
        carried = _follow_affine(module, name, carried, found)
    elif isinstance(module, BatchNorm | LayerNorm):
        _extend(found, carried, axes=(Axis(f"{name}.weight", 0), Axis(f"{name}.bias", 0)))
    elif isinstance(module, tuple(ACTIVATIONS.values())):
        _extend(found, carried, places=(name,))
    elif not isinstance(module, KEEP_ORDER):
        raise TypeError(f"no rule says how the layer {name} ({type(module).__name__}) passes permutations on")
    return carried


def _follow_affine(module: Linear | Convolution, name: str, carried: str | None, found: dict[str, Group]) -> str:
    """Add a layer that reads the units of one group and computes those of a new group."""
    _, outputs, inputs = module.weight.shape[:3]  # the first dimension is the stack
    if carried is not None:
        _extend(found, carried, axes=(Axis(f"{name}.weight", 1, inputs // found[carried].size),))
    biases = () if module.bias is None else (Axis(f"{name}.bias", 0),)
    found[name] = Group(outputs, (Axis(f"{name}.weight", 0), *biases))
    return name


def _extend(
    found: dict[str, Group], name: str | None, axes: tuple[Axis, ...] = (), places: tuple[str, ...] = ()
) -> None:
    if name is not None:
        group = found[name]
        found[name] = replace(group, axes=group.axes + axes, places=group.places + places)


def _tie(first: str | None, second: str | None, found: dict[str, Group]) -> str:
    """Merge two groups whose units are added to each other; the result keeps the name of the second."""
    if first is None or second is None:
        raise TypeError("a residual block must follow a layer with hidden units")
    tied = found.pop(first)
    _extend(found, second, tied.axes, tied.places)
    return second


def apply(permutations: Permutations, weights: Weights, groups: Mapping[str, Group]) -> dict[str, Tensor]:
    """The weights after moving each unit p[i] to position i; groups without a permutation do not change.

    Tensors that no permutation affects are not copied. Raises KeyError for an unknown group or parameter, and
    ValueError if a permutation is invalid or an axis has the wrong length.

    >>> group = Group(2, (Axis("first", 0), Axis("second", 1)))
    >>> weights = {"first": torch.tensor([[1], [2]]), "second": torch.tensor([[3, 4]])}
    >>> permuted = apply({"hidden": torch.tensor([1, 0])}, weights, {"hidden": group})
    >>> permuted["first"].tolist(), permuted["second"].tolist()
    ([[2], [1]], [[4, 3]])
    """
    permuted = dict(weights)
    for name, permutation in permutations.items():
        group = groups[name]
        if not torch.equal(permutation.sort().values, torch.arange(group.size, device=permutation.device)):
            raise ValueError(f"group {name}: not a permutation of 0 .. {group.size - 1}")
        for axis in group.axes:
            value = permuted[axis.parameter]
            if value.shape[axis.dimension] != group.size * axis.repeat:
                raise ValueError(
                    f"{axis.parameter} has {value.shape[axis.dimension]} entries along dimension {axis.dimension}; "
                    f"group {name} needs {group.size} times {axis.repeat}"
                )
            order = permutation.to(value.device)
            if axis.repeat > 1:
                order = (order[:, None] * axis.repeat + torch.arange(axis.repeat, device=value.device)).flatten()
            permuted[axis.parameter] = value.index_select(axis.dimension, order)
    return permuted


def identity(groups: Mapping[str, Group]) -> dict[str, Tensor]:
    """The permutations that leave every unit at its position.

    >>> identity({"hidden": Group(3)})["hidden"].tolist()
    [0, 1, 2]
    """
    return {name: torch.arange(group.size) for name, group in groups.items()}


def random_permutations(groups: Mapping[str, Group], generator: np.random.Generator) -> dict[str, Tensor]:
    """A uniformly random permutation of every group.

    >>> drawn = random_permutations({"hidden": Group(3)}, np.random.default_rng(0))
    >>> sorted(drawn["hidden"].tolist())
    [0, 1, 2]
    """
    return {name: torch.from_numpy(generator.permutation(group.size)) for name, group in groups.items()}


def compose(first: Permutations, second: Permutations) -> dict[str, Tensor]:
    """The permutations equal to `first` followed by `second`. Raises KeyError if their groups differ.

    >>> compose({"hidden": torch.tensor([1, 2, 0])}, {"hidden": torch.tensor([1, 0, 2])})["hidden"].tolist()
    [2, 1, 0]
    """
    if first.keys() != second.keys():
        raise KeyError(f"different groups: {sorted(first)} and {sorted(second)}")
    return {name: first[name][second[name]] for name in first}


def inverse(permutations: Permutations) -> dict[str, Tensor]:
    """The permutations that undo `permutations`.

    >>> inverse({"hidden": torch.tensor([1, 2, 0])})["hidden"].tolist()
    [2, 0, 1]
    """
    return {name: permutation.argsort() for name, permutation in permutations.items()}
