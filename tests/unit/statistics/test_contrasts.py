"""Comparisons over a fixed grid have the errors of the textbook, and their intervals cover on cells like real ones."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, linregress, ttest_1samp, ttest_ind, ttest_rel
from statsmodels.stats.multitest import multipletests

from isthmus.analyses.claims.estimates import Largest, Plateau, Ratio, Smallest, blurred
from isthmus.statistics.contrasts import Estimate, estimate, slope_weights
from isthmus.statistics.multiplicity import adjusted
from isthmus.statistics.pairs import network_values
from isthmus.statistics.proportions import Proportion


def cells(*sizes: int, seed: int = 0) -> pd.DataFrame:
    """Values of some networks in each of several cells."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({place: pd.Series(random.gamma(2, 1 + place, size)) for place, size in enumerate(sizes)})


def test_two_groups_give_welchs_interval() -> None:
    values = cells(4, 7)
    found = estimate(values, ["narrow", "wide"], [-1, 1])
    welch = ttest_ind(values[1].dropna(), values[0].dropna(), equal_var=False)
    assert found.freedom == pytest.approx(welch.df)
    assert found.interval() == pytest.approx(tuple(welch.confidence_interval(0.95)))
    assert 2 * min(found.p_above(0), found.p_below(0)) == pytest.approx(welch.pvalue)


def test_cells_of_one_group_are_compared_seed_by_seed() -> None:
    values = cells(6, 6)
    found = estimate(values, ["same", "same"], [-1, 1])
    paired = ttest_rel(values[1], values[0])
    assert (found.freedom, found.interval()) == (5, pytest.approx(tuple(paired.confidence_interval(0.95))))
    assert found.p_above(0) == pytest.approx(ttest_rel(values[1], values[0], alternative="greater").pvalue)


def test_a_mean_over_cells_takes_networks_of_one_seed_together() -> None:
    values = cells(5, 5, 5)
    found = estimate(values, ["a", "b", "c"], [1 / 3] * 3)
    alone = ttest_1samp(values.mean(axis=1), 0).confidence_interval(0.95)
    assert (found.freedom, found.interval()) == (4, pytest.approx((alone.low, alone.high)))


def test_three_seeds_in_ten_cells_are_more_than_two_degrees_of_freedom() -> None:
    weights = np.array([-1, 1] * 5) / 5
    freedoms = [estimate(cells(*[3] * 10, seed=seed), range(10), weights).freedom for seed in range(50)]
    assert np.mean(freedoms) > 5
    assert min(freedoms) > 2


def test_a_network_that_is_missing_leaves_the_others_of_its_cell() -> None:
    values = cells(5, 5)
    values.iloc[2, 1] = np.nan
    found = estimate(values, ["same", "same"], [-1, 1])
    assert found.value == pytest.approx(values[1].mean() - values[0].mean())
    assert found.freedom == 3


def test_what_cannot_be_told_has_no_interval() -> None:
    assert math.isnan(estimate(cells(1, 4), ["a", "b"], [-1, 1]).error)
    same = pd.DataFrame({0: [0.1] * 4, 1: [0.3] * 4})
    found = estimate(same, ["a", "b"], [-1, 1])
    assert (found.value, found.error) == (pytest.approx(0.2), 0.0)
    assert all(math.isnan(each) for each in (*found.interval(), found.p_above(0), found.p_below(0)))
    shifted = pd.DataFrame({0: [0.1, 0.2, 0.7], 1: [0.3, 0.4, 0.9]})  # equal differences, but for rounding
    assert estimate(shifted, ["a", "a"], [-1, 1]).error == 0


def test_slope_weights_are_those_of_least_squares() -> None:
    levels, values = np.array([1.0, 2.0, 4.0, 9.0]), np.array([3.0, 1.0, 4.0, 1.0])
    assert slope_weights(levels) @ values == pytest.approx(linregress(levels, values).slope)


WIDTHS, DEPTHS, BATCHES = (8, 16, 32, 64, 128), (1, 3), (32, 256)
GRID = list(product(WIDTHS, DEPTHS, BATCHES))
COMPARISONS = {
    "difference": [(w == 128) / 4 - (w == 8) / 4 for w, _, _ in GRID],
    "slope": [slope_weights(np.log2(WIDTHS))[WIDTHS.index(w)] / 4 for w, _, _ in GRID],
    "by batch size": [(1 if b == 32 else -1) / 10 for _, _, b in GRID],
    "mean": [1 / 20] * 20,
}


