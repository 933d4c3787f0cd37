"""Runs the real workflow in a folder of a test: the repository's Snakefile, a small configuration, real jobs."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from isthmus.study.config import Configuration, load

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"
SHARED = ROOT.parent / "shared" / "data"  # real data sets, where there are any: tests that need them skip without


def small_study(**grid: Any) -> dict[str, Any]:
    """A study of the digits that trains in a second; keyword arguments replace axes of the grid."""
    return {
        "training": {"epochs": 2},
        "grid": {"width": [4, 8], "depth": [1], "batch_size": [128], "seed": 2} | grid,
    }


def configuration(**studies: Any) -> dict[str, Any]:
    """A configuration of the given studies, two seeds to a job, with nothing left to a timing."""
    return {"studies": studies, "jobs": {"seeds": 2, "layout": "contiguous"}}


def folder_with(factory: pytest.TempPathFactory, file: str) -> Path:
    """A new folder with a file of tests/support in `presets`, as a user has it beside a configuration."""
    made = factory.mktemp("own")
    (made / "presets").mkdir()
    shutil.copy(ROOT / "tests" / "support" / file, made / "presets")
    return made


def loaded_from(folder: Path | str, config: dict[str, Any]) -> Configuration:
    """The configuration, checked as if it had been read from a file in this folder."""
    file = Path(folder) / "study.yaml"
    file.write_text(yaml.safe_dump(config))
    return load(config, files=[file])


def copied(root: Path) -> Path:
    """A copy of the repository, to be edited: the workflow, and what analyses are made of and tested with."""
    for part in ("workflow", "config", "profiles", "envs", "templates", "tests"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file in ("Snakefile", "pyproject.toml"):
        shutil.copy(ROOT / file, root)
    return root


def command(folder: Path, config: dict[str, Any], *arguments: str, root: Path = ROOT) -> list[str]:
    """The command line that runs the workflow of `root` on `config` in `folder`."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--directory", str(folder)),
        *("--configfile", str(path), "--workflow-profile", str(root / "profiles" / "default")),
        *(arguments or ("all",)),
    ]


@contextmanager
def started(folder: Path, config: dict[str, Any], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The workflow at work; it is killed at the end, if it still runs, but not its jobs."""
    with (folder / "printed").open("w") as printed:
        process = subprocess.Popen(
            command(folder, config, *arguments), cwd=folder, stdout=printed, stderr=subprocess.STDOUT, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def run(folder: Path, config: dict[str, Any], *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the workflow to its end; what it printed is in `stdout`, both streams together."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root / "workflow" / "scripts")}
    return subprocess.run(
        command(folder, config, *arguments, root=root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=1800,  # the study of all analyses, on a busy machine
    )


def run_once(factory: pytest.TempPathFactory, name: str, run: Callable[[Path], object]) -> Path:
    """A folder of this name in which `run` was called, for all workers that run tests at the same time.

    The first worker to ask for it calls `run`, and the others wait.
    """
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / name, shared / f"{name}-is-finished"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir(exist_ok=True)
            run(folder)
            done.touch()
    return folder


def succeed(folder: Path, config: dict[str, Any], *arguments: str, root: Path = ROOT) -> str:
    """Run the workflow and return what it printed; AssertionError with it where the workflow failed."""
    done = run(folder, config, *arguments, root=root)
    assert done.returncode == 0, done.stdout
    return done.stdout


def planned(folder: Path, config: dict[str, Any], *arguments: str, root: Path = ROOT) -> set[str]:
    """The jobs that a dry run would start, by their messages."""
    printed = succeed(folder, config, *(arguments or ("all",)), "--dry-run", root=root)
    return set(re.findall(r"^ *Job \d+: (.*)$", printed, re.MULTILINE))


def blocks(page: str, language: str) -> list[str]:
    """The blocks of code in this language on a page of docs/."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def read(folder: Path, table: str, study: str | None = None) -> pd.DataFrame:
    """A collected table, or its rows of one study, with text in the place of categories."""
    frame = pq.read_table(folder / f"results/tables/{table}.parquet").to_pandas()
    for column in frame.columns[frame.dtypes == "category"]:
        frame[column] = frame[column].astype(str)
    return frame if study is None else frame[frame["study"] == study].reset_index(drop=True)
