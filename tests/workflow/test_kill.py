"""Nothing is lost: a job killed at any moment ends, when it is run again, like one never disturbed."""

import json
import random
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers import trained
from killing import Target, disturb
from running import read, small_study, succeed

from isthmus.core.tensors import load_tensors
from isthmus.data.dataset import Dataset
from isthmus.study.config import load
from isthmus.training.weights import load_weights

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the jobs to kill in /proc, on Linux")
CELL = "width=24+depth=2+batch_size=16"
WEIGHTS = f"results/small/train/{CELL}/0.safetensors"
BOTH = (signal.SIGTERM, signal.SIGKILL)


def target(stage: str, script: str, sign_of_life: str = "parameters") -> Target:
    return Target(f"results/logs/{stage}/small/{CELL}/0.log", sign_of_life, script)


def study(
    epochs: int, checkpoint_seconds: float, seeds: int = 2, snapshots: tuple[int, ...] = (), **analyses: Any
) -> dict[str, Any]:
    """One cell, all networks of which share a job, as do all pairs."""
    one = small_study(width=[24], depth=[2], batch_size=[16], seed=seeds)
    one |= {"training": {"epochs": epochs, "snapshots": list(snapshots)}, "analyses": analyses}
    return {"studies": {"small": one}, "jobs": {"seeds": 3, "pairs": 3, "checkpoint_seconds": checkpoint_seconds}}


def collected(*tables: str) -> list[str]:
    return [f"results/tables/{table}.parquet" for table in tables]


def disturb_again_and_again(
    folder: Path, config: dict[str, Any], job: Target, disturbances: list[tuple[int, float]], *tables: str
) -> int:
    """Send signals to a job behind these tables, each in a run of its own; return how often it left a state behind."""
    folder.mkdir()
    resumed = 0
    for number, patience in disturbances:
        status, printed = disturb(folder, config, job, number, patience, *collected(*tables))
        if status == 0:
            break
        assert "Traceback" not in printed or number == signal.SIGKILL, printed
        stage = Path(job.log).parts[2]
        resumed += any(path.is_file() for path in (folder / f"results/checkpoints/small/{stage}/{CELL}").rglob("*"))
    return resumed


def assert_ends_as_if_undisturbed(disturbed: Path, config: dict[str, Any], *tables: str) -> Path:
    """Run the disturbed workflow to its end and compare it with another one, whose folder is returned."""
    undisturbed = disturbed.parent / "undisturbed"
    undisturbed.mkdir()
    for folder in (undisturbed, disturbed):
        succeed(folder, config, *collected(*tables))
    for name in tables:
        one, other = (read(folder, name) for folder in (undisturbed, disturbed))
        measured = [column for column in one.columns if not column.startswith("seconds")]
        assert len(one) > 0
        pd.testing.assert_frame_equal(one[measured], other[measured], check_exact=True)
    return undisturbed


@pytest.mark.slow
def test_a_terminated_job_saves_first_and_goes_on_bit_for_bit(tmp_path: Path, digits: Dataset) -> None:
    config = study(100, checkpoint_seconds=3600)  # so that nothing but the signal makes it save
    status, printed = disturb(tmp_path, config, target("train", "train.py"), signal.SIGTERM, 0.3, WEIGHTS)
    assert status != 0
    assert "the state is saved, and the next run continues from it" in printed
    (saved,) = (tmp_path / f"results/checkpoints/small/train/{CELL}/0").iterdir()
    assert saved.name == "seeds-0+1.safetensors"
    assert 0 < json.loads(load_tensors(saved)[1]["state"])["step"] < 100 * 90
    succeed(tmp_path, config, WEIGHTS)
    undisturbed = trained(load(config).studies["small"].cells[CELL].recipe, digits, (0, 1))
    for seed in (0, 1):
        weights = load_weights(tmp_path / WEIGHTS, seed)
        assert all(value.equal(undisturbed.snapshots[seed]["final"][name]) for name, value in weights.items())


@pytest.mark.exhaustive
def test_training_killed_many_times_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    randomness, config = random.Random(0), study(200, 0.03, snapshots=(3,))
    disturbances = [(randomness.choice(BOTH), randomness.uniform(0.0, 1.0)) for _ in range(25)]
    job, tables = target("train", "train.py"), ("networks", "history")
    assert disturb_again_and_again(tmp_path / "disturbed", config, job, disturbances, *tables) > 10
    undisturbed = assert_ends_as_if_undisturbed(tmp_path / "disturbed", config, *tables)
    weights, others = (load_tensors(folder / WEIGHTS)[0] for folder in (undisturbed, tmp_path / "disturbed"))
    assert weights.keys() == others.keys()
    assert all(value.equal(others[name]) for name, value in weights.items())


@pytest.mark.exhaustive
def test_connecting_killed_while_it_fits_or_measures_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    options = {"kinds": ["linear-aligned", "bezier"], "line_points": 13, "curve_points": 13, "curve": {"epochs": 20}}
    options |= {"alignment": {"restarts": 2}, "sharpness": {"points": 3, "images": 300}, "planes": {"points": 5}}
    config, randomness = study(2, 0.03, seeds=3, connect=options), random.Random(3)
    disturbances = [(number, randomness.uniform(0.3, 1.5)) for number in (*BOTH, signal.SIGTERM)]
    job, tables = target("connect", "connect.py"), ("connections", "paths", "planes")
    assert disturb_again_and_again(tmp_path / "disturbed", config, job, disturbances, *tables) > 0
    assert_ends_as_if_undisturbed(tmp_path / "disturbed", config, *tables)


@pytest.mark.exhaustive
def test_the_search_for_tickets_killed_at_several_levels_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    options: dict[str, Any] = {"kept_fractions": [0.5, 0.2, 0.1], "rewind_step": 10, "line_points": 5}
    options |= {"curvature": {"images": 50}, "robustness": {"corruptions": ["contrast"], "severities": [1, 5]}}
    config, job = study(4, 0.2, seeds=3, tickets=options), target("tickets", "find_tickets.py", "level 1 of 3")
    disturbances = [(signal.SIGTERM, 0.0), (signal.SIGKILL, 0.1)]
    tables = ("tickets", "ticket_layers")
    assert disturb_again_and_again(tmp_path / "disturbed", config, job, disturbances, *tables) == 2
    kept = tmp_path / f"disturbed/results/checkpoints/small/tickets/{CELL}/0"
    assert len(pd.read_parquet(kept / "level-001/tickets.parquet")) == 3 * 5, "what is done can be looked at"
    assert_ends_as_if_undisturbed(tmp_path / "disturbed", config, *tables)
