"""Records of finished measurements: restored to the last bit, and never used once they are damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.core.logs import StopRequest
from isthmus.core.resume import Task, recall

CONTENT: dict[str, Any] = {"value": 0.1 + 0.2, "smallest": 5e-324, "steps": [1, 2], "name": "é", "none": None}


def counted(fingerprint: str, calls: list[str]) -> Task:
    """A task that notes each time it measures."""

    def measure() -> dict[str, Any]:
        calls.append(fingerprint)
        return CONTENT

    return Task(fingerprint, measure)


def test_a_record_is_measured_once_for_each_fingerprint(tmp_path: Path) -> None:
    calls: list[str] = []
    for name in ("a", "a", "b", "b"):
        assert recall(tmp_path / "x.json", counted(name, calls), StopRequest()) == CONTENT
    assert calls == ["a", "b"]


def test_a_flipped_bit_is_never_read_as_another_number(tmp_path: Path) -> None:
    path, random = tmp_path / "x.json", np.random.default_rng(0)
    recall(path, counted("a", []), StopRequest())
    whole = path.read_bytes()
    for position in random.integers(8 * len(whole), size=300):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << int(position % 8)
        path.write_bytes(damaged)
        calls: list[str] = []
        assert recall(path, counted("a", calls), StopRequest()) == CONTENT
    assert (tmp_path / "x.json.damaged").exists()


@pytest.mark.parametrize("left", [b"", b"3", b"[]", b"null", b'{"fingerprint": "a", "content": 3}', b'{"finger'])
def test_what_is_no_record_is_set_aside_and_measured_again(tmp_path: Path, left: bytes) -> None:
    path, calls = tmp_path / "x.json", list[str]()
    path.write_bytes(left)
    assert recall(path, counted("a", calls), StopRequest()) == CONTENT
    assert calls == ["a"]
    assert path.with_name("x.json.damaged").read_bytes() == left
    assert recall(path, counted("a", calls), StopRequest()) == CONTENT
    assert calls == ["a"]
