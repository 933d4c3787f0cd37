"""Run this repository's workflow in a folder for a limited time; what is stopped saves and goes on the next time."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_check.case import Options, Skipped, Unfinished
from gpu_check.needs import ROOT

SAVING = 20.0  # seconds before the end at which jobs are told to save and stop
Configuration = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """seconds: of wall-clock time. jobs: how many of how many were done, as Snakemake counts them."""

    seconds: float
    jobs: str
    printed: str


def on_device(options: Options, config: Configuration, **jobs: Any) -> Configuration:
    """The configuration with jobs on the device, each of which asks for a GPU."""
    given = {"gpu": 1, "device": options.device, "checkpoint_seconds": 10}
    return config | {"jobs": config.get("jobs", {}) | given | jobs}


def snakemake(
    folder: Path, config: Configuration, seconds: float, sharing: int, *targets: str, profile: str = "default"
) -> Run:
    """Run the workflow; `sharing` jobs at once have the GPU.

    Raises Unfinished if it took too long, RuntimeError if it failed, and Skipped if there is no Snakemake.
    """
    try:
        import snakemake as _  # noqa: F401
    except ModuleNotFoundError as missing:
        raise Skipped("snakemake is not installed") from missing
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)),
        *("--configfile", str(folder / "config.yaml"), "--workflow-profile", str(ROOT / "profiles" / profile)),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow" / "scripts"), "OMP_NUM_THREADS": "1"}
    if any((folder / ".snakemake" / "locks").glob("*")):  # of a call that was killed
        subprocess.run([*command, "--unlock"], cwd=folder, env=environment, capture_output=True, check=True)
    if profile == "default":
        command += ["--cores", str(max(sharing, 1)), "--resources", f"gpu={sharing}"]
    else:  # the profile asks for jobs twice a minute at most, too seldom for jobs of seconds
        command += ["--seconds-between-status-checks", "3", "--slurm-init-seconds-before-status-checks", "3"]
    began, log = time.monotonic(), folder / "printed.log"
    with log.open("w", encoding="utf-8") as printed:
        # A process group of its own, so that its jobs hear the signal as well.
        process = subprocess.Popen(
            [*command, "--", *targets],
            cwd=folder,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(max(seconds - SAVING, 1))
        except subprocess.TimeoutExpired:
            _stop(process)
        except BaseException:
            _stop(process)
            raise
    text = log.read_text(encoding="utf-8")
    run = Run(time.monotonic() - began, _done(text), text)
    if process.returncode == 0:
        return run
    if run.seconds >= seconds - SAVING:
        raise Unfinished("out of time", {"jobs": run.jobs})
    raise RuntimeError("\n".join(text.splitlines()[-15:]))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Tell the workflow and its jobs to save and stop, and end them if they do not."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(SAVING)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _done(printed: str) -> str:
    """The last of Snakemake's lines `3 of 7 steps (43%) done`."""
    found = re.findall(r"(\d+ of \d+) steps", printed)
    return found[-1] if found else "none"
