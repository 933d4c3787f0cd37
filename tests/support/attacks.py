"""Attacks on a small study of everything: kills at random moments, disks that fill up, folders to be read only.

Each attack ends in one of three ways: survived (the results are those of an undisturbed run), refused (a sentence says
what is wrong and what to do), or wrong. `Tally` counts them.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import yaml
from running import ROOT, SCRIPTS

from isthmus.core.files import sha256_of
from isthmus.tables.parquet import read_table

CELL = "width=4+depth=1+batch_size=32"
CONFIG: dict[str, Any] = {
    "studies": {
        "small": {
            "training": {"epochs": 40, "snapshots": [20]},
            "grid": {"width": [4], "depth": [1], "batch_size": [32], "seed": 2},
            "analyses": {
                "connect": {
                    "kinds": ["linear-aligned", "bezier"],
                    "line_points": 5,
                    "curve_points": 5,
                    "curve": {"epochs": 10},
                    "alignment": {"restarts": 2},
                    "sharpness": {"points": 2, "images": 60, "trace_precision": None},
                    "planes": {"points": 3},
                },
                "curvature": {
                    "images": 100,
                    "eigenvalues": 1,
                    "gauss_newton_eigenvalues": 0,
                    "trace_precision": None,
                    "dense_limit": 0,
                    "spectrum": {"probes": 1, "steps": 10, "points": 10},
                    "noise": {"sigmas": [0.01], "relative_sigmas": [], "radii": [0.05], "adaptive_radii": []},
                },
                "movement": {"kernel_images": 20},
                "tickets": {
                    "kept_fractions": [0.5, 0.2],
                    "rewind_step": 10,
                    "kept_controls": ["random"],
                    "line_points": 3,
                    "curvature": {"images": 40},
                    "robustness": {"corruptions": ["contrast"]},
                },
                "robustness": {"corruptions": ["contrast"], "severities": [1]},
                "layerwise": {"points": 3, "evaluation_examples": 60},
                "gradient_noise": {"images": 60, "alignment_images": 10},
                "fragility": {"images": 60, "draws": 2, "test_size": 60, "robustness": {"corruptions": ["contrast"]}},
                "further_training": {"corruption": "contrast", "epochs": 2},
                "stability": {"steps": [0, 10], "line_points": 3, "evaluation_examples": 60},
                "local_learning_coefficient": {"chains": 2, "burn_in": 10, "draws": 10, "images": 60},
                "manifold": {
                    "sweeps": {"tiny": {"width": [3], "points": [4, 6], "seeds": 2}},
                    "off_data_points": 500,
                },
                "relations": {},
            },
        }
    },
    # More seeds and pairs to a job than there are: blocks that may still grow keep their checkpoints.
    "jobs": {"seeds": 3, "pairs": 3, "checkpoint_seconds": 0.05},
}
TARGETS = [
    "results/figures/claims.pdf",
    "results/small/relations/all/0.effects.parquet",
    "results/small/train/summaries.parquet",
]
"""Every stage once, with its tables; one figure and one file of summaries."""

NOT_RESULTS = {"logs", "benchmarks", "checkpoints", "models"}
KILLS = (
    "SIGKILL to Snakemake and its jobs",
    "SIGKILL to Snakemake alone",
    "SIGKILL to a job",
    "SIGTERM to a job",
)
STAGES = ("train", *(name for name in CONFIG["studies"]["small"]["analyses"] if name != "relations"))
OUTCOMES = ("tried", "survived", "refused", "wrong")


@dataclass
class Tally:
    """How attacks of each kind ended."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, attack: str, outcome: str, times: int = 1) -> None:
        """Count attacks that ended in the same way."""
        self.counts.setdefault(attack, Counter()).update({"tried": times, outcome: times})

    def table(self) -> str:
        """A row for each kind of attack, in Markdown."""
        head = ["| attack | " + " | ".join(OUTCOMES) + " |", "| --- |" + " --- |" * len(OUTCOMES)]
        rows = [
            f"| {attack} | " + " | ".join(f"{counted[outcome]:,}" for outcome in OUTCOMES) + " |"
            for attack, counted in self.counts.items()
        ]
        return "\n".join(head + rows)


def results(folder: Path) -> dict[str, str]:
    """A digest of every result in a folder; columns of tables that hold wall times are left out."""
    root = folder / "results"
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    named = {path.relative_to(root): path for path in files}
    return {str(name): _digest(path) for name, path in named.items() if name.parts[0] not in NOT_RESULTS}


def _digest(path: Path) -> str:
    if path.suffix != ".parquet":
        return sha256_of(path.read_bytes())
    table = read_table(path)
    table = table.drop_columns([name for name in table.column_names if name.startswith("seconds")])
    table = table.replace_schema_metadata()  # they hold the checksum, which covers wall times
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return sha256_of(stream.getvalue())


