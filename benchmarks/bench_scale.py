"""A very large study, with placeholders for the computing: graph, scheduler, files and collecting, and how they grow.

A network takes part in training, four analyses and nine pairs over two; jobs are packed as the default configuration
packs them. The graph is that of the whole workflow, in a dry run. Scheduling runs every rule but collecting and
drawing with a shell command that touches its outputs. Collecting appends real parts of the tables. Seconds are those of
a processor.

    python benchmarks/bench_scale.py [--networks 1000 5000] [--batch 10] [--scheduled 400 1600] [--parts 1000 5000]
                                     [--options=--persistence-backend=db]
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 10
COLLECT = """
import sys
from pathlib import Path
from isthmus.tables.parquet import collect
folder, name = Path(sys.argv[1]), sys.argv[2]
print(collect(sorted(folder.glob("*.parquet")), folder / "whole", name))
"""


def configuration(networks: int) -> dict[str, Any]:
    """A study of this many networks, ten to a cell, and all analyses of trained networks but tickets."""
    cells = networks // SEEDS
    widths = list(range(1, max(cells // 10, 1) + 1))
    study = {
        "training": {"epochs": 1},
        "grid": {"width": widths, "depth": [1, 2], "batch_size": [8, 16, 32, 64, 128], "seed": SEEDS},
        "analyses": {"connect": {}, "curvature": {}, "movement": {}, "robustness": {}},
    }
    return {"studies": {"large": study}}


def timed(command: list[str], **options: Any) -> tuple[str, float, float]:
    """Run a command in a process of its own; return what it printed, processor seconds and peak memory in GB."""
    # The peak is that of the largest child so far: one more process in between makes it that of this command.
    wrapped = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print('USED', used.ru_utime + used.ru_stime, used.ru_maxrss); sys.exit(done.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", wrapped, *command], capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    used = re.search(r"USED (\S+) (\d+)", done.stdout)
    assert used is not None
    return done.stdout + done.stderr, float(used[1]), int(used[2]) / 1e6


def snakemake(root: Path, folder: Path, networks: int, *arguments: str) -> tuple[str, float, float]:
    """Run the workflow of `root` on a study of this many networks in `folder`."""
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration(networks)))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(folder / "config.yaml"), "--workflow-profile", str(root / "profiles" / "default")]
    return timed([*command, *arguments])


def jobs_in(printed: str) -> int:
    """The number of jobs that Snakemake announces."""
    total = re.search(r"^total\s+(\d+)", printed, re.MULTILINE)
    if total is None:
        raise RuntimeError(printed)
    return int(total[1])


def graph(sizes: list[int], batch: int | None) -> None:
    """Dry runs."""
    part = ["--batch", f"collect_table=1/{batch}"] if batch else []
    print(f"\ndry run{f', the first of {batch} batches' if batch else ''}")
    print("networks    jobs   seconds   ms/job   memory (GB)")
    for networks in sizes:
        with tempfile.TemporaryDirectory() as folder:
            printed, seconds, memory = snakemake(
                ROOT, Path(folder), networks, "tables", "--dry-run", "--quiet", "rules", *part
            )
        jobs = jobs_in(printed)
        print(f"{networks:8} {jobs:7} {seconds:9.1f} {1000 * seconds / jobs:8.2f} {memory:13.2f}", flush=True)


def placeholder(folder: Path) -> Path:
    """A copy of the workflow in which every script is a shell command that touches the outputs."""
    root = folder / "workflow"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for part in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / part, root / part, ignore=ignored)
    shutil.copy(ROOT / "Snakefile", root)
    for rules in (root / "workflow" / "rules").glob("*.smk"):
        text = re.sub(r'script:\n\s+"[^"]+"', 'shell:\n        "touch {output}"', rules.read_text())
        rules.write_text(text)
    return root


def scheduling(sizes: list[int], options: list[str]) -> None:
    """Real runs of placeholders on two cores, the dry run of the same study taken off."""
    print(" ".join(["\nrun of placeholders", *options]))
    print("networks    jobs   seconds   ms/job   files   files/job   memory (GB)")
    for networks in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            root, folder = placeholder(Path(temporary)), Path(temporary) / "run"
            folder.mkdir()
            _, planned, _ = snakemake(root, folder, networks, "tables", "--dry-run", "--quiet", "rules")
            printed, seconds, memory = snakemake(
                root, folder, networks, *options, "--cores", "2", "--quiet", "rules", "--", "tables"
            )
            files = sum(path.is_file() for path in folder.rglob("*"))
        jobs = jobs_in(printed)
        each = 1000 * (seconds - planned) / jobs
        print(
            f"{networks:8} {jobs:7} {seconds:9.1f} {each:8.1f} {files:7} {files / jobs:11.1f} {memory:13.2f}",
            flush=True,
        )


def write_part(path: Path, table: str, rows: int) -> None:
    """A valid part of a table, every column filled."""
    from isthmus.tables.descriptions import table as described
    from isthmus.tables.parquet import write_table

    values = {"string": "a value of some length", "int64": 7, "float64": 0.5, "bool": False}
    row = {column.name: values[column.type] for column in described(table).columns}
    write_table(path, table, [row | {"seed": seed} for seed in range(rows)])


def collecting(sizes: list[int]) -> None:
    """Appending parts of a table."""
    for table, rows in (("networks", 5), ("history", 300)):
        print(f"\ncollecting parts of {rows} rows of the table {table}")
        print("  parts   seconds   ms/part   memory (GB)")
        for parts in sizes:
            with tempfile.TemporaryDirectory() as folder:
                write_part(Path(folder) / "part", table, rows)
                for number in range(parts):
                    shutil.copy(Path(folder) / "part", Path(folder) / f"{number:06}.parquet")
                command = [sys.executable, "-c", COLLECT, folder, table]
                _, seconds, memory = timed(command, cwd=ROOT / "workflow" / "scripts")
            print(f"{parts:7} {seconds:9.1f} {1000 * seconds / parts:9.2f} {memory:13.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name, sizes in (
        ("--networks", [1000, 5000, 20000]),
        ("--scheduled", [400, 1600, 6400]),
        ("--parts", [1000, 5000, 20000]),
    ):
        parser.add_argument(name, type=int, nargs="*", default=sizes)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--options", nargs="*", default=[], help="of Snakemake, for the runs of placeholders")
    given = parser.parse_args()
    if given.networks:
        graph(given.networks, None)
        graph(given.networks[-1:], given.batch)
    if given.scheduled:
        scheduling(given.scheduled, given.options)
    if given.parts:
        collecting(given.parts)


if __name__ == "__main__":
    main()