def realistic(networks: int, random: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """Cells of which settings differ in level and slope, scatter unequally and skewed, and share starts and data."""
    truth = np.array([1.6 - 0.5 * np.log(w / 8) * (1 + 1.2 * (d == 3)) + 0.9 * (b == 256) for w, d, b in GRID])
    start = {shape: random.normal(size=networks) for shape in product(WIDTHS, DEPTHS)}
    order, scatter = random.normal(size=networks), [0.3 * (w / 8) ** -0.3 * (1 + 0.5 * (d == 3)) for w, d, _ in GRID]
    own = (random.gamma(2, size=(len(GRID), networks)) - 2) / np.sqrt(2)
    columns = {
        place: truth[place] + scatter[place] * (0.84 * own[place] + 0.45 * start[w, d] + 0.32 * order)
        for place, (w, d, _) in enumerate(GRID)
    }
    return pd.DataFrame(columns), truth


DRAWS = 800


@pytest.fixture(scope="module", params=[3, 5, 10])
def covered(request: pytest.FixtureRequest) -> dict[str, int]:
    """In how many of the draws the interval of each comparison holds the truth, with so many networks per cell."""
    random, count = np.random.default_rng(request.param), dict.fromkeys(COMPARISONS, 0)
    for _ in range(DRAWS):
        values, truth = realistic(request.param, random)
        for name, weights in COMPARISONS.items():
            low, high = estimate(values, [cell[:2] for cell in GRID], weights).interval()
            count[name] += low <= np.dot(weights, truth) <= high
    return count


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_intervals_cover_on_cells_like_real_ones(covered: dict[str, int], comparison: str) -> None:
    """Nominal 95 % intervals cover in at least 93 % of cases, as far as 800 draws tell."""
    assert binomtest(covered[comparison], DRAWS, 0.93, alternative="less").pvalue > 0.05
    assert covered[comparison] / DRAWS >= 0.93


@pytest.mark.parametrize("networks", [3, 5])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_intervals_over_pairs_cover(networks: int, share: float) -> None:
    """Whether pairs scatter by themselves or by their networks alone."""
    random, pairs = np.random.default_rng(7), np.array([(i, j) for j in range(networks) for i in range(j)])
    weights, truth = slope_weights(np.log2(WIDTHS)), np.linspace(0.5, 0.1, len(WIDTHS))
    covered, draws = 0, 400
    for _ in range(draws):
        columns = {}
        for place in range(len(WIDTHS)):
            each, own = random.normal(size=networks), random.normal(size=len(pairs))
            scatter = np.sqrt(share) * each[pairs].sum(axis=1) + np.sqrt(1 - share) * own
            columns[place] = network_values(truth[place] + 0.05 * (1 + place) * scatter, pairs)
        low, high = estimate(pd.DataFrame(columns), range(len(WIDTHS)), weights).interval()
        covered += low <= weights @ truth <= high
    assert covered / draws >= 0.93


# Many tests


def test_equal_shares_that_pass_on_equally_are_holms_method() -> None:
    p = np.array([0.001, 0.2, 0.012, 0.03, 0.8])
    passing = (1 - np.eye(5)) / 4
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(adjusted(p, np.full(5, 0.2), passing), expected)


def test_a_fixed_order_passes_everything_on() -> None:
    order = np.eye(3, k=1)
    np.testing.assert_allclose(adjusted([0.01, 0.04, 0.02], [1, 0, 0], order), [0.01, 0.04, 0.04])
    np.testing.assert_allclose(adjusted([0.3, 0.001, 0.001], [1, 0, 0], order), 0.3)


def test_the_published_example_is_reproduced() -> None:
    """The graph of Bretz et al. (2009) with two primary hypotheses, each with a secondary one, by hand.

    H2 is rejected at 0.02 / 0.5. H1 then has 0.75 and H4 has 0.25, and H1 goes at 0.03 / 0.75. A third of its share
    reaches H4 (half of it went to H2, which passed half of that on and half back), which is rejected at 0.0225 / 0.5.
    """
    passing = [[0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5], [0, 1, 0, 0], [1, 0, 0, 0]]
    found = adjusted([0.03, 0.02, 0.9, 0.0225], [0.5, 0.5, 0, 0], passing)
    assert found == pytest.approx([0.04, 0.04, 0.9, 0.045])


def test_what_cannot_be_tested_is_never_rejected() -> None:
    assert adjusted([math.nan, 0.001], [0.5, 0.5], [[0, 1], [1, 0]]).tolist() == [1.0, 0.002]


@pytest.mark.parametrize(
    ("shares", "passing"), [([0.7, 0.7], np.zeros((2, 2))), ([0.5, 0.5], np.eye(2)), ([0.5, 0.5], [[0, 2], [1, 0]])]
)
def test_shares_and_what_they_pass_on_are_checked(shares: list[float], passing: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at most"):
        adjusted([0.1, 0.1], shares, passing)


# What is made of comparisons


def test_a_proportion_has_scipys_exact_limits_and_tests() -> None:
    found = Proportion(3, 40)
    exact = binomtest(3, 40).proportion_ci(0.95, method="exact")
    assert found.interval() == pytest.approx((exact.low, exact.high))
    assert found.p_below(0.2) == pytest.approx(binomtest(3, 40, 0.2, alternative="less").pvalue)
    assert found.p_above(0.02) == pytest.approx(binomtest(3, 40, 0.02, alternative="greater").pvalue)


def test_a_ratio_is_the_exponential_of_a_difference() -> None:
    difference = Estimate(math.log(2), 0.1, 8.0)
    found = Ratio(difference)
    assert found.value == pytest.approx(2)
    assert found.interval() == pytest.approx(tuple(np.exp(difference.interval())))
    assert found.p_above(1.5) == difference.p_above(math.log(1.5))


def test_all_steps_must_rise_and_any_may_fall() -> None:
    steps = [Estimate(0.5, 0.1, 20.0), Estimate(0.1, 0.1, 20.0)]
    assert Smallest(steps).value == 0.1
    assert Smallest(steps).p_above(0) == steps[1].p_above(0)
    assert Smallest(steps).p_below(0.3) == 2 * steps[1].p_below(0.3)
    assert Largest(steps).value == 0.5
    assert Largest(steps).p_above(0) == pytest.approx(2 * steps[0].p_above(0))
    assert Largest(steps).p_below(0) == pytest.approx(steps[0].p_below(0))


@pytest.mark.parametrize("extreme", [Smallest, Largest])
def test_intervals_of_extremes_cover(extreme: type[Smallest] | type[Largest]) -> None:
    random, truth, covered = np.random.default_rng(0), np.array([0.0, 0.0, 0.02, 0.5]), 0
    target = truth.min() if extreme is Smallest else truth.max()
    for _ in range(400):
        values = truth + random.normal(0, 0.1, (6, 4))
        errors = values.std(axis=0, ddof=1) / np.sqrt(6)
        found = extreme([Estimate(v, e, 5.0) for v, e in zip(values.mean(axis=0), errors, strict=True)])
        low, high = found.interval()
        covered += low <= target <= high
    assert covered / 400 >= 0.93


def test_a_plateau_begins_where_all_gains_beyond_are_small() -> None:
    gains = [Estimate(gain, 0.01, 30.0) for gain in (0.5, 0.001, 0.002)]
    found = Plateau([8.0, 16.0, 32.0, 64.0], gains, 0.05)
    assert found.value == 0.25
    assert found.interval() == (0.25, 0.25)
    assert found.p_below(1) == gains[2].p_below(0.05)
    assert found.p_below(0.5) == max(gains[1].p_below(0.05), gains[2].p_below(0.05))
    assert found.p_above(0.25) == 3 * gains[0].p_above(0.05)


def test_that_there_is_no_plateau_is_never_found() -> None:
    rising = Plateau([8.0, 16.0, 32.0], [Estimate(gain, 0.01, 30.0) for gain in (0.8, 0.4)], 0.05)
    assert (rising.value, *rising.interval()) == (1.0, 1.0, 1.0)
    assert rising.p_above(1) == 1.0
    assert rising.p_above(0.4) < 1e-10


def test_the_error_of_a_published_value_adds_to_ours() -> None:
    found = blurred(Estimate(1.0, 0.3, 6.0), (0.0, 2 * 1.959964 * 0.4))
    assert isinstance(found, Estimate)
    assert found.error == pytest.approx(0.5, abs=1e-5)
    assert found.freedom == pytest.approx(6 * 0.5**4 / 0.3**4, rel=1e-4)
