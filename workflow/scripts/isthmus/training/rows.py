"""The rows of the tables `networks` and `history` for trained networks."""

from isthmus.data.dataset import Dataset
from isthmus.models.networks import count_parameters
from isthmus.recipes.recipe import Recipe
from isthmus.recipes.schedules import known_peak_rate
from isthmus.tables.rows import Row, Rows
from isthmus.training.checkpoint import State


def keys(study: str, cell: str, recipe: Recipe, seed: int) -> Row:
    """The first columns of every table with a row per network."""
    return {
        "study": study,
        "cell": cell,
        "width": recipe.network.width,
        "depth": recipe.network.depth,
        "batch_size": recipe.training.batch_size,
        "seed": seed,
    }


def statistics_column(recipe: Recipe, dataset: Dataset) -> Row:
    """The column that says how many training examples batch-norm statistics are computed over."""
    examples = recipe.data.train_size or len(dataset.train_labels)
    return {"statistics_examples": recipe.statistics_examples(examples)}


def network_row(recipe: Recipe, dataset: Dataset, result: Row) -> Row:
    """The columns of `networks` beyond the keys, from the result that training or import left in `State.results`."""
    row = {
        "dataset": dataset.name,
        "architecture": recipe.network.architecture,
        "normalization": recipe.network.normalization,
        "activation": recipe.network.activation,
        "loss": recipe.training.loss,
        "optimizer": recipe.fact("optimizer"),
        "learning_rate": known_peak_rate(recipe),
        "weight_decay": recipe.fact("weight_decay"),
        "sharpness_radius": recipe.fact("sharpness_radius"),
        "sharpness_adaptive": recipe.fact("sharpness_adaptive"),
        "averaging": recipe.fact("averaging"),
        "label_noise": recipe.data.label_noise,
        "precision": recipe.fact("precision"),
        "classes": dataset.classes,
        "train_examples": recipe.data.train_size or len(dataset.train_labels),
        "test_examples": len(dataset.test_labels),
        **statistics_column(recipe, dataset),
        "parameters": count_parameters(recipe.network, dataset.shape, dataset.classes),
    }
    measured = {key: value for key, value in result.items() if key != "weight_norm"}
    measured["weight_norm_final"] = result["weight_norm"]
    measured["generalization_gap"] = _difference(result["train_accuracy"], result["test_accuracy"])
    measured["generalization_gap_loss"] = _difference(result["test_loss"], result["train_loss"])
    measured["relative_movement"] = (
        None if result["movement"] is None else result["movement"] / result["weight_norm_initial"]
    )
    return row | measured


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def rows(
    study: str, cell: str, recipe: Recipe, dataset: Dataset, states: list[State], seeds: list[int]
) -> tuple[Rows, Rows]:
    """The rows of `networks` and of `history` for the networks `seeds` of finished states."""
    networks: Rows = []
    history: Rows = []
    by_seed = {seed: state for state in states for seed in state.seeds}
    for seed in seeds:
        first = keys(study, cell, recipe, seed)
        networks.append(first | network_row(recipe, dataset, by_seed[seed].results[seed]))
        history += [first | statistics_column(recipe, dataset) | row for row in by_seed[seed].history[seed]]
    return networks, history
