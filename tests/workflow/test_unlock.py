"""A folder that a killed Snakemake left locked is unlocked by `make`; one in which somebody works is not."""

import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from running import ROOT, configuration, small_study, started, succeed

from isthmus.core.occupancy import NOTE, occupant
from isthmus.core.resume import Record, read_record, write_record

CONFIG = configuration(small=small_study(width=[4], seed=1) | {"training": {"epochs": 100_000}})


def unlock(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "workflow" / "scripts" / "unlock.py", "--snakefile", ROOT / "Snakefile"]
    return subprocess.run([*command, "--configfile", "config.yaml"], cwd=folder, text=True, capture_output=True)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose Snakemake was killed while a job was running; the job is alive until the first test ends it."""
    folder = tmp_path_factory.mktemp("killed")
    with started(folder, CONFIG, "tables") as snakemake:
        training = folder / "results" / "logs" / "train"
        while not training.exists() or f"Processes {snakemake.pid}, " not in occupant(folder):  # with a job
            assert snakemake.poll() is None
            time.sleep(0.1)
        refused = unlock(folder)
        assert refused.returncode != 0
        assert f"This folder is locked. Processes {snakemake.pid}, " in refused.stderr
        snakemake.kill()
    return folder


def test_a_job_that_outlives_its_snakemake_keeps_the_lock(killed: Path) -> None:
    reason = occupant(killed)
    assert reason.startswith("Processes ")
    assert reason in unlock(killed).stderr
    jobs = [psutil.Process(int(each)) for each in re.findall(r"\d+", reason)]
    for job in jobs:
        job.kill()
    psutil.wait_procs(jobs, timeout=10)
    assert occupant(killed) == ""


def test_what_may_be_at_work_elsewhere_keeps_the_lock(killed: Path) -> None:
    note = killed / NOTE
    kept = read_record(note)
    assert kept is not None
    for other, reason in (
        ({"machine": "node7"}, f"Process {kept.content['pid']} on node7 works in this folder, or did: look there."),
        ({"local": False}, "Jobs of this folder may still wait or run on a cluster: see docs/cluster.md."),
    ):
        write_record(note, Record(kept.fingerprint, kept.content | other))
        assert reason in unlock(killed).stderr
    note.write_text("damaged")
    assert "It is not known who locked this folder." in unlock(killed).stderr
    write_record(note, kept)


def test_the_lock_of_whoever_is_gone_is_taken_away(killed: Path) -> None:
    assert list(killed.glob(".snakemake/locks/*"))
    done = unlock(killed)
    assert done.returncode == 0, done.stderr
    assert "Unlocking this folder" in done.stdout
    assert not list(killed.glob(".snakemake/locks/*"))
    assert unlock(killed).stdout == ""
    succeed(killed, CONFIG, "results/data/digits.safetensors")
