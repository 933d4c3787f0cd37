"""Intervals cover as often as they say, and means come with their counts."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isthmus.statistics.bootstrap import bootstrap_interval, bootstrap_intervals, summarize


@pytest.mark.parametrize("networks", [2, 3, 5, 10])
def test_interval_covers_the_mean_of_a_normal_distribution_as_often_as_it_says(networks: int) -> None:
    samples = np.random.default_rng(networks).normal(3.0, 2.0, (1000, networks))
    low, high = bootstrap_intervals(samples)
    coverage = np.mean((low <= 3.0) & (high >= 3.0))
    assert coverage == pytest.approx(0.95, abs=0.025)  # 3.6 standard errors of a proportion of 1000


def test_interval_of_normal_values_is_close_to_students() -> None:
    samples = np.random.default_rng(0).normal(size=(300, 10))
    low, high = bootstrap_intervals(samples, level=0.9)
    student = stats.t.ppf(0.95, 9) * samples.std(axis=1, ddof=1) / np.sqrt(10)
    assert np.median((high - low) / (2 * student)) == pytest.approx(1, abs=0.05)


def test_interval_of_many_values_is_the_percentile_interval_of_scipy() -> None:
    values = np.random.default_rng(0).exponential(size=400)
    plain = stats.bootstrap(
        (values,), np.mean, method="percentile", random_state=np.random.default_rng(1)
    ).confidence_interval
    low, high = bootstrap_interval(values, resamples=9999)
    assert (low, high) == pytest.approx((plain.low, plain.high), rel=0.02)


def test_interval_is_reproducible_and_does_not_depend_on_order_or_company() -> None:
    values = [0.91, 0.95, 0.93, 0.90, 0.97]
    interval = bootstrap_interval(values)
    assert bootstrap_interval(values) == interval
    assert bootstrap_interval(values[::-1]) == interval
    others = np.random.default_rng(0).random((600, 5))
    low, high = bootstrap_intervals(np.vstack([others, values]))
    assert (low[-1], high[-1]) == interval
    assert bootstrap_interval(values, seed=1) != interval


def test_interval_moves_and_stretches_with_its_values() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    low, high = bootstrap_interval(values)
    assert bootstrap_interval(10 + 3 * values) == pytest.approx((10 + 3 * low, 10 + 3 * high))


def test_one_network_and_equal_ones_have_no_interval() -> None:
    assert np.isnan(bootstrap_interval([0.5])).all()
    assert np.isnan(bootstrap_interval([])).all()
    assert np.isnan(bootstrap_interval([0.1, 0.1, 0.1])).all()


def test_interval_does_not_leave_what_is_possible() -> None:
    values = [0.99, 1.0, 1.0]
    assert bootstrap_interval(values)[1] > 1
    assert bootstrap_interval(values, limits=(0, 1))[1] == 1


def test_values_that_are_not_finite_and_impossible_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="diverged"):
        bootstrap_interval([0.5, np.nan])
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval([0.5, 0.6], level=95)


def test_summary_leaves_out_what_diverged_and_counts_it() -> None:
    frame = pd.DataFrame(
        {
            "width": [8, 8, 8, 8, 16, 16, 32],
            "seed": [0, 1, 2, 3, 0, 1, 0],
            "diverged": [False, False, True, False, True, True, False],
            "accuracy": [0.5, 0.7, 0.1, None, None, None, 0.9],
        }
    )
    summary = summarize(frame, ["width"], "accuracy")
    assert summary["width"].tolist() == [8, 16, 32]
    assert summary["count"].tolist() == [2, 0, 1]
    assert summary["excluded"].tolist() == [2, 2, 0]
    np.testing.assert_allclose(summary["mean"], [0.6, np.nan, 0.9])
    assert (summary["low"][0], summary["high"][0]) == bootstrap_interval([0.5, 0.7])
    assert summary[["low", "high"]][1:].isna().all(axis=None)


def test_summary_works_on_categories_and_on_nothing() -> None:
    kinds = pd.Categorical(["b", "a", "b"], categories=["a", "b", "c"])
    frame = pd.DataFrame({"kind": kinds, "width": 8, "value": [1.0, 2.0, 3.0]})
    summary = summarize(frame, ["kind", "width"], "value")
    assert summary[["kind", "mean", "count"]].to_numpy().tolist() == [["a", 2.0, 1], ["b", 2.0, 2]]
    assert summarize(frame[:0], ["kind", "width"], "value").empty


def test_a_mean_over_several_cells_is_refused() -> None:
    frame = pd.DataFrame({"width": [8, 8], "seed": [0, 0], "label_noise": [0.0, 0.2], "accuracy": [0.9, 0.7]})
    with pytest.raises(ValueError, match="several cells"):
        summarize(frame, ["width"], "accuracy")
