"""Whether this commit can be released, and the commands that release it: `make release`. Nothing is changed or pushed.

A release has one version and one date everywhere: in pyproject.toml, the library, CITATION.cff and CHANGELOG.md.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PASSED = Path(".venv", ".passed")
"""Where `.ci/run` writes the tree that passed all tests."""

RELEASE = re.compile(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", re.MULTILINE)
ZENODO = {"title", "description", "upload_type", "creators", "license"}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip("\n")


def different_versions(folder: Path, version: str) -> Iterator[str]:
    """Files that name another version than pyproject.toml, or another date than the changelog."""
    changelog = (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    library = (folder / "workflow/scripts/isthmus/core/version.py").read_text(encoding="utf-8")
    citation = yaml.safe_load((folder / "CITATION.cff").read_text(encoding="utf-8"))
    heading = next(iter(re.findall(r"^## .*$", changelog, re.MULTILINE)), "")
    released = RELEASE.match(heading)
    if released is None or released[1] != version:
        yield f"CHANGELOG.md begins with `{heading}`; it has to be `## {version} - ` and the date of the release"
    elif str(citation.get("date-released")) != released[2]:
        yield f"CITATION.cff has the date {citation.get('date-released')}, CHANGELOG.md {released[2]}"
    if str(citation["version"]) != version:
        yield f"CITATION.cff has the version {citation['version']}, pyproject.toml {version}"
    if f'VERSION = "{version}"' not in library:
        yield f"workflow/scripts/isthmus/core/version.py has another version than {version}"
    if "repository-code" not in citation:
        yield "CITATION.cff has no `repository-code`, the address of the repository"


def incomplete_archive(folder: Path) -> Iterator[str]:
    """What Zenodo would ask for, since it takes .zenodo.json and not CITATION.cff where both exist."""
    described: dict[str, Any] = json.loads((folder / ".zenodo.json").read_text(encoding="utf-8"))
    if missing := ZENODO - described.keys():
        yield f".zenodo.json lacks {', '.join(sorted(missing))}"
    if "version" in described:
        yield ".zenodo.json names a version, but Zenodo takes that of the tag"


def unfinished_repository(folder: Path, version: str) -> Iterator[str]:
    """Changes that are not committed, a tag that exists, tests that did not pass on just these files."""
    if changed := git(folder, "status", "--porcelain"):
        yield f"there are changes that are not committed: {', '.join(line[3:] for line in changed.splitlines())}"
    if git(folder, "tag", "--list", f"v{version}"):
        yield f"the tag v{version} exists already"
    passed = folder / PASSED
    if not passed.exists() or passed.read_text().strip() != git(folder, "rev-parse", "HEAD^{tree}"):
        yield "the tests have not passed on this commit: run .ci/run"
    if placeholders := subprocess.run(
        ["git", "-C", str(folder), "grep", "-l", "github.com/OWNER/", "--", "*.md"], capture_output=True, text=True
    ).stdout.split():
        yield f"the address of the repository is still github.com/OWNER in {', '.join(placeholders)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--directory", type=Path, default=Path(), help="the repository")
    folder = parser.parse_args().directory
    version = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    problems = [
        *different_versions(folder, version),
        *incomplete_archive(folder),
        *unfinished_repository(folder, version),
    ]
    if problems:
        sys.exit("\n".join([f"Isthmus {version} cannot be released yet:", *(f"  - {each}" for each in problems)]))
    print(
        f"Isthmus {version} can be released:\n\n"
        f'  git tag --annotate v{version} --message "Isthmus {version}"\n'
        f"  git push origin main v{version}\n\n"
        "Then make a release of the tag on the site of the repository, with its part of CHANGELOG.md as the notes.\n"
        "Zenodo archives it if it is linked, and the workflow catalog shows it."
    )


if __name__ == "__main__":
    main()
