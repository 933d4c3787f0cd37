"""From the recipe of a network to a stack of networks: a built-in architecture, or a module of the user's own."""

from functools import partial

import torch

from isthmus.models import sizes
from isthmus.models.architectures import Shape, architecture
from isthmus.models.functional import Stacked
from isthmus.models.own import build_own
from isthmus.recipes.recipe import AnyNetwork, ModuleRecipe


def build(recipe: AnyNetwork, shape: Shape, classes: int, stack: int = 1) -> Stacked:
    """A stack of `stack` networks for images of `shape` (channels, height, width), or other inputs.

    They are not initialized (`Stacked.initialize`). Raises UserError if the recipe names a function of the user's own
    that does not exist.

    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> build(recipe, (1, 8, 8), classes=10, stack=3)(torch.zeros(1, 5, 1, 8, 8)).shape
    torch.Size([3, 5, 10])
    """
    if isinstance(recipe, ModuleRecipe):
        return build_own(recipe, shape, classes, stack)
    return Stacked(partial(architecture, recipe, shape, classes), stack)


def count_parameters(recipe: AnyNetwork, shape: Shape, classes: int) -> int:
    """The number of trainable scalars of one network; allocates no memory for them.

    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> count_parameters(recipe, (1, 8, 8), 10)  # (64 + 1) * 4 + (4 + 1) * 10
    310
    """
    if isinstance(recipe, ModuleRecipe):
        return sizes.parameters(recipe, shape, classes)
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in architecture(recipe, shape, classes).parameters())
