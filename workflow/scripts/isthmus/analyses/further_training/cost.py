"""The cost of training tickets, their controls and dense networks further."""

from collections.abc import Mapping
from typing import Any

from isthmus.analyses.further_training.recipe import further_recipe
from isthmus.data.facts import Facts
from isthmus.models.sizes import parameters
from isthmus.recipes.recipe import Recipe
from isthmus.training import cost as training
from isthmus.training.cost import EVALUATED_TOGETHER, Work, evaluations, sizes_of


def _each(options: Mapping[str, Any]) -> int:
    """How many networks of a seed are trained further: the dense one, and each level's ticket and kept controls."""
    pruned = options["tickets"]
    levels = pruned["levels"] if pruned["kept_fractions"] is None else len(pruned["kept_fractions"])
    return int(1 + levels * (1 + len(pruned["kept_controls"])))


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """The work of further training of `networks` networks, their tickets and their controls.

    options: with those of `tickets`, under this name. The second data set counts as large as the first.
    """
    examples, statistics, forward = sizes_of(recipe, facts)
    count = networks * _each(options)
    again = training.work(further_recipe(recipe, options, facts.train_size), facts, {}, count).calls
    first = 2 * count * (examples + facts.test_size + statistics)
    return Work((*again, evaluations(first, forward, 1, EVALUATED_TOGETHER)))


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous estimate of the memory, in MB, with the second data set in float32, before and after corruption."""
    count = networks * _each(options)
    values = (facts.train_size + facts.test_size) * facts.shape[0] * facts.shape[1] * facts.shape[2]
    kept = 5 * count * parameters(recipe.network, facts.shape, facts.classes) + 6 * 4 * values
    return training.memory_mb(recipe, facts, {}, count, evaluation_batch_size) + round(kept / 1e6)
