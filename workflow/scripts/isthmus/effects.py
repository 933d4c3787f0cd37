"""What doubling the width, the depth or the batch size does to a quantity, and from which width on nothing changes.

**Effects.** The means of a quantity over the networks of each cell are regressed on the binary logarithms of the axes
that vary, each cell weighted by its number of networks. Since all networks of a cell have the same axes, these are the
least-squares coefficients over networks; but their intervals, Student's, come from how far the cells' means lie off the
model. That is the honest scatter where a cell has something of its own beyond its networks' scatter, as the model is
never exactly right. Measured coverage of nominal 95 % intervals, in the mean of width and depth, 500 draws:

    widths x depths x networks            3x2x3   4x2x4   5x2x5   5x3x3   6x3x5
    networks scatter about the model:
    over networks                           96      96      95      95      96 %
    over networks, HC3                      98      97      95      96      96 %
    over networks, clustered by cell        87      88      90      92      92 %
    over cells, here                        96      96      96      95      95 %
    cells scatter about it as widely as the networks of a cell:
    over networks                           78      75      72      83      73 %
    over networks, HC3                      81      76      74      84      73 %
    over networks, clustered by cell        84      88      92      93      92 %
    over cells, here                        96      94      97      96      95 %

Of few cells the intervals are wide: with three coefficients and four cells there is one degree of freedom.

**Saturation.** The mean at each width is compared with that at the largest one by Welch's interval of their difference.
The widths from which on all these intervals hold 0 are within the noise of the largest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

LEVEL = 0.95
FEWEST_NETWORKS = 2  # of which a mean has a spread
FEWEST_OF_PAIRS = 3  # networks of whose pairs it has


@dataclass(frozen=True)
class Effect:
    """A coefficient of a model, with its 95 % interval, Student's t and p; NaN where it cannot be told."""

    coefficient: float = np.nan
    low: float = np.nan
    high: float = np.nan
    t: float = np.nan
    p: float = np.nan


@dataclass(frozen=True)
class Model:
    """A fitted model: effects by term, and r_squared over the means of cells, cells, and degrees of freedom."""

    effects: dict[str, Effect]
    r_squared: float
    freedom: int
    cells: int


def fit(values: pd.Series, axes: pd.DataFrame, cell: pd.Series, others: pd.Series, interaction: bool = False) -> Model:
    """The effect per doubling of each column of `axes` that varies.

    values: [networks], on the scale of the model, finite; axes: [networks, axes], positive; cell: [networks], its name;
    others: [networks], the axes beyond these, as text: each combination of theirs has a constant of its own.
    interaction: with the product of width and depth (logarithms less their means) as `width:depth`, where both vary.
    The order of the networks does not matter. Effects are NaN where axes cannot be told apart, and their intervals
    where there are no more cells than coefficients.
    """
    from statsmodels.regression.linear_model import WLS

    ordered = pd.DataFrame({"value": values, "cell": cell, "others": others, **np.log2(axes)})
    ordered = ordered.reset_index(drop=True).sort_values(["cell", "value"], kind="stable")
    grouped = ordered.groupby("cell")
    means, weights = grouped["value"].mean(), grouped["value"].count()
    first = grouped.first()
    terms = {axis: first[axis] for axis in axes if first[axis].nunique() > 1}
    if interaction and {"width", "depth"} <= terms.keys():
        centred = [terms[axis] - np.average(terms[axis], weights=weights) for axis in ("width", "depth")]
        terms["width:depth"] = centred[0] * centred[1]
    constants = {f"constant {name}": (first["others"] == name).astype(float) for name in first["others"].unique()}
    design = pd.DataFrame(terms | constants, index=means.index)
    rank, freedom = int(np.linalg.matrix_rank(design.to_numpy())) if len(means) else 0, len(means) - design.shape[1]
    if rank < design.shape[1] or means.nunique() < 2:
        return Model({term: Effect() for term in terms}, np.nan, max(freedom, 0), len(means))
    fitted = WLS(means, design, weights=weights).fit()
    if freedom < 1:
        effects = {term: Effect(float(fitted.params[term])) for term in terms}
        return Model(effects, np.nan, 0, len(means))
    low, high = fitted.conf_int(1 - LEVEL).T.to_numpy()
    found = np.column_stack([fitted.params, low, high, fitted.tvalues, fitted.pvalues]).tolist()
    effects = {term: Effect(*numbers) for term, numbers in zip(design.columns, found, strict=True) if term in terms}
    return Model(effects, float(fitted.rsquared), freedom, len(means))


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


def spread_of_pairs(values: np.ndarray) -> np.ndarray:
    """Values of networks that are means over pairs, moved away from their mean until they scatter as they should.

    Since every pair counts for both its networks, the values of the n networks of a cell are drawn together, and
    scatter too little for how uncertain the mean over all pairs is. The values of `isthmus.pair_statistics`, which
    scatter as that mean is uncertain, are those moved by the factor 2 (n-1) / (n-2), exactly so if no pair is missing.
    """
    n = len(values)
    return values.mean() + 2 * (n - 1) / (n - 2) * (values - values.mean())


def saturation(values: pd.Series, width: pd.Series, of_pairs: bool = False) -> list[dict[str, Any]]:
    """The difference of every width from the largest one, and the width from which on there is none.

    values: [networks], finite; width: [networks]. of_pairs: values are means over pairs (`spread_of_pairs`). Returns a
    dictionary per width, in their order, with `width`, `mean`, `difference` (mean at the largest less that here),
    `low`, `high`, `within_noise` (None without an interval), `saturation_width` (None where there is none) and
    `networks`.
    """
    from scipy.stats import ttest_ind

    samples = {int(each): np.sort(values[width == each].to_numpy(dtype=float)) for each in sorted(width.unique())}
    fewest = FEWEST_OF_PAIRS if of_pairs else FEWEST_NETWORKS
    rows = []
    for here, sample in samples.items():
        last = samples[max(samples)]
        row: dict[str, Any] = {"width": here, "mean": float(sample.mean()), "networks": len(sample)}
        row |= {"difference": float(last.mean() - sample.mean()), "low": None, "high": None, "within_noise": None}
        if here != max(samples) and min(len(sample), len(last)) >= fewest:
            pair = [spread_of_pairs(each) if of_pairs else each for each in (last, sample)]
            row["low"], row["high"] = row["difference"], row["difference"]
            if any(each.min() < each.max() for each in pair):
                found = ttest_ind(*pair, equal_var=False).confidence_interval(LEVEL)
                row["low"], row["high"] = float(found.low), float(found.high)
            row["within_noise"] = bool(row["low"] <= 0 <= row["high"])
        rows.append(row)
    reached = None
    for row in reversed(rows[:-1]):
        if not row["within_noise"]:
            break
        reached = row["width"]
    return [row | {"saturation_width": reached} for row in rows]
