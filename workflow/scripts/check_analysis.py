"""Check an analysis from its description to its figures. `make check-analysis NAME=...` runs this.

First come the files: whether they are there, and whether the description is right. Then the analysis's unit test runs,
and at last a small study of the digits in which some networks diverge: its tables, its figures, and a second run, which
should find nothing to do. The study stays in results/check-analysis/NAME, so that a further check only runs what has
changed since.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from isthmus.study.stage_checks import stage_errors
from isthmus.tables.descriptions import stages
from isthmus.tables.parquet import as_frame, read_table

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"
STUDY = "small"
# A learning rate at which networks train, and one at which they diverge.
GRID = {"width": [4, 8], "depth": [1], "batch_size": [128], "seed": 2, "learning_rate": [0.05, 1e20]}


def missing_files(name: str) -> Iterator[str]:
    """The files that an analysis needs and lacks, and what they lack themselves, one sentence each."""
    described = ROOT / f"workflow/schemas/stages/{name}.yaml"
    if not described.exists():
        yield f"{described.relative_to(ROOT)} is missing: make new-analysis NAME={name} begins an analysis"
        return
    if errors := stage_errors():
        yield from errors
        return
    rules, package = ROOT / f"workflow/rules/{name}.smk", SCRIPTS / f"isthmus/analyses/{name}/__init__.py"
    tests = ROOT / f"tests/unit/analyses/test_{name}.py"
    for path, purpose in ((rules, "the rules"), (package, "the package"), (tests, "the unit test")):
        if not path.exists():
            yield f"{path.relative_to(ROOT)}, {purpose} of the analysis, is missing"
    for script in re.findall(r'script:\s+"(.+)"', rules.read_text()) if rules.exists() else []:
        if not (path := (rules.parent / script).resolve()).exists():
            yield f"{path.relative_to(ROOT)}, which {rules.relative_to(ROOT)} runs, is missing"
    yield from missing_figures(name)


def missing_figures(name: str) -> Iterator[str]:
    """The functions that draw the figures of an analysis and are not there; figures of means need none."""
    figures = [figure for figure in stages()[name].figures if not figure.lines]
    try:
        module = import_module(f"isthmus.figures.{name}") if figures else None
    except (ImportError, SyntaxError) as error:
        yield f"workflow/scripts/isthmus/figures/{name}.py, which draws the figures, cannot be imported: {error}"
        return
    for figure in figures:
        function = f"draw_{figure.name.replace('-', '_')}"
        if not hasattr(module, function):
            yield f"workflow/scripts/isthmus/figures/{name}.py has no function {function} for the figure {figure.name}"


def workflow(folder: Path, *arguments: str) -> list[str]:
    """The command that runs the study of the check in its folder."""
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)),
        *("--configfile", str(folder / "config.yaml"), "--workflow-profile", str(ROOT / "profiles/default")),
        *arguments,
    ]


def mistakes_in_tables(name: str, folder: Path) -> Iterator[str]:
    """What is wrong with the tables of the analysis, in a study some of whose networks diverged."""
    stage, networks = stages()[name], _read(folder, "networks")
    for table in stage.tables:
        rows = _read(folder, table.name)
        if rows.empty:
            yield f"the table {table.name} has no row"
        if stage.unit != "seed":
            continue
        if "diverged" not in rows:
            yield f"the table {table.name} has no column `diverged`, which says what nulls mean and which figures need"
            continue
        keys = ["cell", "seed"]
        both = networks[[*keys, "diverged"]].merge(rows, on=keys, how="left", suffixes=("_trained", ""))
        lost, said = both["diverged_trained"].astype(bool), both["diverged"]
        for _, row in both[said.isna()].iterrows():
            state = "diverged" if row["diverged_trained"] else "did not diverge"
            yield f"the table {table.name} has no row of the network {row['cell']}, seed {row['seed']}, which {state}"
        if (said.notna() & (said != lost)).any():
            yield f"the table {table.name} disagrees with the table networks about `diverged`"
        measured = [column.name for column in table.columns if column.nullable]
        for column in measured:
            if both.loc[lost, column].notna().any():
                yield f"the table {table.name} has values of `{column}` for networks that diverged: write nulls"
        if measured and both.loc[~lost, measured].isna().all(axis=None):
            yield f"the table {table.name} has nothing but nulls, even for networks that did not diverge"


def _read(folder: Path, table: str) -> pd.DataFrame:
    """A collected table, with text in the place of categories."""
    rows = as_frame(read_table(folder / f"results/tables/{table}.parquet"))
    texts = rows.columns[rows.dtypes == "category"]
    return rows.astype(dict.fromkeys(texts, "str"))


def check(name: str, options: dict[str, Any]) -> list[str]:
    """What is wrong with the analysis `name`, as far as the first of the three parts that finds anything."""
    if mistakes := list(missing_files(name)):
        return mistakes
    test = f"tests/unit/analyses/test_{name}.py"
    print(f"The files of {name} are there. Running {test} ...", flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "0", test], cwd=ROOT, env=environment).returncode:
        return [f"{test} failed; its output is above"]
    folder = ROOT / "results" / "check-analysis" / name
    folder.mkdir(parents=True, exist_ok=True)
    study = {"training": {"epochs": 2}, "grid": GRID, "analyses": {name: options}}
    content = {"studies": {STUDY: study}, "jobs": {"seeds": 2}}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    print(f"Running a study of eight networks, half of which diverge, in {folder.relative_to(ROOT)} ...", flush=True)
    tables = [
        f"results/tables/{table}.parquet" for table in ("networks", *(each.name for each in stages()[name].tables))
    ]
    for targets in (tables, []):  # what is wrong with a table is said before anything is made of it
        with (folder / "output.txt").open("w+") as output:
            run = subprocess.run(workflow(folder, *targets), stdout=output, stderr=subprocess.STDOUT, env=environment)
            if run.returncode:
                output.seek(0)
                return [f"{output.read()}\nthe study failed; the output of Snakemake is above"]
        if targets and (mistakes := list(mistakes_in_tables(name, folder))):
            return mistakes
    for figure in stages()[name].figures:
        if not figure.requires:
            print(f"  {(folder / f'results/figures/{STUDY}/{figure.name}.png').relative_to(ROOT)}")
    again = subprocess.run(workflow(folder, "--dry-run"), capture_output=True, text=True, env=environment)
    if "Nothing to be done" not in again.stdout + again.stderr:
        return [f"{again.stdout}{again.stderr}\na second run would run the jobs above, and should run none"]
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description="Check an analysis from its description to its figures.")
    parser.add_argument("name", metavar="NAME", help="of the analysis: make check-analysis NAME=sparsity")
    parser.add_argument("--options", type=yaml.safe_load, default={}, help="its options in the study, as YAML")
    given = parser.parse_args()
    mistakes = check(given.name, given.options)
    print(*mistakes, sep="\n", file=sys.stderr)
    if not mistakes:
        print(f"The analysis {given.name} works.")
    return bool(mistakes)


if __name__ == "__main__":
    sys.exit(main())
