"""Products with curvature matrices, against dense float64 matrices made by another route."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import recipe
from rounding import assert_within, rounding_error
from running import SCRIPTS
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.core.errors import UserError
from isthmus.landscape.hessian import operator
from isthmus.landscape.hessian.lanczos import eigenvalues
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.models.evaluation import evaluation_mode, losses
from isthmus.models.networks import build

CLASSES = 3


def problem(
    architecture: str,
    normalization: str,
    activation: str = "tanh",
    dtype: torch.dtype = torch.float64,
    channels: int = 1,
) -> tuple[nn.Module, Tensor, Tensor]:
    """A tiny network, 7 images `[7, channels, 4, 4]` and their labels."""
    keys = {"architecture": architecture, "normalization": normalization, "activation": activation}
    keys |= {"blocks": 2, "hidden_units": 0} if architecture == "cnn" else {}
    depth = 8 if architecture == "resnet" else 1
    network = build(recipe(width=2, depth=depth, network=keys).network, (channels, 4, 4), CLASSES)
    network.initialize([3])
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(7, channels, 4, 4, generator=generator, dtype=torch.float64)
    return network.to(dtype), images.to(dtype), torch.randint(0, CLASSES, (7,), generator=generator)


def flat_function(network: nn.Module, images: Tensor):  # type: ignore[no-untyped-def]
    """Outputs `[B, classes]` as a function of one flat vector of weights, and that vector."""
    parameters = dict(network.named_parameters())
    sizes = [p.numel() for p in parameters.values()]

    def outputs(flat: Tensor) -> Tensor:
        parts = zip(parameters.items(), flat.split(sizes), strict=True)
        return functional_call(network, {name: part.view_as(p) for (name, p), part in parts}, (images[None],))[0]

    return outputs, torch.cat([p.detach().flatten() for p in parameters.values()])


def double_backward_hessian(network: nn.Module, images: Tensor, labels: Tensor, loss: str) -> Tensor:
    outputs, weights = flat_function(network, images)
    return torch.autograd.functional.hessian(lambda flat: losses(outputs(flat)[None], labels[None], loss)[0], weights)


def explicit_gauss_newton(network: nn.Module, images: Tensor, labels: Tensor, loss: str) -> Tensor:
    """J^T H_L J with the textbook H_L: diag(p) - p p^T for cross-entropy, 2 / classes for the mean squared error."""
    outputs, weights = flat_function(network, images)
    jacobian = torch.autograd.functional.jacobian(outputs, weights)
    p = F.softmax(outputs(weights).detach(), dim=1)
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    if loss == "squared_error":
        inner = (2 / CLASSES * torch.eye(CLASSES, dtype=p.dtype)).expand_as(inner)
    return torch.einsum("nip,nij,njq->pq", jacobian, inner, jacobian) / len(images)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_products_are_those_of_the_dense_matrices(architecture: str, normalization: str, loss: str) -> None:
    network, images, labels = problem(architecture, normalization)
    with evaluation_mode(network, images[None]):
        for matrix, reference in (("hessian", double_backward_hessian), ("gauss_newton", explicit_gauss_newton)):
            expected = reference(network, images, labels, loss)
            operator = CurvatureOperator(network, images, labels, loss, matrix, keep=architecture == "mlp")
            torch.testing.assert_close(dense(operator), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
def test_products_of_a_residual_network_are_those_of_double_backward(normalization: str) -> None:
    network, images, labels = problem("resnet", normalization, "gelu")
    with evaluation_mode(network, images[None]):
        outputs, weights = flat_function(network, images)
        vector = torch.randn(len(weights), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        mean_loss = lambda flat: losses(outputs(flat)[None], labels[None], "cross_entropy")[0]  # noqa: E731
        expected = torch.autograd.functional.vhp(mean_loss, weights, vector)[1]
        for keep in (True, False):
            operator = CurvatureOperator(network, images, labels, "cross_entropy", keep=keep)
            torch.testing.assert_close(operator(vector), expected, rtol=1e-9, atol=1e-12)
            if keep:
                gradient = torch.autograd.functional.jacobian(mean_loss, weights)
                torch.testing.assert_close(operator.gradient, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("bytes_of_cache", "chunks"), [(1e12, 1), (1, 3000 / 250)])
def test_chunks_are_as_large_as_the_cache_allows(
    bytes_of_cache: float, chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images, _ = problem("mlp", "none")
    images, labels = images.repeat(429, 1, 1, 1)[:3000], torch.zeros(3000, dtype=torch.int64)
    monkeypatch.setattr(operator, "CACHED_BYTES", bytes_of_cache)
    found = CurvatureOperator(network.eval(), images, labels, "cross_entropy")
    assert len(found._chunks) == chunks
    # 16 pixels and 2 hidden units, whose activation the derivative of tanh needs, in float64; then softmax and loss.
    assert 8 * (16 + 2) <= found._bytes_an_example(images) <= 2 * 8 * (16 + 2 + CLASSES)


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_chunks_batches_and_keeping_change_nothing_but_rounding(matrix: str) -> None:
    network, images, labels = problem("cnn", "batch", "relu")
    with evaluation_mode(network, images[None]):
        whole = CurvatureOperator(network, images, labels, "cross_entropy", matrix)
        vectors = torch.randn(5, whole.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        expected = whole(vectors)
        assert whole.products == 5
        for chunk_size, keep in ((7, False), (4, True), (4, False)):
            other = CurvatureOperator(network, images, labels, "cross_entropy", matrix, chunk_size, keep)
            torch.testing.assert_close(other(vectors), expected, rtol=1e-10, atol=1e-13)
            torch.testing.assert_close(other(vectors[2]), expected[2], rtol=1e-10, atol=1e-13)
            assert other.loss == pytest.approx(whole.loss, rel=1e-12)


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("architecture", "normalization", "activation"),
    [("mlp", "layer", "gelu"), ("cnn", "batch", "relu"), ("cnn", "none", "gelu"), ("resnet", "batch", "relu")],
)
def test_single_precision_agrees_with_double(
    architecture: str, normalization: str, activation: str, channels: int, matrix: str
) -> None:
    """The two lay out the images of convolutions differently.

    Layer normalization over two features is all but the sign of their difference: the terms of its derivatives cancel
    to epsilon / variance of themselves, so up to five digits are lost there, in float32 on any machine.
    """

    def product(dtype: torch.dtype) -> Tensor:
        network, images, labels = problem(architecture, normalization, activation, dtype, channels)
        with evaluation_mode(network, images[None]):
            operator = CurvatureOperator(network, images, labels, "cross_entropy", matrix)
            products = operator(torch.stack([torch.zeros(operator.size), torch.ones(operator.size)]))
        assert not products[0].any()
        return products[1]

    single = product(torch.float32)
    assert single.dtype == torch.float32
    assert_within(single, *rounding_error(lambda: product(torch.float64)))


class Linear(nn.Module):
    """Outputs linear in the weights, so that squared error is a quadratic function of them."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, CLASSES, features, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2) @ self.weight.mT


