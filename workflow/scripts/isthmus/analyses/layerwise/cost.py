"""The cost of interpolating layer by layer."""

from collections.abc import Mapping
from typing import Any

from isthmus.data.facts import Facts
from isthmus.models.sizes import layer_sizes, parameters, units
from isthmus.recipes.recipe import ModuleRecipe, Recipe
from isthmus.training import cost as training
from isthmus.training.cost import EVALUATED_TOGETHER, Work, evaluations, examples_at_a_point, sizes_of

LAYERS_OF_A_MODULE = 20  # of a user's own, whose layers are not counted before it runs


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], pairs: int) -> Work:
    """The work of measuring `pairs` pairs: two lines for each layer alone, two for all others, and one for all."""
    _, _, forward = sizes_of(recipe, facts)
    points, layers = options["points"], _layers(recipe, facts)
    lines = 1 + 4 * layers
    return Work(
        (evaluations(pairs * lines * examples_at_a_point(recipe, facts, options), forward, points, EVALUATED_TOGETHER),)
    )


def _layers(recipe: Recipe, facts: Facts) -> int:
    """The modules with parameters, normalization among them."""
    if isinstance(recipe.network, ModuleRecipe):
        return LAYERS_OF_A_MODULE
    sizes = layer_sizes(recipe.network, facts.shape, facts.classes)
    return sum(1 + (normalized > 0) for *_, normalized in sizes)


def memory_mb(recipe: Recipe, facts: Facts, options: Mapping[str, Any], pairs: int, evaluation_batch_size: int) -> int:
    """A generous estimate of the memory, in MB, to evaluate the points of a line at once."""
    activations = units(recipe.network, facts.shape, facts.classes)
    points = options["points"] * evaluation_batch_size * activations * 8
    weights = parameters(recipe.network, facts.shape, facts.classes) * 4 * (options["points"] + 60)
    return training.memory_mb(recipe, facts, {}, pairs, evaluation_batch_size) + round((points + weights) / 1e6)
