"""Which hidden units of a network may change places without changing what it computes.

A hidden unit is nothing but its weights: renumber the units of a layer, that is the rows of the weights that make them
and the columns of the weights that read them, and the network computes the same function (Hecht-Nielsen 1990). Units
that are added to one another, as in the residual stream of a ResNet, have to be renumbered together. A *group* is a
set of units with one numbering; this module finds the groups of a network and renumbers them (Ainsworth, Hayase &
Srinivasa 2023 call that a permutation specification).

The description is derived from the network itself: one rule per kind of layer, followed from the images to the logits.
An architecture that is made of these layers needs no description of its own.

A permutation is an int64 tensor p `[size]` that puts unit p[i] into place i. Permutations of a whole network are a
dictionary of them by group. Weights are those of one network, without a stack dimension, as
`isthmus.training.weights.load_weights` gives them.

    found = groups(recipe.network, (1, 8, 8), 10)
    permutations = random_permutations(found, numpy.random.default_rng(0))
    same_function = apply(permutations, weights, found)
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
from isthmus.recipes.recipe import NetworkRecipe

Permutations = Mapping[str, Tensor]
Weights = Mapping[str, Tensor]

KEEP_ORDER = (ImagesToChannels, ImagesToFeatures, ChannelsToFeatures, GlobalAverage, nn.MaxPool2d)
"""Layers without weights that treat all channels alike and keep their order."""


@dataclass(frozen=True)
class Axis:
    """One axis of one parameter along which the units of a group lie.

    Each unit owns `repeat` consecutive indices: 1, or height * width where a linear layer reads flattened channels.
    """

    parameter: str
    dimension: int
    repeat: int = 1


@dataclass(frozen=True)
class Group:
    """Hidden units with one numbering: how many, where they lie in the parameters, and where they can be watched.

    `places`: names of the modules whose outputs are the activations of these units, `[1, B, size]` or
    `[B, size, height, width]`, in the order in which they run. Several for a residual stream: one per block.
    """

    size: int
    axes: tuple[Axis, ...] = ()
    places: tuple[str, ...] = ()


def groups(recipe: NetworkRecipe, shape: Shape, classes: int) -> dict[str, Group]:
    """The groups of a network by the name of the layer that makes them first, from the images to the logits.

    A parameter never carries one group on two axes, so a network's weights are linear in every single permutation.
    Nothing is allocated. Raises TypeError for a layer without a rule.
    """
    with torch.device("meta"):
        network = build(recipe, shape, classes)
    found: dict[str, Group] = {}
    outputs = _follow(network, "", None, found)
    return {name: group for name, group in found.items() if name != outputs}  # classes keep their numbers


def _follow(module: nn.Module, name: str, carried: str | None, found: dict[str, Group]) -> str | None:
    """Add to `found` what `module` holds of the groups; its input carries the group `carried`, None for images.

    Returns the group that its output carries.
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
    """A layer that reads the units of one group and makes those of a new one."""
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
    """One group of two whose units are added to one another; it keeps the name of the second."""
    if first is None or second is None:
        raise TypeError("a residual block must follow a layer with hidden units")
    tied = found.pop(first)
    _extend(found, second, tied.axes, tied.places)
    return second


def apply(permutations: Permutations, weights: Weights, groups: Mapping[str, Group]) -> dict[str, Tensor]:
    """The weights after every unit p[i] was put into place i; groups without a permutation stay as they are.

    Tensors that no permutation touches are the same objects. Raises KeyError for a group or a parameter that does not
    exist, ValueError for a permutation that is none, or for an axis of another length.
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
    """The permutations that leave every unit in its place."""
    return {name: torch.arange(group.size) for name, group in groups.items()}


def random_permutations(groups: Mapping[str, Group], generator: np.random.Generator) -> dict[str, Tensor]:
    """A uniformly random permutation of every group."""
    return {name: torch.from_numpy(generator.permutation(group.size)) for name, group in groups.items()}


def compose(first: Permutations, second: Permutations) -> dict[str, Tensor]:
    """The permutations that do what `first` and after it `second` do; both must have the same groups."""
    if first.keys() != second.keys():
        raise KeyError(f"different groups: {sorted(first)} and {sorted(second)}")
    return {name: first[name][second[name]] for name in first}


def inverse(permutations: Permutations) -> dict[str, Tensor]:
    """The permutations that undo `permutations`."""
    return {name: permutation.argsort() for name, permutation in permutations.items()}