def differences(folder: Path, undisturbed: dict[str, str]) -> list[str]:
    """The results that are not those of an undisturbed run, or are missing."""
    found = results(folder)
    return [name for name, digest in undisturbed.items() if found.get(name) != digest]


@contextmanager
def at_work(folder: Path, *arguments: str, device: str = "cpu") -> Iterator[subprocess.Popen[str]]:
    """The workflow at work on the small study, in a process group of its own, unlocked first as `make` does it.

    What it prints is in the file `printed(folder)`. If it is still at work at the end, it is killed with its jobs.
    """
    config = folder.with_name(folder.name + ".yaml")
    config.write_text(yaml.safe_dump({**CONFIG, "jobs": CONFIG["jobs"] | {"device": device}}))
    options = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(config)]
    options += ["--workflow-profile", str(ROOT / "profiles" / "default")]
    unlock(folder, options)
    with printed(folder).open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *options, *(arguments or TARGETS)],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                kill_group(process)


def unlock(folder: Path, options: list[str]) -> None:
    """Unlock a folder as `make` does it, and do what it says where it refuses to."""
    while True:
        command = [sys.executable, str(SCRIPTS / "unlock.py"), *options]
        refused = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if refused.returncode == 0:
            return
        if "wait for them" not in refused.stderr:
            assert "To unlock it by hand: snakemake --unlock" in refused.stderr, refused.stderr
            by_hand = [sys.executable, "-m", "snakemake", *options, "--unlock"]
            subprocess.run(by_hand, cwd=folder, check=True, capture_output=True)
        time.sleep(0.5)


def printed(folder: Path) -> Path:
    """What the last run in a folder printed."""
    return folder.with_name(folder.name + ".printed")


def refusal(folder: Path, *arguments: str, sentence: str, device: str = "cpu") -> str:
    """Run the workflow, which is expected to fail; "refused" if it says this sentence and shows no traceback."""
    with at_work(folder, *arguments, device=device) as snakemake:
        status = snakemake.wait(timeout=1800)
    return judged(folder, status, sentence)


def judged(folder: Path, status: int, sentence: str) -> str:
    """How a run ended that printed this: survived, refused with a sentence, or wrong."""
    said = printed(folder).read_text()
    if status == 0:
        return "survived"
    return "refused" if re.search(sentence, said) and "Traceback" not in said else "wrong"


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill Snakemake with all its jobs, at once."""
    with suppress(ProcessLookupError):  # all of them ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _jobs(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The jobs that a Snakemake runs: scripts, not the shells around them."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if any(".snakemake/scripts/" in word for word in child.cmdline()[:2])]
    except psutil.Error:  # some process ended while we looked
        return []


def undone(finished: Path, folder: Path, stage: str) -> Path:
    """A copy of a finished study without what a stage made, checkpoints included, and without what follows from it."""
    shutil.copytree(finished, folder)
    # Snakemake does not miss a file as long as all that it leads to is there.
    for part in (f"small/{stage}", f"checkpoints/small/{stage}", "small/relations", "tables", "figures"):
        shutil.rmtree(folder / "results" / part, ignore_errors=True)
    return folder


@dataclass
class Killer:
    """Kills what works on the study, at moments drawn from `random`, on average `pause` seconds after each other."""

    random: random.Random
    pause: float

    def run(self, folder: Path, most: int) -> Counter[str]:
        """Run the study to its end, with at most so many kills on the way; return how many of each kind there were.

        Raises AssertionError, with what was printed, if a run ends with an error although none of its jobs was killed.
        """
        kills: Counter[str] = Counter()
        while True:
            with at_work(folder) as snakemake:
                before = kills.total()
                while kills.total() < most and self._waits(snakemake):
                    kills.update(self._strike(snakemake))
                if snakemake.wait(timeout=1800) == 0:
                    return kills
                assert kills.total() > before, printed(folder).read_text()

    def _waits(self, snakemake: subprocess.Popen[str]) -> bool:
        """Wait until a job runs, and then for the next moment; False if Snakemake ends first."""
        while snakemake.poll() is None and not _jobs(snakemake):
            time.sleep(0.05)
        try:
            snakemake.wait(timeout=self.random.expovariate(1 / self.pause))
        except subprocess.TimeoutExpired:
            return True
        return False

    def _strike(self, snakemake: subprocess.Popen[str]) -> list[str]:
        """Kill somebody, if there is anybody to kill; return what that was."""
        kind = self.random.choice(KILLS)
        if kind == "SIGKILL to Snakemake and its jobs":
            kill_group(snakemake)
        elif kind == "SIGKILL to Snakemake alone":
            snakemake.kill()
            snakemake.wait()
        else:
            jobs = _jobs(snakemake)
            if not jobs:
                return []
            try:
                self.random.choice(jobs).send_signal(signal.SIGTERM if "SIGTERM" in kind else signal.SIGKILL)
            except psutil.NoSuchProcess:
                return []
        return [kind]
