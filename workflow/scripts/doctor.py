"""What this machine has, what a study would use of it, what is missing and how to get it: `make doctor`.

Plain Python without packages, so that it works where nothing is installed yet, and with an older Python, too. Ends with
1 if something is missing that every study needs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from isthmus.core.hardware import has_gpu, processor
from isthmus.core.version import VERSION

ROOT = Path(__file__).resolve().parents[2]

NEEDED_DISK = 2e9
"""Bytes: what the default study and its environments of jobs leave behind, with room to spare."""

TORCH = """
import json, torch
names = [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())]
print(json.dumps([torch.version.cuda or torch.version.hip, names]))
"""


class Report:
    """Prints what was found at once, and at the end what is missing and what is worth knowing."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.notes: list[str] = []

    def show(self, name: str, text: str) -> None:
        print(f"{name:<14}{text}", flush=True)

    def finish(self) -> None:
        for text in self.missing:
            print(f"\nMissing: {text}")
        for text in self.notes:
            print(f"\nNote: {text}")
        if not self.missing:
            print("\nNothing is missing.")


def printed(*command: str, seconds: int = 10) -> str | None:
    """What a program prints; None if there is no such program, if it fails or does not end in time."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def installed(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def look_at_versions(report: Report) -> None:
    commit = printed("git", "describe", "--always", "--dirty", "--exclude", "*")
    report.show("Isthmus", f"{VERSION}{f', commit {commit}' if commit else ''}, in {ROOT}")
    report.show("Python", f"{platform.python_version()}: {sys.executable}")
    if sys.version_info < (3, 11):  # noqa: UP036 - the reader may have an older one
        report.missing.append("Python 3.11 or newer. If it has another name: make setup PYTHON=python3.12")
    tools = (printed(name, "--version") for name in ("git", "uv", "conda", "apptainer"))
    report.show("Tools", "; ".join(text.splitlines()[0] for text in tools if text) or "none")


def look_at_machine(report: Report) -> None:
    cores = os.cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    disk = shutil.disk_usage(".")
    report.show("System", platform.platform())
    report.show("Processor", f"{processor()}; {cores} cores, {usable} of them for this process")
    report.show("Memory", memory())
    report.show("Disk", f"{disk.free / 1e9:.0f} of {disk.total / 1e9:.0f} GB free in {Path.cwd()}")
    if disk.free < NEEDED_DISK:
        report.missing.append(f"Disk space: only {disk.free / 1e9:.1f} GB are free in {Path.cwd()}.")


def memory() -> str:
    """Total and available memory, and the limit of the container, if this is one."""
    known, limit = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")
    if not known.exists():  # macOS
        total = printed("sysctl", "-n", "hw.memsize")
        return f"{int(total) / 2**30:.1f} GiB" if total else "unknown"
    kib = {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB$", known.read_text(), re.MULTILINE)}
    text = f"{kib['MemTotal'] / 2**20:.1f} GiB, {kib['MemAvailable'] / 2**20:.1f} GiB of it available"
    most = limit.read_text().strip() if limit.exists() else "max"
    return text if most == "max" else f"{text}; limited to {int(most) / 2**30:.1f} GiB"


def look_at_packages(report: Report) -> None:
    """Whether what pyproject.toml asks for is installed, and in the versions of constraints.txt."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = project.partition("\ndependencies = [\n")[2].partition("\n]\n")[0]
    wanted = re.findall(r'^ *"([\w-]+)', listed, re.MULTILINE)
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition(" ; ")[0] for line in lines}
    found = {name: version for name in wanted if (version := installed(name))}
    main = " ".join(f"{name} {found[name]}," for name in ("snakemake", "torch", "numpy") if name in found)
    report.show("Packages", f"{main} {len(found)} of {len(wanted)} are installed".lstrip())
    others = [f"{name} {version}" for name, version in found.items() if f"{name}=={version}" not in pinned]
    if others:
        report.notes.append(f"Versions that are not those of constraints.txt: {', '.join(others)}.")
    if len(found) < len(wanted):
        report.missing.append(f"Packages: {', '.join(name for name in wanted if name not in found)}. Try: make setup")


def look_at_gpu(report: Report) -> str:
    """Show what the driver and PyTorch see. Returns the device that `jobs.device: auto` takes here."""
    driver = printed("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    report.show("GPU", "; ".join((driver or "").splitlines()) or ("a driver is loaded" if has_gpu() else "none"))
    if importlib.util.find_spec("torch") is None or not has_gpu():  # importing PyTorch takes seconds
        return "cpu"
    answer = printed(sys.executable, "-c", TORCH, seconds=120)
    if answer is None:
        report.missing.append("A PyTorch that can be imported. Try: rm -r .venv && make setup")
        return "cpu"
    toolkit, names = json.loads(answer)
    report.show("PyTorch sees", f"{', '.join(names) or 'no GPU'}; it is built for {toolkit or 'CPUs only'}")
    if not names:
        report.notes.append(
            "PyTorch does not see the GPU: it is built for CPUs only (https://pytorch.org has others), the driver is "
            "older than the CUDA that it is built for, or CUDA_VISIBLE_DEVICES hides it."
        )
    return "gpu" if names else "cpu"


def look_at_slurm(report: Report) -> None:
    version = printed("sinfo", "--version")
    if version is None:
        report.show("SLURM", "none")
        return
    partitions = printed("sinfo", "--noheader", "--format", "%P %D nodes %l")
    report.show("SLURM", f"{version}; {'; '.join((partitions or 'it does not answer').splitlines())}")
    report.notes.append("To run on this cluster: edit profiles/slurm, then make figures PROFILE=profiles/slurm")
    if printed("sacct", "--noheader") is None:
        report.notes.append("SLURM has no accounting: add `slurm-status-command: squeue` to the profile.")
    if installed("snakemake-executor-plugin-slurm") is None:
        report.notes.append("Snakemake needs snakemake-executor-plugin-slurm to use it. Try: make setup")


def main() -> None:
    report = Report()
    look_at_versions(report)
    look_at_machine(report)
    look_at_packages(report)
    device = look_at_gpu(report)
    look_at_slurm(report)
    report.show("Jobs", f"on the {device.upper()}, as many at once as there are cores; `jobs` and profiles change that")
    if any(Path(".snakemake", "locks").glob("*")):
        report.notes.append("This folder is locked by Snakemake. `make figures` unlocks it if nobody works there.")
    report.finish()
    sys.exit(bool(report.missing))


if __name__ == "__main__":
    main()
