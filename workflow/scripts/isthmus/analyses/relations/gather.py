"""The quantities of networks (`isthmus.tables.quantities`), gathered from all tables of a study.

Quantities that a study did not measure are left out.

Shares of examples are made of whole numbers. Accuracies of 0.9 and 0.7 and those of 0.8 and 0.8 have the same mean,
yet in floating point two means may differ in their last bit, which is enough to break a tie in a rank correlation. So
the mean of shares is their count of examples, summed as integers and divided once: equal counts give equal numbers,
bit for bit.
"""

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isthmus.core.errors import DataError
from isthmus.recipes import cells
from isthmus.statistics.pairs import network_values
from isthmus.tables.quantities import Quantity, quantities

# The grid on which means of shares are put where their table does not say of how many examples. Two different shares
# of at most 2^15 examples each lie at least 2^-30 apart, so that no two of them meet, and rounding errors, some 2^-52,
# are far below it.
SHARE_GRID = 2.0**30
NETWORK = ["cell", "seed"]  # what names a network within a study
PAIR = ["seed_a", "seed_b"]
AXES = list(cells.AXES)


@dataclass(frozen=True)
class Gathered:
    """The quantities of the networks of a study that enter its statistics.

    frame: a row per network in the order of cells and seeds, indexed by them, with its axes and a column per quantity,
    NaN where it has no value. pairs: by quantity of pairs, its `value` for each pair of these networks. line: per
    network, all axes but the width. quantities: those that the study measured. at: by quantity, the size at which it
    was. diverged, not_interpolating: networks left out for this.
    """

    frame: pd.DataFrame
    pairs: Mapping[str, pd.DataFrame]
    line: pd.Series
    quantities: tuple[Quantity, ...]
    at: Mapping[str, float]
    diverged: int
    not_interpolating: int


def gather(study: str, tables: Mapping[str, pd.DataFrame], threshold: float | None = None) -> Gathered:
    """All quantities of a study that there are tables of.

    tables: collected tables by name, `networks` among them, of any studies. Diverged networks are left out, and with
    a `threshold` those whose training accuracy is below it, from pairs as well. A quantity that no network has a value
    of is left out, except of the table `networks`. The order of rows does not matter.
    Raises DataError where the study has no network, ValueError where `networks` holds one twice.
    """
    own = {name: _of_study(table, study) for name, table in tables.items()}
    networks = own["networks"].set_index(NETWORK).sort_index()
    if not networks.index.is_unique:
        raise ValueError(f"the table 'networks' holds a network of the study {study!r} more than once")
    if networks.empty:
        raise DataError(f"the table 'networks' has no row of the study {study!r}; run the workflow for it first")
    whole = networks[~networks["diverged"].astype(bool)]
    kept = whole if threshold is None else whole[whole["train_accuracy"] >= threshold]
    frame, found = kept[AXES].copy(), []
    at: dict[str, float] = {}
    pairs: dict[str, pd.DataFrame] = {}
    for quantity in quantities():
        if quantity.table not in own:
            continue
        rows, size = _rows(quantity, own[quantity.table], kept.index)
        if quantity.of_pairs:
            pairs[quantity.name] = rows
        values = _by_network(rows, kept.index, quantity.of_pairs)
        if values.notna().any() or quantity.table == "networks":
            frame[quantity.name] = values
            found.append(quantity)
            at |= {} if size is None else {quantity.name: size}
    line = pd.Series([cells.without(cell, ["width"]) for cell, _ in frame.index], index=frame.index, dtype=object)
    return Gathered(frame, pairs, line, tuple(found), at, len(networks) - len(whole), len(whole) - len(kept))


def _of_study(table: pd.DataFrame, study: str) -> pd.DataFrame:
    """The rows of a study, strings as plain strings."""
    rows = table[table["study"] == study].reset_index(drop=True)
    categories = rows.columns[rows.dtypes == "category"]
    return rows.astype(dict.fromkeys(categories, object))


