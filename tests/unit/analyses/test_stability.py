"""Stability from several steps on: one pass finds all starts, and a twin on its network's own order is the network."""

import copy
from itertools import repeat
from typing import Any

import pytest
import torch
from helpers import CPU, recipe, trained

from isthmus.analyses.stability.measure import compare, judged, pass_by, start_after, twin_of
from isthmus.core.errors import Interrupted
from isthmus.core.tensors import flatten
from isthmus.data.dataset import Dataset
from isthmus.landscape.evaluator import Evaluator
from isthmus.recipes.recipe import Recipe
from isthmus.training.checkpoint import State
from isthmus.training.starts import Start, begin, start_of
from isthmus.training.trainer import new_state, train

STEPS = [3, 7, 11]  # of 12; the last is in another epoch
SGD = {"epochs": 2, "learning_rate": 0.05}


def chosen(**training: Any) -> Recipe:
    return recipe(8, 1, 50, data={"train_size": 300}, training=SGD | training)


def passed(cell: Recipe, digits: Dataset, state: State | None = None) -> State:
    """Two networks after they passed by all steps."""

    def train_to(state: State, step: int) -> State:
        return train(cell, state, digits, CPU, lambda _: None, lambda: None, pause_at=step)

    return pass_by(state or new_state(cell, digits, (0, 1)), STEPS, train_to)


def parts(start: Start | None) -> dict[str, torch.Tensor]:
    """All tensors of a start."""
    assert start is not None
    return flatten({"weights": start.weights, **start.optimizer})


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("training", [{}, {"optimizer": "adam", "learning_rate": 0.003}], ids=["sgd", "adam"])
def test_one_pass_finds_where_runs_that_pause_are(digits: Dataset, training: dict[str, Any]) -> None:
    cell = chosen(**training)
    state = passed(cell, digits)
    for step in STEPS:
        paused = train(cell, new_state(cell, digits, (0, 1)), digits, CPU, lambda _: None, lambda: None, pause_at=step)
        for seed in (0, 1):
            assert_same(parts(start_after(state.snapshots[seed], step)), parts(start_of(paused, seed)))


def test_a_pass_that_was_stopped_on_its_way_keeps_what_it_passed(digits: Dataset) -> None:
    cell, kept = chosen(), []
    signals = {7: iter([None, 15])}

    def train_to(state: State, step: int) -> State:
        def save(state: State) -> None:
            kept.append(copy.deepcopy(state))

        return train(cell, state, digits, CPU, save, lambda: next(signals.get(step, repeat(None))), pause_at=step)

    with pytest.raises(Interrupted):
        pass_by(new_state(cell, digits, (0, 1)), STEPS, train_to)
    assert 3 < kept[-1].step < 7
    whole, again = passed(cell, digits), passed(cell, digits, kept[-1])
    for step in STEPS:
        assert_same(parts(start_after(again.snapshots[1], step)), parts(start_after(whole.snapshots[1], step)))


@pytest.mark.parametrize("step", [0, 7])
def test_a_twin_on_the_same_order_of_the_data_is_the_network_itself(digits: Dataset, step: int) -> None:
    cell = chosen()
    dense, state = trained(cell, digits, (0, 1)), passed(cell, digits)
    starts = {seed: start_after(state.snapshots[seed], step) for seed in (0, 1)}
    twins = {}
    for name, members in {"same": None, "other": {seed: twin_of(seed) for seed in (0, 1)}}.items():
        first = begin({seed: start for seed, start in starts.items() if start})
        twins[name] = train(cell, first, digits, CPU, lambda _: None, lambda: None, members)
    evaluator = Evaluator.of(cell, digits, (0, 1), CPU, stack=5)
    for seed in (0, 1):
        final = dense.snapshots[seed]["final"]
        assert set(compare(evaluator, 5, seed, final, twins["same"].snapshots[seed]["final"]).values()) == {0.0}
        assert compare(evaluator, 5, seed, final, twins["other"].snapshots[seed]["final"])["distance"] > 0.01


def test_a_network_that_stopped_before_a_step_has_no_start_there(digits: Dataset) -> None:
    cell = chosen(until_train_accuracy=0.01)
    state = passed(cell, digits)
    assert start_after(state.snapshots[0], 3) is None
    assert start_after(state.snapshots[0], 0) is not None


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([0.0, 0.0, 0.0], 0),
        ([0.3, 0.0199, 0.0], 10),
        ([0.3, 0.02, 0.0], 50),
        ([0.01, 0.3, 0.0], 50),
        ([0.0, 0.0, 0.3], None),
        ([0.3, 0.01, None], 10),
        ([None, None, None], None),
        ([0.0, "diverged", 0.0], 50),
    ],
)
def test_training_is_stable_from_the_first_step_after_which_no_barrier_is_left(
    errors: list[float | str | None], expected: int | None
) -> None:
    rows = [
        {"step": step, "diverged": error == "diverged", "barrier_test_error": None if error == "diverged" else error}
        for step, error in zip((0, 10, 50), errors, strict=True)
    ]
    found = judged(rows)
    assert {row["stable_from"] for row in found} == {expected}
    known = [error if isinstance(error, float) else None for error in errors]
    assert [row["stable"] for row in found] == [None if error is None else error < 0.02 for error in known]
