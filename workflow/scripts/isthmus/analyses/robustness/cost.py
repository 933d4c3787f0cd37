"""The cost of testing on corrupted images."""

from collections.abc import Mapping
from typing import Any

from isthmus.data.facts import Facts
from isthmus.recipes.recipe import Recipe
from isthmus.training import cost as training
from isthmus.training.cost import EVALUATED_TOGETHER, Work, corrupting_seconds, evaluations, sizes_of


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """The work of testing `networks` networks on corrupted images."""
    _, statistics, forward = sizes_of(recipe, facts)
    images = min(options["test_size"] or facts.test_size, facts.test_size)
    sets = 2 + len(options["corruptions"]) * len(options["severities"])
    evaluated = evaluations(sets * images + statistics, forward, networks, EVALUATED_TOGETHER)
    return Work((evaluated,), corrupting_seconds(images, facts, options))


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous estimate of the memory for testing on corrupted images, in MB, including copies of the images."""
    images = min(options["test_size"] or facts.test_size, facts.test_size)
    values = images * facts.shape[0] * facts.shape[1] * facts.shape[2]
    return training.memory_mb(recipe, facts, {}, networks, evaluation_batch_size) + round((6 * 4 * values + 1e9) / 1e6)
