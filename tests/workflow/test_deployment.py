"""The workflow as snakedeploy lays it out: a folder with a configuration, and the rules from a repository on GitHub.

Git is told to find that repository on this disk; snakedeploy and Snakemake know nothing of it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from running import ROOT, copied, small_study

ADDRESS = "https://github.com/isthmus-tests/isthmus"
STUDY = {"studies": {"mine": small_study(width=[4]) | {"training": {"epochs": 1}}}}
TABLE = "results/tables/networks.parquet"


class Site:
    """A repository with the release v1, and programs that take it for one on GitHub."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "isthmus"
        self.environment = os.environ | {
            "HOME": str(folder / "home"),  # Snakemake keeps a clone of the repository below it
            "XDG_CACHE_HOME": str(folder / "home"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{self.repository}.insteadOf",
            "GIT_CONFIG_VALUE_0": ADDRESS,
        }
        self.environment.pop("PYTHONPATH", None)
        shutil.copy(ROOT / "LICENSE", copied(self.repository))
        self.git("init", "--quiet")
        self.release("v1")

    def git(self, *arguments: str) -> None:
        author = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
        subprocess.run(["git", *author, *arguments], cwd=self.repository, env=self.environment, check=True)

    def release(self, tag: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", tag)
        self.git("tag", tag)

    def run(self, folder: Path, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.mark.slow
def test_what_snakedeploy_lays_out_runs_to_a_table_and_to_the_next_release(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("snakedeploy", reason="snakedeploy is not installed")
    site.run(tmp_path, "snakedeploy.client", "deploy-workflow", ADDRESS, str(tmp_path), "--tag", "v1")
    laid_out = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    profiles = {f"profiles/{name}/config.yaml" for name in ("default", "slurm")}
    assert laid_out == {"LICENSE", "config/README.md", "config/config.yaml", "workflow/Snakefile", *profiles}
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(STUDY))
    site.run(tmp_path, "snakemake", "--cores", "2", TABLE)
    assert pq.read_table(tmp_path / TABLE)["study"].to_pylist() == ["mine"] * 2

    # Files that a release leaves alone keep their times, so what they made is not made again.
    (site.repository / "workflow/scripts/isthmus/core/version.py").write_text('VERSION = "2"\n')
    site.release("v2")
    snakefile = tmp_path / "workflow/Snakefile"
    snakefile.write_text(snakefile.read_text().replace('tag="v1"', 'tag="v2"'))
    planned = site.run(tmp_path, "snakemake", "--dry-run", "all")
    assert re.search(r"^all +1$", planned, re.MULTILINE)
    assert not re.search(r"^(prepare_data|train) ", planned, re.MULTILINE)
    assert len(list(tmp_path.glob(".snakemake/isthmus/*/workflow/Snakefile"))) == 2


# What `pip install snakemake numpy pandas pyarrow pillow` does without.
LEAN = """
import sys

absent = ("torch", "torchvision", "greenlet", "scipy", "sklearn", "safetensors", "matplotlib", "seaborn")
sys.modules.update(dict.fromkeys(absent + tuple(sys.argv[1:2]))) # imports of None fail
sys.argv[1:] = sys.argv[2:]
from snakemake.cli import main

main()
"""


@pytest.mark.slow
@pytest.mark.exhaustive
def test_snakemake_starts_with_four_packages_beside_it_and_names_what_is_missing(tmp_path: Path) -> None:
    def start(*without: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", LEAN, *(without or ("nothing",)), "--snakefile", f"{ROOT}/workflow/Snakefile"]
        return subprocess.run(
            [*command, "--dry-run", TABLE], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    (tmp_path / "config.yaml").write_text(yaml.safe_dump(STUDY))
    started = start()
    assert started.returncode == 0, started.stdout
    refused = start("pyarrow")
    assert refused.returncode == 1
    assert "Isthmus needs pyarrow where Snakemake runs" in refused.stdout
    assert "Traceback" not in refused.stdout


def test_the_catalog_is_told_how_to_deploy_the_workflow() -> None:
    told = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert told["software-stack-deployment"]["conda"]
    assert (ROOT / "config/README.md").exists()
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
