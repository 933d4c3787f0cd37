"""A study on a real SLURM of one node, with all that goes wrong on clusters: nothing is lost, no number changes."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from killing import Target
from running import ROOT, command
from slurm_cluster import Cluster, until, why_not

from isthmus.core.devices import Settings
from isthmus.core.tensors import load_tensors
from isthmus.data.dataset import Dataset
from isthmus.study.config import load
from isthmus.training.trainer import new_state, train

pytestmark = pytest.mark.slurm
PROFILES = ("profiles/slurm/config.yaml", "tests/support/slurm_site.yaml")
CELL, SMALL_CELL = "width=24+depth=2+batch_size=16", "width=4+depth=1+batch_size=50"
SMALL = {
    "data": {"train_size": 300},
    "training": {"epochs": 3},
    "grid": {"width": [4], "depth": [1], "batch_size": [50], "seed": 2},
    "analyses": {
        "connect": {"kinds": ["linear", "bezier"], "curve": {"epochs": 2}, "sharpness": {"points": 1}},
        "curvature": {"images": 100},
        "movement": {"kernel_images": 20},
        "tickets": {"kept_fractions": [0.5, 0.2], "curvature": {"images": 50}},
        "robustness": {"corruptions": ["gaussian_noise"]},
        "manifold": {"sweeps": {"edge": {"width": [3, 4], "points": [8], "seeds": 1}}},
    },
}
# One file of every analysis, and the figures of both studies.
ANALYSES = {
    "connect": "connections",
    "curvature": "curvature",
    "movement": "movement",
    "tickets": "tickets",
    "robustness": "robustness",
}
MEASURED = [f"results/small/{stage}/{SMALL_CELL}/0.{table}.parquet" for stage, table in ANALYSES.items()]
MEASURED += ["results/small/manifold/edge/0.manifold.parquet", f"results/long/train/{CELL}/0.networks.parquet"]
DRAWN = ["results/figures/small/learning-curves.pdf", "results/figures/long/learning-curves.pdf"]
CONNECT, CURVATURE, TICKETS, TRAIN = (
    Target("", "", script) for script in ("connect.py", "measure_curvature.py", "find_tickets.py", "train.py")
)


def study(epochs: int) -> dict[str, Any]:
    long = {"training": {"epochs": epochs}, "grid": {"width": [24], "depth": [2], "batch_size": [16], "seed": 2}}
    gpu = {"gpu": 1, "gpu_resources": {"slurm_partition": "gpu", "gpu_model": "pretend"}, "device": "cpu"}
    jobs = gpu | {"seeds": 2, "checkpoint_seconds": 3600}  # so that only signals make it save
    return {"studies": {"small": SMALL, "long": long}, "jobs": jobs}


def epochs_for(seconds: float, digits: Dataset) -> int:
    """How many epochs of the long training take so many seconds here, at the speed of the fastest of some short runs:
    other processes may slow the others down now, and not later."""
    recipe, settings = load(study(4)).studies["long"].cells[CELL].recipe, Settings(torch.device("cpu"))
    taken = []
    for _ in range(5):
        started = time.monotonic()
        train(recipe, new_state(recipe, digits, (0, 1)), digits, settings, lambda _: None, lambda: None)
        taken.append(time.monotonic() - started)
    return round(4 * seconds / min(taken))


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    both = {key: merged(first[key], second[key]) for key in first if isinstance(second.get(key), dict)}
    return first | second | both


class Run:
    """A Snakemake that runs the study on the cluster as far as `targets`, and the means to disturb it."""

    def __init__(self, cluster: Cluster, folder: Path, config: dict[str, Any], *targets: str) -> None:
        self.cluster, self.folder = cluster, folder
        profile = folder / "profile"
        profile.mkdir(exist_ok=True)
        parts = [yaml.safe_load((ROOT / name).read_text()) for name in PROFILES]
        (profile / "config.yaml").write_text(yaml.safe_dump(merged(*parts)))
        self.command = command(folder, config, *targets)
        self.command[self.command.index("--workflow-profile") + 1] = str(profile)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (self.folder / "snakemake.log").open("a") as log:
            self.snakemake = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)

    def end(self) -> None:
        self.snakemake.kill()
        self.snakemake.wait()

    def finish(self, seconds: float) -> None:
        """Wait until the whole run has succeeded; AssertionError with what it printed if it does not."""
        try:
            assert self.snakemake.wait(timeout=seconds) == 0, self.printed()
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"Not within {seconds:g} s:\n{self.printed()}") from error

    def printed(self) -> str:
        return (self.folder / "snakemake.log").read_text()

    def jobs(self, rule: str) -> list[str]:
        """The numbers of a rule's running jobs, by the comment that the plugin gives them."""
        lines = (self.cluster.ask("squeue", "-h", "-t", "R", "-o", "%i %k") or "").splitlines()
        return [line.split()[0] for line in lines if line.split()[1].startswith(f"rule_{rule}")]

    def process(self, target: Target) -> int:
        """The number of the process of a script's job, once there is one."""
        found: list[int] = []

        def there() -> bool:
            assert self.snakemake.poll() is None, self.printed()
            found[:] = target.processes(self.folder)
            return bool(found)

        until(f"a job runs {target.script}", 240, there)
        return found[0]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("snakemake_executor_plugin_slurm")
    if reason := why_not():
        pytest.skip(reason)
    running = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


