"""The groups of hidden units of a network: by a rule for each layer of the built-in architectures, derived for others.

The built-in architectures have one rule per kind of layer, from the images to the logits. Networks of the user's own
are followed through one forward pass (`isthmus.models.permutations`), which takes longer and comes to the same groups;
or else, they bring their groups along, as an attribute `permutable_units`. Ainsworth, Hayase & Srinivasa (2023) call
this description a permutation specification.
"""

import json
import logging
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from isthmus.core.errors import UserError
from isthmus.models.architectures import ACTIVATIONS, ResidualBlock, Shape, build
from isthmus.models.functional import construct
from isthmus.models.hidden_units import Axis, Group, Place
from isthmus.models.own import maker
from isthmus.models.permutations.derivation import Derived, derive
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
from isthmus.recipes.recipe import AnyNetwork, ModuleRecipe

KEEP_ORDER = (ImagesToChannels, ImagesToFeatures, ChannelsToFeatures, GlobalAverage, nn.MaxPool2d)
"""Layers without weights that treat all channels alike and do not reorder them."""


def groups(recipe: AnyNetwork, shape: Shape, classes: int, dtype: torch.dtype = torch.float32) -> dict[str, Group]:
    """The groups of a network, from the images to the logits, each named after the layer that computes it first.

    dtype: of the inputs, as a user's own network takes them. Allocates no weights of built-in architectures. Raises
    TypeError for a built-in layer without a rule, and UserError if the groups of a user's own network are given wrongly
    or cannot be derived.

    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> group = groups(recipe, (1, 8, 8), 10)["1"]
    >>> group.size, [(axis.name, axis.dimension) for axis in group.axes]
    (4, [('1.weight', 0), ('1.bias', 0), ('3.weight', 1)])
    """
    if isinstance(recipe, ModuleRecipe):
        return _own(recipe.module, json.dumps(recipe.arguments), shape, classes, dtype)
    with torch.device("meta"):
        network = build(recipe, shape, classes)
    found: dict[str, Group] = {}
    outputs = _follow(network, network, "", None, found)
    return {name: group for name, group in found.items() if name != outputs}  # classes keep their numbers


@cache
def _own(module: str, arguments: str, shape: Shape, classes: int, dtype: torch.dtype) -> dict[str, Group]:
    """The groups of a user's own network, found once in a process."""
    made = construct(maker(module, json.loads(arguments), shape, classes), 0)
    found = own_groups(made, torch.zeros(2, *shape, dtype=dtype))
    for name, reason in found.kept.items():
        logging.info("hidden units in %s keep their positions in alignments: %s", name, reason)
    return found.groups


def own_groups(module: nn.Module, inputs: Tensor) -> Derived:
    """The groups of a user's own module that its attribute `permutable_units` names, or else those that are derived.

    inputs: as the module takes them, more than one. Raises UserError as `groups` does.
    """
    given = getattr(module, "permutable_units", None)
    if given is None:
        return derive(module.eval(), inputs)
    parameters = dict(module.named_parameters())
    made = {}
    for name, entries in given.items():
        axes = [Axis(*entry) for entry in entries]
        for axis in axes:
            if axis.name not in parameters or not 0 <= axis.dimension < parameters[axis.name].dim():
                missing = f"no parameter {axis.name} has a dimension {axis.dimension}"
                raise UserError(f"permutable_units: group {name}: {missing}")
        sizes = [parameters[axis.name].shape[axis.dimension] // (axis.repeat * len(axis.starts)) for axis in axes]
        if len(set(sizes)) != 1:
            raise UserError(f"permutable_units: group {name}: its axes have {', '.join(map(str, sizes))} units")
        made[name] = Group(sizes[0], tuple(axes))
    return Derived(made, {})


def _follow(
    network: nn.Module, module: nn.Module, name: str, carried: str | None, found: dict[str, Group]
) -> str | None:
    """Add the axes and places of `module`, a part of `network`, to `found`. carried: the group of its input, or None.

    Returns the group of its output.
    """
    if isinstance(module, nn.Sequential):
        for key, child in module.named_children():
            carried = _follow(network, child, f"{name}.{key}" if name else key, carried, found)
    elif isinstance(module, ResidualBlock):
        residual = _follow(network, module.residual, f"{name}.residual", carried, found)
        shortcut = _follow(network, module.shortcut, f"{name}.shortcut", carried, found)
        carried = _follow(network, module.activation, f"{name}.activation", _tie(residual, shortcut, found), found)
    elif isinstance(module, Linear | Convolution):
        carried = _follow_affine(module, name, carried, found)
    elif isinstance(module, BatchNorm | LayerNorm):
        _extend(found, carried, axes=(Axis(f"{name}.weight", 0), Axis(f"{name}.bias", 0)))
    elif isinstance(module, tuple(ACTIVATIONS.values())):
        # Outputs are [1, B, units], or [B, channels, height, width] between convolutions.
        flat = carried is not None and isinstance(network.get_submodule(carried), Linear)
        _extend(found, carried, places=(Place(name, 2 if flat else 1),))
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
    found: dict[str, Group], name: str | None, axes: tuple[Axis, ...] = (), places: tuple[Place, ...] = ()
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
