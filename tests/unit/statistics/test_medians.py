"""Medians of numbers that may be too large to be seen, and their distribution-free intervals."""

import numpy as np
import pandas as pd
from scipy.stats import binom

from isthmus.statistics.medians import median_interval, summarize_medians


def test_the_interval_of_a_median_covers_it_whatever_the_distribution() -> None:
    random = np.random.default_rng(0)
    for networks in (6, 10, 25):
        samples = np.exp(random.normal(0, 2, (2000, networks)))
        found = [median_interval(sample) for sample in samples]
        assert np.mean([low <= 1 <= high for _, low, high in found]) >= 0.94
        rank = int((np.sort(samples[0]) < found[0][1]).sum())
        assert binom.cdf(rank, networks, 0.5) <= 0.025
    assert median_interval(np.array([3.0, 1.0, np.inf])) == (3.0, 1.0, np.inf)
    assert median_interval(np.array([1.0, np.inf]))[0] == np.inf
    np.testing.assert_equal(median_interval(np.array([2.0])), (2.0, np.nan, np.nan))
    np.testing.assert_equal(median_interval(np.array([])), (np.nan,) * 3)


def test_a_null_counts_as_infinite_and_an_infinite_median_is_null() -> None:
    steps = {"a": [1.0, 3.0, None], "b": [1.0, None, None], "c": [4.0]}
    frame = pd.DataFrame([(cell, value) for cell, own in steps.items() for value in own], columns=["cell", "steps"])
    found = summarize_medians(frame, ["cell"], "steps").set_index("cell")
    np.testing.assert_array_equal(found.loc["a"], (3.0, 1.0, np.nan, 3))
    np.testing.assert_array_equal(found.loc["b"], (np.nan, np.nan, np.nan, 3))
    np.testing.assert_array_equal(found.loc["c"], (4.0, np.nan, np.nan, 1))
