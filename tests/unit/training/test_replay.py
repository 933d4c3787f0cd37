"""Replayed steps: the same training, bit for bit, as steps that Python makes; what a GPU adds is in tests/gpu."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CPU, recipe, trained

from isthmus.data.dataset import Dataset
from isthmus.data.examples import place_examples
from isthmus.landscape.curves import fit, new_curves
from isthmus.landscape.paths import curve
from isthmus.models.networks import build
from isthmus.training import replay
from isthmus.training.replay import Replay
from isthmus.training.trainer import Member, TrainingRun, new_state

CAPTURE = replace(CPU, capture=True)
CNN = {"architecture": "cnn", "normalization": "batch", "blocks": 1, "hidden_units": 8}
WAYS: dict[str, dict[str, Any]] = {
    "sgd": {"weight_decay": 1e-3, "nesterov": True},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.003},
    "sam": {"sharpness_radius": 0.05, "averaging": "ema", "averaging_start": 0.5},
    "flips": {"flip": True},
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Size, ...]]:
    """The shapes of what replays were called with."""
    seen: list[tuple[torch.Size, ...]] = []

    class Counted(Replay):
        def __call__(self, function: Callable[..., object], *given: torch.Tensor) -> None:
            seen.append(tuple(each.shape for each in given))
            super().__call__(function, *given)

    for module in ("runner", "trainer"):
        monkeypatch.setattr(f"isthmus.training.{module}.Replay", Counted)
    assert replay.WARM_UP > 0
    return seen


@pytest.mark.parametrize("way", WAYS)
def test_networks_that_train_by_replays_are_the_same_bit_for_bit(
    way: str, digits: Dataset, calls: list[tuple[torch.Size, ...]]
) -> None:
    # 200 examples in batches of 64: three full ones in each epoch, and eight examples that are never captured.
    cell = recipe(4, 1, 64, data={"train_size": 200}, network=CNN, training={"epochs": 2} | WAYS[way])
    plain, replayed = (trained(cell, digits, (0, 1), settings) for settings in (CPU, CAPTURE))
    assert len(calls) == (0 if way == "flips" else 6)
    for seed in (0, 1):
        for name, value in plain.snapshots[seed]["final"].items():
            assert torch.equal(replayed.snapshots[seed]["final"][name], value), name
        same = ("train_loss", "test_loss", "steps")
        assert [plain.results[seed][key] for key in same] == [replayed.results[seed][key] for key in same]


def test_a_run_that_has_ended_leaves_its_memory_at_once(digits: Dataset) -> None:
    """Not only when Python next looks for cycles of references, which a full GPU does not make it do."""
    cell = recipe(4, 1, 64, data={"train_size": 128}, network=CNN)
    run = TrainingRun(cell, new_state(cell, digits, (0,)), digits, CAPTURE, {0: Member(0, 0)})
    run.advance()
    ended = weakref.ref(run)
    gc.disable()
    try:
        del run
        assert ended() is None
    finally:
        gc.enable()


def test_networks_that_leave_a_stack_take_no_replay_with_them(
    digits: Dataset, calls: list[tuple[torch.Size, ...]]
) -> None:
    stopping = {"epochs": 12, "until_train_accuracy": 0.5, "learning_rate": 0.02}
    cell = recipe(8, 1, 50, data={"train_size": 200}, training=stopping)
    plain, replayed = (trained(cell, digits, tuple(range(4)), settings) for settings in (CPU, CAPTURE))
    assert len({shapes[1] for shapes in calls}) > 1, "all networks stopped at once"
    for seed in range(4):
        assert plain.results[seed]["steps"] == replayed.results[seed]["steps"]
        for name, value in plain.snapshots[seed]["final"].items():
            assert torch.equal(replayed.snapshots[seed]["final"][name], value), name


def test_a_curve_that_is_fitted_by_replays_is_the_same_bit_for_bit(
    digits: Dataset, calls: list[tuple[torch.Size, ...]]
) -> None:
    cell = recipe(4, 1, 64, data={"train_size": 128}, network=CNN, training={"epochs": 2, "weight_decay": 1e-3})
    network = build(cell.network, digits.shape, digits.classes, 2)
    ends = []
    for seeds in ((0, 1), (2, 3)):
        network.initialize(seeds)
        ends.append({name: value.detach().clone() for name, value in network.named_parameters()})
    path, pairs, found = curve("bezier", *ends), ((0, 2), (1, 3)), []
    for settings in (CPU, CAPTURE):
        examples = place_examples(cell, digits, (0,), settings)
        labels = examples.labels.expand(2, -1)[None]
        state = new_curves(path, pairs)
        found.append(fit(network, path, state, labels, examples, cell.training, settings, lambda _: None, lambda: None))
    assert calls == [((), (2, 64), (2,))] * 4
    for number in found[0].results:
        for name, value in found[0].snapshots[number]["offset"].items():
            assert torch.equal(found[1].snapshots[number]["offset"][name], value), name
            assert np.isfinite(value.numpy()).all()
