"""Which layers of a module can have the statistics of their outputs restored (REPAIR, Jordan et al. 2023).

A linear layer or a convolution computes hidden units as affine functions of its inputs, so rescaling a row of its
weight and shifting its bias can set the mean and the standard deviation of a unit to any values. Which of its outputs
are hidden units is known from what can be permuted (`isthmus.models.unit_groups`). A layer right before batch
normalization needs no repair: fresh statistics already give its units the mean and deviation of the interpolated bias
and weight.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from isthmus.core.errors import UserError
from isthmus.models.architectures import Shape, architecture
from isthmus.models.functional import construct, plain_attention
from isthmus.models.hidden_units import Group
from isthmus.models.own import maker
from isthmus.models.unit_groups import groups
from isthmus.recipes.recipe import AnyNetwork, ModuleRecipe


def repairable(recipe: AnyNetwork, shape: Shape, classes: int, dtype: torch.dtype = torch.float32) -> tuple[str, ...]:
    """The names of the layers to repair in a network, in the order in which they are called.

    There are none if batch normalization follows each of them. dtype: of the inputs. Raises UserError if hidden units
    of a user's own network cannot be repaired.

    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> recipe = NetworkRecipe("mlp", 4, 2, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> repairable(recipe, (1, 8, 8), 10)
    ('1', '3')
    """
    if isinstance(recipe, ModuleRecipe):
        module = construct(maker(recipe.module, recipe.arguments, shape, classes), 0)
    else:
        with torch.random.fork_rng(devices=[]):
            module = architecture(recipe, shape, classes)
    hidden = groups(recipe, shape, classes, dtype)
    return repairable_layers(module.eval(), torch.zeros(2, *shape, dtype=dtype), hidden)


def repairable_layers(module: nn.Module, inputs: Tensor, hidden: Mapping[str, Group]) -> tuple[str, ...]:
    """The same for a module, given its groups of hidden units. inputs: as it takes them, more than one.

    Raises UserError if a layer with hidden units is called several times, shares a parameter or has no bias, or if
    hidden units are computed by anything but linear layers and convolutions.

    >>> from isthmus.models.permutations.derivation import derive
    >>> module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> repairable_layers(module, torch.zeros(4, 2), derive(module, torch.zeros(4, 2)).groups)
    ('0', '2')
    """
    parameters = dict(module.named_parameters())
    made = {axis.name for group in hidden.values() for axis in group.axes if axis.dimension == 0}
    matrices = {name for name in made if parameters[name].dim() > 1}
    layers = {
        name: each
        for name, each in module.named_modules()
        if isinstance(each, nn.Linear | _ConvNd) and not isinstance(each, _ConvTransposeNd)
    }
    calls, normalized = _watch(module, inputs, layers)
    for name in sorted(matrices - {f"{layer}.weight".removeprefix(".") for layer in calls}):
        raise UserError(f"the hidden units of {name} are not computed by a linear layer or convolution of their own")
    uses = Counter(id(each) for owner in module.modules() for each in owner.parameters(recurse=False))
    found = []
    for name in calls:
        layer: Any = layers[name]
        if f"{name}.weight".removeprefix(".") not in matrices or name in normalized:
            continue
        if calls[name] > 1 or any(uses[id(each)] > 1 for each in layer.parameters(recurse=False)):
            raise UserError(f"the layer {name} computes hidden units in several places, each with its own statistics")
        if layer.bias is None:
            raise UserError(
                f"the layer {name} has no bias, and no batch normalization follows that could shift its units"
            )
        found.append(name)
    return tuple(found)


def _watch(module: nn.Module, inputs: Tensor, layers: Mapping[str, nn.Module]) -> tuple[Counter[str], set[str]]:
    """How often a forward pass calls each of the layers, in this order, and which a batch normalization follows."""
    calls: Counter[str] = Counter()
    outputs: list[tuple[str, Tensor]] = []
    normalized: set[str] = set()

    def called(name: str, _: nn.Module, __: Any, output: Tensor) -> None:
        calls[name] += 1
        outputs.append((name, output))

    def normalizes(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        normalized.update(name for name, output in outputs if output is arguments[0])

    handles = [layer.register_forward_hook(partial(called, name)) for name, layer in layers.items()]
    norms = [each for each in module.modules() if isinstance(each, _BatchNorm)]
    handles += [norm.register_forward_pre_hook(normalizes) for norm in norms]
    try:
        with torch.no_grad(), plain_attention():
            module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return calls, normalized
