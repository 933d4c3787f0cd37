"""What a claim measures, with an interval and p-values: one comparison, its exponential, or the extreme of several.

All of them answer the same four questions as `isthmus.statistics.contrasts.Estimate` and
`isthmus.statistics.proportions.Proportion`: what the value is, between which limits it lies, and how surely it lies
above or below a bound.

This module does not import torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from isthmus.statistics.contrasts import LEVEL, Estimate


class Measured(Protocol):
    """A value with its interval and one-sided p-values, NaN where there is no telling."""

    @property
    def value(self) -> float: ...

    def interval(self, level: float = LEVEL) -> tuple[float, float]: ...

    def p_above(self, bound: float) -> float: ...

    def p_below(self, bound: float) -> float: ...


@dataclass(frozen=True)
class Ratio:
    """A ratio of geometric means, from the difference of the means of natural logarithms."""

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
    """The p-value of saying that all of several statements hold: the largest (Berger 1982)."""
    return math.nan if any(math.isnan(each) for each in p) else max(p)


def _any(p: Sequence[float]) -> float:
    """The p-value of saying that some of several statements hold: Bonferroni's."""
    return math.nan if any(math.isnan(each) for each in p) else min(1.0, len(p) * min(p))


@dataclass(frozen=True)
class Smallest:
    """The smallest of several differences. It lies above a bound where all do, and below one where any does."""

    differences: Sequence[Estimate]

    @property
    def value(self) -> float:
        return min(each.value for each in self.differences)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """All upper ends must hold at once for the least of them to hold, of the lower ends a single one."""
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
    """The largest of several differences. It lies above a bound where any does, and below one where all do."""

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
    """The least level of an axis from which on the largest gains at most `tolerance`, as a fraction of the largest.

    levels: rising, with the largest; gains: of the largest over each other level. The plateau begins below a bound
    where the gains over all levels from just below the bound on are at most the tolerance.
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
        """Every level that the intervals of all gains together leave open (Bonferroni)."""
        ends = [each.interval(1 - (1 - level) / len(self.gains)) for each in self.gains]
        return self._first([low for low, _ in ends]), self._first([high for _, high in ends])

    def _from(self, bound: float) -> list[Estimate]:
        below = [place for place, level in enumerate(self.levels[:-1]) if level / self.levels[-1] < bound]
        return list(self.gains[below[-1] :]) if below else []

    def p_above(self, bound: float) -> float:
        gains = self._from(bound)
        return _any([each.p_above(self.tolerance) for each in gains]) if gains else math.nan

    def p_below(self, bound: float) -> float:
        gains = self._from(bound)
        return _every([each.p_below(self.tolerance) for each in gains]) if gains else math.nan


def direction(measured: Measured, above: float, below: float) -> tuple[float, float]:
    """One-sided p-values of lying between two bounds and of lying outside, NaN without an interval.

    A bound is infinite where there is none. Small where `measured` surely lies between them, or surely does not.
    """
    inside = [measured.p_above(above)] if math.isfinite(above) else []
    inside += [measured.p_below(below)] if math.isfinite(below) else []
    outside = [measured.p_below(above)] if math.isfinite(above) else []
    outside += [measured.p_above(below)] if math.isfinite(below) else []
    return _every(inside), math.nan if any(math.isnan(each) for each in outside) else min(outside)


def blurred(measured: Measured, published: tuple[float, float]) -> Measured:
    """The value with an error that holds that of a published value, too, known by its 95 % interval.

    Only comparisons and ratios of means have one. The published value counts as normal, with a known error.
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
