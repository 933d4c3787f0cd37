"""Nothing is lost: a training job killed at any moment ends, when it is run again, like one never disturbed."""

import random
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from killing import Target, disturb
from running import configuration, succeed

from isthmus.core.tensors import load_tensors

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the jobs to kill in /proc, on Linux")
TRAINING = Target("results/logs/train/small/width=24+depth=2+batch_size=16/0.log", "parameters", "train.py")
BLOCK = Path("results/small/train/width=24+depth=2+batch_size=16")


def study(epochs: int) -> dict[str, Any]:
    """One cell of two networks, its checkpoints a few hundredths of a second apart."""
    one = {
        "training": {"epochs": epochs, "snapshots": [3]},
        "grid": {"width": [24], "depth": [2], "batch_size": [16], "seed": 2},
    }
    return configuration(small=one) | {"jobs": {"seeds": 2, "checkpoint_seconds": 0.03}}


def assert_equal_results(first: Path, second: Path) -> None:
    weights = [load_tensors(folder / BLOCK / "0.safetensors")[0] for folder in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert value.equal(weights[1][name]), name
    for table in ("networks", "history"):
        read = [pq.read_table(folder / f"results/tables/{table}.parquet") for folder in (first, second)]
        kept = [name for name in read[0].column_names if name != "seconds"]
        assert read[0].select(kept).equals(read[1].select(kept)), table


def kill_again_and_again(folder: Path, epochs: int, signals: list[int], longest: float) -> int:
    """Disturb one run by all of `signals`, let it finish, compare it; return how often a checkpoint was resumed."""
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    undisturbed.mkdir()
    disturbed.mkdir()
    config = study(epochs)
    succeed(undisturbed, config, "tables")
    randomness, resumed = random.Random(epochs), 0
    work = disturbed / "results/checkpoints/small/train/width=24+depth=2+batch_size=16/0"
    for number in signals:
        status, printed = disturb(disturbed, config, TRAINING, number, randomness.uniform(0.0, longest))
        if status == 0:
            break
        assert "Traceback" not in printed or number == signal.SIGKILL, printed
        resumed += any(work.glob("*.safetensors*"))
    succeed(disturbed, config, "tables")
    assert_equal_results(undisturbed, disturbed)
    return resumed


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_killed_at_random_moments_ends_bit_for_bit_the_same(tmp_path: Path, number: int) -> None:
    assert kill_again_and_again(tmp_path, 40, [number] * 3, 0.8) > 0


@pytest.mark.slow
def test_a_job_killed_many_times_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    randomness = random.Random(0)
    signals = [randomness.choice([signal.SIGKILL, signal.SIGTERM]) for _ in range(25)]
    assert kill_again_and_again(tmp_path, 200, signals, 1.0) > 10


def test_a_terminated_job_saves_first_and_says_so(tmp_path: Path) -> None:
    config = study(400) | {"jobs": {"seeds": 2, "checkpoint_seconds": 3600}}
    status, printed = disturb(tmp_path, config, TRAINING, signal.SIGTERM, 0.3)
    assert status != 0
    assert "the state is saved, and the next run continues from it" in printed
    work = tmp_path / "results/checkpoints/small/train/width=24+depth=2+batch_size=16/0"
    assert [path.name for path in work.iterdir()] == ["seeds-0+1.safetensors"]
