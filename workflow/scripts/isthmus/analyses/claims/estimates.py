"""What a claim measures, with an interval and p-values: a difference, its exponential, the extreme of several, or a
statistic that a table already has.

All of these have the same four members as `isthmus.statistics.contrasts.Estimate` and
`isthmus.statistics.proportions.Proportion`: the value, its interval, and p-values for lying above or below a bound.

This module does not import torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from isthmus.statistics.contrasts import LEVEL, Estimate


class Measured(Protocol):
    """A value with its interval and one-sided p-values, which are NaN if the error is unknown."""

    @property
    def value(self) -> float: ...

    def interval(self, level: float = LEVEL) -> tuple[float, float]: ...

    def p_above(self, bound: float) -> float: ...

    def p_below(self, bound: float) -> float: ...


@dataclass(frozen=True)
class Ratio:
    """A ratio of geometric means, from a difference between means of natural logarithms."""

    difference: Estimate

    @property
    def value(self) -> float:
        return math.exp(self.difference.value)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        low, high = self.difference.interval(level)
        return math.exp(low), math.exp(high)

    def p_above(self, bound: float) -> float:
        return self.difference.p_above(math.log(bound))

    def p_below(self, bound: float) -> float:
        return self.difference.p_below(math.log(bound))


def _every(p: Sequence[float]) -> float:
    """The p-value for claiming that all of several statements hold: the largest (Berger 1982)."""
    return math.nan if any(math.isnan(each) for each in p) else max(p)


def _any(p: Sequence[float]) -> float:
    """The p-value for claiming that at least one of several statements holds: Bonferroni's."""
    return math.nan if any(math.isnan(each) for each in p) else min(1.0, len(p) * min(p))


@dataclass(frozen=True)
class Smallest:
    """The smallest of several differences. It lies above a bound if all do, and below a bound if any does."""

    differences: Sequence[Estimate]

    @property
    def value(self) -> float:
        return min(each.value for each in self.differences)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The least upper end is valid only if all upper ends are, so these use Bonferroni; one lower end suffices."""
        together = 1 - (1 - level) / len(self.differences)
        low = [each.interval(level)[0] for each in self.differences]
        high = [each.interval(together)[1] for each in self.differences]
        unknown = any(math.isnan(end) for end in (*low, *high))
        return (math.nan, math.nan) if unknown else (min(low), min(high))

    def p_above(self, bound: float) -> float:
        return _every([each.p_above(bound) for each in self.differences])

    def p_below(self, bound: float) -> float:
        return _any([each.p_below(bound) for each in self.differences])


@dataclass(frozen=True)
class Largest:
    """The largest of several differences. It lies above a bound if any does, and below a bound if all do."""

    differences: Sequence[Estimate]

    @property
    def _mirrored(self) -> Smallest:
        return Smallest([Estimate(-each.value, each.error, each.freedom) for each in self.differences])

    @property
    def value(self) -> float:
        return -self._mirrored.value

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        low, high = self._mirrored.interval(level)
        return -high, -low

    def p_above(self, bound: float) -> float:
        return self._mirrored.p_below(-bound)

    def p_below(self, bound: float) -> float:
        return self._mirrored.p_above(-bound)


@dataclass(frozen=True)
class Plateau:
    """Where a plateau begins, as a fraction of the largest level: from there on, going to the largest gains little.

    levels: rising, the largest included; gains: gain of the largest level over each other level; tolerance: the largest
    gain that still counts as a plateau. The plateau begins below a bound if the gains over the last level below the
    bound and over all levels above it are at most the tolerance. If it does not begin within the levels, it may begin
    beyond them, so nothing shows that there is none.
    """

    levels: Sequence[float]
    gains: Sequence[Estimate]
    tolerance: float

    def _first(self, gains: Sequence[float]) -> float:
        if any(math.isnan(gain) for gain in gains):
            return math.nan
        first = self.levels[-1]
        for level, gain in zip(reversed(self.levels[:-1]), reversed(gains), strict=True):
            if not gain <= self.tolerance:
                break
            first = level
        return float(first / self.levels[-1])

    @property
    def value(self) -> float:
        return self._first([each.value for each in self.gains])

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """All levels that are compatible with the simultaneous intervals of the gains (Bonferroni)."""
        ends = [each.interval(1 - (1 - level) / len(self.gains)) for each in self.gains]
        return self._first([low for low, _ in ends]), self._first([high for _, high in ends])

    def _from(self, bound: float) -> list[Estimate]:
        below = [place for place, level in enumerate(self.levels[:-1]) if level / self.levels[-1] < bound]
        return list(self.gains[below[-1] :]) if below else []

    def p_above(self, bound: float) -> float:
        gains = self._from(bound)
        if not gains:
            return math.nan
        p = _any([each.p_above(self.tolerance) for each in gains])
        return p if bound < 1 or math.isnan(p) else 1.0

    def p_below(self, bound: float) -> float:
        gains = self._from(bound)
        return _every([each.p_below(self.tolerance) for each in gains]) if gains else math.nan


@dataclass(frozen=True)
class Reported:
    """A coefficient that a table has with its 95 % interval and with p-values for lying above and below zero."""

    value: float
    low: float
    high: float
    above: float
    below: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The interval of the table. Raises ValueError for another level."""
        if level != LEVEL:
            raise ValueError(f"the table has intervals of the level {LEVEL}, not {level}")
        return self.low, self.high

    def p_above(self, bound: float) -> float:
        """The p-value of the table. Raises ValueError for a bound other than zero."""
        return self._at_zero(bound, self.above)

    def p_below(self, bound: float) -> float:
        """As `p_above`."""
        return self._at_zero(bound, self.below)

    def _at_zero(self, bound: float, p: float) -> float:
        if bound != 0:
            raise ValueError(f"the table has p-values for coefficients above and below 0, not {bound}")
        return p


def direction(measured: Measured, above: float, below: float) -> tuple[float, float]:
    """One-sided p-values for lying between two bounds and for lying outside, NaN without an interval.

    An infinite bound means no bound. A p-value is small if `measured` clearly lies between the bounds, or outside.
    """
    inside = [measured.p_above(above)] if math.isfinite(above) else []
    inside += [measured.p_below(below)] if math.isfinite(below) else []
    outside = [measured.p_below(above)] if math.isfinite(above) else []
    outside += [measured.p_above(below)] if math.isfinite(below) else []
    return _every(inside), math.nan if any(math.isnan(each) for each in outside) else min(outside)


def blurred(measured: Measured, published: tuple[float, float]) -> Measured:
    """The value with an error that includes the error of a published value, given by its 95 % interval.

    This works for comparisons and ratios of means only. The published value is taken as normal with a known error.
    Raises TypeError for anything else.
    """
    if isinstance(measured, Ratio):
        low, high = (math.log(end) for end in published)
        return Ratio(_blurred(measured.difference, high - low))
    if isinstance(measured, Estimate):
        return _blurred(measured, published[1] - published[0])
    raise TypeError(f"{type(measured).__name__} has no error of its own")


def _blurred(found: Estimate, width: float) -> Estimate:
    from scipy.stats import norm

    other = width / (2 * float(norm.ppf((1 + LEVEL) / 2)))
    square = found.error**2 + other**2
    return Estimate(found.value, math.sqrt(square), found.freedom * square**2 / found.error**4)
