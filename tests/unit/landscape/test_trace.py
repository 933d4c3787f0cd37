"""Trace and squared Frobenius norm: exact where they can be, else unbiased, with intervals that cover the truth."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import descend, recipe
from scipy.stats import beta, chi2
from spectra import Diagonal, Matrix, spectra, with_spectrum

from isthmus.core.errors import UserError
from isthmus.data.dataset import Dataset, normalized
from isthmus.landscape.hessian.lanczos import KrylovSpace, SymmetricOperator, eigenvalues
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.landscape.hessian.trace import Estimate, Traces, traces
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.networks import build

SPIKED = np.concatenate([np.linspace(-1, 1, 190), np.arange(2.0, 12.0)])


def deflated(
    operator: SymmetricOperator, seed: int, precision: float = 0.05, most: int = 1000, start: torch.Tensor | None = None
) -> Traces:
    """As in an analysis: the search for the top eigenvalue, then both sums from the space that it leaves."""
    generator = np.random.default_rng(seed)
    top = eigenvalues(operator, 1, generator, look_for_copies=False, start=start)
    return traces(operator, top.space, generator, precision, precision, most)


def covers(estimate: Estimate, truth: float, scale: float) -> bool:
    """Whether the interval contains the truth, rounding aside."""
    return estimate.low - 1e-9 * scale <= truth <= estimate.high + 1e-9 * scale


def simulated(repeats: int, most: int = 150, from_gradient: bool = False) -> pd.DataFrame:
    """A row for each spectrum of `spectra()` and repeat; with 50 repeats, the table of the module.

    from_gradient: the searches start from the gradient of the quadratic form at a random point.
    """
    rows = []
    for number, (family, spectrum) in enumerate(spectra()):
        scale, operator = float(np.abs(spectrum).sum()), Diagonal(spectrum)
        for repeat in range(repeats):
            run = 1000 * number + repeat
            point = torch.from_numpy(np.random.default_rng((1, run)).standard_normal(len(spectrum)))
            start = operator(point[None])[0] if from_gradient else None
            found = deflated(operator, run, most=most, start=start)
            row: dict[str, object] = {"family": family, "probes": found.probes}
            sums = {"trace": spectrum.sum(), "squared_frobenius": np.square(spectrum).sum()}
            for name, truth in sums.items():
                estimate: Estimate = getattr(found, name)
                unit = scale if name == "trace" else scale**2
                row[name] = covers(estimate, float(truth), unit)
                row[name + "_width"] = (estimate.high - estimate.low) / (scale if name == "trace" else truth)
                row[name + "_converged"] = estimate.converged
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module", params=[1, pytest.param(7, marks=pytest.mark.exhaustive)])
def simulation(request: pytest.FixtureRequest) -> pd.DataFrame:
    """So many estimates for each of 200 spectra."""
    return simulated(request.param)


@pytest.mark.exhaustive
@pytest.mark.parametrize("simulation", [7], indirect=True)
@pytest.mark.parametrize("name", ["trace", "squared_frobenius"])
def test_intervals_cover_the_truth_in_at_least_93_percent_of_cases(simulation: pd.DataFrame, name: str) -> None:
    """The exact lower 95 % confidence limit of the coverage over 200 spectra, seven times each, must exceed 93 %."""
    covered, cases = int(simulation[name].sum()), len(simulation)
    assert cases == 1400
    assert beta.ppf(0.05, covered, cases - covered + 1) > 0.93


@pytest.mark.parametrize("name", ["trace", "squared_frobenius"])
def test_intervals_do_not_cover_significantly_less_than_93_percent(simulation: pd.DataFrame, name: str) -> None:
    """The exact upper 95 % confidence limit, over however many cases."""
    covered, cases = int(simulation[name].sum()), len(simulation)
    assert beta.ppf(0.95, covered + 1, cases - covered) > 0.93


def test_the_same_holds_after_searches_that_start_from_the_gradient() -> None:
    found = simulated(1, from_gradient=True)
    for name in ("trace", "squared_frobenius"):
        covered, cases = int(found[name].sum()), len(found)
        assert beta.ppf(0.95, covered + 1, cases - covered) > 0.93, name


@pytest.mark.parametrize("name", ["trace", "squared_frobenius"])
def test_no_kind_of_spectrum_is_covered_significantly_less_than_93_percent(simulation: pd.DataFrame, name: str) -> None:
    """Upper confidence limits at 0.5 %, since there are ten kinds."""
    covered = simulation.groupby("family")[name].agg(["sum", "size"])
    upper = beta.ppf(0.995, covered["sum"] + 1, covered["size"] - covered["sum"])
    assert (np.nan_to_num(upper, nan=1.0) > 0.93).all(), covered
    assert len(covered) == 10


def test_intervals_are_not_wider_than_the_precision_asks_for(simulation: pd.DataFrame) -> None:
    """Where it converged: 2 t SE, with SE at most 5 % of the trace and at least 10 degrees of freedom."""
    converged = simulation[simulation["trace_converged"]]
    assert len(converged) > 0.64 * len(simulation)  # elsewhere 150 products did not suffice
    assert (converged["trace_width"] <= 2 * 2.23 * 0.05).all()


def hessians(digits: Dataset, times: int) -> Iterator[np.ndarray]:
    """Dense float64 Hessians on the digits, 12 of them so many times: three shapes, at four moments of training."""
    images = normalized(digits.train_images, digits.mean, digits.std).double()[:100]
    labels = digits.train_labels[:100]
    for seed, (width, depth) in enumerate([(3, 1), (4, 2), (3, 3)] * times):
        network = build(recipe(width, depth).network, (1, 8, 8), 10)
        network.initialize((seed,))
        network.double()
        for steps in (0, 20, 60, 120):
            descend(network, images, labels, steps)
            with evaluation_mode(network, images[None]):
                operator = CurvatureOperator(network, images, labels, "cross_entropy")
                yield dense(operator).numpy()


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_errors_over_hessians_of_real_networks_are_as_large_as_they_say(digits: Dataset, times: int) -> None:
    """The sum of the squared z of independent estimates is chi-square, were they normal: within its 99.9 % bounds."""
    squares: dict[str, list[float]] = {"trace": [], "squared_frobenius": []}
    for number, matrix in enumerate(hessians(digits, times)):
        found = deflated(Matrix(torch.from_numpy(matrix).float()), number)
        exact = np.linalg.eigvalsh(matrix)
        truths = {"trace": exact.sum(), "squared_frobenius": np.square(exact).sum()}
        for name, each in squares.items():
            estimate: Estimate = getattr(found, name)
            each.append(float(((estimate.value - truths[name]) / estimate.error) ** 2))
    for each in squares.values():
        assert len(each) == 12 * times
        assert chi2.ppf(0.0005, len(each)) < sum(each) < chi2.ppf(0.9995, len(each))


def test_both_sums_are_exact_where_the_krylov_space_is_the_whole() -> None:
    matrix, generator = with_spectrum(np.arange(-3.0, 9)), np.random.default_rng(0)
    found = traces(matrix, eigenvalues(matrix, 12, generator).space, generator)
    assert found.probes == 0
    for estimate, truth in ((found.trace, 30.0), (found.squared_frobenius, 218.0)):
        assert estimate.value == estimate.low == estimate.high == pytest.approx(truth, rel=1e-12)
        assert estimate.error == 0
        assert estimate.converged


@pytest.mark.parametrize("space", ["deflated", "empty"])
def test_both_estimates_are_unbiased(space: str) -> None:
    """With as many probes in every run: nothing is selected."""
    matrix = with_spectrum(SPIKED)
    runs = []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        start = KrylovSpace.empty(matrix) if space == "empty" else eigenvalues(matrix, 1, generator).space
        runs.append(traces(matrix, start, generator, np.inf, maximum_products=10))
    assert {run.probes for run in runs} == {10}
    for name, truth in (("trace", SPIKED.sum()), ("squared_frobenius", np.square(SPIKED).sum())):
        values = np.array([getattr(run, name).value for run in runs])
        errors = np.array([getattr(run, name).error for run in runs])
        assert abs(values.mean() - truth) < 4 * values.std(ddof=1) / 300**0.5
        # A variance of 300 values has a relative standard error of some 8 %, and more with heavy tails.
        assert np.mean(errors**2) == pytest.approx(values.var(ddof=1), rel=0.4)


@pytest.mark.parametrize("which", ["largest", "smallest"])
@pytest.mark.parametrize("basis_size", [6, 40])
def test_a_search_leaves_a_space_on_which_the_matrix_is_known(which: str, basis_size: int) -> None:
    """H Q = Q T + a remainder orthogonal to Q, after restarts (six vectors) and after a search for copies as well."""
    matrix = with_spectrum(SPIKED)
    space = eigenvalues(matrix, 3, np.random.default_rng(0), which, 1e-6, basis_size=basis_size).space
    basis, images = space.basis, space.basis @ matrix.matrix
    projected = torch.from_numpy(space.projected)
    torch.testing.assert_close(basis @ basis.mT, torch.eye(len(basis), dtype=torch.float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(basis @ images.mT, projected, atol=1e-9, rtol=0)
    assert float((images - projected @ basis).norm()) == pytest.approx(space.leaving, abs=1e-9)


def test_deflation_leaves_less_to_estimate() -> None:
    matrix, generator = with_spectrum(SPIKED), np.random.default_rng(0)
    top = eigenvalues(matrix, 10, generator, tolerance=1e-6)
    aided = traces(matrix, top.space, generator, 0, maximum_products=60)
    plain = traces(matrix, KrylovSpace.empty(matrix), generator, 0, maximum_products=60)
    assert aided.trace.error < plain.trace.error / 2
    assert aided.squared_frobenius.error < plain.squared_frobenius.error / 10


def test_precisions_are_met_each_by_itself_and_what_is_not_met_says_so() -> None:
    matrix = with_spectrum(np.linspace(1, 3, 300) * np.tile([1, -0.2], 150))
    empty, products = KrylovSpace.empty(matrix), []
    for precision, of_square in ((0.05, np.inf), (0.02, np.inf), (np.inf, 0.02)):
        found = traces(matrix, empty, np.random.default_rng(0), precision, of_square)
        assert found.trace.converged
        assert found.squared_frobenius.converged
        assert found.trace.error <= precision * abs(found.trace.value)
        assert found.squared_frobenius.error <= of_square * found.squared_frobenius.value
        products.append(found.probes)
    assert products[0] < products[1]
    short = traces(matrix, empty, np.random.default_rng(0), 0.001, 10.0, maximum_products=33)
    assert short.probes == 33
    assert not short.trace.converged
    assert short.squared_frobenius.converged


def test_the_same_generator_gives_the_same_numbers_whatever_was_drawn_before() -> None:
    matrix = with_spectrum(SPIKED)
    first = deflated(matrix, 3)
    torch.manual_seed(1)
    np.random.default_rng(3).standard_normal(7)
    assert deflated(matrix, 3) == first
    assert deflated(matrix, 4) != first


def test_impossible_requests_and_broken_products_are_refused() -> None:
    matrix, generator = with_spectrum(np.arange(4.0)), np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least 2"):
        traces(matrix, KrylovSpace.empty(matrix), generator, least_probes=1)
    broken = Matrix(torch.full((4, 4), torch.nan))
    with pytest.raises(UserError, match="not finite"):
        traces(broken, KrylovSpace.empty(broken), generator)
