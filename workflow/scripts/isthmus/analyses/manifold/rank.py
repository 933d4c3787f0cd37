"""How many eigenvalues are zero? We count at the largest gap between magnitudes instead of using a threshold.

In float64, eigenvalues that are zero in exact arithmetic come out at rounding level with either sign, and the others
are larger. In the sorted magnitudes, the largest step of the logarithm separates the two. Its size in decades says how
far to trust the count: many decades mean a clear zero set, few mean that small eigenvalues reach down to rounding.
"""

from dataclasses import dataclass

import numpy as np

from isthmus.core.errors import DataError

ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Split:
    """The counts on both sides of the largest gap.

    positive, negative: eigenvalues above the gap, by sign; zero: those below it. gap: its size in decades. smallest:
    the smallest magnitude above it; largest_zero: the largest below it, None if there is none.
    """

    positive: int
    zero: int
    negative: int
    gap: float
    smallest: float
    largest_zero: float | None


def split_at_gap(eigenvalues: np.ndarray) -> Split:
    """Count the eigenvalues `[n]` of a symmetric matrix, in any order, on both sides of the largest gap.

    Magnitudes below the rounding level, 2.2e-16 times the largest, are raised to it. The level itself is appended to
    the list, so a matrix without zero eigenvalues has its gap after the last. Raises DataError if there are no
    eigenvalues, one is not finite, or all are zero.
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
    """The rank of a `rows` x `columns` matrix: how many of its singular values are above rounding.

    The bound is the largest singular value times eps times max(rows, columns).
    """
    return int((singular_values > singular_values.max() * ROUNDING * max(rows, columns)).sum())
