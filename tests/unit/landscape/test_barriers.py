"""Barriers of profiles whose barriers are known."""

import warnings

import numpy as np
import pytest

from isthmus.landscape.barriers import barrier, barrier_max, mode_connectivity

T = np.linspace(0, 1, 61)


def test_a_straight_profile_has_no_barrier() -> None:
    level, slope = np.full_like(T, 0.3), 0.1 + 2 * T
    assert barrier(level, T) == 0
    assert barrier(slope, T) == pytest.approx(0, abs=1e-15)
    assert barrier_max(level, T) == barrier_max(slope, T) == 0
    assert mode_connectivity(level, T) == (0, 0)


def test_a_symmetric_hill_has_the_same_height_by_every_measure() -> None:
    hill = 0.2 + 4 * 1.5 * T * (1 - T)
    assert barrier(hill, T) == pytest.approx(1.5)
    assert barrier_max(hill, T) == pytest.approx(1.5)
    value, where = mode_connectivity(hill, T)
    assert (value, where) == (pytest.approx(-1.5), 0.5)


def test_a_hill_on_a_slope() -> None:
    # L = t + 2 t (1 - t) rises above the straight line by at most 1/2, at t = 1/2. Its top, where L' = 3 - 4 t = 0, is
    # 9/8, so 1/8 above the higher end. From the mean 1/2 of the ends it deviates most at that top, by 5/8.
    t = np.linspace(0, 1, 41)
    profile = t + 2 * t * (1 - t)
    assert barrier(profile, t) == pytest.approx(1 / 2)
    assert barrier_max(profile, t) == pytest.approx(1 / 8)
    value, where = mode_connectivity(profile, t)
    assert (value, where) == (pytest.approx(-5 / 8), pytest.approx(3 / 4))


def test_a_valley_is_no_barrier_and_has_positive_mode_connectivity() -> None:
    valley = 1 - 4 * 0.7 * T * (1 - T)
    assert barrier(valley, T) == barrier_max(valley, T) == 0
    value, where = mode_connectivity(valley, T)
    assert (value, where) == (pytest.approx(0.7), 0.5)


def test_of_unequal_ends_without_a_hill_between_mode_connectivity_is_half_the_difference() -> None:
    value, where = mode_connectivity([0.0, 0.1, 1.0], [0.0, 0.5, 1.0])
    assert (value, where) == (0.5, 0)


def test_all_measures_scale_with_the_loss_and_only_their_differences_count() -> None:
    profile = np.random.default_rng(0).random(len(T))
    for measure in (barrier, barrier_max, lambda values, t: mode_connectivity(values, t)[0]):
        assert measure(5 + 3 * profile, T) == pytest.approx(3 * measure(profile, T))


def test_the_rise_above_the_line_is_at_least_that_above_the_higher_end() -> None:
    profiles = np.random.default_rng(0).random((50, len(T)))
    assert (barrier(profiles, T) >= barrier_max(profiles, T)).all()
    assert (barrier_max(profiles, T) >= 0).all()
    reversed_barriers = barrier(profiles[:, ::-1], 1 - T[::-1])
    np.testing.assert_allclose(reversed_barriers, barrier(profiles, T))


def test_many_profiles_at_once_are_each_alone() -> None:
    profiles = np.random.default_rng(1).random((2, 3, len(T))).astype(np.float32)
    value, where = mode_connectivity(profiles, T)
    assert value.shape == where.shape == barrier(profiles, T).shape == barrier_max(profiles, T).shape == (2, 3)
    assert value.dtype == barrier(profiles, T).dtype == np.float64
    for index in np.ndindex(2, 3):
        assert barrier(profiles[index], T) == barrier(profiles, T)[index]
        assert barrier_max(profiles[index], T) == barrier_max(profiles, T)[index]
        assert mode_connectivity(profiles[index], T) == (value[index], where[index])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_out_of_range_makes_the_barrier_so_without_a_warning(value: float) -> None:
    profile = np.where(T[10] == T, value, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [barrier(profile, T), barrier_max(profile, T), *mode_connectivity(profile, T)]
    assert not np.isfinite(results[:3]).any()
    assert results[3] == T[10]


@pytest.mark.parametrize("t", [[0.0, 0.5], [0.0, 0.7, 0.5, 1.0], [0.1, 0.5, 1.0], [0.0]])
def test_points_that_do_not_run_from_end_to_end_are_refused(t: list[float]) -> None:
    with pytest.raises(ValueError, match="must increase from 0 to 1"):
        barrier(np.zeros(len(t)), t)


def test_values_that_do_not_fit_the_points_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\) do not belong to 61 points"):
        mode_connectivity(np.zeros((3, 4)), T)
