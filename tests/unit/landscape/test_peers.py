"""Curvature against PyHessian, curvlinops with SciPy, and the dense matrix: same network, same data."""

import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers import descend, recipe
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from isthmus.data.dataset import Dataset, normalized
from isthmus.landscape.hessian.lanczos import eigenvalues
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.landscape.hessian.trace import traces
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.networks import build

# The peers trigger warnings of PyTorch about its own internals, which are no concern of these tests.
pytestmark = pytest.mark.filterwarnings("ignore")

NETWORKS = {
    "mlp": ("mlp", "none", 8, 2),
    "cnn": ("cnn", "batch", 2, 1),
}


def peer(name: str) -> ModuleType:
    """A peer's module; the test is skipped, saying so, where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: ModuleType = pytest.importorskip(name, reason=f"{name} is not installed (dependency group dev)")
        return module


class Plain(nn.Module):
    """A stack of one as an ordinary module: images `[B, C, H, W]` to logits `[B, classes]`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.network(images[None])[0]
        return outputs


Problem = tuple[nn.Module, Tensor, Tensor]


@pytest.fixture(params=list(NETWORKS))
def problem(request: pytest.FixtureRequest, digits: Dataset) -> Iterator[Problem]:
    """A briefly trained network in float64 and in evaluation mode, 200 images and their labels."""
    architecture, normalization, width, depth = NETWORKS[request.param]
    given = {"architecture": architecture, "normalization": normalization, "hidden_units": 8, "blocks": 2}
    network = build(recipe(width, depth, network=given).network, (1, 8, 8), 10)
    network.initialize((0,))
    network.double()
    images = normalized(digits.train_images[:200], digits.mean, digits.std).double()
    labels = digits.train_labels[:200]
    descend(network, images, labels, 60)
    with evaluation_mode(network, images[None]):
        yield network, images, labels


def test_pyhessian_finds_the_same_top_eigenvalue_and_trace(problem: Problem) -> None:
    pyhessian = peer("pyhessian")
    network, images, labels = problem
    theirs = pyhessian.hessian(Plain(network), nn.CrossEntropyLoss(), data=(images, labels), cuda=False)
    operator = CurvatureOperator(network, images, labels, "cross_entropy")
    exact = torch.linalg.eigvalsh(dense(operator)).numpy()
    torch.manual_seed(0)  # PyHessian draws from PyTorch's global generator
    found = theirs.eigenvalues(maxIter=1000, tol=1e-8, top_n=1)[0][0]
    ours = eigenvalues(operator, 1, np.random.default_rng(0), tolerance=1e-6)
    assert ours.values[0] == pytest.approx(exact[-1], rel=1e-9)
    assert found == pytest.approx(ours.values[0], rel=1e-4)
    samples = np.array(theirs.trace(maxIter=100, tol=1e-9))
    estimate = traces(operator, ours.space, np.random.default_rng(1), precision=0.02).trace
    error = np.hypot(samples.std(ddof=1) / len(samples) ** 0.5, estimate.error)
    assert abs(samples.mean() - estimate.value) < 4 * error
    assert abs(estimate.value - exact.sum()) < 4 * estimate.error


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_curvlinops_with_scipy_finds_the_same_eigenvalues(problem: Problem, matrix: str) -> None:
    curvlinops = peer("curvlinops")
    network, images, labels = problem
    plain = Plain(network)
    kinds = {"hessian": curvlinops.HessianLinearOperator, "gauss_newton": curvlinops.GGNLinearOperator}
    # Theirs wants the data as batches and the parameters as a list, in the order of ours.
    theirs = kinds[matrix](plain, nn.CrossEntropyLoss(), list(plain.parameters()), [(images, labels)])
    found = np.sort(eigsh(theirs.to_scipy(), k=5, which="LA", tol=1e-8)[0])[::-1]
    operator = CurvatureOperator(network, images, labels, "cross_entropy", matrix)
    ours = eigenvalues(operator, 5, np.random.default_rng(0), tolerance=1e-6)
    np.testing.assert_allclose(ours.values, found, rtol=1e-6)
    vector = torch.from_numpy(np.random.default_rng(1).standard_normal(operator.size))
    np.testing.assert_allclose(operator(vector).numpy(), theirs.to_scipy() @ vector.numpy(), rtol=1e-7, atol=1e-10)
