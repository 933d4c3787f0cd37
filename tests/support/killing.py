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


def disturb(folder: Path, config: dict[str, Any], target: Target, number: int, patience: float) -> tuple[int, str]:
    """Run the workflow and send its job the signal `number` some time after its first sign of life."""
    log = folder / target.log
    log.unlink(missing_ok=True)
    running = subprocess.Popen(
        command(folder, config, "tables"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while running.poll() is None and not (log.exists() and target.sign_of_life in log.read_text()):
        time.sleep(0.01)
    time.sleep(patience)
    for process in target.processes(folder):
        try:
            os.kill(process, number)
        except ProcessLookupError:  # it finished first
            continue
    printed, _ = running.communicate(timeout=300)
    return running.returncode, printed
