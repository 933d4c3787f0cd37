"""Rank correlations are SciPy's, look within cells where they are to, and have intervals that cover."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from isthmus.analyses.relations.correlations import METHODS, SCOPES, coefficient, correlate, resampled

SCIPY = {"spearman": spearmanr, "kendall": kendalltau}
CELLS = np.repeat(np.arange(6), 5)


def drawn(seed: int, correlation: float = 0.5, number: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Normal values with a correlation, [number] each."""
    random = np.random.default_rng(seed)
    x, other = random.normal(size=(2, number))
    return x, correlation * x + np.sqrt(1 - correlation**2) * other


def opposed() -> tuple[np.ndarray, np.ndarray]:
    """Six cells whose means rise together, while in every cell the one falls exactly as the other rises."""
    steps = np.tile(np.arange(5.0), 6)
    return 100.0 * CELLS + steps, 100.0 * CELLS - steps


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ties", [False, True])
def test_over_all_networks_it_is_scipys(method: str, ties: bool) -> None:
    x, y = drawn(0)
    if ties:
        x, y = x.round(), y.round()
    found = correlate(x, y, CELLS, method, "all")
    assert found.coefficient == pytest.approx(SCIPY[method](x, y).statistic)
    assert found.low < found.coefficient < found.high
    assert (found.networks, found.cells) == (30, 6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ties", [False, True])
def test_a_resample_has_the_coefficient_of_the_networks_drawn(method: str, ties: bool) -> None:
    x, y = drawn(1, number=9)
    if ties:
        x, y = (2 * x).round(), (2 * y).round()
    times = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), size=50)
    samples = [(np.repeat(x, each), np.repeat(y, each)) for each in times]
    varied = [len(set(a)) > 1 and len(set(b)) > 1 for a, b in samples]
    expected = [coefficient(a, b, method) if vary else np.nan for (a, b), vary in zip(samples, varied, strict=True)]
    np.testing.assert_allclose(resampled(x, y, method, times), expected, atol=1e-12)


def test_within_cells_a_trend_between_them_is_gone() -> None:
    """Simpson's paradox: more of the one goes with more of the other over all networks, and with less in every cell."""
    x, y = opposed()
    for method in METHODS:
        assert correlate(x, y, CELLS, method, "all").coefficient > 0.5
        assert correlate(x, y, CELLS, method, "within").coefficient == pytest.approx(-1)
        assert correlate(x, y, CELLS, method, "between").coefficient == pytest.approx(1)


def test_within_is_the_mean_over_cells_weighted_by_their_pairs_of_networks() -> None:
    x, y = drawn(2, number=12)
    cells = np.repeat(["a", "b", "c"], [3, 4, 5])
    for method in METHODS:
        each = [SCIPY[method](x[cells == cell], y[cells == cell]).statistic for cell in "abc"]
        found = correlate(x, y, cells, method, "within")
        assert found.coefficient == pytest.approx(np.average(each, weights=[3, 6, 10]))
    concordant = sum(
        np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i in range(12) for j in range(i) if cells[i] == cells[j]
    )
    assert correlate(x, y, cells, "kendall", "within").coefficient == pytest.approx(concordant / 19)


def test_cells_that_say_nothing_are_left_out_within() -> None:
    x, y = drawn(3)
    y = np.where(CELLS == 2, 1.0, y)
    cells = np.where(np.arange(30) < 2, 7, CELLS)  # a cell of two, and one of three
    found = correlate(x, y, cells, "spearman", "within")
    assert (found.networks, found.cells) == (30 - 5 - 2, 5)
    rest = (cells != 2) & (cells != 7)
    assert found.coefficient == correlate(x[rest], y[rest], cells[rest], "spearman", "within").coefficient


def test_between_compares_means_of_cells() -> None:
    x, y = drawn(4)
    means = [each.reshape(6, 5).mean(axis=1) for each in (x, y)]
    found = correlate(x, y, CELLS, "kendall", "between")
    assert found.coefficient == pytest.approx(kendalltau(*means).statistic)
    assert found.cells == 6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scope", SCOPES)
def test_too_few_networks_or_no_variation_have_no_coefficient(method: str, scope: str) -> None:
    x, y = drawn(5)
    for found in (
        correlate(np.ones(30), y, CELLS, method, scope),
        correlate(x, np.ones(30), CELLS, method, scope),
        correlate(x[:4], y[:4], CELLS[:4], method, scope),
        correlate(x[:0], y[:0], CELLS[:0], method, scope),
    ):
        assert np.isnan([found.coefficient, found.low, found.high]).all()


