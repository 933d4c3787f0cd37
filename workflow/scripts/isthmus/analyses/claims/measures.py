"""Compute the measure of a claim from the rows of a table, setting by setting over a fixed grid.

Each combination of the axes that are not compared is a *setting*. A measure is the average over settings. Its error
comes from how networks scatter within cells, pooled over all cells (`isthmus.statistics.contrasts`); differences
between settings do not count as error. Several rows of one network, such as severities or levels of pruning, are
averaged first. Pairs of networks share networks, so they enter with the networks' values from
`isthmus.statistics.pairs`. Proportions of networks have exact limits (`isthmus.statistics.proportions`).

This module does not import torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from isthmus.analyses.claims.estimates import Largest, Measured, Plateau, Ratio, Reported, Smallest
from isthmus.analyses.claims.losses import at_equal_loss
from isthmus.analyses.claims.rows import (
    CELL,
    PAIR,
    NotMeasured,
    check_counts,
    diverged,
    evaluate,
    level_of,
    select,
    settings_of,
    spelled,
    with_held,
)
from isthmus.analyses.claims.statements import COEFFICIENT, EQUAL_LOSS, SIDES, STEPS, Claim
from isthmus.recipes.cell_table import axes_in
from isthmus.recipes.cells import cell_name, network_axes
from isthmus.statistics.contrasts import FEWEST_NETWORKS, Estimate, estimate, slope_weights
from isthmus.statistics.pairs import network_values
from isthmus.statistics.proportions import Proportion

FEWEST_LEVELS = {"smallest_step": 3, "largest_step": 3, "plateau": 3}
ROUNDING = 1e-5
"""Mean cross-entropies below this are dominated by float32 rounding, so dividing by them is meaningless."""


@dataclass(frozen=True)
class Found:
    """What was measured for a claim.

    result: value, interval and p-values of the average over settings. by_setting: the same for each setting, by name.
    comparison: what was compared with what. networks: how many entered; excluded: number of rows that did not, because
    the network diverged or the value is null.
    """

    result: Measured
    by_setting: dict[str, Measured]
    comparison: str
    networks: int
    excluded: int


@dataclass(frozen=True)
class Cells:
    """The values of networks, cell by cell.

    frame: [seeds, (setting, level)], NaN where there is no network; means: the cells' means, which exist even if pairs
    are too few to give values per network; groups: equal for cells that start from the same weights.
    """

    frame: pd.DataFrame
    means: pd.Series
    groups: list[str]

    def levels(self, setting: str) -> list[Any]:
        """The levels of a setting, in rising order."""
        return sorted(level for own, level in self.frame.columns if own == setting)

    def estimate(self, weights: dict[tuple[str, Any], float]) -> Estimate:
        """The weighted sum of cell means."""
        vector = np.array([weights.get(column, 0.0) for column in self.frame.columns])
        found = estimate(self.frame, self.groups, vector)
        if np.isnan(found.value):
            return Estimate(float(sum(share * self.means[column] for column, share in weights.items())))
        return found


def measure(claim: Claim, rows: pd.DataFrame) -> Found:
    """Compute the measure of `claim` on `rows`, which come from `rows_of_study`.

    The order of the rows does not matter. Raises NotMeasured if the rows do not suffice.
    """
    rows = select(rows, claim.where)
    if rows.empty:
        raise NotMeasured(f"no row with {', '.join(f'{name} {spelled(each)}' for name, each in claim.where.items())}")
    if claim.kind == COEFFICIENT:
        return _reported(claim, rows)
    if claim.twin is not None:
        rows = _cross_entropy(rows)
    rows = with_held(claim, rows)
    rows, words = _with_levels(claim, rows.assign(setting=settings_of(claim, rows)))
    value = evaluate(rows, claim.quantity).astype(float)
    kept = value.notna() & np.isfinite(value) & ~diverged(rows)
    if not kept.any():
        raise NotMeasured("all networks diverged" if diverged(rows).all() else f"`{claim.quantity}` was not measured")
    excluded = int((~kept).sum())
    rows = rows[kept].assign(value=value[kept])
    if claim.kind == "proportion":
        return _proportions(rows, words, excluded)
    if claim.twin == EQUAL_LOSS:
        rows = at_equal_loss(rows)
    for name, bound in claim.spans.items():
        rows = _spanning(rows, claim, name, bound)
    if claim.by:
        check_counts(rows, {claim.by: FEWEST_LEVELS.get(claim.kind, 2)})
    check_counts(rows, claim.requires)
    cells = _cells(claim, rows)
    settings = _usable(claim, cells)
    result = _result(claim, cells, settings)
    used = rows[rows["setting"].isin(settings)]
    if claim.kind == "plateau":
        widest = max(cells.levels(settings[0]))
        words = f"{claim.by} {spelled(result.value * widest)} of {spelled(widest)}"
    by_setting = {setting: _result(claim, cells, [setting]) for setting in settings}
    return Found(result, by_setting, words, _networks(used), excluded)


def _reported(claim: Claim, rows: pd.DataFrame) -> Found:
    """What a table of statistics has in its one row for a claim."""
    if len(rows) > 1:
        raise NotMeasured(f"the table has {len(rows)} rows where the claim's conditions hold, not one")
    row = rows.iloc[0]
    if pd.isna(row[claim.quantity]):
        raise NotMeasured("there are too few networks, or nothing varies")
    ends = (row[name] for name in ("low", "high", "p_above", "p_below"))
    result = Reported(float(row[claim.quantity]), *(np.nan if pd.isna(each) else float(each) for each in ends))
    return Found(result, {"": result}, "", int(row["networks"]), 0)


def _cross_entropy(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks that were trained on cross-entropy and whose losses are not just rounding."""
    rows = rows[rows["objective"] == "cross_entropy"]
    if rows.empty:
        raise NotMeasured("losses are divided out of cross-entropy alone")
    rows = rows[rows["cell_least_train_loss"].isna() | (rows["cell_least_train_loss"] >= ROUNDING)]
    if rows.empty:
        raise NotMeasured(f"training losses are below {ROUNDING:g}, at the rounding of float32")
    return rows


