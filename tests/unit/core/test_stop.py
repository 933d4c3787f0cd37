"""A job that is told to stop: it stops at once where nothing would be lost, and otherwise once its state is saved."""

import os
import signal
import time
from pathlib import Path
from threading import Timer

import pytest
import torch

from isthmus.core.errors import Interrupted
from isthmus.core.logs import StopRequest
from isthmus.core.resume import Task, measure_all, recall

PATIENCE = 20.0  # seconds, far more than it takes


def send(number: int, after: float = 0.05) -> None:
    Timer(after, os.kill, (os.getpid(), number)).start()


def compute(seconds: float = PATIENCE) -> float:
    """A measurement that takes long: products of matrices."""
    begun, matrix = time.monotonic(), torch.eye(50, dtype=torch.float64)
    while time.monotonic() < begun + seconds:
        matrix = matrix @ matrix
    return matrix.sum().item()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_measurement_stops_in_its_middle_and_is_made_afresh_later(tmp_path: Path, number: int) -> None:
    path = tmp_path / "record.json"
    with StopRequest() as stop:
        send(number)
        with pytest.raises(Interrupted) as raised:
            recall(path, Task("mark", compute), stop)
    assert raised.value.signal_number == number
    assert list(tmp_path.iterdir()) == []
    assert recall(path, Task("mark", lambda: compute(0.1)), StopRequest()) == 50


def test_nothing_is_begun_after_a_request_to_stop(tmp_path: Path) -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            measure_all(tmp_path, {"first": Task("mark", compute)}, stop, "measurements")
    assert list(tmp_path.iterdir()) == []


def test_what_saves_its_state_is_not_disturbed_by_one_signal_but_ended_by_a_second() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert compute(0.1) == 50
        assert stop.signal_number == signal.SIGTERM
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop, stop.at_once():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
