"""Many tests at once, with a bound on the probability of any false rejection: the graphical procedure.

Every hypothesis starts with a share of the level. When a hypothesis is rejected at its share, the share passes on to
others in fixed proportions, and they are tested with their larger shares (Bretz, Maurer, Brannath & Posch 2009). The
probability of rejecting any true hypothesis stays below the level, however the p-values depend on each other. Equal
shares that pass on to all others equally give the method of Holm (1979). A hypothesis that starts with no share and
gets it from one other is tested only if that one was rejected.

This module does not import torch.
"""

from collections.abc import Sequence

import numpy as np


def adjusted(
    p: Sequence[float] | np.ndarray,
    shares: Sequence[float] | np.ndarray,
    passing: Sequence[Sequence[float]] | np.ndarray,
) -> np.ndarray:
    """Adjusted p-values [hypotheses]; at any level, reject the hypotheses with adjusted p-values at or below it.

    p: [hypotheses], NaN for hypotheses that cannot be tested and are never rejected; shares: [hypotheses], fractions of
    the level that sum to at most 1; passing: [hypotheses, hypotheses], row i says in which proportions hypothesis i
    passes on its share; rows sum to at most 1, and the diagonal is 0. Raises ValueError if any of this is violated.

    >>> adjusted([0.01, 0.04], [0.5, 0.5], [[0, 1], [1, 0]]).tolist()
    [0.02, 0.04]
    >>> adjusted([0.04, 0.001], [1, 0], [[0, 1], [0, 0]]).tolist()
    [0.04, 0.04]
    """
    p, shares = np.array(p, dtype=float), np.array(shares, dtype=float)
    passing = np.array(passing, dtype=float).reshape(len(p), len(p))
    if (shares < 0).any() or shares.sum() > 1 + 1e-9:
        raise ValueError("the shares of the level must be at least 0 and sum to at most 1")
    if (passing < 0).any() or (passing.sum(axis=1) > 1 + 1e-9).any() or passing.diagonal().any():
        raise ValueError(
            "the proportions passed on must be at least 0, sum to at most 1 per hypothesis, and be 0 to itself"
        )
    result, least = np.ones(len(p)), 0.0
    left = [place for place in range(len(p)) if not np.isnan(p[place])]
    while left:
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.array([p[place] / shares[place] if shares[place] > 0 else np.inf for place in left])
        best = int(np.argmin(scaled))
        if not scaled[best] < 1:
            break
        chosen = left.pop(best)
        least = max(least, float(scaled[best]))
        result[chosen] = least
        shares, passing = _without(chosen, shares, passing)
    return result


def _without(chosen: int, shares: np.ndarray, passing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shares and proportions after one hypothesis is rejected."""
    shares = shares + shares[chosen] * passing[chosen]
    shares[chosen] = 0.0
    returned = passing[:, chosen] * passing[chosen]  # the part that would come straight back
    through = passing + np.outer(passing[:, chosen], passing[chosen])
    kept = 1 - returned
    rest = np.where(kept[:, None] > 1e-12, through / np.where(kept[:, None] > 1e-12, kept[:, None], 1), 0.0)
    rest[chosen, :] = rest[:, chosen] = 0.0
    np.fill_diagonal(rest, 0.0)
    return shares, rest


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's (1979) adjusted p-values [hypotheses], NaN for those that cannot be tested.

    They are those of `adjusted` with equal shares that are passed on equally.

    >>> holm([0.01, 0.04, 0.03, float("nan")]).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")  # NaN comes last
    tested = int((~np.isnan(p)).sum())
    found = np.full(len(p), np.nan)
    scaled = p[order[:tested]] * np.arange(tested, 0, -1)
    found[order[:tested]] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return found
