"""Comparisons over a fixed grid: weighted sums of the means of cells, with the scatter of networks as their error.

The cells of a grid are chosen, not drawn: a comparison speaks of these widths, depths and batch sizes, and of no
others. What is random is the seed. The error of a weighted sum of cell means therefore comes from how networks scatter
*within* cells, pooled over all cells that take part, and differences between settings do not widen it.

Networks of one seed whose cells differ in the training recipe alone start from the same weights, so such cells form a
`block` and are compared seed by seed. Different blocks hold networks of different shapes and count as independent; in
trained networks the correlation between such cells was 0.0 to 0.17 and positive, which makes intervals of differences
too wide, if anything. With a(c) the weight of cell c and y(c, i) the value of its network of seed i,

    value = sum_b mean_i u_b(i),   u_b(i) = sum_{c in b} a(c) y(c, i),   error^2 = sum_b s^2(u_b) / n_b,

and t = (value - true value) / error has about Student's distribution with the degrees of freedom of Welch (1947) and
Satterthwaite (1946), error^4 / sum_b (s^2(u_b) / n_b)^2 / (n_b - 1). Two cells that form two blocks give Welch's
interval, one block the paired one. Three networks in each of ten cells give some ten degrees of freedom or more, and
not two. For pairs of networks the y(c, i) are the values of `isthmus.pair_statistics`.

{coverage}
This module does not import torch: figures and claims use it.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

LEVEL = 0.95
FEWEST_NETWORKS = 2
SAME = 1e-12  # values whose spread is this share of their size or less differ by rounding


@dataclass(frozen=True)
class Estimate:
    """A weighted sum of means of cells, its standard error, and the error's degrees of freedom.

    value, error: in the unit of the values. Where too few networks leave no telling how far the value may be off, error
    and freedom are NaN; where networks do not differ at all, the error is 0 and freedom NaN. Neither has an
    interval: one of no width would claim that the value is known exactly.

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
        """Student's interval; both ends are NaN without an error."""
        from scipy.stats import t

        half = float(t.ppf((1 + level) / 2, self.freedom)) * self.error
        return self.value - half, self.value + half

    def p_above(self, bound: float) -> float:
        """One-sided p-value of the hypothesis that the true value is `bound` or less: small where it lies above."""
        from scipy.stats import t

        return math.nan if math.isnan(self.freedom) else float(t.sf((self.value - bound) / self.error, self.freedom))

    def p_below(self, bound: float) -> float:
        """One-sided p-value of the hypothesis that the true value is `bound` or more: small where it lies below."""
        from scipy.stats import t

        return math.nan if math.isnan(self.freedom) else float(t.cdf((self.value - bound) / self.error, self.freedom))


def estimate(values: pd.DataFrame, blocks: Sequence[Hashable], weights: Sequence[float] | np.ndarray) -> Estimate:
    """The weighted sum of the means of cells.

    values: [seeds, cells], NaN where there is no network; blocks: [cells], equal for cells that are compared seed by
    seed; weights: [cells]. In a block of several cells only the seeds that all of them have count. The order of the
    seeds does not matter. Cells of weight 0 are ignored. The value is NaN where a block has no seed, the error where one
    has fewer than two.

    >>> cells = pd.DataFrame({"narrow": [1.0, 2.0, 3.0], "wide": [4.0, 5.0, 9.0]})
    >>> found = estimate(cells, ["a", "b"], [-1, 1])
    >>> found.value, round(found.error, 3), round(found.freedom, 2)
    (4.0, 1.633, 2.56)
    """
    weights = np.asarray(weights, dtype=float)
    groups: dict[Hashable, list[int]] = {}
    for column, block in enumerate(blocks):
        if weights[column]:
            groups.setdefault(block, []).append(column)
    array = values.to_numpy(dtype=float)
    value, squares, curvature = 0.0, 0.0, 0.0
    for columns in groups.values():
        own = array[:, columns]
        own = own[~np.isnan(own).any(axis=1)] @ weights[columns]
        count = len(own)
        size = np.abs(array[:, columns] * weights[columns])
        if count:
            own = np.sort(own)
            value += float(own.mean())
        else:
            value = math.nan
        if count < FEWEST_NETWORKS:
            squares = math.nan
            continue
        square = float(own.var(ddof=1)) / count if own[-1] - own[0] > SAME * np.nanmax(size) else 0.0
        squares += square
        curvature += square**2 / (count - 1)
    if math.isnan(squares):
        return Estimate(value)
    if squares == 0:
        return Estimate(value, 0.0)
    return Estimate(value, math.sqrt(squares), squares**2 / curvature)


def slope_weights(levels: Sequence[float] | np.ndarray) -> np.ndarray:
    """Weights [levels] that make of values at some levels the slope of their least-squares line over the levels.

    The slope is defined by the levels themselves, whether or not the values lie on a line.

    >>> slope_weights([0.0, 1.0, 2.0]).tolist()
    [-0.5, 0.0, 0.5]
    """
    centred = np.asarray(levels, dtype=float) - np.mean(levels)
    return centred / np.sum(centred**2)
