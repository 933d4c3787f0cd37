"""A signal in the middle of a long job ends it within seconds, in training and in every analysis."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from killing import Target
from running import run_once, small_study, started, succeed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the jobs to end in /proc, on Linux"),
]
# A product of its Hessian or one point of a path takes a part of a second; each job goes on for minutes.
CELL = "width=1000+depth=4+batch_size=128"
HEARD = 15.0  # seconds, on a busy machine; between two pieces of work are at most two on an idle one
LONG: dict[str, tuple[str, dict[str, Any]]] = {
    "train": ("train.py", {}),
    "connect": ("connect.py", {"kinds": ["linear"], "planes": {"points": 301}, "line_points": 3}),
    "curvature": ("measure_curvature.py", {"images": 1437, "eigenvalues": 60, "tolerance": 1e-9}),
    "movement": ("measure_movement.py", {"kernel_images": 1437}),
    "tickets": ("find_tickets.py", {"kept_fractions": [0.5], "line_points": 1001}),
    "robustness": ("measure_robustness.py", {"severities": [1, 2, 3, 4, 5]}),
    "manifold": ("measure_manifold.py", {"sweeps": {"long": {"width": [400], "points": [2000], "seeds": 1}}}),
}


def configuration(analyses: dict[str, Any], epochs: int = 1) -> dict[str, Any]:
    study = small_study(width=[1000], depth=[4]) | {"training": {"epochs": epochs}, "analyses": analyses}
    return {"studies": {"long": study}, "jobs": {"seeds": 2, "checkpoint_seconds": 3600}}


@pytest.fixture
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trained networks that the analyses take."""
    wanted = f"results/long/train/{CELL}/0.safetensors"
    return run_once(tmp_path_factory, "signals", lambda folder: succeed(folder, configuration({}), wanted))


OFTEN = ("connect",)  # the others take the same way


@pytest.mark.parametrize(
    "stage", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.exhaustive) for name in LONG]
)
def test_a_signal_is_heard_in_the_middle_of_a_job(stage: str, trained: Path, tmp_path: Path) -> None:
    script, options = LONG[stage]
    folder = tmp_path if stage == "train" else shutil.copytree(trained, tmp_path / "trained")
    config = configuration({} if stage == "train" else {stage: options}, epochs=100_000 if stage == "train" else 1)
    place = "long/long" if stage == "manifold" else f"long/{CELL}"
    job = Target(f"results/logs/{stage}/{place}/0.log", "", script)
    table = {"train": "networks", "connect": "planes"}.get(stage, stage)
    with started(folder, config, f"results/tables/{table}.parquet") as snakemake:
        while not ((folder / job.log).exists() and (folder / job.log).read_text()):
            assert snakemake.poll() is None, (folder / "printed").read_text()
            time.sleep(0.05)
        time.sleep(3 if stage == "train" else 0.5)  # training goes on; an analysis may take only a second
        (pid,) = job.processes(folder)
        process, begun = psutil.Process(pid), time.monotonic()
        os.kill(pid, signal.SIGTERM)
        _, alive = psutil.wait_procs([process], timeout=60)
        heard = time.monotonic() - begun
        for each in alive:
            each.kill()
        snakemake.wait(60)
    assert f"stopped by signal {signal.SIGTERM}" in (folder / job.log).read_text()
    assert heard < HEARD
