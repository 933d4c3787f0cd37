"""The cost of measuring stability from several steps on."""

from collections.abc import Mapping
from typing import Any

from isthmus.data.facts import Facts
from isthmus.models.sizes import parameters
from isthmus.recipes.recipe import Recipe
from isthmus.recipes.schedules import run_length
from isthmus.training import cost as training
from isthmus.training.cost import Calls, Work, evaluations, examples_at_a_point, sizes_of


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """The work of training a twin of each of `networks` networks from every step, and of the lines to the twins."""
    examples, _, forward = sizes_of(recipe, facts)
    steps, total = options["steps"], run_length(recipe.training, examples)[1]
    runs = max(steps) / total + sum(1 - step / total for step in steps)
    each = training.work(recipe, facts, {}, networks).calls
    again = tuple(Calls(call.kind, runs * call.count, call.size, networks, call.batch_size) for call in each)
    evaluated = networks * len(steps) * examples_at_a_point(recipe, facts, options)
    return Work((*again, evaluations(evaluated, forward, options["line_points"], 256)))


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous estimate of the memory, in MB: that of training, with starts and twins of all steps."""
    kept = 4 * networks * parameters(recipe.network, facts.shape, facts.classes) * 5 * len(options["steps"])
    return training.memory_mb(recipe, facts, {}, networks, evaluation_batch_size) + round(kept / 1e6)
