"""How high a path between two minima rises above its ends: three measures of a loss or an error along t.

`barrier` is the rise above the straight line between the two end values (Frankle et al. 2020; Entezari et al. 2022).
`barrier_max` is the rise above the higher end. `mode_connectivity` is the largest deviation, with its sign, from the
mean of the ends (Yang et al. 2021): negative for a barrier, positive if the path has lower losses than the ends, near
zero if the minima are well connected.

All functions take values `[..., T]` at the T points `t` of a path, both ends included, and work on any number of
profiles at once, in float64. Values that are not finite give results that are not finite.

    t = np.linspace(0, 1, 25)
    barrier(test_losses, t)                  # in the unit of the losses
    value, where = mode_connectivity(test_losses, t)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def barrier(values: ArrayLike, t: ArrayLike) -> Array:
    """max_t [ L(t) - ((1 - t) L(0) + t L(1)) ], `[...]`, never below zero.

    values: L, `[..., T]`; t: `[T]`, increasing from 0 to 1. Raises ValueError if they do not fit.

    >>> round(float(barrier([0.1, 0.9, 0.3], [0, 0.5, 1])), 6)  # 0.9 above the mean of the ends
    0.7
    """
    profile, points = _checked(values, t)
    with np.errstate(invalid="ignore"):
        # Computed from the nearer end, so that the line meets both ends, and a flat profile, without rounding.
        start, end = profile[..., :1], profile[..., -1:]
        rise = end - start
        straight = np.where(points < 0.5, start + points * rise, end - (1 - points) * rise)
        return np.max(profile - straight, axis=-1)


def barrier_max(values: ArrayLike, t: ArrayLike) -> Array:
    """max_t L(t) - max(L(0), L(1)), `[...]`, never below zero. Arguments and errors as for `barrier`.

    >>> round(float(barrier_max([0.1, 0.9, 0.3], [0, 0.5, 1])), 6)
    0.6
    """
    profile, _ = _checked(values, t)
    with np.errstate(invalid="ignore"):
        return np.max(profile, axis=-1) - np.maximum(profile[..., 0], profile[..., -1])


def mode_connectivity(values: ArrayLike, t: ArrayLike) -> tuple[Array, Array]:
    """(L(0) + L(1)) / 2 - L(t*) and t* = argmax_t |(L(0) + L(1)) / 2 - L(t)|, `[...]` each (Yang et al. 2021).

    If there are several such t, t* is the smallest. Arguments and errors as for `barrier`.

    >>> value, t = mode_connectivity([0.1, 0.9, 0.3], [0, 0.5, 1])
    >>> round(float(value), 6), float(t)
    (-0.7, 0.5)
    """
    profile, points = _checked(values, t)
    with np.errstate(invalid="ignore"):
        deviation = (profile[..., :1] + profile[..., -1:]) / 2 - profile
    # Where a value is NaN, argmax returns its index, and the result is NaN as it should be.
    index = np.argmax(np.abs(deviation), axis=-1)
    return np.take_along_axis(deviation, index[..., None], axis=-1)[..., 0], points[index]


@dataclass(frozen=True, eq=False)
class Profile:
    """Losses and accuracies at the points t of a path, `[T]` each, float64. Real targets have no accuracy: it is NaN.

    `barrier` and `error_barrier` are the largest rises above the straight line between the values at the ends, of the
    loss and of the error (1 - accuracy); never below zero.
    """

    t: Array
    loss: Array
    accuracy: Array

    @property
    def barrier(self) -> float:
        """That of the loss."""
        return float(barrier(self.loss, self.t))

    @property
    def error_barrier(self) -> float:
        """That of the error, 1 - accuracy."""
        return float(barrier(1 - self.accuracy, self.t))


def _checked(values: ArrayLike, t: ArrayLike) -> tuple[Array, Array]:
    profile, points = np.asarray(values, dtype=np.float64), np.asarray(t, dtype=np.float64)
    if points.ndim != 1 or len(points) < 2 or points[0] != 0 or points[-1] != 1 or np.any(np.diff(points) <= 0):
        raise ValueError(f"t must increase from 0 to 1, both included, but is {points}")
    if profile.shape[-1:] != points.shape:
        raise ValueError(f"values of shape {profile.shape} do not belong to {len(points)} points t")
    return profile, points
