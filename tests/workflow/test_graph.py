"""The graph of jobs: what a change of the configuration or of the code runs again, and what it leaves alone."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from running import ROOT, configuration, planned, small_study, succeed

pytestmark = pytest.mark.slow
COLLECT = {f"Collecting the table {table}" for table in ("networks", "history")}
DRAW = {"Drawing the figures of training of small"}
CLAIMS = {"Testing the published claims on all studies", "Drawing the figure of the claims"}


def training(study: str, cell: str, seeds: list[int]) -> str:
    return f"Training {study}: {cell}, seeds {' '.join(map(str, seeds))}"


def cell(width: int) -> str:
    return f"width={width}+depth=1+batch_size=128"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the workflow and a folder in which it ran the small study to its end."""
    root, folder = tmp_path_factory.mktemp("workflow"), tmp_path_factory.mktemp("run")
    for part in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "Snakefile", root)
    succeed(folder, configuration(small=small_study()), root=root)
    return root, folder


def test_nothing_is_run_twice(finished: tuple[Path, Path]) -> None:
    root, folder = finished
    assert planned(folder, configuration(small=small_study()), root=root) == set()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (configuration(small=small_study(seed=4)), {training("small", cell(width), [2, 3]) for width in (4, 8)}),
        (configuration(small=small_study(width=[4, 6, 8])), {training("small", cell(6), [0, 1])}),
        (
            configuration(small=small_study(), other=small_study(width=[4])),
            {training("other", cell(4), [0, 1]), "Drawing the figures of training of other"},
        ),
    ],
    ids=["seeds", "width", "study"],
)
def test_an_addition_adds_exactly_its_own_jobs(
    finished: tuple[Path, Path], config: dict[str, Any], expected: set[str]
) -> None:
    root, folder = finished
    assert planned(folder, config, root=root) == expected | COLLECT | DRAW | CLAIMS


def test_a_changed_recipe_trains_again(finished: tuple[Path, Path]) -> None:
    root, folder = finished
    changed = small_study() | {"training": {"epochs": 3}}
    jobs = {training("small", cell(width), [0, 1]) for width in (4, 8)}
    assert planned(folder, configuration(small=changed), root=root) == jobs | COLLECT | DRAW | CLAIMS


def test_how_jobs_are_run_is_no_reason_to_run_them_again(finished: tuple[Path, Path]) -> None:
    root, folder = finished
    config = configuration(small=small_study())
    config["jobs"] |= {"stack": 1, "threads": 2, "checkpoint_seconds": 5, "evaluation_batch_size": 100}
    assert planned(folder, config, root=root) == set()


@pytest.mark.parametrize(
    ("module", "before", "after", "expected"),
    [
        ("schedules.py", "peak = peak_rate(training)", "peak = 2 * peak_rate(training)", "training"),
        (
            "schedules.py",
            "    peak = peak_rate(training)",
            "    # A comment.\n    peak = peak_rate(training)",
            "nothing",
        ),
        ("seeds.py", '"""Random streams', '"""Streams of random numbers', "nothing"),
        ("logs.py", "logging.INFO", "logging.DEBUG", "collecting"),
        ("datasets.py", "DIGITS_SPLIT_SEED = 0", "DIGITS_SPLIT_SEED = 1", "data"),
    ],
)
def test_a_change_of_the_library_runs_exactly_what_depends_on_it(
    finished: tuple[Path, Path], module: str, before: str, after: str, expected: str
) -> None:
    root, folder = finished
    path = root / "workflow" / "scripts" / "isthmus" / module
    original = path.read_text()
    assert before in original
    path.write_text(original.replace(before, after, 1))
    try:
        jobs = planned(folder, configuration(small=small_study()), root=root)
    finally:
        path.write_text(original)
    trained = {training("small", cell(width), [0, 1]) for width in (4, 8)} | COLLECT | DRAW | CLAIMS
    wanted = {"nothing": set(), "collecting": COLLECT | DRAW | CLAIMS, "training": trained}
    wanted["data"] = trained | {"Preparing the data set digits"}
    assert jobs == wanted[expected]


def test_a_new_claim_tests_all_claims_again_and_runs_nothing_else(finished: tuple[Path, Path]) -> None:
    root, folder = finished
    path = root / "workflow" / "claims.yaml"
    original = path.read_text()
    path.write_text(original.replace("statement: relative movement falls with width", "statement: movement falls"))
    try:
        jobs = planned(folder, configuration(small=small_study()), root=root)
    finally:
        path.write_text(original)
    assert jobs == CLAIMS


def test_a_block_that_grows_keeps_its_finished_networks(tmp_path: Path) -> None:
    succeed(tmp_path, configuration(small=small_study(width=[4], seed=1)), "tables")
    before = (tmp_path / "results" / "small" / "train" / cell(4) / "0.safetensors").stat().st_mtime_ns
    printed = succeed(tmp_path, configuration(small=small_study(width=[4], seed=2)), "tables")
    assert training("small", cell(4), [0, 1]) in printed
    log = (tmp_path / "results" / "logs" / "train" / "small" / cell(4) / "0.log").read_text()
    assert "network 0: budget" not in log, "seed 0 was trained again"
    assert "network 1: budget" in log
    assert (tmp_path / "results" / "small" / "train" / cell(4) / "0.safetensors").stat().st_mtime_ns > before
    assert not (tmp_path / "results" / "checkpoints" / "small" / "train" / cell(4) / "0").exists()
