"""The share of `make figures` that is start-up of processes: run the default study afresh and take it apart.

Start-up of a job is its wall time (Snakemake's benchmark file) less what it computed; for training that is in the
table `networks`. The share is start-up over cores times wall time.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", name]
        command += ["--configfile", str(ROOT / "config" / "config.yaml")]
        command += ["--workflow-profile", str(ROOT / "profiles" / "default"), "--cores", str(cores)]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall = time.perf_counter() - started
        jobs = {path: next(csv.DictReader(path.open(), delimiter="\t")) for path in folder.rglob("benchmarks/**/*.tsv")}
        trained = [float(row["s"]) for path, row in jobs.items() if "/benchmarks/train/" in str(path)]
        computed = sum(pq.read_table(folder / "results/tables/networks.parquet")["seconds"].to_pylist())
    startup = sum(trained) - computed
    print(f"wall time {wall:.1f} s on {cores} cores, {len(jobs)} jobs")
    print(f"training: {len(trained)} jobs, {sum(trained):.1f} s, of which {computed:.1f} s computing")
    print(
        f"start-up: {startup / len(trained):.2f} s a training job, {startup / (cores * wall):.0%} of cores x wall time"
    )


if __name__ == "__main__":
    main()
