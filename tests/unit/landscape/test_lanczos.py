"""Eigenvalues and density from products alone, against matrices whose spectra are known."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from spectra import Matrix, with_spectrum

from isthmus.core.errors import UserError
from isthmus.landscape.hessian.density import density
from isthmus.landscape.hessian.lanczos import eigenvalues

BULK = np.linspace(-1, 1, 190)
SPECTRA = {
    "outliers": np.concatenate([BULK, np.arange(2.0, 12.0)]),
    "clustered": np.concatenate([BULK, 10 + 1e-4 * np.arange(10)]),
    "degenerate": np.concatenate([BULK, [7.0] * 4, [5.0] * 6]),
    "largest negative": np.concatenate([BULK, [-50.0, -40, -30, -20, -10, 3, 2.8, 2.6, 2.4, 2.2]]),
    "all negative": -np.arange(1.0, 201.0),
    "mostly zero": np.concatenate([np.zeros(195), [1.0, 2, 3, 4, 5]]),
    "identity": np.ones(60),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("which", ["largest", "smallest"])
def test_the_algebraically_extreme_eigenvalues_are_found_with_their_multiplicities(name: str, which: str) -> None:
    spectrum = np.sort(SPECTRA[name])
    matrix = with_spectrum(spectrum)
    found = eigenvalues(matrix, 5, np.random.default_rng(1), which, tolerance=1e-6, maximum_products=3000)
    expected = spectrum[::-1][:5] if which == "largest" else spectrum[:5]
    assert found.converged.all()
    np.testing.assert_allclose(found.values, expected, rtol=1e-6, atol=1e-9)
    residuals = (found.vectors @ matrix.matrix - torch.from_numpy(found.values)[:, None] * found.vectors).norm(dim=1)
    np.testing.assert_allclose(found.residuals, residuals.numpy(), atol=1e-12)
    torch.testing.assert_close(found.vectors @ found.vectors.mT, torch.eye(5, dtype=torch.float64), atol=1e-8, rtol=0)


@pytest.mark.parametrize("where", [0, 100, 199], ids=["smallest", "bulk", "largest"])
def test_a_start_in_any_eigenvector_hides_no_eigenvalue(where: int) -> None:
    matrix = with_spectrum(np.sort(SPECTRA["outliers"]))
    start = torch.linalg.eigh(matrix.matrix).eigenvectors[:, where]
    found = eigenvalues(matrix, 2, np.random.default_rng(0), tolerance=1e-6, start=1e3 * start)
    np.testing.assert_allclose(found.values, [11, 10], rtol=1e-6)


@pytest.mark.parametrize("start", [torch.zeros(200), torch.full((200,), torch.inf), torch.full((200,), torch.nan)])
def test_a_start_without_a_direction_is_a_random_one(start: torch.Tensor) -> None:
    matrix = with_spectrum(SPECTRA["outliers"])
    found, expected = (eigenvalues(matrix, 1, np.random.default_rng(0), start=given) for given in (start, None))
    assert (found.products, found.values) == (expected.products, expected.values)


def test_a_start_close_to_the_answer_saves_products() -> None:
    matrix = with_spectrum(np.sort(np.concatenate([np.linspace(-1, 1, 199), [1.2]])))
    answer = torch.linalg.eigh(matrix.matrix).eigenvectors[:, -1]
    near, anywhere = (eigenvalues(matrix, 1, np.random.default_rng(0), start=given) for given in (answer, None))
    assert near.products < anywhere.products


def test_restarts_agree_with_arpack() -> None:
    spectrum = np.random.default_rng(3).standard_normal(400)
    matrix = with_spectrum(spectrum)
    linear = LinearOperator((400, 400), matvec=lambda v: matrix.matrix.numpy() @ v, dtype=np.float64)
    theirs = np.sort(eigsh(linear, 3, which="LA", tol=1e-8)[0])[::-1]
    ours = eigenvalues(matrix, 3, np.random.default_rng(0), tolerance=1e-8, basis_size=12, maximum_products=3000)
    assert ours.converged.all()
    np.testing.assert_allclose(ours.values, theirs, rtol=1e-10)


def test_single_precision_converges_to_its_own_rounding() -> None:
    matrix = with_spectrum(SPECTRA["outliers"], dtype=torch.float32)
    found = eigenvalues(matrix, 3, np.random.default_rng(0), tolerance=1e-12)
    assert found.converged.all()
    np.testing.assert_allclose(found.values, [11, 10, 9], rtol=1e-5)


def test_every_eigenvalue_of_a_small_matrix_can_be_had() -> None:
    spectrum = np.array([-2.0, 0, 0, 1, 1, 3])
    found = eigenvalues(with_spectrum(spectrum), 6, np.random.default_rng(0))
    np.testing.assert_allclose(found.values, spectrum[::-1], atol=1e-12)
    only = eigenvalues(Matrix(torch.tensor([[-4.0]])), 1, np.random.default_rng(0))
    np.testing.assert_allclose(only.values, [-4])


def test_too_few_products_are_reported_as_not_converged() -> None:
    matrix = with_spectrum(np.linspace(0, 1, 300))
    found = eigenvalues(matrix, 2, np.random.default_rng(0), tolerance=1e-8, maximum_products=10)
    assert found.products <= 12
    assert not found.converged.any()
    assert (found.residuals > 1e-8).all()


def test_impossible_requests_are_refused() -> None:
    matrix, generator = with_spectrum(np.arange(4.0)), np.random.default_rng(0)
    with pytest.raises(ValueError, match="has 4"):
        eigenvalues(matrix, 5, generator)
    with pytest.raises(ValueError, match="smallest"):
        eigenvalues(matrix, 1, generator, "greatest")
    with pytest.raises(ValueError, match="too small"):
        eigenvalues(matrix, 2, generator, basis_size=2)
    with pytest.raises(ValueError, match="at least one"):
        density(matrix, generator, probes=0)
    broken = Matrix(torch.full((4, 4), torch.nan))
    for call in (lambda: eigenvalues(broken, 1, generator), lambda: density(broken, generator)):
        with pytest.raises(UserError, match="not finite"):
            call()


def test_moments_of_the_density_are_those_of_the_matrix() -> None:
    """With random signs v, v^T D^p v = trace(D^p) for every diagonal D: each quadrature has the very moments of D."""
    values = np.random.default_rng(0).standard_normal(150)
    found = density(Matrix(torch.diag(torch.from_numpy(values))), np.random.default_rng(1), probes=3, steps=6)
    for power in range(12):
        np.testing.assert_allclose(found.moments(power), np.mean(values**power), rtol=1e-9, atol=1e-12)


def test_moments_of_a_turned_matrix_lie_within_the_spread_of_the_probes() -> None:
    matrix = with_spectrum(SPECTRA["outliers"])
    found = density(matrix, np.random.default_rng(1), probes=40, steps=15)
    for power in range(1, 6):
        moments = found.moments(power)
        assert abs(moments.mean() - np.mean(SPECTRA["outliers"] ** power)) < 4 * moments.std(ddof=1) / 40**0.5


def test_the_density_has_mass_one_and_no_ghosts() -> None:
    """Without re-orthogonalization 120 steps would find the outlier of this spectrum several times."""
    found = density(with_spectrum(np.append(np.linspace(0, 1, 199), 100.0)), np.random.default_rng(0), steps=120)
    assert (np.sum((found.nodes > 50), axis=1) == 1).all()
    mean, spread = found.smoothed(np.linspace(-5, 110, 2000), 1.0)
    np.testing.assert_allclose(np.trapezoid(mean, np.linspace(-5, 110, 2000)), 1, rtol=1e-6)
    assert (spread >= 0).all()
    assert spread.max() > 0


def test_an_exhausted_krylov_space_gives_the_exact_density() -> None:
    found = density(with_spectrum(np.repeat([1.0, 3.0], 20)), np.random.default_rng(0), probes=50, steps=10)
    np.testing.assert_allclose(found.weights.sum(1), 1)
    upper = np.where(found.nodes > 2, found.weights, 0).sum(1)
    lower = np.where((found.nodes > 0.5) & (found.nodes < 2), found.weights, 0).sum(1)
    np.testing.assert_allclose(upper + lower, 1)
    assert abs(upper.mean() - 0.5) < 0.1
