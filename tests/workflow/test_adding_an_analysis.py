"""An analysis is files of its own and no edit elsewhere: docs/adding-an-analysis.md, carried out."""

import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from running import ROOT, configuration, run, small_study, succeed

from isthmus.training.weights import load_weights

pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs" / "adding-an-analysis.md").read_text()

MODULE = '''"""Fraction of small weights."""

from torch import Tensor


def small_fraction(weights: dict[str, Tensor], threshold: float) -> float:
    small = sum(int((value.abs() < threshold).sum()) for value in weights.values())
    return small / sum(value.numel() for value in weights.values())
'''

SCRIPT = '''"""Measure the sparsity of the networks of a block."""

from typing import Any

from isthmus.core.logs import job_log
from isthmus.analyses.sparsity.measure import small_fraction
from isthmus.tables.parquet import write_table
from isthmus.training.rows import keys
from isthmus.recipes.recipe import Recipe
from isthmus.training.weights import load_weights


def main(job: Any) -> None:
    recipe, rows = Recipe.from_dict(job.params.recipe), []
    for seed in job.params.seeds:
        first = keys(job.wildcards.study, job.wildcards.cell, recipe, seed)
        fraction = small_fraction(load_weights(job.input.weights, seed), job.params.options["threshold"])
        rows.append(first | {"fraction": fraction})
    write_table(job.output[0], "sparsity", rows)


with job_log(snakemake.log[0]):
    main(snakemake)
'''

FIGURE = '''"""Fraction of small weights against width."""

import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.panels import rows_of


def draw_sparsity(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    rows = rows_of(study, tables, "sparsity")
    figure = Figure()
    figure.add_subplot().plot(rows["width"], rows["fraction"], "o")
    return figure
'''


def blocks_of(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow with the analysis of the page in it."""
    root = tmp_path_factory.mktemp("extended")
    for part in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "Snakefile", root)
    (stage,) = blocks_of("yaml")
    (rules,) = (block for block in blocks_of("python") if "\nrule " in block)
    workflow = root / "workflow"
    (workflow / "schemas/stages/sparsity.yaml").write_text(stage)
    (workflow / "rules/sparsity.smk").write_text(rules)
    (workflow / "scripts/measure_sparsity.py").write_text(SCRIPT)
    package = workflow / "scripts/isthmus/analyses/sparsity"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "measure.py").write_text(MODULE)
    (workflow / "scripts/isthmus/figures/sparsity.py").write_text(FIGURE)
    (workflow / "report/sparsity.rst").write_text("Small weights.\n")
    return root


def test_a_new_analysis_is_run_collected_and_drawn(extended: Path, tmp_path: Path) -> None:
    study = small_study() | {"analyses": {"sparsity": {"threshold": 0.05, "where": {"width": [8]}}}}
    succeed(tmp_path, configuration(small=study), root=extended)
    rows = pq.read_table(tmp_path / "results/tables/sparsity.parquet").to_pylist()
    cell = "width=8+depth=1+batch_size=128"
    assert [(row["cell"], row["seed"]) for row in rows] == [(cell, 0), (cell, 1)]
    weights = load_weights(tmp_path / f"results/small/train/{cell}/0.safetensors", 1)
    values = [number for value in weights.values() for number in value.flatten().tolist()]
    assert rows[1]["fraction"] == sum(abs(number) < 0.05 for number in values) / len(values)
    assert (tmp_path / "results/figures/small/sparsity.pdf").exists()


def test_its_options_are_checked(extended: Path, tmp_path: Path) -> None:
    study = small_study() | {"analyses": {"sparsity": {"threshold": -1}}}
    refused = run(tmp_path, configuration(small=study), root=extended)
    assert "studies.small.analyses.sparsity.threshold: -1 was given; allowed is a number above 0" in refused.stdout
    study["analyses"] = {"sparsity": {"where": {"width": [5]}}}
    refused = run(tmp_path, configuration(small=study), root=extended)
    assert "studies.small.analyses.sparsity.where.width: 5 was given; the grid has [4, 8]" in refused.stdout
