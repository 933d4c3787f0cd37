"""Intervals over pairs cover as often as they say, since they resample networks."""

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isthmus.statistics.bootstrap import bootstrap_interval, bootstrap_intervals
from isthmus.statistics.pairs import network_values, summarize_pairs

Pairs = Iterable[tuple[int, int]]


def pair_frame(values: Iterable[float | None], pairs: Pairs, **columns: object) -> pd.DataFrame:
    """A row per pair, as in the table `connections`."""
    first, second = zip(*pairs, strict=True)
    return pd.DataFrame({"width": 8, "seed_a": first, "seed_b": second, "value": list(values), **columns})


def all_pairs(networks: int) -> np.ndarray:
    return np.array(list(combinations(range(networks), 2)))


@pytest.mark.parametrize("networks", [3, 4, 5, 7, 10])
@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0.97, 1.0), (0.5, 0.935, 1.0), (1.0, 0.92, 0.98)])
def test_interval_covers_the_mean_of_values_that_share_networks(
    networks: int, share: float, least: float, most: float
) -> None:
    random, pairs = np.random.default_rng(networks), all_pairs(networks)
    of_networks = random.normal(size=(1000, networks)) * np.sqrt(share / 2)
    of_pairs = random.normal(size=(1000, len(pairs))) * np.sqrt(1 - share)
    values = 3 + of_networks[:, pairs].sum(axis=2) + of_pairs
    low, high = bootstrap_intervals(np.stack([network_values(row, pairs) for row in values]))
    coverage = np.mean((low <= 3) & (high >= 3))
    assert least <= coverage <= most


def test_sums_of_what_networks_contribute_have_the_interval_of_twice_their_mean() -> None:
    a = np.array([0.3, -0.1, 0.8, 0.25, -0.6])
    pairs = all_pairs(5)
    row = summarize_pairs(pair_frame(a[pairs].sum(axis=1), pairs), ["width"], "value").iloc[0]
    assert row["mean"] == pytest.approx(2 * a.mean())
    assert (row["low"], row["high"]) == pytest.approx(bootstrap_interval(2 * a))


def test_spread_of_the_values_of_networks_is_the_jackknife_standard_error() -> None:
    values, pairs = np.random.default_rng(0).normal(size=15), all_pairs(6)
    means = [values[(pairs != network).all(axis=1)].mean() for network in range(6)]
    jackknife = np.sqrt(5 / 6 * np.square(means - np.mean(means)).sum())
    found = network_values(values, pairs)
    assert found is not None
    assert stats.sem(found) == pytest.approx(jackknife)
    assert found.mean() == pytest.approx(values.mean())


def test_interval_is_reproducible_and_does_not_depend_on_order_or_company() -> None:
    pairs = all_pairs(5)
    frame = pair_frame(np.random.default_rng(0).random(10), pairs)
    summary = summarize_pairs(frame, ["width"], "value")
    pd.testing.assert_frame_equal(summarize_pairs(frame, ["width"], "value"), summary, check_exact=True)
    shuffled = frame.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(summarize_pairs(shuffled, ["width"], "value"), summary, check_exact=True)
    turned = frame.rename(columns={"seed_a": "seed_b", "seed_b": "seed_a"})
    pd.testing.assert_frame_equal(summarize_pairs(turned, ["width"], "value"), summary, check_exact=True)
    company = pd.concat([frame.assign(width=4, value=1 / (1 + frame["value"])), frame])
    beside = summarize_pairs(company, ["width"], "value")[1:].reset_index(drop=True)
    pd.testing.assert_frame_equal(beside, summary, check_exact=True)
    more = pair_frame(np.random.default_rng(0).random(45), all_pairs(10))
    low = [summarize_pairs(more, ["width"], "value", seed=seed)["low"][0] for seed in (0, 1)]
    assert low[0] != low[1]


def test_summary_leaves_out_what_diverged_and_counts_pairs_and_networks() -> None:
    pairs = all_pairs(4)
    values = [0.1, 0.2, None, 0.4, 9.0, 0.6]
    frame = pair_frame(values, pairs, diverged=[False, False, True, False, True, False])
    row = summarize_pairs(frame, ["width"], "value").iloc[0]
    assert row["mean"] == pytest.approx(np.mean([0.1, 0.2, 0.4, 0.6]))
    assert (row["count"], row["networks"], row["excluded"]) == (4, 4, 2)
    lost = summarize_pairs(frame.assign(diverged=True), ["width"], "value").iloc[0]
    assert (lost["count"], lost["networks"], lost["excluded"]) == (0, 0, 6)
    assert lost[["mean", "low", "high"]].isna().all()


@pytest.mark.parametrize(
    "pairs",
    [[(0, 1)], [(0, 1), (1, 2)], [(0, 1), (0, 2), (0, 3), (0, 4)]],
    ids=["one pair", "two pairs in a row", "all pairs of one network"],
)
def test_no_interval_where_networks_cannot_be_resampled(pairs: list[tuple[int, int]]) -> None:
    row = summarize_pairs(pair_frame(np.arange(len(pairs)) + 1.0, pairs), ["width"], "value").iloc[0]
    assert row["mean"] == pytest.approx((len(pairs) + 1) / 2)
    assert row["count"] == len(pairs)
    assert row[["low", "high"]].isna().all()


def test_equal_values_have_no_interval() -> None:
    row = summarize_pairs(pair_frame([0.1] * 10, all_pairs(5)), ["width"], "value").iloc[0]
    assert row["mean"] == 0.1
    assert row[["low", "high"]].isna().all()


def test_interval_does_not_leave_what_is_possible() -> None:
    frame = pair_frame([0.0, 0.0, 0.0, 0.01, 0.4, 0.0], all_pairs(4))
    assert summarize_pairs(frame, ["width"], "value")["low"][0] < 0
    assert summarize_pairs(frame, ["width"], "value", limits=(0, 1))["low"][0] == 0


def test_groups_come_in_the_order_of_their_keys_and_may_be_none() -> None:
    frame = pd.concat([pair_frame([1.0], [(0, 1)], kind=kind) for kind in ("linear", "bezier")])
    frame["kind"] = frame["kind"].astype("category")
    assert summarize_pairs(frame, ["kind", "width"], "value")["kind"].tolist() == ["bezier", "linear"]
    nothing = summarize_pairs(frame[:0], ["kind", "width"], "value")
    assert nothing.empty
    assert {"kind", "width", "mean", "low", "high", "count", "networks", "excluded"} == set(nothing.columns)


def test_a_mean_over_several_cells_and_impossible_pairs_are_refused() -> None:
    for pairs in ([(0, 1), (0, 1)], [(0, 1), (1, 0)]):
        with pytest.raises(ValueError, match="several cells"):
            summarize_pairs(pair_frame([0.1, 0.2], pairs), ["width"], "value")
    with pytest.raises(ValueError, match="with itself"):
        summarize_pairs(pair_frame([0.1], [(2, 2)]), ["width"], "value")
