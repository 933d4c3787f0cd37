"""A small study through Snakemake: jobs that ask for the GPU, one at a time and several at once, and on SLURM."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from gpu_check.case import Case, Measured, Options, Skipped
from gpu_check.snakemake_runs import Configuration, on_device, snakemake

SHARING = 3
TARGETS = ("results/tables/networks.parquet", "results/tables/connections.parquet", "results/tables/curvature.parquet")
SAME = 1e-2  # how far losses after few steps may be from those of the CPU, relative


def cases(options: Options) -> list[Case]:
    """The study with its jobs one by one, sharing the device, and submitted to SLURM."""

    def local(sharing: int, seconds: float) -> Measured:
        folder = options.folder / f"sharing-{sharing}"
        run = snakemake(folder, on_device(options, study(options)), seconds, sharing, *TARGETS)
        return {"jobs": run.jobs, "at_once": sharing, "workflow_s": run.seconds}

    return [
        Case("one job at a time", lambda seconds: local(1, seconds)),
        Case(f"{SHARING} jobs share the device", lambda seconds: local(SHARING, seconds)),
        Case("as on the CPU", lambda seconds: compared(options, seconds)),
        Case("SLURM", lambda seconds: slurm(options, seconds)),
    ]


def study(options: Options) -> Configuration:
    """Networks, paths and curvature of digits: some ten jobs, most of whose seconds go into starting Python."""
    widths = [4] if options.smallest else [8, 32]
    analyses: dict[str, Any] = {
        "connect": {"kinds": ["linear", "bezier"], "line_points": 7, "curve_points": 7, "curve": {"epochs": 1}},
        "curvature": {"images": 100},
    }
    small = {
        "training": {"epochs": 2},
        "grid": {"width": widths, "depth": [1], "batch_size": [128], "seed": 2},
        "analyses": analyses,
    }
    return {"studies": {"small": small}, "jobs": {"seeds": 2, "pairs": 2, "layout": "contiguous"}}


def compared(options: Options, seconds: float) -> Measured:
    """The largest relative difference of losses between the device and the CPU. RuntimeError if it is too large."""
    there = options.folder / "on-the-cpu"
    snakemake(there, on_device(options, study(options), device="cpu"), seconds, SHARING, TARGETS[0])
    ours, theirs = (_losses(folder) for folder in (options.folder / "sharing-1", there))
    apart = max(abs(ours[key] / theirs[key] - 1) for key in theirs)
    if apart > SAME:
        raise RuntimeError(f"losses on the device and on the CPU differ by {apart:.1%}")
    return {"networks": len(theirs), "losses_apart": apart}


def _losses(folder: Path) -> dict[tuple[str, int], float]:
    from isthmus.tables.parquet import read_table

    table = folder / TARGETS[0]
    if not table.exists():
        raise Skipped(f"{table} is missing: the case before has to run first")
    return {(row["cell"], row["seed"]): row["test_loss"] for row in read_table(table).to_pylist()}


def slurm(options: Options, seconds: float) -> Measured:
    """The same through profiles/slurm. Its partitions are the site's: edit the profile first."""
    if shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True).returncode:
        raise Skipped("there is no SLURM here, or none that `sinfo` can ask")
    run = snakemake(
        options.folder / "slurm", on_device(options, study(options)), seconds, SHARING, *TARGETS, profile="slurm"
    )
    return {"jobs": run.jobs, "workflow_s": run.seconds}
