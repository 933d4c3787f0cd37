"""Out of memory on a device: smaller portions, the same results.

No GPU is needed: PyTorch's own exception is raised here by hand, above a size that stands for a small memory.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import recipe
from rounding import summation_error

from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset
from isthmus.models.evaluation import evaluate
from isthmus.training.checkpoint import State
from isthmus.training.stacks import plan_stacks, train_stacks
from isthmus.training.trainer import new_state, train

CPU = Settings(torch.device("cpu"))


def small_memory(most: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A network `[1, B, ...]` to `[1, B, 3]` that takes at most this many images at once."""

    def network(images: torch.Tensor) -> torch.Tensor:
        if images.shape[1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory (raised by hand)")
        return images.flatten(2)[..., :3]

    return network


@pytest.mark.parametrize("most", [1, 3, 50])
def test_evaluation_halves_its_batch_until_it_fits(most: int, caplog: pytest.LogCaptureFixture) -> None:
    images, labels = torch.randn(50, 1, 2, 2), torch.arange(50)[None, None] % 3
    whole = evaluate(small_memory(50), images, labels, "cross_entropy", 50)
    with caplog.at_level(logging.WARNING):
        portions = evaluate(small_memory(most), images, labels, "cross_entropy", 50)
    # Two sums over 50 examples of sums over three classes, of positive terms, and a few operations more.
    torch.testing.assert_close(portions[0], whole[0], rtol=2 * summation_error(50 + 3 + 10), atol=0)
    assert torch.equal(portions[1], whole[1])
    assert ("do not fit into the device's memory: trying 25" in caplog.text) == (most < 50)


def test_one_image_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(small_memory(0), torch.randn(4, 1, 2, 2), torch.zeros(1, 1, 4, dtype=torch.int64), "cross_entropy", 4)


@pytest.mark.parametrize("fails_at", [0, 30], ids=["at its first step", "after a checkpoint"])
def test_a_stack_goes_on_in_halves_and_loses_nothing(digits: Dataset, tmp_path: Path, fails_at: int) -> None:
    chosen = recipe(width=8, batch_size=64, training={"epochs": 2, "optimizer": "adam"})
    alone = {
        seed: train(chosen, new_state(chosen, digits, (seed,)), digits, CPU, lambda _: None, lambda: None)
        for seed in range(5)
    }
    begun_at: list[tuple[tuple[int, ...], int]] = []

    def finish(state: State, save: Callable[[State], None]) -> State:
        begun_at.append((state.seeds, state.step))
        if len(state.seeds) > 2 and fails_at > state.step:
            state = train(chosen, state, digits, CPU, save, lambda: None, pause_at=fails_at)
            save(state)
        if len(state.seeds) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (raised by hand)")
        return train(chosen, state, digits, CPU, save, lambda: None)

    planned = plan_stacks(tuple(range(5)), 5, tmp_path, lambda _: "x")
    states = train_stacks(planned, tmp_path, lambda _: "x", lambda seeds: new_state(chosen, digits, seeds), finish)
    assert begun_at == [
        (tuple(range(5)), 0),
        ((0, 1, 2), fails_at),
        ((0, 1), fails_at),
        ((2,), fails_at),
        ((3, 4), fails_at),
    ]
    for state in states:
        for seed in state.seeds:
            for name, weights in alone[seed].snapshots[seed]["final"].items():
                torch.testing.assert_close(state.snapshots[seed]["final"][name], weights, rtol=1e-3, atol=1e-5)
            assert len(state.history[seed]) == len(alone[seed].history[seed])
    assert [seeds for seeds, _ in plan_stacks(tuple(range(5)), 5, tmp_path, lambda _: "x")] == [(0, 1), (2,), (3, 4)]