def _spanning(rows: pd.DataFrame, claim: Claim, name: str, bound: float) -> pd.DataFrame:
    """The rows of settings in which a column has values on both sides of a bound."""
    value = evaluate(rows, name).astype(float)
    sides = pd.DataFrame({"setting": rows["setting"], "below": value < bound, "reached": value >= bound})
    both = sides.groupby("setting")[["below", "reached"]].any().all(axis=1)
    if not both.any():
        side = "below" if not sides["below"].any() else "of at least"
        words = name.removeprefix("cell_").replace("_", " ")
        raise NotMeasured(f"the grid has no {claim.by} with a {words} {side} {bound:g}")
    return rows[rows["setting"].isin(both[both].index)]


def _proportions(rows: pd.DataFrame, words: str, excluded: int) -> Found:
    def counted(own: pd.DataFrame) -> Proportion:
        return Proportion(int((own["value"] > 0).sum()), len(own))

    by_setting: dict[str, Measured] = {str(setting): counted(own) for setting, own in rows.groupby("setting")}
    return Found(counted(rows), by_setting, words, len(rows), excluded)


def _networks(rows: pd.DataFrame) -> int:
    """The number of distinct networks in some rows."""
    keys = [key for key in (*CELL, "sweep") if key in rows]
    if "seed" in rows:
        return len(rows[[*keys, *(["parameters"] if "cell" not in rows else []), "seed"]].drop_duplicates())
    ends = [rows[[*keys, each]].set_axis([*keys, "seed"], axis=1) for each in PAIR]
    return len(pd.concat(ends).drop_duplicates())


