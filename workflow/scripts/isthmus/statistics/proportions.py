"""Shares of networks that do something, with exact limits.

The limits are those of Clopper and Pearson (1934). They hold for every number of networks and also where all or none
do it, when a standard error would be zero: of eight networks of which none did it, up to 37 % might. Networks of
several cells may have different probabilities; the limits for their mean are then too wide, if anything (Hoeffding
1956).

Coverage is at least the level by construction.
"""

from dataclasses import dataclass

from isthmus.statistics.contrasts import LEVEL


@dataclass(frozen=True)
class Proportion:
    """`count` of `networks` do it.

    >>> low, high = Proportion(0, 8).interval()
    >>> low, round(high, 2)
    (0.0, 0.37)
    >>> round(Proportion(0, 72).p_below(0.05), 3)
    0.025
    """

    count: int
    networks: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.count / self.networks

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The exact limits of the share."""
        from scipy.stats import binomtest

        found = binomtest(self.count, self.networks).proportion_ci(level, method="exact")
        return float(found.low), float(found.high)

    def p_above(self, bound: float) -> float:
        """One-sided p-value of the hypothesis that the true share is `bound` or less."""
        from scipy.stats import binom

        return float(binom.sf(self.count - 1, self.networks, bound))

    def p_below(self, bound: float) -> float:
        """One-sided p-value of the hypothesis that the true share is `bound` or more."""
        from scipy.stats import binom

        return float(binom.cdf(self.count, self.networks, bound))
