"""What `make` installs where, what `make doctor` and `make release` say, and that files name targets that exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from disks import disk
from running import ROOT

OUTER = ("MAKEFLAGS", "MAKELEVEL", "PYTHONPATH")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in OUTER}
INPUTS = ("pyproject.toml", "constraints.txt")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with all that `make setup` reads."""
    (tmp_path / "checkout").mkdir()
    for name in ("Makefile", *INPUTS):
        shutil.copy(ROOT / name, tmp_path / "checkout")
    return tmp_path / "checkout"


def environment(folder: Path) -> Path:
    """A virtual environment without packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder


def test_nothing_is_installed_into_an_environment_that_is_a_link(checkout: Path, tmp_path: Path) -> None:
    other = environment(tmp_path / "other")
    (checkout / ".venv").symlink_to(other)
    before = sorted(other.rglob("*"))
    done = make(checkout, "setup")
    assert done.returncode != 0
    assert ".venv is a link, and nothing is installed where it leads." in done.stderr
    assert sorted(other.rglob("*")) == before


def test_nothing_is_installed_into_an_environment_of_another_folder(checkout: Path, tmp_path: Path) -> None:
    shutil.move(environment(tmp_path / "other" / ".venv"), checkout / ".venv")
    done = make(checkout, "setup")
    assert done.returncode != 0
    assert ".venv was made for another folder" in done.stderr


def test_an_environment_with_what_is_wanted_is_used_also_through_a_link(checkout: Path, tmp_path: Path) -> None:
    other = environment(tmp_path / "other")
    (other / ".ready").write_text("".join((checkout / name).read_text() for name in INPUTS))
    os.utime(other / ".ready", (0, 0))
    (checkout / ".venv").symlink_to(other)
    done = make(checkout, "setup")
    assert done.returncode == 0, done.stderr


def test_other_files_name_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {name for line in targets for name in line.split()}
    files = [*ROOT.glob(".github/**/*.*"), ROOT / ".ci/run", *ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    named = {
        (file.name, target)
        for file in files
        for target in re.findall(r"(?:^|`|run: )make ([a-z-]+)", file.read_text(), re.MULTILINE)
    }
    assert len(named) > 30
    assert {(file, target) for file, target in named if target not in known} == set()


def doctor(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, str(ROOT / "workflow/scripts/doctor.py")]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


def test_the_doctor_does_without_any_package_and_says_what_is_missing(tmp_path: Path) -> None:
    done = doctor("-S", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert re.search(r"^Packages +0 of \d\d are installed$", done.stdout, re.MULTILINE)
    assert re.search(r"^Missing: Packages: snakemake, torch, .*make setup$", done.stdout, re.MULTILINE)
    assert f"; {os.cpu_count()} cores, " in done.stdout


def test_the_doctor_sees_what_is_there(tmp_path: Path) -> None:
    done = doctor(folder=tmp_path)
    missing = re.findall(r"^Missing: (?!Disk space).*$", done.stdout, re.MULTILINE)  # the next test has its own disks
    assert missing == []
    assert done.returncode == ("Missing: Disk space" in done.stdout), done.stdout
    assert f"torch {metadata.version('torch')}," in done.stdout
    assert f"on the {'GPU' if torch.cuda.is_available() else 'CPU'}, as many" in done.stdout


@pytest.mark.parametrize(
    ("size", "code", "said"),
    [("4g", 0, "Nothing is missing."), ("64k", 1, "Missing: Disk space: only 0.0 GB are free in {folder}.")],
)
def test_the_doctor_sees_whether_a_study_has_room(tmp_path: Path, size: str, code: int, said: str) -> None:
    with disk(tmp_path / "disk", size) as folder:
        done = doctor(folder=folder)
    assert said.format(folder=folder) in done.stdout.splitlines()
    assert done.returncode == code


CITATION = (
    "cff-version: 1.2.0\nversion: {version}\ndate-released: {date}\nrepository-code: https://example.org/isthmus\n"
)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A repository that can be released as 1.2.3."""
    files = {
        "pyproject.toml": '[project]\nversion = "1.2.3"\n',
        "workflow/scripts/isthmus/core/version.py": 'VERSION = "1.2.3"\n',
        "CITATION.cff": CITATION.format(version="1.2.3", date="2026-12-24"),
        "CHANGELOG.md": "# Changelog\n\n## 1.2.3 - 2026-12-24\n\n- A change.\n",
        ".zenodo.json": (ROOT / ".zenodo.json").read_text(),
        ".gitignore": ".venv\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    author = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
    return subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    """Commit everything, and record that the tests have passed."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "all")
    (folder / ".venv").mkdir(exist_ok=True)
    (folder / ".venv/.passed").write_text(git(folder, "rev-parse", "HEAD^{tree}"))


def release(folder: Path) -> str:
    command = [sys.executable, str(ROOT / "workflow/scripts/release.py"), "--directory", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == ("cannot be released" in done.stderr), done.stderr
    return done.stdout + done.stderr


def test_a_release_is_tagged_by_whoever_makes_it(released: Path) -> None:
    assert 'git tag --annotate v1.2.3 --message "Isthmus 1.2.3"' in release(released)
    assert git(released, "tag") == ""


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("CHANGELOG.md", "## Unreleased\n", "CHANGELOG.md begins with `## Unreleased`"),
        ("CITATION.cff", CITATION.format(version="1.2.2", date="2026-12-24"), "CITATION.cff has the version 1.2.2"),
        ("CITATION.cff", CITATION.format(version="1.2.3", date="2026-12-25"), "CITATION.cff has the date 2026-12-25"),
        ("workflow/scripts/isthmus/core/version.py", 'VERSION = "1.2"\n', "version.py has another version"),
        (".zenodo.json", json.dumps({"title": "Isthmus"}), ".zenodo.json lacks creators, description, license"),
        ("config/README.md", "https://github.com/OWNER/isthmus\n", "github.com/OWNER in config/README.md"),
    ],
)
def test_what_a_release_lacks_is_named(released: Path, file: str, text: str, problem: str) -> None:
    (released / file).parent.mkdir(parents=True, exist_ok=True)
    (released / file).write_text(text)
    commit(released)
    assert [line for line in release(released).splitlines()[1:] if problem not in line] == []


def test_a_release_is_a_commit_that_was_tested_and_not_released_before(released: Path) -> None:
    git(released, "tag", "v1.2.3")
    (released / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 - 2026-12-24\n\n- Another change.\n")
    (released / "new.txt").write_text("new")
    assert "the tag v1.2.3 exists already" in release(released)
    assert "not committed: CHANGELOG.md, new.txt" in release(released)
    git(released, "add", "--all")
    git(released, "commit", "--quiet", "--message", "new")
    assert "the tests have not passed on this commit" in release(released)


def test_this_repository_has_one_version() -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert f'VERSION = "{version}"\n' in (ROOT / "workflow/scripts/isthmus/core/version.py").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^## {re.escape(version)} - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
