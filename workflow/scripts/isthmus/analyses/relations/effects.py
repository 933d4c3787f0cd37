"""What doubling the width, the depth or the batch size does to a quantity, and from which width on nothing changes.

**Effects.** The effect of an axis is the slope of the least-squares line through the means of cells over the binary
logarithm of the axis, at fixed other axes, averaged over all combinations of these, the settings. Like the measures of
`isthmus.analyses.claims.statements` of the kind `slope` it is a comparison over a grid that counts as fixed
(`isthmus.statistics.contrasts`), so that the two agree: it says how the quantity changes over this grid on average,
whether or not the change is a straight line or the same in every setting, and its interval comes from the scatter of
networks within cells alone.

**Saturation.** The mean at each width is compared with that at the largest one by Welch's interval of their difference.
The widths from which on all these intervals hold 0 are within the noise of the largest.

This module does not import torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from isthmus.recipes.cells import axes_of, shape_of, without
from isthmus.statistics.contrasts import FEWEST_NETWORKS, estimate, slope_weights


@dataclass(frozen=True)
class Effect:
    """The effect of a term, with its 95 % interval, degrees of freedom and two-sided p-value; NaN where it cannot be
    told. settings: over how many it is the average."""

    coefficient: float = np.nan
    low: float = np.nan
    high: float = np.nan
    freedom: float = np.nan
    p: float = np.nan
    settings: int = 0


def effect(values: pd.Series, terms: Sequence[str]) -> Effect:
    """The effect per doubling of an axis, or the interaction of two axes.

    values: [networks] by cell and seed, on the scale of the model, finite; of pairs those of
    `isthmus.statistics.pairs`. terms: the axis, or the two of them: how
    the effect of one changes per doubling of the other. Settings that do not tell the effect, having one
    value of the axis or cells with too few networks, are left out. The order of the networks does not matter.
    """
    frame = values.unstack("cell").sort_index(axis="columns") if len(values) else pd.DataFrame()
    settings: dict[str, list[int]] = {}
    for column, cell in enumerate(frame):
        settings.setdefault(without(cell, terms), []).append(column)
    shapes = [shape_of(cell) for cell in frame]
    levels = (
        np.log2([[float(axes_of(cell)[axis]) for axis in terms] for cell in frame]) if len(frame) else np.empty((0, 1))
    )
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
    """Weights of cells [cells] that make the effect of their levels [cells, terms]; None where these do not tell it."""
    if levels.shape[1] == 1:
        return slope_weights(levels[:, 0]) if len(np.unique(levels)) > 1 else None
    centred = levels - levels.mean(axis=0)
    design = np.column_stack([np.ones(len(levels)), centred, centred.prod(axis=1)])
    return np.linalg.pinv(design)[-1] if np.linalg.matrix_rank(design) == design.shape[1] else None


def opposite(effects: Mapping[str, Effect]) -> str | None:
    """Whether width and depth act in `opposite` directions, the `same`, or that is `undecided`; None unless both vary.

    It is undecided where the interval of either holds 0 or is missing.
    """
    if not {"width", "depth"} <= effects.keys():
        return None
    width, depth = effects["width"], effects["depth"]
    if not all(each.low > 0 or each.high < 0 for each in (width, depth)):
        return "undecided"
    return "same" if (width.low > 0) == (depth.low > 0) else "opposite"


def saturation(values: pd.Series, width: pd.Series) -> list[dict[str, Any]]:
    """The difference of every width from the largest one, and the width from which on there is none.

    values: [networks], finite, of pairs those of `isthmus.statistics.pairs`; width: [networks]. Returns a dictionary
    per width, in their order, with `width`, `mean`, `difference` (mean at the largest less that here), `low`, `high`,
    `within_noise` (None without an interval), `saturation_width` (None where there is none) and `networks`.
    """
    samples = {int(each): np.sort(values[width == each].to_numpy(dtype=float)) for each in sorted(width.unique())}
    largest = max(samples)
    rows = []
    for here, sample in samples.items():
        row: dict[str, Any] = {"width": here, "mean": float(sample.mean()), "networks": len(sample)}
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
        reached = row["width"]
    return [row | {"saturation_width": reached} for row in rows]
