"""constraints.txt gives one version to every package of the environment, and every way to set it up uses the list."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from running import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]
LISTED = [
    *PROJECT["project"]["dependencies"],
    *GROUPS["test"],
    *(each for each in GROUPS["dev"] if isinstance(each, str)),
]
DIRECT = [Requirement(each) for each in LISTED]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = (("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64"))


def places() -> list[dict[str, str]]:
    """The environments that markers are evaluated in: each version of Python on each platform."""
    return [
        {
            "python_version": python,
            "python_full_version": f"{python}.0",
            "sys_platform": system,
            "platform_system": name,
            "platform_machine": machine,
        }
        for python in PYTHONS
        for system, name, machine in PLATFORMS
    ]


def pinned(place: dict[str, str] | None = None) -> dict[str, str]:
    """The versions that hold in an environment, by canonical name: by default in the one at hand.

    Raises AssertionError where the list gives two versions to one package.
    """
    versions: dict[str, str] = {}
    for line in LINES:
        each = Requirement(line)
        if each.marker is None or each.marker.evaluate(place):
            assert canonicalize_name(each.name) not in versions, f"two versions of {each.name} in {place}"
            versions[canonicalize_name(each.name)] = next(iter(each.specifier)).version
    return versions


def needed() -> dict[str, str]:
    """All that the direct dependencies require of the environment at hand, extras included, and who requires it."""
    waiting = [(each, "pyproject.toml") for each in DIRECT if each.marker is None or each.marker.evaluate()]
    found: dict[str, str] = {}
    seen = set()
    while waiting:
        requirement, by = waiting.pop()
        name = canonicalize_name(requirement.name)
        found.setdefault(name, by)
        if (name, *sorted(requirement.extras)) in seen:
            continue
        seen.add((name, *sorted(requirement.extras)))
        for each in map(Requirement, metadata.requires(name) or []):
            if each.marker is None or any(
                each.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
            ):
                waiting.append((each, name))
    return found


def others() -> list[str]:
    """Packages of the list that are installed here in another version, with both versions."""
    given = pinned()
    return [
        f"{name} {metadata.version(name)} instead of {given[name]}"
        for name in needed()
        if name in given and metadata.version(name) != given[name]
    ]


@pytest.fixture
def as_listed() -> None:
    """Skips, naming them, where somebody chose other versions, which may require other packages, or left some out."""
    try:
        if others():
            pytest.skip(f"other versions than those of constraints.txt are installed: {', '.join(others())}")
    except metadata.PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")


def test_a_line_is_a_name_a_version_and_at_most_a_marker() -> None:
    """No address and no option: where packages come from is the business of whoever installs them."""
    for line in LINES:
        form = re.fullmatch(r"([a-z0-9-]+)==([0-9][a-z0-9.]*)( ; (.+))?", line)
        assert form is not None, line
        assert form[1] == canonicalize_name(form[1])
        if form[4] is not None:
            Marker(form[4])


@pytest.mark.parametrize("place", places(), ids=lambda place: "-".join(place[key] for key in sorted(place)))
def test_every_direct_dependency_has_one_version_within_its_bound(place: dict[str, str]) -> None:
    given = pinned(default_environment() | place)
    for each in DIRECT:
        if each.marker is None or each.marker.evaluate(place):
            assert each.specifier.contains(given[canonicalize_name(each.name)]), each


@pytest.mark.usefixtures("as_listed")
def test_what_the_dependencies_require_in_turn_is_listed_too() -> None:
    given = pinned()
    assert not {name: by for name, by in needed().items() if name not in given}, "run `make constraints`"


@pytest.mark.usefixtures("as_listed")
def test_nothing_is_listed_that_nothing_requires() -> None:
    """What would be left over from a dependency that is gone; uv would go on installing it."""
    assert not pinned().keys() - needed().keys(), "run `make constraints`"


def test_make_installs_the_listed_versions() -> None:
    wanted = subprocess.run(
        ["make", "--dry-run", "install"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    install = [line for line in wanted.splitlines() if "--group dev" in line]
    assert [line.split("--constraint ")[1] for line in install] == ["constraints.txt"]


def test_uv_installs_the_listed_versions(tmp_path: Path) -> None:
    """uv installs the default groups, one of which is the extra `pinned`: the lines of the list."""
    pytest.importorskip("setuptools", minversion="77", reason="setuptools 77 or newer is not installed")
    assert "pinned" in PROJECT["tool"]["uv"]["default-groups"]
    assert PROJECT["dependency-groups"]["pinned"] == ["isthmus[pinned]"]
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "workflow" / "scripts", tmp_path / "workflow" / "scripts")
    make = "from setuptools.build_meta import prepare_metadata_for_build_editable as make; print(make('made'))"
    (tmp_path / "made").mkdir()
    done = subprocess.run([sys.executable, "-c", make], cwd=tmp_path, capture_output=True, text=True, check=True)
    written = tmp_path / "made" / done.stdout.splitlines()[-1]
    requirements = [Requirement(each) for each in metadata.Distribution.at(written).requires or []]
    extra = [each for each in requirements if "extra" in str(each.marker)]
    assert {(each.name, str(each.specifier)) for each in extra} == {
        (each.name, str(each.specifier)) for each in map(Requirement, LINES)
    }
    here = [each for each in extra if each.marker is not None and each.marker.evaluate({"extra": "pinned"})]
    assert {each.name: next(iter(each.specifier)).version for each in here} == pinned()
