"""Time and memory to build the graph of a large study: a dry run at three sizes, nothing computed."""

import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def dry_run(jobs: int) -> tuple[int, float, float]:
    """Plan a study of about `jobs` jobs; return jobs, seconds, and the largest memory so far in GB."""
    widths = max(jobs // 100, 1)
    study = {
        "training": {"epochs": 1},
        "grid": {"width": list(range(1, widths + 1)), "depth": [1, 2], "batch_size": [8, 16, 32, 64, 128], "seed": 50},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump({"studies": {"large": study}}))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", folder]
        command += ["--configfile", str(path), "--workflow-profile", str(ROOT / "profiles" / "default")]
        started = time.perf_counter()
        done = subprocess.run([*command, "--dry-run", "--quiet", "rules"], capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - started
    total = re.search(r"^total\s+(\d+)", done.stdout + done.stderr, re.MULTILINE)
    if total is None:
        raise RuntimeError(done.stdout + done.stderr)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return int(total[1]), seconds, memory


def main() -> None:
    print("  jobs   seconds   seconds/job   memory (GB)")
    for jobs in (1_000, 5_000, 10_000):
        count, seconds, memory = dry_run(jobs)
        print(f"{count:6} {seconds:9.1f} {seconds / count:13.4f} {memory:13.2f}", flush=True)


if __name__ == "__main__":
    main()
