"""Fixtures that several test files share."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from rounding import Disturbed

from isthmus.data.dataset import Dataset, load_dataset
from isthmus.data.sources import prepare, write_prepared


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--disturb", type=int, help="disturb every operation by a unit in the last place: tests/support/rounding.py"
    )


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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests compute with one thread, as the jobs of the default profile do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