def assert_equal_tables(first: Path, second: Path) -> None:
    names = {path.relative_to(first) for path in (first / "results").glob("*/*/*/0.*.parquet")}
    assert {Path(name) for name in MEASURED} < names
    for name in names:
        read = [pq.read_table(folder / name) for folder in (first, second)]
        kept = [column for column in read[0].column_names if not column.startswith("seconds")]
        assert read[0].num_rows > 0 or str(name) not in MEASURED  # others may have nothing to hold
        assert read[0].select(kept).equals(read[1].select(kept)), name


def test_a_study_survives_all_that_a_cluster_does_to_it(
    cluster: Cluster, digits: Dataset, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    config = study(epochs_for(60, digits))
    trained = [f"results/{name}/train/{cell}/0.safetensors" for name, cell in (("long", CELL), ("small", SMALL_CELL))]
    first = Run(cluster, there, config, *trained)
    request.addfinalizer(first.end)

    # The job of the long training gets a GPU, and then SLURM's shortest time limit: it saves, and is tried again.
    log = there / f"results/logs/train/long/{CELL}/0.log"
    until("the long training has begun", 240, lambda: log.exists() and "stacks" in log.read_text())
    (long,) = first.jobs("train_wildcards_long")
    asked = cluster.ask("scontrol", "show", "job", long) or ""
    assert "gpu:pretend:1" in asked
    assert "Partition=gpu" in asked
    seen = Path(f"/proc/{first.process(TRAIN)}/environ").read_bytes().split(b"\0")
    assert {b"CUDA_VISIBLE_DEVICES=0", b"CUDA_VISIBLE_DEVICES=1"} & set(seen)
    cluster.ask("scontrol", "update", f"JobId={long}", "TimeLimit=1")

    def goes_on() -> bool:
        assert first.snakemake.poll() is None, first.printed()
        said = log.read_text() if log.exists() else ""
        return "saved" in first.printed() and "stacks" in said and "saved" not in said

    until("the long training goes on from its checkpoint", 300, goes_on)
    assert first.printed().count("Trying to restart") == 1
    (checkpoint,) = (there / f"results/checkpoints/long/train/{CELL}/0").glob("seeds-*.safetensors")
    assert json.loads(load_tensors(checkpoint)[1]["state"])["step"] > 0

    # Snakemake dies, as docs/cluster.md describes.
    first.end()
    left = (cluster.ask("squeue", "-h", "-o", "%i %j") or "").splitlines()
    cluster.ask("scancel", *(line.split()[0] for line in left if line.split()[1].startswith("isthmus_")))
    until("they have ended", 120, lambda: not (cluster.ask("squeue", "-h") or "").strip())
    subprocess.run([*first.command, "--unlock"], check=True, capture_output=True)
    second = Run(cluster, there, config, *MEASURED, *DRAWN)
    request.addfinalizer(second.end)

    # One job fails, one is cancelled, one is taken off its node and queued again, as the preempted are; all this in
    # whatever order they come.
    def fail() -> None:
        os.kill(CURVATURE.processes(there)[0], signal.SIGKILL)

    def cancel() -> None:
        cluster.ask("scancel", *second.jobs("find_tickets"))

    def requeue() -> None:
        (job,) = second.jobs("connect")
        cluster.ask("scontrol", "requeue", job)
        time.sleep(2)
        # SLURM lets the requeued wait for two minutes
        cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
        assert "Restarts=1" in (cluster.ask("scontrol", "show", "job", job) or "")

    disturbances = {CURVATURE: fail, TICKETS: cancel, CONNECT: requeue}

    def all_done() -> bool:
        assert second.snakemake.poll() is None, second.printed()
        for target in [target for target in disturbances if target.processes(there)]:
            disturbances.pop(target)()
        return not disturbances

    until("all has gone wrong that was to go wrong", 400, all_done)
    local = subprocess.run(
        [*command(here, config | {"jobs": config["jobs"] | {"gpu": 0}}, *MEASURED, "--cores", "2")],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert local.returncode == 0, local.stderr
    second.finish(600)
    assert second.printed().count("Trying to restart") == 1 + 2  # `printed` has the first Snakemake's words, too
    assert_equal_tables(here, there)
    drawing = [path.name for path in (there / "results/logs/slurm").glob("group_figures*/**/*.log")]
    assert len(drawing) == 1  # one job for the figures of both studies
