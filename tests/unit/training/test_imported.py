"""Networks trained elsewhere have the numbers that they would have if they had been trained here."""

import dataclasses

import pytest
import torch
from helpers import CPU, recipe, trained

from isthmus.data.dataset import Dataset
from isthmus.recipes.recipe import Recipe
from isthmus.tables.descriptions import table
from isthmus.training.checkpoint import State
from isthmus.training.imported import imported
from isthmus.training.rows import rows

MEASURED = (
    *("train_loss", "train_accuracy", "train_accuracy_clean", "test_loss", "test_accuracy"),
    *("weight_norm", "weight_norm_initial", "movement", "epochs", "diverged"),
)


@pytest.fixture(scope="module")
def run(digits: Dataset) -> tuple[Recipe, State]:
    """A recipe, and one network that was trained with it."""
    chosen = recipe(network={"normalization": "batch"}, data={"train_size": 300}, training={"epochs": 2})
    return chosen, trained(chosen, digits, (3,))


def elsewhere(chosen: Recipe) -> Recipe:
    return dataclasses.replace(chosen, known=("epochs",))


def test_the_weights_of_a_training_run_give_its_result_again(run: tuple[Recipe, State], digits: Dataset) -> None:
    chosen, state = run
    found = imported(elsewhere(chosen), digits, CPU, state.snapshots)
    assert {key: found.results[3][key] for key in MEASURED} == {key: state.results[3][key] for key in MEASURED}
    assert found.snapshots == state.snapshots
    assert found.history == {3: []}


def test_rows_have_every_column_and_null_for_what_is_not_known(run: tuple[Recipe, State], digits: Dataset) -> None:
    chosen, state = run
    final = {3: {"final": state.snapshots[3]["final"]}}
    networks, history = rows(
        "s", "c", elsewhere(chosen), digits, [imported(elsewhere(chosen), digits, CPU, final)], [3]
    )
    (row,), described = networks, table("networks")
    assert row.keys() == {column.name for column in described.columns}
    assert history == []
    unknown = {name for name, value in row.items() if value is None}
    facts = {
        "optimizer",
        "learning_rate",
        "weight_decay",
        "sharpness_radius",
        "sharpness_adaptive",
        "averaging",
        "precision",
    }
    start = {"weight_norm_initial", "movement", "relative_movement"}
    assert unknown == facts | start | {"averaged", "steps", "seconds", "stopped"}
    assert unknown <= {column.name for column in described.columns if column.nullable}


def test_numbers_do_not_depend_on_the_other_networks_of_a_block(run: tuple[Recipe, State], digits: Dataset) -> None:
    chosen, state = run
    other = {name: value + 0.01 for name, value in state.snapshots[3]["final"].items()}
    found = imported(elsewhere(chosen), digits, CPU, {1: {"final": other}, 3: state.snapshots[3]})
    assert found.results[3]["test_loss"] == state.results[3]["test_loss"]
    assert found.results[1]["test_loss"] != found.results[3]["test_loss"]


def test_weights_that_are_not_finite_are_those_of_a_diverged_network(
    run: tuple[Recipe, State], digits: Dataset
) -> None:
    chosen, state = run
    broken = {name: torch.full_like(value, torch.nan) for name, value in state.snapshots[3]["final"].items()}
    result = imported(elsewhere(chosen), digits, CPU, {3: {"final": broken}}).results[3]
    assert result["diverged"]
    assert {result[key] for key in ("train_loss", "test_accuracy", "weight_norm", "movement")} == {None}
