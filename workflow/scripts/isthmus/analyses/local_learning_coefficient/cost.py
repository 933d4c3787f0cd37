"""The cost of estimating local learning coefficients at several localizations."""

from collections.abc import Mapping
from typing import Any

from isthmus.data.facts import Facts
from isthmus.models.sizes import parameters
from isthmus.recipes.recipe import Recipe
from isthmus.training import cost as training
from isthmus.training.cost import LIKELY_PRODUCTS, Calls, Work, evaluations, sizes_of


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """The work for `networks` networks: a gradient and an evaluation of all chains at each step."""
    examples, statistics, forward = sizes_of(recipe, facts)
    batch, chains = options["batch_size"], options["chains"]
    steps = networks * len(options["localizations"]) * (options["burn_in"] + options["draws"])
    evaluated = steps * (batch + 2 * statistics)  # batch-norm statistics for each of the two losses
    return Work(
        (
            Calls("gradient", steps, batch * forward, chains, batch),
            evaluations(evaluated, forward, chains, batch),
            Calls("product", networks * 60, min(options["images"], examples) * forward, likely=LIKELY_PRODUCTS),
        )
    )


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous guess of the memory, in MB: that of training as many networks as there are chains, and a Hessian."""
    vectors = 4 * 60 * parameters(recipe.network, facts.shape, facts.classes)
    batch = max(evaluation_batch_size, options["chains"] * options["batch_size"])
    return training.memory_mb(recipe, facts, {}, options["chains"], batch) + round(vectors / 1e6)
