"""The environments of jobs, by conda and as a container, are those of pyproject.toml."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from running import ROOT

# What conda calls packages of other names on PyPI; Snakemake's extra is part of its conda package.
CONDA = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "seaborn": "seaborn-base",
    "snakemake[reports]": "snakemake",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def bounds(packages: list[str]) -> dict[str, str]:
    """Packages with their bounds, `name` to `>=version`."""
    return dict(re.fullmatch(r"([^<>=]+)(.*)", package).groups() for package in packages)  # type: ignore[union-attr]


def wanted() -> dict[str, str]:
    """What pyproject.toml asks for, as conda calls it, Python included."""
    return {CONDA.get(name, name): bound for name, bound in bounds(PROJECT["dependencies"]).items()} | {
        "python": PROJECT["requires-python"]
    }


def of_conda(name: str) -> dict[str, str]:
    return bounds(yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())["dependencies"])


def test_the_conda_environment_of_the_workflow_is_that_of_the_project() -> None:
    assert of_conda("workflow") == wanted()


@pytest.mark.parametrize("name", ["torch", "tables"])
def test_a_job_gets_a_part_of_it_with_the_same_bounds(name: str) -> None:
    given = of_conda(name)
    assert given == {package: wanted()[package] for package in given}


def test_jobs_lack_nothing_but_what_only_the_snakefile_takes() -> None:
    assert wanted().keys() - (of_conda("torch").keys() | of_conda("tables").keys()) == {"snakemake", "psutil"}


def test_the_container_installs_what_the_project_asks_for(tmp_path: Path) -> None:
    recipe = (ROOT / "envs" / "isthmus.def").read_text()
    code = re.search(r"python -c '(import tomllib.*)' > requirements.txt", recipe)
    assert code is not None
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    listed = subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert listed.stdout.splitlines() == PROJECT["dependencies"]
    install = re.search(r"pip install (.*)", recipe)
    assert install is not None
    words = shlex.split(install[1])
    assert words[words.index("--requirement") + 1] == "requirements.txt"
    assert words[words.index("--constraint") + 1] == "constraints.txt"
    for name in ("pyproject.toml", "constraints.txt"):
        assert f"    {name} /opt/isthmus/{name}" in recipe.splitlines()
    version = re.search(r"^From: python:(\d+)\.(\d+)", recipe, re.MULTILINE)
    assert version is not None
    assert (int(version[1]), int(version[2])) >= (3, 11)
