"""How a quantity changes along the numeric axes of a study, and from which value of an axis on it no longer changes.

**Axes.** Every numeric axis has effects: width, depth and batch size, a learning rate, the fraction of random labels,
an argument of your own model. If all its values are positive, the effect is that of doubling it. If an axis contains
zero (or less), it cannot be doubled, and the effect is that of going from its smallest to its largest value.

**Effects.** The effect of an axis is the slope of the least-squares line through the cell means over the binary
logarithm of the axis (or over its values, if it contains zero), with the other axes fixed, averaged over their
combinations (the settings). Like the claims' measure `slope` (`isthmus.analyses.claims.statements`), it is a comparison
over a fixed grid (`isthmus.statistics.contrasts`), so the two agree. It says how the quantity changes over this grid on
average, whether or not the change is linear or the same in every setting. Its interval comes only from the scatter of
networks within cells.

**Saturation.** Welch's interval compares the mean at each value of an axis with the mean at its largest value. A value
is within the noise of the largest if this interval contains 0. Saturation begins where all further values are.

This module does not import torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from isthmus.recipes.cell_table import AxisValues
from isthmus.recipes.cells import axis_order, cell_name, network_axes
from isthmus.statistics.contrasts import FEWEST_NETWORKS, estimate, slope_weights


@dataclass(frozen=True)
class Effect:
    """The effect of a term, with its 95 % interval, degrees of freedom and two-sided p-value, NaN if unknown.

    settings: the number of settings that it averages.
    """

    coefficient: float = np.nan
    low: float = np.nan
    high: float = np.nan
    freedom: float = np.nan
    p: float = np.nan
    settings: int = 0


@dataclass(frozen=True)
class NumericAxis:
    """An axis whose values are numbers, `smallest` to `largest` in the study."""

    smallest: float
    largest: float

    @property
    def doubles(self) -> bool:
        """Whether an effect is that of doubling the axis; otherwise it is that of its whole range."""
        return self.smallest > 0

    def level(self, value: float) -> float:
        """A value on the scale of effects: in doublings, or as a fraction of the range.

        >>> NumericAxis(8, 32).level(16), NumericAxis(0, 0.4).level(0.1)
        (4.0, 0.25)
        """
        return float(np.log2(value)) if self.doubles else value / (self.largest - self.smallest)


def numeric_axes(axes: Mapping[str, AxisValues]) -> dict[str, NumericAxis]:
    """The axes of cells that have several values, all of them numbers, in the order of a cell's name.

    >>> cells = {"a": {"depth": 1, "optimizer": "sgd", "label_noise": 0.0}}
    >>> list(numeric_axes(cells | {"b": {"depth": 1, "optimizer": "adam", "label_noise": 0.4}}))
    ['label_noise']
    """
    found = {}
    for axis in axis_order(next(iter(axes.values()))):
        values = [each[axis] for each in axes.values()]
        if all(isinstance(value, Real) and not isinstance(value, bool | np.bool_) for value in values):
            smallest, largest = float(min(values)), float(max(values))
            if smallest < largest:
                found[axis] = NumericAxis(smallest, largest)
    return found


def effect(values: pd.Series, terms: Sequence[str], axes: Mapping[str, AxisValues]) -> Effect:
    """The effect of an axis, per doubling or over its range, or the interaction of two axes.

    values: [networks] by cell and seed, finite, on the scale of the model; for pairs, the values from
    `isthmus.statistics.pairs`. terms: one numeric axis, or two for their interaction, which is how the effect of one
    changes with the other. axes: those of each cell. Settings with a single value of the axis, or with cells
    of too few networks, are left out. The order of the networks does not matter.
    """
    frame = values.unstack("cell").sort_index(axis="columns") if len(values) else pd.DataFrame()
    settings: dict[str, list[int]] = {}
    for column, cell in enumerate(frame):
        settings.setdefault(cell_name(axes[cell], without=terms), []).append(column)
    shapes = [cell_name(network_axes(axes[cell])) for cell in frame]
    scales = numeric_axes(axes)
    levels = np.array([[scales[axis].level(axes[cell][axis]) for axis in terms] for cell in frame])
    told = []
    for columns in settings.values():
        weights = np.zeros(len(shapes))
        own = _weights(levels[columns])
        if own is not None:
            weights[columns] = own
            if not np.isnan(estimate(frame, shapes, weights).error):
                told.append(weights)
    if not told:
        return Effect()
    found = estimate(frame, shapes, np.mean(told, axis=0))
    p = min(1.0, 2 * min(found.p_above(0.0), found.p_below(0.0)))
    return Effect(found.value, *found.interval(), found.freedom, p, len(told))


def _weights(levels: np.ndarray) -> np.ndarray | None:
    """Cell weights [cells] that give the effect of the levels [cells, terms]; None if these do not determine it."""
    if levels.shape[1] == 1:
        return slope_weights(levels[:, 0]) if len(np.unique(levels)) > 1 else None
    centred = levels - levels.mean(axis=0)
    design = np.column_stack([np.ones(len(levels)), centred, centred.prod(axis=1)])
    return np.linalg.pinv(design)[-1] if np.linalg.matrix_rank(design) == design.shape[1] else None


def opposite(effects: Mapping[str, Effect]) -> str | None:
    """Whether width and depth act in the `same` or `opposite` direction, or `undecided`; None unless both vary.

    It is undecided if either interval contains 0 or is missing.
    """
    if not {"width", "depth"} <= effects.keys():
        return None
    width, depth = effects["width"], effects["depth"]
    if not all(each.low > 0 or each.high < 0 for each in (width, depth)):
        return "undecided"
    return "same" if (width.low > 0) == (depth.low > 0) else "opposite"


def saturation(values: pd.Series, level: pd.Series) -> list[dict[str, Any]]:
    """The difference between each value of an axis and the largest, and the value from which on there is none.

    values: [networks], finite; for pairs, the values from `isthmus.statistics.pairs`; level: [networks], of the axis.
    Returns one dictionary per level, in rising order, with `level`, `mean`, `difference` (mean at the largest level
    minus mean here), `low`, `high`, `within_noise` (None without an interval), `saturation_level` (None if there is
    none) and `networks`.
    """
    samples = {float(each): np.sort(values[level == each].to_numpy(dtype=float)) for each in sorted(level.unique())}
    largest = max(samples)
    rows = []
    for here, sample in samples.items():
        row: dict[str, Any] = {"level": here, "mean": float(sample.mean()), "networks": len(sample)}
        row |= {"difference": float(samples[largest].mean() - sample.mean())}
        row |= dict.fromkeys(("low", "high", "within_noise"))
        if here != largest and min(len(sample), len(samples[largest])) >= FEWEST_NETWORKS:
            frame = pd.DataFrame({"here": pd.Series(sample), "largest": pd.Series(samples[largest])})
            low, high = estimate(frame, frame.columns, [-1, 1]).interval()
            if not np.isnan(low):
                row |= {"low": low, "high": high, "within_noise": bool(low <= 0 <= high)}
        rows.append(row)
    reached = None
    for row in reversed(rows[:-1]):
        if not row["within_noise"]:
            break
        reached = row["level"]
    return [row | {"saturation_level": reached} for row in rows]
