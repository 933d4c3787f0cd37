"""Fixtures that several test files share."""

import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from attacks import Tally
from rounding import Disturbed
from running import run_once, succeed
from shared_study import CONFIG, TARGETS

from isthmus.data.dataset import Dataset, load_dataset
from isthmus.data.sources import prepare, write_prepared

# One thread, as in the jobs of the default profile: over small arrays, more of them wait for each other. NumPy reads
# the variable when it is imported, in the processes that run tests side by side.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--disturb", type=int, help="disturb every operation by a unit in the last place: tests/support/rounding.py"
    )
    parser.addoption("--kills", type=int, default=6, help="how many processes `make test-faults` kills")
    parser.addoption("--flips", type=int, default=600, help="how many bits `make test-faults` flips")
    parser.addoption(
        "--device", choices=["cuda", "cpu"], default="cuda", help="what the tests in tests/gpu run on (docs/gpu.md)"
    )
    parser.addoption("--faults-table", type=Path, help="a file for the table that `make test-faults` prints")


ATTACKS = pytest.StashKey[Tally]()


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Tally:
    """How attacks ended, for the table at the end."""
    return request.config.stash.setdefault(ATTACKS, Tally())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if ATTACKS in config.stash:
        table = config.stash[ATTACKS].table()
        terminalreporter.write_line(table)
        if file := config.getoption("--faults-table"):
            file.write_text(table + "\n")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever looks at the shared study is slow: the study takes minutes, each of its tests a moment."""
    for item in items:
        if {"finished", "finished_copy"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def another_machine(request: pytest.FixtureRequest) -> Iterator[None]:
    """With --disturb, tests see the rounding of another machine; without it, nothing happens."""
    seed = request.config.getoption("--disturb")
    with Disturbed(seed) if seed is not None else nullcontext():
        yield


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The handwritten digits, prepared and read as a job reads them."""
    path = Path(tmp_path_factory.mktemp("data")) / "digits.safetensors"
    write_prepared(path, prepare("digits", {"source": "builtin"}))
    return load_dataset(path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the real workflow ran the study of shared_study.py. Only to be read.

    What it printed, with Isthmus's own console, is in the file `printed`.
    """

    def run(folder: Path) -> None:
        (folder / "printed").write_text(succeed(folder, CONFIG, *TARGETS, "--logger", "isthmus"))

    return run_once(tmp_path_factory, "study", run)


@pytest.fixture
def finished_copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to run the workflow in."""
    return shutil.copytree(finished, tmp_path / "study")  # with the times of files, which say what is out of date
