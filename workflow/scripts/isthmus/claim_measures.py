"""What is measured for a claim: a mean, a difference, a ratio, a slope, a step or a plateau, with its interval.

The unit is a network, or what a comparison makes of it: the difference between two kinds of network of one seed, or
between the networks of one seed at two widths. Networks of one seed share the order of their data, so seeds are what
is independent. Several rows of one network - severities, levels of pruning - are averaged first. Where there are other
axes than the one compared, each of their combinations is a setting, and the units of all settings are taken together:
the difference between settings then widens the interval. Of pairs of networks, which share networks, the units are the
networks' values of `isthmus.pair_statistics`.

Intervals are those of `isthmus.statistics.bootstrap_interval` over the units, and of slopes that of
`isthmus.power_law`, Student's, since resampling networks does not tell how far widths lie from a line. Steps and
plateaus look at several comparisons at once; each has its interval at the level 1 - 0.05 / comparisons (Bonferroni).

This module does not import torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from isthmus.cell_names import without
from isthmus.claim_rows import (
    CELL,
    PAIR,
    NotMeasured,
    check_counts,
    diverged,
    evaluate,
    level_of,
    select,
    spelled,
)
from isthmus.claims import AXIS_MEASURES, Claim
from isthmus.pair_statistics import network_values
from isthmus.power_law import power_law
from isthmus.statistics import bootstrap_interval

LEVEL = 0.95
FEWEST_LEVELS = {"slope": 3, "smallest_step": 3, "largest_step": 3, "plateau": 3}


@dataclass(frozen=True)
class Interval:
    """A value and its interval, NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """What was measured for a claim.

    value, low, high: in the unit of the measure; the ends are NaN where too few networks give no interval. comparison:
    what was compared with what. networks: how many are behind it; excluded: rows of diverged networks, and nulls;
    settings: combinations of the other axes.
    """

    value: float
    low: float
    high: float
    comparison: str
    networks: int
    excluded: int
    settings: int


def measure(claim: Claim, rows: pd.DataFrame) -> Measured:
    """Compute the measure of `claim` on `rows` (those of `isthmus.claim_rows.rows_of_study`, or some of them).

    The order of the rows does not matter. Raises NotMeasured where they cannot give it.
    """
    rows = select(rows, claim.where)
    if rows.empty:
        raise NotMeasured(f"no row with {', '.join(f'{name} {spelled(each)}' for name, each in claim.where.items())}")
    rows, words = _with_levels(claim, rows)
    value = evaluate(rows, claim.quantity).astype(float)
    kept = value.notna() & np.isfinite(value) & ~diverged(rows)
    if not kept.any():
        raise NotMeasured("all networks diverged" if diverged(rows).all() else f"`{claim.quantity}` was not measured")
    excluded = int((~kept).sum())
    rows = rows[kept].assign(value=value[kept], setting=_settings(claim, rows[kept]))
    if claim.by:
        check_counts(rows, {claim.by: FEWEST_LEVELS.get(claim.kind, 2)})
    check_counts(rows, claim.requires)
    members = PAIR if "seed" not in rows else ["seed"]
    grid = rows.groupby(["setting", *members, "level"])["value"].mean().unstack("level")
    found = _compute(claim, grid)
    used = grid.dropna(how="all") if claim.kind in AXIS_MEASURES else grid.dropna()
    networks = _networks(rows, used, members)
    if claim.kind == "plateau":
        words = f"{claim.by} {spelled(found.value * grid.columns[-1])} of {spelled(grid.columns[-1])}"
    settings = used.index.get_level_values("setting").nunique()
    return Measured(found.value, found.low, found.high, words, networks, excluded, settings)


def _networks(rows: pd.DataFrame, used: pd.DataFrame, members: list[str]) -> int:
    """Distinct networks behind the units that were used."""
    keys = [
        key for key in (*CELL, "sweep", "parameters") if key in rows and (key != "parameters" or "cell" not in rows)
    ]
    units = set(used.index)
    places = [unit in units for unit in zip(rows["setting"], *(rows[each] for each in members), strict=True)]
    rows = rows[places]
    if members == PAIR:
        return len(
            pd.concat([rows[[*keys, each]].set_axis([*keys, "seed"], axis=1) for each in PAIR]).drop_duplicates()
        )
    return len(rows[[*keys, "seed"]].drop_duplicates())


def _settings(claim: Claim, rows: pd.DataFrame) -> pd.Series:
    """The combination of all axes but the compared one, as text."""
    if "cell" not in rows:
        return rows["sweep"] if "sweep" in rows else pd.Series("", index=rows.index)
    return rows["cell"].map({cell: without(cell, [claim.by or ""]) for cell in rows["cell"].unique()})


