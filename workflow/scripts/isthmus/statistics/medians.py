"""Medians over networks, with distribution-free intervals, for numbers that may be too large to be observed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def median_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """The median of `values`, [networks], which may be infinite, and the distribution-free interval of it.

    The interval runs between the order statistics that enclose the median with a probability of `level` at least,
    whatever the distribution (Thompson 1936); below six values, that is for 95 %, it is the whole range, which encloses
    it with the probability 1 - 2^(1-n). NaN without a value, ends NaN for one value. The ends may be infinite.

    >>> median_interval(np.array([3.0, 1.0, np.inf]))
    (3.0, 1.0, inf)
    """
    from scipy.stats import binom

    ordered = np.sort(values)
    if len(ordered) == 0:
        return np.nan, np.nan, np.nan
    median = float(np.median(ordered))
    if len(ordered) == 1:
        return median, np.nan, np.nan
    rank = max(int(binom.ppf((1 - level) / 2, len(ordered), 0.5)), 1)
    return median, float(ordered[rank - 1]), float(ordered[-rank])


def summarize_medians(frame: pd.DataFrame, by: Sequence[str], column: str) -> pd.DataFrame:
    """Median and interval of `column` over the networks of each group; nulls count as infinite.

    Returns one row per group with the columns in `by`, `mean`, `low`, `high` and `count`, as
    `isthmus.statistics.bootstrap.summarize`. What is infinite is null: the upper end, or the median and both its ends.
    """
    found = []
    for key, values in frame.fillna({column: np.inf}).groupby(list(by), observed=True)[column]:
        median, low, high = median_interval(values.to_numpy(dtype=float))
        ends = (median, low, high if np.isfinite(high) else np.nan) if np.isfinite(median) else (np.nan,) * 3
        found.append([*key, *ends, len(values)])
    return pd.DataFrame(found, columns=[*by, "mean", "low", "high", "count"])
