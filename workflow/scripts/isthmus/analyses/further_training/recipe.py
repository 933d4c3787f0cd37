"""The recipe of further training, derived from that of the networks; without torch, as estimates of cost need it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from isthmus.recipes.recipe import Recipe
from isthmus.recipes.schedules import peak_rate


def further_recipe(recipe: Recipe, options: Mapping[str, Any], available: int) -> Recipe:
    """The recipe of further training, from the networks' own and the options of the analysis.

    available: training examples of the second data set, of which as many are used as the networks learned at first, if
    there are so many. The schedule starts again and covers the given epochs, without warm-up, stopping rule and
    averaging. Only numbers that are not finite count as divergence, since a loss on shifted data has no initialization
    to refer to.
    """
    training, wanted = recipe.training, recipe.data.train_size
    examples = available if wanted is None else min(wanted, available)
    further = replace(
        training,
        batch_size=min(training.batch_size, examples),
        learning_rate=peak_rate(training) if options["learning_rate"] is None else options["learning_rate"],
        batch_scaling="none",
        epochs=options["epochs"],
        steps=None,
        warmup_epochs=0.0,
        averaging="none",
        until_train_loss=None,
        until_train_accuracy=None,
        snapshots=(),
        divergence_factor=math.inf,
    )
    data = replace(recipe.data, train_size=None if wanted is None else examples)
    return replace(recipe, training=further, data=data)
