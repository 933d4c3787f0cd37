"""The columns that every table with rows of pairs has: keys, and how many examples losses were measured on."""

import sys

from isthmus.data.dataset import Dataset
from isthmus.recipes.pairs import Pair
from isthmus.recipes.recipe import Recipe
from isthmus.tables.rows import Row


def pair_keys(study: str, cell: str, recipe: Recipe, pair: Pair) -> Row:
    """The first columns of every table with a row per pair."""
    return {
        "study": study,
        "cell": cell,
        "width": recipe.network.width,
        "depth": recipe.network.depth,
        "batch_size": recipe.training.batch_size,
        "seed_a": pair[0],
        "seed_b": pair[1],
    }


def example_counts(recipe: Recipe, dataset: Dataset, most: int | None, repaired: bool = False) -> Row:
    """How many examples losses are measured on, and statistics: at most `most` of each, None for all of them.

    repaired: whether the statistics of hidden units are taken, with or without batch norm.
    """
    examples, most = recipe.data.train_size or len(dataset.train_labels), most or sys.maxsize
    restored = min(recipe.training.statistics_size, examples) if repaired else 0
    return {
        "train_examples": min(most, examples),
        "test_examples": min(most, len(dataset.test_labels)),
        "statistics_examples": max(recipe.statistics_examples(examples), restored),
    }