@pytest.mark.parametrize("scope", SCOPES)
def test_the_order_of_the_networks_does_not_matter(scope: str) -> None:
    x, y = drawn(6)
    order = np.random.default_rng(0).permutation(30)
    assert correlate(x, y, CELLS, "spearman", scope) == correlate(x[order], y[order], CELLS[order], "spearman", scope)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_intervals_over_all_networks_cover_as_often_as_they_say(method: str, correlation: float) -> None:
    """The coefficients of a bivariate normal distribution have closed forms (Kruskal 1958)."""
    truth = {"spearman": 6 / np.pi * np.arcsin(correlation / 2), "kendall": 2 / np.pi * np.arcsin(correlation)}[method]
    cells = np.zeros(20)
    found = [correlate(*drawn(seed, correlation, 20), cells, method, "all", resamples=399) for seed in range(250)]
    assert np.mean([each.low <= truth <= each.high for each in found]) == pytest.approx(0.95, abs=0.045)


@pytest.mark.parametrize("method", METHODS)
def test_intervals_within_cells_cover_no_correlation(method: str) -> None:
    found = []
    for seed in range(200):
        x, y = drawn(seed, 0.0)
        found.append(correlate(x + 9 * CELLS, y + 9 * CELLS, CELLS, method, "within", resamples=399))
    assert np.mean([each.low <= 0 <= each.high for each in found]) == pytest.approx(0.97, abs=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_intervals_within_cells_that_start_alike_count_seeds(method: str) -> None:
    """Six cells share most of their variance by seed: the intervals are those of eight networks, not of 48."""
    cells, start = np.repeat(np.arange(6), 8), np.column_stack([np.zeros(48, dtype=int), np.tile(np.arange(8), 6)])
    found, apart = [], []
    for seed in range(200):
        random = np.random.default_rng(seed)
        x, y = (np.sqrt(0.8) * np.tile(random.normal(size=8), 6) + np.sqrt(0.2) * random.normal(size=48) for _ in "xy")
        found.append(correlate(x, y, cells, method, "within", start=start, resamples=399))
        apart.append(correlate(x, y, cells, method, "within", resamples=399))
    assert np.mean([each.low <= 0 <= each.high for each in found]) >= 0.9
    assert np.mean([each.low <= 0 <= each.high for each in apart]) <= 0.8


def test_a_group_of_its_own_for_each_cell_changes_nothing() -> None:
    x, y = drawn(7)
    start = np.column_stack([CELLS, np.tile(np.arange(5), 6)])
    plain, grouped = (correlate(x, y, CELLS, "kendall", "within", start=each) for each in (None, start))
    assert grouped.coefficient == plain.coefficient
    assert (grouped.low, grouped.high) == pytest.approx((plain.low, plain.high), abs=0.05)


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        correlate(np.array([1.0, np.nan]), np.ones(2), np.zeros(2), "spearman", "all")
    with pytest.raises(ValueError, match="two values and a cell"):
        correlate(np.ones(2), np.ones(3), np.zeros(2), "spearman", "all")


def test_cells_with_equally_many_errors_are_tied_however_these_are_spread_over_their_networks() -> None:
    """The mean of shares differs in its last bit between cells of 100 errors each; `between` takes them for equal."""
    spreads = [(0, 2, 98), (0, 17, 83), (5, 6, 7), (40, 1, 2), (9, 80, 90)]
    shares = np.array([[1 - (1 - wrong / 360) for wrong in errors] for errors in spreads])
    assert shares[0].mean() != shares[1].mean()
    cell, order = np.repeat(np.arange(5), 3), np.repeat(np.arange(5.0), 3)
    expected = kendalltau([sum(errors) for errors in spreads], range(5)).statistic
    assert correlate(shares.ravel(), order, cell, "kendall", "between").coefficient == pytest.approx(
        expected, abs=1e-12
    )


def test_means_that_cancel_are_tied_at_zero() -> None:
    values = np.array([0.1, 0.2, -0.3, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, -1.0, -1.0, -2.0, 4.0, 4.0, 4.0])
    assert values[:3].mean() != 0
    cell, order = np.repeat(np.arange(5), 3), np.repeat(np.arange(5.0), 3)
    expected = kendalltau([0, 0, 2, -4 / 3, 4], range(5)).statistic
    assert correlate(values, order, cell, "kendall", "between").coefficient == pytest.approx(expected, abs=1e-12)
