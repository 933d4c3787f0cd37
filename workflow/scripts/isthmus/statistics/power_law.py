"""Power laws in the width: the log-log slope of a measurement, with an interval that has its nominal coverage.

The lazy limit predicts powers of the width: -1/2 for the relative movement of the weights, -1 in layers between hidden
layers, and for the change of the tangent kernel at most -1/2, measured as -1 (Lee et al. 2019, fig. 1).

The slope is the least-squares slope of log(value) over log(width), with one point per network. Its interval is
Student's, from the scatter about the line. An F test of lack of fit (Draper & Smith 1998) decides which scatter counts,
at the level of 0.25 that Bancroft (1964) recommends for such choices. Normally it is the scatter of the networks. But
if the widths' means scatter more than their networks explain, it is the scatter of these means, with two fewer degrees
of freedom than there are widths. We do not use a bootstrap. Resampling networks within each width says nothing about
how far the widths lie from a line, and with few networks it is too narrow even if they lie on it. Measured coverage of
nominal 95 % intervals, for widths that double, with at least 1000 draws:

    widths                        4               6               8
    networks per width        2   3   5       2   3   5       2   3   5
    normal scatter of the networks about a line:
    bootstrap, percentile    70  84  88      75  84  90      77  84  90 %
    bootstrap, widened       92  92  93      92  92  94      93  93  94 %
    Student's, networks      95  95  95      95  95  96      96  95  95 %
    Student's, here          96  96  96      96  96  97      97  96  96 %
    the means scatter about the line as much as the networks of a width about their mean:
    bootstrap, percentile    49  53  49      52  53  49      52  53  51 %
    bootstrap, widened       77  69  56      76  68  57      75  68  58 %
    Student's, networks      86  80  69      88  80  71      89  82  72 %
    Student's, here          92  91  91      93  94  94      94  94  95 %

("widened" as in `isthmus.statistics.bootstrap`.) If narrow networks scatter more, as width^-1/2, the interval used here
has 91 to 97 % coverage with at least two networks per width. Three widths are few: coverage is 85 to 92 % if the means
scatter about the line. Two widths always lie on a line, so their interval comes from the scatter of the networks alone
and misses any deviation of the widths themselves (64 to 88 % coverage in that case).

This module does not import torch, because figures use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

POOLING_LEVEL = 0.25


@dataclass(frozen=True)
class PowerLaw:
    """value = prefactor * width^slope, fitted to networks of several widths.

    slope and its interval [low, high]: dimensionless; the interval is NaN for only two networks. prefactor: in the unit
    of the values. networks, widths: how many of each. lack_of_fit: the p-value of the test of lack of fit, that is, the
    probability that the widths' means lie at least this far from the line if the power law holds and networks are
    independent; None with only two widths or one network per width.

    >>> law = PowerLaw(slope=-0.5, low=-0.6, high=-0.4, prefactor=2.0, networks=12, widths=4, lack_of_fit=0.5)
    >>> law.prefactor * 16**law.slope
    0.5
    """

    slope: float
    low: float
    high: float
    prefactor: float
    networks: int
    widths: int
    lack_of_fit: float | None


def power_law(
    width: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray, level: float = 0.95
) -> PowerLaw:
    """The power law in the width that fits `values` best.

    width, values: [networks], positive. Widths may have different numbers of networks. Apart from rounding, the order
    of the networks does not matter.

    Raises ValueError for fewer than two widths, values that are not positive and finite, or a level outside (0, 1).

    >>> law = power_law([1, 2, 4, 8], [8, 4, 2, 1])
    >>> round(law.slope, 6), round(law.prefactor, 6)
    (-1.0, 8.0)
    """
    from scipy.stats import linregress

    x, y = np.asarray(width, dtype=float), np.asarray(values, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"a width and a value per network are needed, not shapes {x.shape} and {y.shape}")
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, not {level}")
    for name, each in (("widths", x), ("values", y)):
        if not (np.isfinite(each) & (each > 0)).all():
            raise ValueError(f"a power law needs positive, finite {name}: leave diverged networks and zeros out first")
    widths, group = np.unique(x, return_inverse=True)
    if len(widths) < 2:
        raise ValueError(f"a power law needs at least two widths; there are {len(widths)}")
    x, y = np.log(x), np.log(y)
    line = linregress(x, y)
    error, lack_of_fit = _half_width(x, y - line.intercept - line.slope * x, group, level)
    prefactor = float(np.exp(line.intercept))
    slope = float(line.slope)
    return PowerLaw(slope, slope - error, slope + error, prefactor, len(x), len(widths), lack_of_fit)


def _half_width(x: np.ndarray, residuals: np.ndarray, group: np.ndarray, level: float) -> tuple[float, float | None]:
    """Half the length of a slope's interval, and the p-value of the test of lack of fit.

    x, residuals: [networks], with residuals from the least-squares line; group: [networks], the index of the width.
    """
    from scipy.stats import f, t

    networks, counts = len(x), np.bincount(group)
    freedom, square = networks - 2, float(residuals @ residuals)
    if freedom == 0:
        return float("nan"), None
    probability = None
    if 2 < len(counts) < networks:
        means = np.bincount(group, residuals) / counts
        among = float(counts @ means**2)
        within = float(np.sum((residuals - means[group]) ** 2))
        among_freedom, within_freedom = len(counts) - 2, networks - len(counts)
        ratio = among / among_freedom / (within / within_freedom) if within > 0 else np.inf
        probability = float(f.sf(ratio, among_freedom, within_freedom))
        if probability < POOLING_LEVEL:
            freedom, square = among_freedom, among
    spread = float(np.sum((x - x.mean()) ** 2))
    return float(t.ppf((1 + level) / 2, freedom) * np.sqrt(square / freedom / spread)), probability
