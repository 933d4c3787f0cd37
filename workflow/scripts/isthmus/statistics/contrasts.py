"""Comparisons over a fixed grid: weighted sums of cell means, with errors from the scatter of networks.

The cells of a grid are chosen, not drawn at random: a comparison is about these widths, depths and batch sizes only.
Only the seed is random. The error of a weighted sum of cell means therefore comes from how networks scatter *within*
cells, pooled over all cells in the sum. Differences between settings do not increase it.

If cells differ only in the training recipe, their networks of one seed start from the same weights. Such cells form a
`group` and are compared seed by seed. Networks in different groups have different shapes and share at most the order of
their data. In trained networks, this correlated them by 0 to 0.17. For a comparison, whose weights cancel, that is
harmless (it can only make intervals too wide), but not for a mean over cells, where all cells therefore form one group.
Let a(c) be the weight of cell c, n(c) its number of networks, and r(c, i) the deviation of the network with seed i from
its cell's mean. Then

    value = sum_c a(c) mean(c),   error^2 = sum_g e_g,   e_g = sum_i (sum_{c in g} a(c) r(c, i) / sqrt(n(c) (n(c) -
    1)))^2,

and t = (value - true value) / error approximately follows Student's distribution with the degrees of freedom of Welch
(1947) and Satterthwaite (1946), error^4 / sum_g (e_g^2 / (n_g - 1)), where n_g is the smallest n(c) in g. Two cells in
different groups give Welch's interval; two cells in one group give the paired interval. Three networks in each of ten
cells give about ten degrees of freedom or more, not two. Pairs of networks enter with the values from
`isthmus.statistics.pairs`.

Measured coverage of nominal 95 % intervals, and their mean width, with 2000 draws each, on a grid of 5 widths x 2
depths x 2 batch sizes. Settings differ in level and slope. Scatter is skewed and differs between cells (standard
deviations 0.13 to 0.45). Networks of one seed share 20 % of their variance if they start alike, otherwise 10 %.

    networks per cell                     2              3              5             10
    largest minus smallest width    97 %  1.75     96 %  0.75     96 %  0.48     96 %  0.31
    slope over the widths           97 %  0.30     96 %  0.15     95 %  0.10     96 %  0.07
    difference by batch size        98 %  0.46     96 %  0.27     95 %  0.19     95 %  0.13
    mean over all cells             95 %  1.43     94 %  0.45     95 %  0.25     95 %  0.14
    bootstrap over the networks' differences, which treats settings as drawn at random:
    largest minus smallest width   100 %  1.58    100 %  1.23    100 %  0.93    100 %  0.61
    difference by batch size        99 %  0.41     99 %  0.32     99 %  0.24     99 %  0.18

On accuracies rounded to thousandths, with normal scatter, coverage is 94 to 98 %.

This module does not import torch, because figures and claims use it.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

LEVEL = 0.95
FEWEST_NETWORKS = 2
SAME = 1e-12  # values whose spread is at most this fraction of their size differ by rounding only


@dataclass(frozen=True)
class Estimate:
    """A weighted sum of cell means, its standard error, and the error's degrees of freedom.

    value, error: in the unit of the values. With too few networks to estimate the error, error and freedom are NaN. If
    the networks do not differ at all, error is 0 and freedom NaN. Neither case has an interval, because an interval of
    zero width would claim that the value is exact.

    >>> low, high = Estimate(1.0, 0.5, 10.0).interval()
    >>> round(low, 2), round(high, 2)
    (-0.11, 2.11)
    >>> round(Estimate(1.0, 0.5, 10.0).p_above(0.0), 3)
    0.037
    """

    value: float
    error: float = math.nan
    freedom: float = math.nan

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Student's interval; both ends are NaN if freedom is."""
        from scipy.stats import t

        half = float(t.ppf((1 + level) / 2, self.freedom)) * self.error
        return self.value - half, self.value + half

    def p_above(self, bound: float) -> float:
        """One-sided p-value of the hypothesis that the true value is at most `bound`; small if it lies above."""
        from scipy.stats import t

        return math.nan if math.isnan(self.freedom) else float(t.sf((self.value - bound) / self.error, self.freedom))

    def p_below(self, bound: float) -> float:
        """One-sided p-value of the hypothesis that the true value is at least `bound`; small if it lies below."""
        from scipy.stats import t

        return math.nan if math.isnan(self.freedom) else float(t.cdf((self.value - bound) / self.error, self.freedom))


def estimate(values: pd.DataFrame, groups: Sequence[Hashable], weights: Sequence[float] | np.ndarray) -> Estimate:
    """The weighted sum of cell means, with its error.

    values: [seeds, cells], NaN where there is no network; groups: [cells], equal for cells that start from the same
    weights; weights: [cells]. The order of the seeds does not matter. Cells of weight 0 are ignored. The value is NaN
    if a cell has no network; the error is NaN if a cell has fewer than two.

    >>> cells = pd.DataFrame({"narrow": [1.0, 2.0, 3.0], "wide": [4.0, 5.0, 9.0]})
    >>> found = estimate(cells, ["a", "b"], [-1, 1])
    >>> found.value, round(found.error, 3), round(found.freedom, 2)
    (4.0, 1.633, 2.56)
    >>> found = estimate(cells, ["a", "a"], [-1, 1])
    >>> round(found.error, 3), round(found.freedom, 2)
    (1.0, 2.0)
    """
    weights = np.asarray(weights, dtype=float)
    used = np.flatnonzero(weights)
    weights, array = weights[used], values.to_numpy(dtype=float)[:, used]
    counts = (~np.isnan(array)).sum(axis=0)
    if not counts.all():
        return Estimate(math.nan)
    means = np.nansum(np.sort(array, axis=0), axis=0) / counts  # sorted, because summation order affects rounding
    value = float(weights @ means)
    if counts.min() < FEWEST_NETWORKS:
        return Estimate(value)
    cancels = abs(weights.sum()) <= SAME * np.abs(weights).sum()
    number = pd.factorize(
        pd.Series([groups[int(cell)] if cancels else None for cell in used], dtype=object), use_na_sentinel=False
    )[0]
    deviations = np.nan_to_num(array - means) * weights / np.sqrt(counts * (counts - 1))
    squares, freedoms = [], []
    for group in range(number.max() + 1):
        own = deviations[:, number == group].sum(axis=1)
        rounding = SAME * np.abs(weights * means)[number == group].max()
        squares.append(float(np.sum(np.sort(own**2))) if np.abs(own).max() > rounding else 0.0)
        freedoms.append(int(counts[number == group].min()) - 1)
    square = sum(squares)
    if square == 0:
        return Estimate(value, 0.0)
    curvature = sum(each**2 / freedom for each, freedom in zip(squares, freedoms, strict=True))
    return Estimate(value, math.sqrt(square), square**2 / curvature)


def slope_weights(levels: Sequence[float] | np.ndarray) -> np.ndarray:
    """Weights [levels] whose weighted sum of values is the slope of the least-squares line over the levels.

    The values need not lie on a line.

    >>> slope_weights([0.0, 1.0, 2.0]).tolist()
    [-0.5, 0.0, 0.5]
    """
    centred = np.asarray(levels, dtype=float) - np.mean(levels)
    return centred / np.sum(centred**2)
