"""The groups of hidden units of a network, found by following the dimensions of all tensors through one forward pass.

Built-in architectures and networks of the user's own are treated alike (`isthmus.models.permutations`); the latter may
also bring their groups along, as an attribute `permutable_units`. Ainsworth, Hayase & Srinivasa (2023) call this
description a permutation specification.
"""

import json
import logging
from functools import cache

import torch
from torch import Tensor, nn

from isthmus.core.errors import UserError
from isthmus.models.architectures import Shape, architecture
from isthmus.models.functional import construct
from isthmus.models.hidden_units import Axis, Group
from isthmus.models.own import maker
from isthmus.models.permutations.derivation import Derived, derive
from isthmus.recipes.recipe import AnyNetwork, ModuleRecipe, NetworkRecipe


def groups(recipe: AnyNetwork, shape: Shape, classes: int, dtype: torch.dtype = torch.float32) -> dict[str, Group]:
    """The groups of a network, in the order in which they are computed, each named after the first layer that has it.

    dtype: of the inputs, as a user's own network takes them. Raises UserError if the groups of a user's own network are
    given wrongly or cannot be derived.

    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> group = groups(recipe, (1, 8, 8), 10)["1"]
    >>> group.size, [(axis.name, axis.dimension) for axis in group.axes]
    (4, [('1.weight', 0), ('1.bias', 0), ('3.weight', 1)])
    """
    if isinstance(recipe, ModuleRecipe):
        return _own(recipe.module, json.dumps(recipe.arguments), shape, classes, dtype)
    return _built_in(recipe, shape, classes)


@cache
def _built_in(recipe: NetworkRecipe, shape: Shape, classes: int) -> dict[str, Group]:
    """The groups of a built-in architecture, found once in a process."""
    with torch.random.fork_rng(devices=[]):
        module = architecture(recipe, shape, classes).eval()
    return derive(module, torch.zeros(2, *shape)).groups


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
