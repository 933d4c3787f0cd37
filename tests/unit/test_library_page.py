"""docs/library.md runs as it stands, and its calls agree with each other and with the libraries beside them."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from running import ROOT, blocks

PEERS = ("pyhessian", "curvlinops")
ABSENT = [name for name in PEERS if find_spec(name) is None]
CHECKS = """
assert line.barrier > 1.5 * curve.barrier
assert api.barrier(model, model.state_dict(), matched, data).barrier < line.barrier
assert top.converged.all() and found.low < found.value < found.high
"""
BESIDE = """
import numpy as np

# Without batch normalization, whose statistics differ, all three agree.
plain = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)).double()
data = inputs.double(), targets
ours = api.top_eigenvalues(plain, data, 1, tolerance=1e-6).values[0]
theirs = hessian(plain, nn.CrossEntropyLoss(), data=data, cuda=False).eigenvalues(maxIter=1000, tol=1e-9)[0][0]
np.testing.assert_allclose(theirs, ours, rtol=1e-4)
operator = HessianLinearOperator(plain, nn.CrossEntropyLoss(), list(plain.parameters()), [data])
np.testing.assert_allclose(eigsh(operator.to_scipy(), k=1, which="LA")[0][0], ours, rtol=1e-4)
"""


def ran(folder: Path, code: str) -> None:
    (folder / "presets").symlink_to(ROOT / "presets")
    environment = os.environ | {"MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "flatness.png").stat().st_size > 10_000


def test_all_blocks_of_isthmus_run_one_after_the_other(tmp_path: Path) -> None:
    """Those without another library."""
    own = [block for block in blocks("library.md", "python") if not re.search("|".join(PEERS), block)]
    assert len(own) == 8
    ran(tmp_path, "\n".join([*own, CHECKS]))


@pytest.mark.exhaustive
@pytest.mark.skipif(bool(ABSENT), reason=f"not installed (dependency group dev): {', '.join(ABSENT)}")
def test_the_blocks_of_other_libraries_run_beside_them(tmp_path: Path) -> None:
    ran(tmp_path, "\n".join([*blocks("library.md", "python"), BESIDE]))
