"""The cost of measuring fragility during training."""

from collections.abc import Mapping
from math import prod
from typing import Any

from isthmus.data.facts import Facts
from isthmus.models.sizes import parameters
from isthmus.recipes.recipe import Recipe
from isthmus.training import cost as training
from isthmus.training.cost import EVALUATED_TOGETHER, Calls, Work, corrupting_seconds, evaluations, sizes_of


def _test_images(facts: Facts, options: Mapping[str, Any]) -> int:
    return min(options["test_size"] or facts.test_size, facts.test_size)


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """The work of measuring `networks` networks: at every moment noise, gradients, and test images."""
    examples, statistics, forward = sizes_of(recipe, facts)
    perturbed, test, corruptions = min(options["images"], examples), _test_images(facts, options), options["robustness"]
    sets = len(corruptions["corruptions"]) * len(corruptions["severities"])
    at_moments = networks * (2 + len(recipe.training.snapshots))
    calls = (
        evaluations(at_moments * (perturbed + statistics), forward, options["draws"] + 1, EVALUATED_TOGETHER),
        Calls("gradient", at_moments * (options["ascent_steps"] + 1), perturbed * forward),
        evaluations(at_moments * ((1 + sets) * test + statistics), forward, 1, EVALUATED_TOGETHER),
    )
    return Work(calls, corrupting_seconds(test, facts, corruptions))


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous estimate of the memory, in MB: corrupted images, and noise in float64 beside the weights."""
    values = _test_images(facts, options) * prod(facts.shape)
    noise = 3 * 8 * (options["draws"] + 1) * parameters(recipe.network, facts.shape, facts.classes)
    own = 6 * 4 * values + 5e8 + noise
    return training.memory_mb(recipe, facts, {}, networks, evaluation_batch_size) + round(own / 1e6)
