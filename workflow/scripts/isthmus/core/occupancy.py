"""Who works in a folder, so that a lock left behind by a killed Snakemake can be told from one that protects a run.

Snakemake locks a folder while it works in it; after a kill, the lock stays. The workflow notes the process that works
(`take_note`), and `occupant` says what is known about it later on.
"""

import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from isthmus.core.resume import Record, read_record, write_record

NOTE = Path(".snakemake", "at_work.json")


@dataclass(frozen=True)
class Worker:
    """A Snakemake that works in a folder. machine: its host, and where process numbers are counted; local: all jobs run
    as its own processes, not on the nodes of a cluster.
    """

    machine: str
    pid: int
    local: bool


def this_machine() -> str:
    """The host, and its own counting of processes if there are several, as in containers."""
    space = Path("/proc/self/ns/pid")
    return socket.gethostname() + (f" {space.readlink()}" if space.is_symlink() else "")


def take_note(folder: Path, local: bool) -> None:
    """Note that this process works in a folder."""
    write_record(folder / NOTE, Record(NOTE.stem, asdict(Worker(this_machine(), os.getpid(), local))))


def occupant(folder: Path) -> str:
    """Who works in a folder, or may do so, in a sentence; empty if whoever did is certainly gone.

    A Snakemake that was killed alone leaves jobs behind, which count as well.
    """
    note = read_record(folder / NOTE)
    if note is None:
        return "It is not known who locked this folder."
    worker = Worker(**note.content)
    if worker.machine != this_machine():
        return f"Process {worker.pid} on {worker.machine} works in this folder, or did: look there."
    if not worker.local:
        return "Jobs of this folder may still wait or run on a cluster: see docs/cluster.md."
    alive = [str(pid) for pid in _processes(folder, worker.pid)]
    return f"Processes {', '.join(alive)} work in this folder: wait for them, or end them." if alive else ""


def _processes(folder: Path, noted: int) -> Iterator[int]:
    """The processes of Snakemake in a folder: the one that was noted, and jobs."""
    for process in psutil.process_iter():
        try:
            ours = any("snakemake" in part for part in process.cmdline())
            if ours and (process.pid == noted or Path(process.cwd()) == folder.resolve()):
                yield process.pid
        except psutil.Error:  # it ended meanwhile, or belongs to somebody else, who cannot have written here
            continue