def _with_levels(claim: Claim, rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows that are compared, with a column `level`, and what is compared in words."""
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
        return pd.concat(parts), f" {sign} ".join(words)
    levels = evaluate(rows, by)
    if not wanted:
        return rows.assign(level=levels), f"{by} {spelled(levels.min())} to {spelled(levels.max())}"
    check_counts(rows, {by: 2})
    of, to = (level_of(levels, side) for side in wanted)
    parts = [rows[levels == level].assign(level=float(place)) for place, level in enumerate((of, to))]
    return pd.concat(parts), f"{by} {spelled(of)} {sign} {spelled(to)}"


def _compute(claim: Claim, grid: pd.DataFrame) -> Interval:
    if claim.kind == "slope":
        return _slope(_logarithms(grid, claim.quantity))
    if claim.kind == "ratio":
        found = _difference(_logarithms(grid, claim.quantity), 0.0, 1.0)
        return Interval(*(float(np.exp(each)) for each in (found.value, found.low, found.high)))
    if claim.kind == "difference":
        return _difference(grid, 0.0, 1.0)
    if claim.kind == "mean":
        return _mean(grid[0.0].dropna())
    steps = list(zip(grid.columns[1:], grid.columns[:-1], strict=True))
    if claim.kind == "plateau":
        return _plateau(grid, claim.measure["tolerance"])
    level = 1 - (1 - LEVEL) / len(steps)
    found_steps = [_difference(grid, of, to, level) for of, to in steps]
    extreme: Callable[[list[float]], Any] = np.min if claim.kind == "smallest_step" else np.max
    return Interval(*(float(extreme([getattr(each, end) for each in found_steps])) for end in ("value", "low", "high")))


def _logarithms(grid: pd.DataFrame, quantity: str) -> pd.DataFrame:
    count = int((grid <= 0).sum().sum())
    if count:
        raise NotMeasured(f"{count} values of `{quantity}` are not positive")
    return np.log(grid)


def _units(values: pd.Series) -> np.ndarray | None:
    """The values of the units behind a mean: the values themselves, or of pairs those of their networks.

    Settings in which pairs do not tell what each network contributes are left out where others do; None where none do.
    """
    if "seed" in values.index.names:
        return values.to_numpy()
    found = [
        network_values(each.to_numpy(), each.index.droplevel("setting").to_frame().to_numpy())
        for _, each in values.groupby("setting")
    ]
    told = [each for each in found if each is not None]
    return np.concatenate(told) if told else None


def _mean(values: pd.Series, level: float = LEVEL) -> Interval:
    """The mean of the units behind `values`, [units or pairs], with its interval."""
    if values.empty:
        raise NotMeasured("no network has both sides of the comparison")
    units = _units(values)
    if units is None:
        return Interval(float(values.mean()), np.nan, np.nan)
    return Interval(float(units.mean()), *bootstrap_interval(units, level))


def _difference(grid: pd.DataFrame, of: Any, to: Any, level: float = LEVEL) -> Interval:
    """The mean of `of` less that of `to`, over the units that have both."""
    if not {of, to} <= set(grid):
        raise NotMeasured("all networks on one side of the comparison diverged")
    both = grid[[of, to]].dropna()
    return _mean(both[of] - both[to], level)


def _plateau(grid: pd.DataFrame, tolerance: float) -> Interval:
    """The least level from which on the largest gains at most `tolerance`, as a fraction of the largest level.

    The interval holds every level for which the intervals of the gains leave that open.
    """
    *levels, largest = grid.columns
    gains = [_difference(grid, largest, level, 1 - (1 - LEVEL) / len(levels)) for level in levels]
    found = []
    for end in ("value", "low", "high"):
        first = largest
        for level, gain in zip(reversed(levels), reversed(gains), strict=True):
            if not getattr(gain, end) <= tolerance:
                break
            first = level
        unknown = any(np.isnan(getattr(gain, end)) for gain in gains)
        found.append(np.nan if unknown else float(first / largest))
    return Interval(*found)


def _slope(logarithms: pd.DataFrame) -> Interval:
    """The power of the level: that of all settings together, each freed of its own factor.

    logarithms: [units, levels]. Settings that lack a level are left out.
    """
    levels, values = [], []
    for _, setting in logarithms.groupby("setting"):
        if not setting.notna().any().all():
            continue
        found = {level: _units(setting[level].dropna()) for level in setting}
        units = {level: np.array([setting[level].mean()]) if each is None else each for level, each in found.items()}
        factor = np.mean([np.mean(each) for each in units.values()])
        for level, each in units.items():
            levels += [float(level)] * len(each)
            values += list(np.exp(np.asarray(each) - factor))
    if not levels:
        raise NotMeasured("no setting has networks at every value of the axis")
    law = power_law(levels, values)
    return Interval(law.slope, law.low, law.high)
