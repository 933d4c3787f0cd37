"""`make gpu-check` without a GPU: its cheap parts at their smallest, what it keeps, and how it goes on."""

import importlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gpu_check.__main__ import PARTS, main
from gpu_check.case import Case, Options, Skipped, Unfinished
from gpu_check.findings import break_even
from gpu_check.needs import packages

ARGUMENTS = ("--device", "cpu", "--smallest")


def check(out: Path, *arguments: str) -> int:
    return main([*ARGUMENTS, "--out", str(out), *arguments])


def kept(out: Path) -> dict[str, Any]:
    return json.loads((out / "gpu-check.json").read_text())["parts"]


def test_a_step_is_the_same_in_every_way_and_a_second_call_goes_on(tmp_path: Path) -> None:
    assert check(tmp_path, "--parts", "steps", "--only", "cnn 2") == 0
    first = kept(tmp_path)
    (row,) = first["steps"].values()
    assert row["status"] == "passed"
    assert {"loop_us", "one_us", "stacked_us", "vmap_us"} < row["measured"].keys()
    assert row["measured"]["losses_apart"] < 1e-5
    assert check(tmp_path, "--parts", "steps", "speed", "--only", "peak float32") == 0
    assert kept(tmp_path)["steps"] == first["steps"]
    assert kept(tmp_path)["speed"]["peak float32"]["measured"]["tflops"] > 0
    assert "| cnn 2, batch 4, stack 2, float32 | passed |" in (tmp_path / "gpu-check.md").read_text()


def test_every_part_has_cases(tmp_path: Path) -> None:
    options = Options("cpu", True, None, tmp_path)
    for part in PARTS:
        names = [case.name for case in importlib.import_module(f"gpu_check.{part}").cases(options)]
        assert names
        assert len(set(names)) == len(names), part


def test_what_ends_otherwise_is_said_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speed, called = importlib.import_module("gpu_check.speed"), []

    def case(name: str, error: Exception | None) -> Case:
        def run(seconds: float) -> dict[str, Any]:
            called.append(name)
            if error is not None:
                raise error
            return {"value": 1.0}

        return Case(name, run)

    endings = {
        "good": None,
        "absent": ModuleNotFoundError("no module", name="curvlinops"),
        "late": Unfinished("out of time", {"jobs": "3 of 7"}),
        "lacking": Skipped("there is no SLURM here"),
    }
    monkeypatch.setattr(speed, "cases", lambda options: [case(*each) for each in endings.items()])
    assert check(tmp_path, "--parts", "speed") == 0
    found = {name: (row["status"], row["why"]) for name, row in kept(tmp_path)["speed"].items()}
    assert found == {
        "good": ("passed", ""),
        "absent": ("skipped", "curvlinops is not installed"),
        "late": ("unfinished", "out of time"),
        "lacking": ("skipped", "there is no SLURM here"),
    }
    endings["bad"] = ValueError("wrong")
    assert check(tmp_path, "--parts", "speed") == 1
    assert called == [*list(endings)[:4], *list(endings)[1:]]
    assert kept(tmp_path)["speed"]["bad"]["why"] == "ValueError: wrong"
    called.clear()
    assert check(tmp_path, "--parts", "speed", "--minutes", "0") == 1
    assert called == []


def test_a_case_past_its_limit_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(seconds: float) -> dict[str, Any]:
        while True:
            try:
                time.sleep(seconds)
            except Unfinished as error:
                raise RuntimeError("the compiler was interrupted") from error

    monkeypatch.setattr(importlib.import_module("gpu_check.speed"), "cases", lambda _: [Case("endless", endless, 0.1)])
    assert check(tmp_path, "--parts", "speed") == 0
    row = kept(tmp_path)["speed"]["endless"]
    assert (row["status"], row["why"]) == ("skipped", "not measured: it did not end in 0.1 s")


def test_the_record_of_another_machine_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, "--parts", "speed", "--only", "nothing") == 0
    path = tmp_path / "gpu-check.json"
    path.write_text(path.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    assert check(tmp_path, "--parts", "speed", "--only", "nothing") == 2
    assert "is from another machine" in capsys.readouterr().err


def test_the_break_even_lies_between_the_steps_that_a_stack_wins_and_loses() -> None:
    def row(size: float, one: float) -> dict[str, Any]:
        return {"network": "mlp", "size": size, "one_us": one, "stacked_us": 1.0, "stack": 8, "precision": "float32"}

    rows = [row(1e4, 4.0), row(1e6, 2.0), row(1e8, 0.5)]
    assert break_even(rows, ("mlp",)) == pytest.approx(1e7)
    assert break_even(rows[:2], ("mlp",)) == 1e6
    assert break_even(rows[2:], ("mlp",)) == 5e7
    assert break_even(rows, ("cnn",)) is None
    compiled = {"network": "mlp", "size": 1e9, "loop_us": 9.0, "stacked_us": 1.0, "compiled_us": 0.5}
    assert break_even([*rows, compiled], ("mlp",)) == pytest.approx(1e7)


def test_the_packages_are_those_of_the_project() -> None:
    assert {"torch", "snakemake", "greenlet", "pytest", "PyHessian"} <= set(packages())
