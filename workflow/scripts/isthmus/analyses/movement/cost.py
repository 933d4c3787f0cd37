"""The cost of measuring movement and tangent kernels."""

from collections.abc import Mapping
from typing import Any

from isthmus.data.facts import Facts
from isthmus.models.sizes import layer_sizes
from isthmus.recipes.recipe import ModuleRecipe, Recipe
from isthmus.training import cost as training
from isthmus.training.cost import Calls, Work


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """The work of measuring movement and tangent kernels of `networks` networks."""
    moments = 2 + len(recipe.training.snapshots) * options["during_training"]
    images, outputs = options["kernel_images"], facts.classes
    calls = []
    if isinstance(recipe.network, ModuleRecipe):  # whole gradients, of every image by itself
        inner = recipe.network.parameters
        calls.append(Calls("gradient", networks * moments * outputs, images * recipe.network.multiplications))
    else:
        layers = layer_sizes(recipe.network, facts.shape, facts.classes)
        # Inner products of a linear layer's inputs and output gradients, but of whole gradients for a convolution.
        inner = sum(fan_in + units if places == 1 else fan_in * units for fan_in, units, places, _ in layers)
    calls.append(Calls("algebra", networks * moments, outputs * images**2 * inner))
    return Work(tuple(calls), 0.1 * networks * moments)


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous estimate of the memory for measuring movement, in MB."""
    kernels = 2 * 8 * facts.classes * options["kernel_images"] ** 2
    return training.memory_mb(recipe, facts, {}, networks, evaluation_batch_size) + round((kernels + 1e9) / 1e6)
