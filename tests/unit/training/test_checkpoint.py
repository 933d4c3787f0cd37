"""Checkpoints of training: damaged ones are noticed, and a block goes on with what an earlier try left."""

from pathlib import Path
from typing import Any

import pytest
from helpers import interrupted_at, recipe, trained

from isthmus.core.errors import Interrupted
from isthmus.data.dataset import Dataset
from isthmus.training.checkpoint import State, load_state, save_state
from isthmus.training.rows import rows
from isthmus.training.stacks import plan_stacks, state_path
from isthmus.training.trainer import new_state


def test_a_checkpoint_cut_short_is_noticed_and_the_one_before_it_used(
    digits: Dataset, tmp_path: Any, caplog: Any
) -> None:
    chosen = recipe(width=8, batch_size=64, training={"epochs": 2})
    path = tmp_path / "state.safetensors"
    saved: list[int] = []

    def save(state: State) -> None:
        save_state(path, state, "x")
        saved.append(state.step)

    state = new_state(chosen, digits, (0,))
    for steps in (5, 8):
        with pytest.raises(Interrupted):
            interrupted_at(chosen, digits, state, steps, save)
    assert saved == [5, 13]
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], whole[:-40] + bytes(40), b""):
        path.write_bytes(damaged)
        found = load_state(path, "x")
        assert found is not None
        assert found.step == 5
        assert "checkpoint left aside" in caplog.text
        caplog.clear()
        assert not path.exists(), "a damaged file must not take the place of the good one when the next is written"
    path.write_bytes(whole)
    restored = load_state(path, "x")
    assert restored is not None
    assert restored.step == 13
    assert load_state(path, "another recipe") is None


def test_a_block_goes_on_with_what_an_earlier_try_left(digits: Dataset, tmp_path: Any) -> None:
    chosen = recipe(width=8, batch_size=64, training={"epochs": 1})
    state = trained(chosen, digits, (0, 1))
    save_state(state_path(tmp_path, (0, 1)), state, "x")
    planned = plan_stacks((0, 1, 2, 3, 4), 2, tmp_path, lambda _: "x")
    assert [stack for stack, _ in planned] == [(0, 1), (2, 3), (4,)]
    assert planned[0][1] is not None
    assert planned[0][1].results == state.results
    fewer = plan_stacks((1, 2), 2, tmp_path, lambda _: "x")
    assert [stack for stack, _ in fewer] == [(0, 1), (2,)], "what is trained is not trained again"
    networks, _ = rows("study", "cell", chosen, digits, [state], [1])
    assert [row["seed"] for row in networks] == [1], "and what is no longer wanted is not shown"
    assert plan_stacks((0, 1), 2, tmp_path, lambda _: "other")[0][1] is None


@pytest.mark.parametrize(
    "name", ["seeds-0+1 (copy).safetensors", "seeds-.safetensors", "seeds-0+x.safetensors.damaged"]
)
def test_other_files_among_checkpoints_are_ignored_and_named(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / name).write_bytes(b"copied by hand")
    assert plan_stacks((0, 1), 2, tmp_path, lambda _: "x") == [((0, 1), None)]
    assert f"{name.partition('.')[0]} is no name of a checkpoint: ignored" in caplog.text
