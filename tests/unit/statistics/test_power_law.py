"""Slopes of power laws, and how often their intervals cover."""

import math

import numpy as np
import pytest
from scipy import stats

from isthmus.statistics.power_law import power_law

WIDTHS = 16 * 2.0 ** np.arange(8)


def drawn(
    generator: np.random.Generator, widths: int, each: int, within: float, among: float = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Networks of `widths` widths, `each` of a width, about 3 * width^-1/2 in logarithms."""
    width = np.repeat(WIDTHS[:widths], each)
    shifts = np.repeat(generator.normal(0, among, widths), each)
    return width, 3 * width**-0.5 * np.exp(shifts + generator.normal(0, within, width.size))


def test_an_exact_power_law_has_its_power_and_prefactor() -> None:
    width = np.repeat(WIDTHS, 3)
    found = power_law(width, 7 * width**-1.5)
    assert (found.slope, found.low, found.high) == pytest.approx((-1.5, -1.5, -1.5))
    assert found.prefactor == pytest.approx(7)
    assert (found.networks, found.widths) == (24, 8)


def test_units_change_the_prefactor_alone() -> None:
    width, values = drawn(np.random.default_rng(0), 5, 3, 0.2)
    found, scaled, coarser = power_law(width, values), power_law(width, 10 * values), power_law(width / 4, values)
    for other in (scaled, coarser):
        assert (other.slope, other.low, other.high) == pytest.approx((found.slope, found.low, found.high))
        assert other.lack_of_fit == pytest.approx(found.lack_of_fit)
    assert scaled.prefactor == pytest.approx(10 * found.prefactor)
    assert coarser.prefactor == pytest.approx(found.prefactor * 4**found.slope)


def test_with_a_network_per_width_the_interval_is_students() -> None:
    width, values = drawn(np.random.default_rng(0), 6, 1, 0.2)
    found = power_law(width, values, level=0.9)
    line = stats.linregress(np.log(width), np.log(values))
    assert found.slope == pytest.approx(line.slope)
    assert found.high - found.slope == pytest.approx(stats.t.ppf(0.95, 4) * line.stderr)
    assert found.slope - found.low == pytest.approx(stats.t.ppf(0.95, 4) * line.stderr)
    assert found.lack_of_fit is None


def test_widths_off_the_line_count_as_many_points_as_there_are_widths() -> None:
    """Networks of a width that agree bring nothing new: the interval is that of one network per width."""
    width, values = drawn(np.random.default_rng(1), 5, 1, 0.2)
    alone, agreeing = power_law(width, values), power_law(np.tile(width, 4), np.tile(values, 4))
    assert (agreeing.slope, agreeing.low, agreeing.high) == pytest.approx((alone.slope, alone.low, alone.high))
    assert agreeing.lack_of_fit == pytest.approx(0, abs=1e-12)


def test_the_lack_of_fit_is_uniform_under_a_power_law_and_small_for_a_bend() -> None:
    generator = np.random.default_rng(2)
    found = [power_law(*drawn(generator, 5, 3, 0.2)).lack_of_fit for _ in range(400)]
    assert stats.kstest(found, "uniform").pvalue > 0.01
    width, values = drawn(generator, 6, 3, 0.05)
    bent = power_law(width, values * np.exp(0.1 * np.log(width / 90) ** 2)).lack_of_fit
    assert bent is not None
    assert bent < 1e-5


@pytest.mark.parametrize("among", [0, 0.1])
@pytest.mark.parametrize(("widths", "each"), [(4, 2), (6, 3), (8, 5)])
def test_the_interval_covers_as_often_as_it_says(widths: int, each: int, among: float) -> None:
    """Whether the networks scatter about a line, or the widths do too: see the table in the module."""
    generator = np.random.default_rng(0)
    found = [power_law(*drawn(generator, widths, each, 0.1, among)) for _ in range(400)]
    covered = np.mean([each.low <= -0.5 <= each.high for each in found])
    assert covered == pytest.approx(0.95, abs=0.045)


def test_the_order_of_the_networks_does_not_matter_and_repeats_agree() -> None:
    width, values = drawn(np.random.default_rng(0), 4, 3, 0.2)
    found = power_law(width, values)
    assert power_law(list(width), list(values)) == found
    backwards = power_law(width[::-1], values[::-1])
    assert (backwards.slope, backwards.low, backwards.high) == pytest.approx((found.slope, found.low, found.high))


def test_unequal_numbers_of_networks_are_weighted_by_their_number() -> None:
    width = np.array([16, 16, 16, 32, 64, 64])
    values = np.array([1.0, 1.1, 0.9, 0.8, 0.5, 0.6])
    found = power_law(width, values)
    assert found.slope == pytest.approx(np.polyfit(np.log(width), np.log(values), 1)[0])
    assert found.low < found.slope < found.high
    assert found.lack_of_fit is not None


def test_two_widths_have_a_slope_and_no_lack_of_fit() -> None:
    found = power_law([16, 16, 64, 64], [1.0, 1.1, 0.5, 0.6])
    assert found.slope == pytest.approx(math.log(math.sqrt(0.3 / 1.1)) / math.log(4))
    assert found.low < found.slope < found.high
    assert found.lack_of_fit is None
    bare = power_law([16, 64], [1.0, 0.5])
    assert bare.slope == pytest.approx(-0.5)
    assert math.isnan(bare.low)
    assert math.isnan(bare.high)


def test_what_has_no_power_law_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two widths; there are 1"):
        power_law([8, 8], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least two widths; there are 0"):
        power_law([], [])
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite values"):
            power_law([8, 16], [1.0, wrong])
        with pytest.raises(ValueError, match="finite widths"):
            power_law([wrong, 16], [1.0, 1.0])
    with pytest.raises(ValueError, match="shapes"):
        power_law([8, 16], [1.0])
    with pytest.raises(ValueError, match="level"):
        power_law([8, 16], [1.0, 1.0], level=95)
