"""The workflow as a module of another one, from another folder."""

import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from running import ROOT, small_study

OUTER = f"""
configfile: "study.yaml"


module isthmus:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: config["isthmus"]


use rule * from isthmus as isthmus_*


rule own:
    input:
        "results/tables/networks.parquet",
    output:
        "own.parquet",
    localrule: True
    shell:
        "cp {{input}} {{output}}"
"""


def snakemake(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.exhaustive
def test_another_workflow_uses_the_tables_and_figures_of_a_study(tmp_path: Path) -> None:
    study = small_study(width=[4]) | {"training": {"epochs": 1}}
    (tmp_path / "Snakefile").write_text(OUTER)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"isthmus": {"studies": {"small": study}}}))
    figure = "results/figures/small/test-accuracy.pdf"
    snakemake(tmp_path, "own", figure)
    assert pq.read_table(tmp_path / "own.parquet")["seed"].to_pylist() == [0, 1]
    assert (tmp_path / figure).exists()
    left = snakemake(tmp_path, "--dry-run", "isthmus_all")
    rules = set(re.findall(r"^(isthmus_\w+) +\d+$", left, re.MULTILINE))
    assert {"isthmus_judge_claims", "isthmus_draw_claims", "isthmus_all"} <= rules
    assert not {"isthmus_prepare_data", "isthmus_train"} & rules


@pytest.mark.exhaustive
def test_the_folder_that_snakemake_is_started_in_gets_the_results(tmp_path: Path) -> None:
    study = small_study(width=[4]) | {"training": {"epochs": 1}}
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump({"studies": {"mine": study}}))
    snakemake(tmp_path, "-s", f"{ROOT}/workflow/Snakefile", "results/tables/networks.parquet")
    assert pq.read_table(tmp_path / "results/tables/networks.parquet")["study"].to_pylist() == ["mine"] * 2


@pytest.mark.exhaustive
def test_another_folder_gets_the_results_if_it_is_named(tmp_path: Path) -> None:
    study = small_study(width=[4]) | {"training": {"epochs": 1}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"studies": {"mine": study}}))
    named = ("--configfile", "study.yaml", "--directory", "elsewhere")
    snakemake(tmp_path, "-s", f"{ROOT}/workflow/Snakefile", *named, "results/tables/networks.parquet")
    assert pq.read_table(tmp_path / "elsewhere/results/tables/networks.parquet")["study"].to_pylist() == ["mine"] * 2
    assert not (tmp_path / "results").exists()
