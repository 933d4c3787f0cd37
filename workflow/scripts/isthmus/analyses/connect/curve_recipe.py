"""The recipe for training the bends of curves, derived from the networks' own recipe."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from isthmus.recipes.recipe import TrainingRecipe
from isthmus.recipes.schedules import peak_rate


def curve_training(training: TrainingRecipe, options: Mapping[str, Any], examples: int) -> TrainingRecipe:
    """The recipe for fitting curves, from the networks' recipe, the options `curve` and the number of examples."""
    given = {key: options[key] for key in ("batch_size", "schedule", "weight_decay") if options[key] is not None}
    given["batch_size"] = min(given.get("batch_size", training.batch_size), examples)
    return replace(
        training,
        learning_rate=peak_rate(training) if options["learning_rate"] is None else options["learning_rate"],
        batch_scaling="none",
        epochs=options["epochs"],
        steps=None,
        warmup_epochs=options["warmup_fraction"] * options["epochs"],
        sharpness_radius=0.0,
        averaging="none",
        **given,
    )
