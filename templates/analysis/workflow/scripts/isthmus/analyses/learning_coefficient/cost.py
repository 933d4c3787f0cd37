"""What estimating local learning coefficients costs."""

from collections.abc import Mapping
from typing import Any

from isthmus.data.facts import Facts
from isthmus.recipes.recipe import Recipe
from isthmus.training import cost as training
from isthmus.training.cost import Calls, Work, evaluations, sizes_of


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """Estimating the coefficients of `networks` networks: a gradient and an evaluation at each step of each chain."""
    _, statistics, forward = sizes_of(recipe, facts)
    batch, steps = options["batch_size"], networks * options["chains"] * (options["burn_in"] + options["draws"])
    evaluated = steps * (batch + 2 * statistics)  # batch-norm statistics for each of the two losses
    return Work((Calls("gradient", steps, batch * forward), evaluations(evaluated, forward, 1, batch)))


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous guess of the memory, in MB: that of training the same networks holds more weights than a chain."""
    batch = max(evaluation_batch_size, options["batch_size"])
    return training.memory_mb(recipe, facts, {}, networks, batch)