def test_the_hessian_of_a_quadratic_is_its_matrix() -> None:
    """Mean of (W x - y)^2 over N examples and C outputs: the Hessian is 2 / (C N) X^T X, once per output."""
    _, images, labels = problem("mlp", "none")
    network = Linear(16).eval()
    x = images.flatten(1)
    expected = torch.block_diag(*[2 / (CLASSES * 7) * x.mT @ x] * CLASSES)
    for matrix in ("hessian", "gauss_newton"):
        operator = CurvatureOperator(network, images, labels, "squared_error", matrix)
        torch.testing.assert_close(dense(operator), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("which", ["largest", "smallest"])
def test_eigenvalues_of_a_network_are_those_of_its_dense_hessian(which: str) -> None:
    network, images, labels = problem("cnn", "batch")
    with evaluation_mode(network, images[None]):
        operator = CurvatureOperator(network, images, labels, "cross_entropy")
        found = eigenvalues(operator, 3, np.random.default_rng(0), which, tolerance=1e-6)
        exact = torch.linalg.eigvalsh(dense(operator)).numpy()
    assert found.converged.all()
    np.testing.assert_allclose(found.values, exact[::-1][:3] if which == "largest" else exact[:3], rtol=1e-8)


class Noisy(Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.randn(CLASSES)


def test_a_loss_that_is_no_function_of_the_weights_is_refused() -> None:
    network, images, labels = problem("mlp", "batch")
    with pytest.raises(UserError, match="training mode"):
        CurvatureOperator(network, images, labels, "cross_entropy")
    with pytest.raises(UserError, match="changed from"):
        CurvatureOperator(Noisy(16).eval(), images, labels, "cross_entropy")
    with pytest.raises(UserError, match="the loss is"):
        CurvatureOperator(Linear(16).eval(), images * torch.inf, labels, "cross_entropy")


def test_impossible_requests_are_refused() -> None:
    network, images, labels = problem("mlp", "none", dtype=torch.float32)
    network.eval()
    operator = CurvatureOperator(network, images, labels, "cross_entropy")
    with pytest.raises(ValueError, match="limit is 5"):
        dense(operator, limit=5)
    with pytest.raises(ValueError, match="float64"):
        dense(operator)
    with pytest.raises(ValueError, match="wanted"):
        operator(torch.ones(3))
    with pytest.raises(ValueError, match="unknown"):
        CurvatureOperator(network, images, labels, "cross_entropy", "fisher")
    with pytest.raises(ValueError, match="as many"):
        CurvatureOperator(network, images, labels[:3], "cross_entropy")
    pair = build(recipe(width=2, depth=1).network, (1, 4, 4), CLASSES, stack=2)
    pair.initialize([0, 1])
    with pytest.raises(ValueError, match="stack of one"):
        CurvatureOperator(pair.eval(), images, labels, "cross_entropy")


MEASURE = """
import sys
import numpy as np
import torch
from isthmus.api import spectral_density, top_eigenvalues, trace
model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 3))
data = torch.randn(20, 1, 4, 4), torch.arange(20) % 3
for matrix in ("hessian", "gauss_newton"):
    top_eigenvalues(model, data, 3, matrix=matrix)
    trace(model, data, matrix=matrix)
    spectral_density(model, data, matrix=matrix)
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""


def test_measuring_curvature_imports_no_sympy() -> None:
    """It takes a second of every job: `torch.autograd.grad` needs it when it is given a vector."""
    environment = {"PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", MEASURE], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
