"""The device of the tests here: a GPU, without which they are skipped, or with `--device cpu` the CPU."""

import pytest
import torch

from isthmus.core import devices
from isthmus.core.devices import Settings


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """What is compared with float64 on the CPU, set up as in a job."""
    wanted = request.config.getoption("--device")
    if wanted == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")
    devices.set_up(threads=1, deterministic=False)
    return torch.device(wanted)


@pytest.fixture
def settings(device: torch.device) -> Settings:
    """How a job computes there."""
    return Settings(device)


# PyTorch says so once in a process, if a backward pass is the first to multiply matrices on its thread; it goes on.
NO_CONTEXT = "ignore:Attempting to run cuBLAS, but there was no current CUDA context:UserWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder has the marker `gpu`; a warning is an error, as everywhere, but for `NO_CONTEXT`."""
    for item in items:
        if "tests/gpu" in item.path.as_posix():
            item.add_marker("gpu")
            item.add_marker(pytest.mark.filterwarnings(NO_CONTEXT))
