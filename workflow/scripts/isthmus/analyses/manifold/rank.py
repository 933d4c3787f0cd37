"""How many eigenvalues are zero? Counted at the largest gap between their magnitudes, and not with a threshold.

In float64 the eigenvalues that are zero in exact arithmetic come out at rounding level, of either sign, and the others
do not. Sorted by magnitude, the largest step in the logarithm separates the two; its height, in decades, says how far
the count is to be trusted: many decades at a clear zero set, few where small eigenvalues reach down to rounding.
"""

from dataclasses import dataclass

import numpy as np

from isthmus.core.errors import DataError

ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Split:
    """The counts on both sides of the largest gap.

    positive, negative: eigenvalues above the gap, by sign; zero: those below it. gap: its height, in decades.
    smallest: the least magnitude above it; largest_zero: the greatest below it, None where nothing is below.
    """

    positive: int
    zero: int
    negative: int
    gap: float
    smallest: float
    largest_zero: float | None


def split_at_gap(eigenvalues: np.ndarray) -> Split:
    """Count the eigenvalues `[n]` of a symmetric matrix, in any order, on both sides of the largest gap.

    Magnitudes below rounding, that is the greatest times 2.2e-16, count as that; and rounding level itself stands at
    the end of the list, so that a matrix without zero eigenvalues has its gap below the last. DataError where there
    are none, one is not finite, or all are zero.
    """
    values = np.asarray(eigenvalues, dtype=np.float64)
    magnitudes = np.sort(np.abs(values))[::-1]
    if not len(values) or not np.isfinite(values).all() or not magnitudes[0]:
        raise DataError("a spectrum to be counted needs finite eigenvalues that are not all zero")
    floor = ROUNDING * magnitudes[0]
    steps = -np.diff(np.log10(np.append(np.maximum(magnitudes, floor), floor)))
    kept = int(np.argmax(steps)) + 1
    above = np.abs(values) >= magnitudes[kept - 1]
    return Split(
        positive=int((above & (values > 0)).sum()),
        zero=len(values) - kept,
        negative=int((above & (values < 0)).sum()),
        gap=float(steps[kept - 1]),
        smallest=float(magnitudes[kept - 1]),
        largest_zero=float(magnitudes[kept]) if kept < len(values) else None,
    )


def matrix_rank(singular_values: np.ndarray, rows: int, columns: int) -> int:
    """The rank of a `rows` x `columns` matrix from its singular values: how many are above rounding.

    The bound is the largest times eps times the greater side.
    """
    return int((singular_values > singular_values.max() * ROUNDING * max(rows, columns)).sum())
