"""Proportions of networks that have some property, with exact limits.

The limits are those of Clopper and Pearson (1934). By construction, their coverage is at least the nominal level, for
any number of networks. They also work if all or none of the networks have the property, when the standard error would
be zero: if none of eight networks has it, the true proportion may still be up to 37 %. Networks of several cells may
have different probabilities, in which case the limits for their mean can only be too wide (Hoeffding 1956).
"""

from dataclasses import dataclass

from isthmus.statistics.contrasts import LEVEL


@dataclass(frozen=True)
class Proportion:
    """`count` of `networks` networks have the property.

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
        """The proportion itself."""
        return self.count / self.networks

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The exact limits of the proportion."""
        from scipy.stats import binomtest

        found = binomtest(self.count, self.networks).proportion_ci(level, method="exact")
        return float(found.low), float(found.high)

    def p_above(self, bound: float) -> float:
        """One-sided p-value of the hypothesis that the true proportion is at most `bound`."""
        from scipy.stats import binom

        return float(binom.sf(self.count - 1, self.networks, bound))

    def p_below(self, bound: float) -> float:
        """One-sided p-value of the hypothesis that the true proportion is at least `bound`."""
        from scipy.stats import binom

        return float(binom.cdf(self.count, self.networks, bound))
