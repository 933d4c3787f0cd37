"""The values of a quantity (`isthmus.tables.quantities`), network by network or pair by pair, from collected tables.

Accuracies of 0.9 and 0.7 have the same mean as 0.8 and 0.8, but in floating point the two means may differ in the last
bit, which is enough to break a tie in a rank correlation. Shares of examples are therefore averaged as counts: integers
are summed and divided once, so that equal counts give equal means, bit for bit.
"""

import ast
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isthmus.tables.quantities import Quantity

# If a table does not say how many examples a share refers to, means of shares are rounded to this grid. Two different
# shares of at most 2^15 examples differ by at least 2^-30, so they stay apart. Rounding errors, about 2^-52, vanish.
SHARE_GRID = 2.0**30
PAIR = ("seed_a", "seed_b")
NUMBERS = ["value", "converged"]
MEMBERS = ("cell", "sweep", "seed", *PAIR)  # what tells a study's networks or pairs apart, as far as a table has it


def members(table: pd.DataFrame) -> list[str]:
    """The columns of a study's table that tell its networks or pairs apart."""
    return [name for name in MEMBERS if name in table]


def _of_diverged(table: pd.DataFrame, networks: pd.DataFrame, by: Sequence[str] = ()) -> np.ndarray:
    """Which rows of a study's table belong to a network that diverged: a row of `networks`, by cell, seed and `by`."""
    keys, lost = ["cell", "seed", *by], networks[networks["diverged"].astype(bool)]
    return pd.MultiIndex.from_frame(table[keys]).isin(pd.MultiIndex.from_frame(lost[keys]))


def _of_kept(quantity: Quantity, table: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """A study's table without the rows of diverged networks, if it does not mark these itself, as `history` does not.

    networks: the study's rows of the table `quantity.networks`.
    """
    if "diverged" in table or "seed" not in table:
        return table
    return table[~_of_diverged(table, networks, [name for name in quantity.by if name in networks])]


def with_baselines(quantity: Quantity, table: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """A study's table in which networks without a `baseline` count as diverged: theirs in `networks` diverged."""
    if not quantity.baseline:
        return table
    return table.assign(diverged=table["diverged"].astype(bool) | _of_diverged(table, networks))


def measured(quantity: Quantity, table: pd.DataFrame) -> pd.DataFrame:
    """A quantity's rows in the table of one study: members, the columns `by`, `value`.

    A share also has `examples`, and a quantity measured at several sizes has the size that is used, `at`. Rows of
    diverged networks are left out; a value that is not finite is null.

    >>> from isthmus.tables.quantities import named
    >>> rows = {"cell": "a", "seed": [0, 1], "final": [True, False], "relative_change": [0.5, 0.7]}
    >>> measured(named("kernel_change"), pd.DataFrame(rows)).values.tolist()
    [['a', 0, 0.5]]
    """
    rows = table[~table["diverged"].astype(bool)] if "diverged" in table else table
    rows = rows.query(quantity.rows) if quantity.rows else rows
    if quantity.held and "final" in rows:  # the end of training stands for its epoch, also where weights are averaged
        ends = rows.sort_values("final", kind="stable")
        rows = ends.drop_duplicates([*members(rows), *quantity.by], keep="last").sort_index()
    if quantity.at and len(rows):
        rows = rows[rows[quantity.at] == rows[quantity.at].min()]
    found = rows[[*members(rows), *quantity.by]].copy()
    if rows.empty:  # its null columns have no numeric type
        return found.assign(value=pd.Series(dtype=float))
    value = rows.eval(quantity.value).astype(float).replace([np.inf, -np.inf], np.nan)
    found["value"] = value if quantity.floor is None else value.clip(lower=quantity.floor)
    if quantity.at:
        found["at"] = rows[quantity.at]
    if quantity.converged:
        found["converged"] = ~rows[quantity.converged].eq(False)
    if quantity.share:
        known = names_in(quantity.share) <= set(rows.columns)
        found["examples"] = rows.eval(quantity.share).astype(float) if known else np.nan
    return found


def averaged(rows: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """The mean of each group of the rows of `measured`; null where any of its rows has no value.

    A mean over only some of the rows would be a different quantity.
    """
    rows = rows.sort_values([*by, "value"])  # summation order affects rounding
    grouped = rows.groupby(list(by), observed=True)["value"]
    mean = _mean_of_shares(rows, by) if "examples" in rows else grouped.mean()
    return mean.where(grouped.count() == grouped.size())


def _mean_of_shares(rows: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """Each group's mean of `value`, shares of `examples` examples; equal counts give equal means."""
    keys = [rows[name] for name in by]
    if rows["examples"].isna().any():
        return np.round(rows["value"].groupby(keys, observed=True).mean() * SHARE_GRID) / SHARE_GRID
    whole = rows["examples"].groupby(keys, observed=True).transform(_common_multiple)
    # Integers well below 2^53: their sum is exact in any order, and the division rounds once.
    counts = np.round(rows["value"] * rows["examples"]) * (whole / rows["examples"])
    return counts.groupby(keys, observed=True).sum() / whole.groupby(keys, observed=True).sum()


def _common_multiple(parts: pd.Series) -> int:
    return math.lcm(*(int(part) for part in parts.unique()))


def names_in(expression: str) -> set[str]:
    """The columns that an expression names."""
    return {node.id for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)}


def values(quantity: Quantity, table: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """The value of each network or pair of a study, once for each value of the columns `by`.

    table, networks: a study's rows of the quantity's table and of its `networks`. Columns: members, `by`, `value`
    and `converged`, which is true where the quantity is no estimate. Diverged networks and pairs are left out; a null
    is a value that is not finite.
    """
    rows = measured(quantity, _of_kept(quantity, with_baselines(quantity, table, networks), networks))
    keys, converged = [*members(rows), *quantity.by], rows.get("converged", pd.Series(True, index=rows.index))
    if not rows.duplicated(keys).any():
        found = rows[[*keys, "value"]].assign(converged=converged).reset_index(drop=True)
    else:
        all_of_them = converged.groupby([rows[name] for name in keys], observed=True).all()
        found = pd.DataFrame({"value": averaged(rows, keys), "converged": all_of_them}).reset_index()
    return _held(found, quantity) if quantity.held else found


def _held(found: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """Values at the epochs (or whatever is `held`) that all networks of a cell that have not stopped by then share.

    A network that has stopped keeps its last value. Nothing is interpolated.
    """
    along, by = quantity.held, [name for name in quantity.by if name != quantity.held]
    parts = []
    for _, cell in found.groupby(["cell", *by], observed=True):
        own = {seed: rows.set_index(along)[NUMBERS].sort_index() for seed, rows in cell.groupby("seed")}
        shared = [
            at
            for at in sorted(cell[along].unique())
            if all(at in values.index or at > values.index[-1] for values in own.values())
        ]
        for seed, values in own.items():
            whole = values.iloc[values.index.searchsorted(shared, side="right") - 1].reset_index(drop=True)
            first = {name: cell[name].iloc[0] for name in ["cell", *by]}
            parts.append(whole.assign(**first, seed=seed, **{along: shared}))
    return pd.concat(parts, ignore_index=True) if parts else found
