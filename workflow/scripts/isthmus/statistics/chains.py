"""What Markov chains say: the mean with an interval from the spread of the chains, and whether they agree."""

import math

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95


def split_r_hat(values: np.ndarray) -> float:
    """Split R-hat of draws `[draws, chains]` (Gelman et al. 2013): 1 where the halves of all chains agree.

    Chains that drift, or that are stuck in different places, raise it; above 1.05 or so, a mean over them should not
    be trusted. Raises ValueError for fewer than four draws.

    >>> round(split_r_hat(np.random.default_rng(0).standard_normal((1000, 4))), 2)
    1.0
    >>> split_r_hat(np.arange(100.0)[:, None] + np.zeros(4)) > 1.5
    True
    """
    half = len(values) // 2
    if half < 2:
        raise ValueError(f"{len(values)} draws of each chain; give four or more")
    parts = np.concatenate([values[:half], values[-half:]], axis=1)
    within, between = parts.var(axis=0, ddof=1).mean(), parts.mean(axis=0).var(ddof=1)
    if within == 0:
        return 1.0 if between == 0 else math.inf
    return float(np.sqrt((half - 1) / half + between / within))


def mean_of_chains(values: np.ndarray) -> tuple[float, float, float, float]:
    """The mean of draws `[draws, chains]`, its standard error, and its 95 % interval, Student's over the chains.

    Raises ValueError for a single chain.

    >>> mean_of_chains(np.array([[1.0, 3.0]]))[:2]
    (2.0, 1.0)
    """
    means = values.mean(axis=0)
    if len(means) < 2:
        raise ValueError("one chain has no spread; give two or more")
    mean, error = float(means.mean()), float(means.std(ddof=1) / math.sqrt(len(means)))
    half = float(stdtrit(len(means) - 1, (1 + LEVEL) / 2)) * error
    return mean, error, mean - half, mean + half
