"""A job that is terminated saves its state first. Kills at random moments are in test_faults.py."""

import json
import signal
from pathlib import Path

import pytest
from helpers import trained
from killing import Target, disturb
from running import small_study, succeed

from isthmus.core.tensors import load_tensors
from isthmus.data.dataset import Dataset
from isthmus.study.config import load
from isthmus.training.weights import load_weights

CELL = "width=24+depth=2+batch_size=16"
WEIGHTS = f"results/small/train/{CELL}/0.safetensors"
EPOCHS = 50  # of 90 steps, which take longer than the 0.3 seconds until the signal
JOB = Target(f"results/logs/train/small/{CELL}/0.log", "parameters", "train.py")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the job to end in /proc, on Linux")
def test_a_terminated_job_saves_first_and_goes_on_bit_for_bit(tmp_path: Path, digits: Dataset) -> None:
    study = small_study(width=[24], depth=[2], batch_size=[16]) | {"training": {"epochs": EPOCHS}}
    # So long between checkpoints that nothing but the signal makes it save.
    config = {"studies": {"small": study}, "jobs": {"seeds": 3, "checkpoint_seconds": 3600}}
    status, printed = disturb(tmp_path, config, JOB, signal.SIGTERM, 0.3, WEIGHTS)
    assert status != 0
    assert "the state is saved, and the next run continues from it" in printed
    (saved,) = (tmp_path / f"results/checkpoints/small/train/{CELL}/0").iterdir()
    assert saved.name == "seeds-0+1.safetensors"
    assert 0 < json.loads(load_tensors(saved)[1]["state"])["step"] < EPOCHS * 90
    succeed(tmp_path, config, WEIGHTS)
    undisturbed = trained(load(config).studies["small"].cells[CELL].recipe, digits, (0, 1))
    for seed in (0, 1):
        weights = load_weights(tmp_path / WEIGHTS, seed)
        assert all(value.equal(undisturbed.snapshots[seed]["final"][name]) for name, value in weights.items())
