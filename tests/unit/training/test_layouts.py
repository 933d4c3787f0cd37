"""The memory layout of a study: measured once, written down, and the same for every job and run from then on."""

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, recipe
from torch import Tensor

from isthmus.core.errors import DataError
from isthmus.core.resume import first_record
from isthmus.data.dataset import Dataset
from isthmus.recipes.recipe import Recipe
from isthmus.training.checkpoint import State, load_state, save_state
from isthmus.training.layouts import GAIN, Layout, fastest_layout, kept_layout
from isthmus.training.placement import Placement
from isthmus.training.trainer import new_state, train

CNN: dict[str, Any] = {"architecture": "cnn", "normalization": "batch", "blocks": 1, "hidden_units": 8}
LAST = replace(CPU, channels_last=True)


def convolutional(**training: Any) -> Recipe:
    return recipe(width=4, depth=1, batch_size=64, network=CNN, data={"train_size": 256}, training=training)


def placed(chosen: Recipe, parameters: int, dataset: Dataset, folder: Path, **jobs: Any) -> Placement:
    """A job's placement, as `Placement.set_up` makes it."""
    given = {"layout": "auto", "stack": "auto"} | jobs
    placement = Placement(CPU, chosen.network, parameters, given["stack"])
    return placement.laid_out(given["layout"], folder, chosen, dataset)


@pytest.fixture(scope="module")
def measured(digits: Dataset) -> dict[str, Any]:
    return fastest_layout(convolutional(), digits, CPU)


def test_the_fastest_way_is_chosen(measured: dict[str, Any]) -> None:
    milliseconds = measured["milliseconds"] | {"channels_last": measured["milliseconds"]["channels_last"] / GAIN}
    assert milliseconds.keys() == {"contiguous", "channels_last", "together"}
    assert all(each > 0 for each in milliseconds.values())
    fastest = min(milliseconds, key=lambda way: milliseconds[way])
    assert measured["channels_last"] == (fastest == "channels_last")
    assert measured["together"] == (fastest == "together")


def test_bfloat16_is_compared_with_float32_which_may_be_faster(
    digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    found = fastest_layout(convolutional(precision="bfloat16"), digits, CPU)
    milliseconds = found["milliseconds"]
    chosen = "together" if found["together"] else "channels_last" if found["channels_last"] else "contiguous"
    slower = milliseconds["float32"] < milliseconds[chosen]
    assert ("slower in bfloat16" in caplog.text) == slower


def test_what_is_written_down_holds_whatever_a_later_timing_would_say(
    tmp_path: Path, digits: Dataset, measured: dict[str, Any]
) -> None:
    kept_layout(tmp_path / "once", convolutional(), digits, CPU)
    (file,) = (tmp_path / "once").iterdir()
    for answer in ((True, False), (False, True), (False, False)):
        other = measured | dict(zip(("channels_last", "together"), answer, strict=True))
        folder = tmp_path / f"{answer}"
        first_record(folder / file.name, json.loads(file.read_text())["fingerprint"], lambda other=other: other)
        assert kept_layout(folder, convolutional(), digits, CPU) == Layout(*answer)
        assert placed(convolutional(), 1000, digits, folder).settings.channels_last == answer[0]
        assert placed(convolutional(), 1000, digits, folder).training_stack(64, most=5) == (5 if answer[1] else 1)


def test_another_network_or_batch_size_is_measured_for_itself_and_another_rate_is_not(
    tmp_path: Path, digits: Dataset
) -> None:
    for chosen in (convolutional(), convolutional(learning_rate=0.5, epochs=7)):
        kept_layout(tmp_path, chosen, digits, CPU)
    assert len(list(tmp_path.iterdir())) == 1
    for other in (recipe(width=5, depth=1, batch_size=64, network=CNN), recipe(4, 1, 32, network=CNN)):
        kept_layout(tmp_path, other, digits, CPU)
    assert len(list(tmp_path.iterdir())) == 3


def test_jobs_that_measure_at_once_use_the_same_answer(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("fork")
    both, answers = processes.Barrier(2), processes.SimpleQueue()

    def job(number: int) -> None:
        def measure() -> int:
            both.wait(timeout=60)
            return number

        answers.put(first_record(tmp_path / "x.json", "", measure))

    started = [processes.Process(target=job, args=(number,)) for number in (1, 2)]
    for each in started:
        each.start()
    assert answers.get() == answers.get()
    for each in started:
        each.join()
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_damaged_answer_is_an_error_that_says_what_to_do(tmp_path: Path, digits: Dataset) -> None:
    kept_layout(tmp_path, convolutional(), digits, CPU)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace('"together": ', '"together":  1'))
    with pytest.raises(DataError, match=r"is damaged .*: delete it and run the workflow again"):
        kept_layout(tmp_path, convolutional(), digits, CPU)


@pytest.mark.parametrize("wanted", ["contiguous", "channels_last"])
def test_a_layout_set_by_hand_is_not_measured(tmp_path: Path, digits: Dataset, wanted: str) -> None:
    placement = placed(convolutional(), 1000, digits, tmp_path / "layouts", layout=wanted)
    assert placement.settings.channels_last == (wanted == "channels_last")
    assert placement.training_stack(64, most=5) == 1
    assert not (tmp_path / "layouts").exists()


@pytest.mark.parametrize(
    ("width", "jobs", "timed"),
    [(8, {}, False), (512, {}, True), (512, {"stack": 2}, False), (512, {"layout": "contiguous"}, False)],
)
def test_networks_without_convolutions_are_measured_if_they_are_wide_and_may_be_stacked(
    tmp_path: Path, digits: Dataset, width: int, jobs: dict[str, Any], timed: bool
) -> None:
    chosen = recipe(width=width, depth=2, batch_size=128)
    placement = placed(chosen, (64 + width + 10) * width, digits, tmp_path / "layouts", **jobs)
    assert (tmp_path / "layouts").exists() == timed
    assert (placement.together is not None) == timed
    assert not placement.settings.channels_last


def test_training_channels_last_resumes_bit_for_bit(tmp_path: Path, digits: Dataset) -> None:
    chosen, path = convolutional(epochs=2), tmp_path / "state.safetensors"

    def weights(state: State) -> list[Tensor]:
        return list(state.snapshots[0]["final"].values())

    def stops() -> Iterator[int | None]:
        yield from [None, None, 15]

    whole = train(chosen, new_state(chosen, digits, (0,)), digits, LAST, lambda state: None, lambda: None)
    signals = stops()
    with pytest.raises(Exception, match="stopped by signal 15"):
        train(
            chosen,
            new_state(chosen, digits, (0,)),
            digits,
            LAST,
            lambda state: save_state(path, state, "mark"),
            lambda: next(signals),
        )
    resumed = load_state(path, "mark")
    assert resumed is not None
    assert resumed.step == 3
    train(chosen, resumed, digits, LAST, lambda state: None, lambda: None)
    assert all(torch.equal(one, other) for one, other in zip(weights(whole), weights(resumed), strict=True))
