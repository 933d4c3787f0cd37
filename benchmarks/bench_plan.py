"""How far `make plan` is off: plan a study, run it as far as its tables, and compare each stage's seconds.

Measured are the seconds from the start to the end of jobs (Snakemake's benchmark files), two jobs at once, one thread
each: nothing else should run meanwhile. Without files it takes a study of digits with every analysis.

    python benchmarks/bench_plan.py [study.yaml ...]
"""

import argparse
import collections
import csv
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
ALL: dict[str, Any] = {
    "training": {"epochs": 30, "schedule": "cosine", "warmup_epochs": 3, "snapshots": [5, 10]},
    "grid": {"width": [8, 32, 128], "depth": [3], "batch_size": [32], "seed": 3},
    "analyses": {
        "connect": {"kinds": ["linear", "linear-aligned", "bezier"], "curve": {"epochs": 20, "learning_rate": 0.2}},
        "curvature": {"during_training": True, "dense_limit": 800},
        "movement": {},
        "tickets": {"where": {"width": [32]}, "kept_fractions": [0.5, 0.1], "curvature": {"images": 200}},
        "robustness": {},
        "manifold": {
            "sweeps": {
                "boundary": {"width": [3, 6, 10], "points": [40], "seeds": 2},
                "shapes": {"width": [4], "depth": [1, 2], "points": [12], "activation": ["tanh", "gelu"], "seeds": 1},
            }
        },
        "relations": {},
    },
}
ROW = re.compile(r"^(\w+) +(\d+) .*?([\d.e-]+)(?: \*)? +\d+ (?:s|min) +\d+ MB +([\d.]+ [MG]B)$", re.MULTILINE)


def compare(configfile: Path) -> None:
    """Plan and run one study in a folder of its own, and print both."""
    with tempfile.TemporaryDirectory() as name:
        common = ["--directory", name, "--configfile", str(configfile)]
        common += ["--workflow-profile", str(ROOT / "profiles" / "default"), "--cores", "2", "tables"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        script = [sys.executable, str(ROOT / "workflow" / "scripts" / "plan.py"), *common]
        printed = subprocess.run(script, check=True, capture_output=True, text=True, env=environment).stdout
        expected = {stage: (int(jobs), 3600 * float(hours)) for stage, jobs, hours, _ in ROW.findall(printed)}
        snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *common]
        subprocess.run(snakemake, check=True, capture_output=True, env=environment)
        measured: collections.Counter[str] = collections.Counter()
        for path in Path(name, "results", "benchmarks").rglob("*.tsv"):
            with path.open() as file:
                stage = path.relative_to(Path(name, "results", "benchmarks")).parts[0]
                measured[stage] += float(next(csv.DictReader(file, delimiter="\t"))["s"])
        disk = sum(path.stat().st_size for path in Path(name, "results").rglob("*") if path.is_file())
    print(f"\n{configfile.name}\nstage        jobs   expected (s)   measured (s)   expected / measured")
    for stage, (jobs, seconds) in expected.items():
        print(f"{stage:12} {jobs:4} {seconds:14.1f} {measured[stage]:14.1f} {seconds / measured[stage]:21.2f}")
    jobs, seconds = sum(jobs for jobs, _ in expected.values()), sum(seconds for _, seconds in expected.values())
    whole = sum(measured.values())
    print(f"{'in all':12} {jobs:4} {seconds:14.1f} {whole:14.1f} {seconds / whole:21.2f}")
    planned = next(line for line in printed.splitlines() if line.startswith("in all"))
    print(f"disk: {disk / 1e6:.0f} MB found, expected {planned.split('  ')[-1].strip()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("studies", type=Path, nargs="*")
    studies = parser.parse_args().studies
    if studies:
        for path in studies:
            compare(path)
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "digits.yaml"
        path.write_text(yaml.safe_dump({"studies": {"digits": ALL}}))
        compare(path)


if __name__ == "__main__":
    main()
