"""Kills jobs of a running workflow, at moments of the tests' choosing."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from running import command


@dataclass(frozen=True)
class Target:
    """A job to disturb: its log, the words in it that show that work has begun, and the name of its script."""

    log: str
    sign_of_life: str
    script: str

    def processes(self, folder: Path) -> list[int]:
        """Process numbers of the script's jobs that run in `folder`."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                here = (entry / "cwd").resolve() == folder.resolve()
            except OSError:  # the process ended while we looked
                continue
            named = any(word.endswith(f".{self.script}".encode()) for word in words)
            if here and named and not words[0].endswith(b"sh"):
                found.append(int(entry.name))
        return found


def disturb(
    folder: Path, config: dict[str, Any], job: Target, number: int, patience: float, *wanted: str
) -> tuple[int, str]:
    """Run the workflow as far as `wanted`; send a job the signal `number`, `patience` seconds after its sign of life.

    Returns the exit status of the workflow and what it printed.
    """
    log = folder / job.log
    log.unlink(missing_ok=True)
    running = subprocess.Popen(
        command(folder, config, *wanted),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while running.poll() is None and not (log.exists() and job.sign_of_life in log.read_text()):
        time.sleep(0.01)
    time.sleep(patience)
    for process in job.processes(folder):
        try:
            os.kill(process, number)
        except ProcessLookupError:  # it finished first
            continue
    printed, _ = running.communicate(timeout=1800)
    return running.returncode, printed