def _rows(quantity: Quantity, rows: pd.DataFrame, networks: pd.Index) -> tuple[pd.DataFrame, float | None]:
    """The rows of a quantity of `networks`, or of pairs of them, with its `value`, and the size at which it holds."""
    if "diverged" in rows:
        rows = rows[~rows["diverged"].astype(bool)]
    rows, size = rows.query(quantity.rows) if quantity.rows else rows, None
    if quantity.of_pairs:
        inside = [pd.MultiIndex.from_arrays([rows["cell"], rows[end]]).isin(networks) for end in PAIR]
        rows = rows[inside[0] & inside[1]]
    if quantity.at and len(rows):
        size = float(rows[quantity.at].min())
        rows = rows[rows[quantity.at] == size]
    value = pd.Series(dtype=float)  # of no rows nothing is computed: columns that are all null are no numbers
    if len(rows):
        value = rows.eval(quantity.value).astype(float).replace([np.inf, -np.inf], np.nan)
    members = rows[["cell", *(PAIR if quantity.of_pairs else ["seed"])]].assign(value=value)
    if quantity.share:
        known = len(rows) > 0 and _names_in(quantity.share) <= set(rows.columns)
        members["examples"] = rows.eval(quantity.share).astype(float) if known else np.nan
    return members, size


def _by_network(rows: pd.DataFrame, networks: pd.Index, of_pairs: bool) -> pd.Series:
    """The value of each of `networks`, NaN where it has none: the mean over its rows, or over those of its pairs."""
    if of_pairs:
        rows = pd.concat([rows.assign(seed=rows[end]) for end in PAIR], ignore_index=True)
    # Sorted, as sums round by order; and a mean over some of the values only would be of something else.
    grouped = rows.sort_values([*NETWORK, "value"]).groupby(NETWORK)["value"]
    mean = _mean_of_shares(rows) if "examples" in rows else grouped.mean()
    return mean.where(grouped.count() == grouped.size()).reindex(networks)


def _mean_of_shares(rows: pd.DataFrame) -> pd.Series:
    """The mean per network of `value`, shares of so many `examples`, equal for equal counts of examples."""
    by = [rows[name] for name in NETWORK]
    if rows["examples"].isna().any():
        return np.round(rows["value"].groupby(by).mean() * SHARE_GRID) / SHARE_GRID
    whole = rows["examples"].groupby(by).transform(_common_multiple)
    # Whole numbers well below 2^53: the sum is exact in any order, and the division rounds once.
    counts = np.round(rows["value"] * rows["examples"]) * (whole / rows["examples"])
    return counts.groupby(by).sum() / whole.groupby(by).sum()


def _common_multiple(parts: pd.Series) -> int:
    return math.lcm(*(int(part) for part in parts.unique()))


def _names_in(expression: str) -> set[str]:
    """The columns that an expression speaks of."""
    return {node.id for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)}


def modelled(gathered: Gathered, quantity: Quantity) -> tuple[pd.Series, str]:
    """The values of the networks that have one, by cell and seed, as models take them, and the scale of these.

    The scale is `log`, base 2, where the quantity spreads over factors and all of its values are positive, else
    `linear`. Of pairs, each network has the value of `isthmus.statistics.pairs`, from the pairs on that scale; networks
    of cells whose pairs do not tell it are left out.
    """
    values = gathered.frame[quantity.name].dropna()
    each = gathered.pairs[quantity.name]["value"].dropna() if quantity.of_pairs else values
    scale = "log" if quantity.log and (each > 0).all() else "linear"
    if not quantity.of_pairs:
        return (np.log2(values) if scale == "log" else values), scale
    rows = gathered.pairs[quantity.name].loc[each.index].sort_values([*PAIR])
    rows["value"] = np.log2(each) if scale == "log" else each
    found: dict[tuple[str, int], float] = {}
    for cell, own in rows.groupby("cell"):
        networks = network_values(own["value"].to_numpy(), own[PAIR].to_numpy())
        seeds = np.unique(own[PAIR].to_numpy())
        found |= {} if networks is None else {(cell, seed): value for seed, value in zip(seeds, networks, strict=True)}
    index = pd.MultiIndex.from_tuples(list(found), names=NETWORK) if found else values.index[:0]
    return pd.Series(list(found.values()), index=index, dtype=float), scale