def _with_levels(claim: Claim, rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows to compare, with a column `level`, and a description of the comparison."""
    wanted = [claim.measure[side] for side in ("of", "to") if side in claim.measure]
    by, sign = claim.by, {"ratio": "/", "difference": "-"}.get(claim.kind, "")
    if by is None and not wanted:
        return rows.assign(level=0.0), ""
    if by is None:
        parts = [select(rows, side).assign(level=float(place)) for place, side in enumerate(wanted)]
        words = [", ".join(f"{name} {spelled(each)}" for name, each in side.items()) for side in wanted]
        empty = [text for part, text in zip(parts, words, strict=True) if part.empty]
        if empty:
            raise NotMeasured(f"no row with {empty[0]}")
        return pd.concat(parts, ignore_index=True), f" {sign} ".join(words)
    levels = evaluate(rows, by)
    if not wanted:
        return rows.assign(level=levels), f"{by} {spelled(levels.min())} to {spelled(levels.max())}"
    check_counts(rows, {by: 2})
    ends = [levels.groupby(rows["setting"]).transform(level_of, side) for side in wanted]  # each setting has its own
    apart = ends[0] != ends[1]
    if not apart.any():
        raise NotMeasured(f"no setting has two values of {by}")
    parts = [rows[apart & (levels == end)].assign(level=float(place)) for place, end in enumerate(ends)]
    words = [
        spelled(end[apart].iloc[0]) if end[apart].nunique() == 1 else str(side)
        for side, end in zip(wanted, ends, strict=True)
    ]
    return pd.concat(parts, ignore_index=True), f"{by} {words[0]} {sign} {words[1]}"


def _cells(claim: Claim, rows: pd.DataFrame) -> Cells:
    members = PAIR if "seed" not in rows else ["seed"]
    keys = ["setting", "level"]
    if "cell" not in rows:  # a sweep holds several networks of one seed
        rows = rows.assign(seed=rows.groupby(keys).cumcount())
    each = rows.groupby([*keys, *members])["value"].mean()
    if claim.on_logarithms:
        count = int((each <= 0).sum())
        if count:
            raise NotMeasured(f"{count} values of `{claim.quantity}` are not positive")
        each = np.log(each)
    if claim.by is None and claim.kind in SIDES:  # the two sides are rows of the same networks or pairs
        each = each.unstack("level").dropna().stack()
        each = each.reorder_levels([*keys, *members]).sort_index()
        if each.empty:
            raise NotMeasured("no network has both sides of the comparison")
    columns = {key: _values(own.droplevel(keys), members) for key, own in each.groupby(level=keys)}
    first = rows.drop_duplicates(keys).set_index(keys)
    axes = axes_in(rows) if "cell" in rows else {}
    named = [cell_name(network_axes(axes[first.loc[key, "cell"]])) if axes else str(key) for key in columns]
    return Cells(pd.DataFrame(columns), each.groupby(level=keys).mean(), named)


def _values(values: pd.Series, members: Sequence[str]) -> pd.Series:
    """The values of a cell's networks, [seeds]; empty if pairs do not determine what each network contributes."""
    if members != PAIR:
        return values
    pairs = values.index.to_frame()[PAIR].to_numpy()
    found = network_values(values.to_numpy(), pairs)
    return pd.Series(dtype=float) if found is None else pd.Series(found, index=np.unique(pairs))


def _usable(claim: Claim, cells: Cells) -> list[str]:
    """The settings that have all levels to be compared; if any of these have an error, only those."""
    settings = sorted({setting for setting, _ in cells.frame.columns})
    levels = {level for _, level in cells.frame.columns}
    if claim.kind in STEPS and len(levels) < FEWEST_LEVELS[claim.kind]:
        raise NotMeasured(f"{FEWEST_LEVELS[claim.kind]} values of {claim.by} are needed, there are {len(levels)}")
    fewest = 1 if claim.kind == "mean" else 2 if claim.kind == "slope" else len(levels)
    whole = [setting for setting in settings if len(cells.levels(setting)) >= fewest]
    if not whole or (claim.kind in SIDES and len(levels) < 2):
        raise NotMeasured("no setting has networks that did not diverge on all sides of the comparison")
    counts = cells.frame.notna().sum()
    told = [
        setting
        for setting in whole
        if all(counts[setting, level] >= FEWEST_NETWORKS for level in cells.levels(setting))
        and all(not np.isnan(each.error) for each in _estimates(claim, cells, [setting]))
    ]
    return told or whole


def _estimates(claim: Claim, cells: Cells, settings: Sequence[str]) -> list[Estimate]:
    """The comparisons that make up a measure, each averaged over settings."""
    share = 1 / len(settings)
    if claim.kind == "mean":
        return [cells.estimate({(setting, 0.0): share for setting in settings})]
    if claim.kind in SIDES:
        return [_difference(cells, settings, 0.0, 1.0)]
    if claim.kind == "slope":
        base = np.log if claim.on_logarithms else np.log2
        weights: dict[tuple[str, Any], float] = {}
        for setting in settings:
            levels = cells.levels(setting)
            slopes = slope_weights(base(np.asarray(levels, dtype=float)))
            weights |= {(setting, level): share * each for level, each in zip(levels, slopes, strict=True)}
        return [cells.estimate(weights)]
    levels = cells.levels(settings[0])
    if claim.kind == "plateau":
        return [_difference(cells, settings, levels[-1], level) for level in levels[:-1]]
    return [_difference(cells, settings, of, to) for to, of in pairwise(levels)]


def _difference(cells: Cells, settings: Sequence[str], of: Any, to: Any) -> Estimate:
    share = 1 / len(settings)
    weights = {(setting, of): share for setting in settings} | {(setting, to): -share for setting in settings}
    return cells.estimate(weights)


def _result(claim: Claim, cells: Cells, settings: Sequence[str]) -> Measured:
    found = _estimates(claim, cells, settings)
    if claim.kind == "ratio":
        return Ratio(found[0])
    if claim.kind == "smallest_step":
        return Smallest(found)
    if claim.kind == "largest_step":
        return Largest(found)
    if claim.kind == "plateau":
        return Plateau([float(level) for level in cells.levels(settings[0])], found, claim.measure["tolerance"])
    return found[0]
