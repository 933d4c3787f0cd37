"""Gather the quantities of networks (`isthmus.tables.quantities`) from all tables of a study.

Quantities that a study did not measure are left out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isthmus.core.errors import DataError
from isthmus.recipes import cells
from isthmus.recipes.cell_table import AxisValues, axes_by_cell, rows_of_study
from isthmus.statistics.pairs import network_values
from isthmus.statistics.values import PAIR, averaged, measured
from isthmus.tables.quantities import Quantity, compared

NETWORK = ["cell", "seed"]  # identifies a network within a study
AXES = list(cells.AXES)


@dataclass(frozen=True)
class Gathered:
    """The quantities of the networks in a study's statistics.

    frame: one row per network, indexed and sorted by cell and seed, with its axes and one column per quantity, NaN
    where there is no value. pairs: for each quantity of pairs, its `value` for each pair of these networks. axes: those
    of each cell. quantities: those that the study measured. at:
    for quantities measured at several sizes, the size that was used. diverged, not_interpolating: numbers of networks
    left out for this reason.
    """

    frame: pd.DataFrame
    pairs: Mapping[str, pd.DataFrame]
    axes: Mapping[str, AxisValues]
    quantities: tuple[Quantity, ...]
    at: Mapping[str, float]
    diverged: int
    not_interpolating: int

    def starts(self) -> np.ndarray:
        """Numbers of a network's start, [networks, 2]: of the group of cells that start alike, and of the seed.

        Networks with the same numbers started from the same weights.
        """
        shapes = [cells.cell_name(cells.network_axes(self.axes[cell])) for cell, _ in self.frame.index]
        groups = np.unique(np.array(shapes, dtype=str), return_inverse=True)[1]
        return np.column_stack([groups, self.frame.index.get_level_values("seed")])


def gather(
    study: str,
    tables: Mapping[str, pd.DataFrame],
    threshold: float | None = None,
    quantities: Collection[str] | None = None,
) -> Gathered:
    """All quantities of a study for which there are tables.

    tables: collected tables by name, `networks` and `cells` among them; they may hold other studies, too. Diverged
    networks are left out, also from pairs, and so are networks whose training accuracy is below `threshold`, if given.
    quantities: the names of those to gather, None for all; one without any value is left out unless it comes from the
    table `networks`. The order of rows does not matter.
    Raises DataError if the study has no network, and ValueError if `networks` holds a network twice.
    """
    own = {name: rows_of_study(table, study) for name, table in tables.items()}
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
    for quantity in compared():
        if quantity.table not in own or (quantities is not None and quantity.name not in quantities):
            continue
        rows, size = _rows(quantity, own[quantity.table], kept.index)
        if quantity.of_pairs:
            pairs[quantity.name] = rows
        values = _by_network(rows, kept.index, quantity.of_pairs)
        if values.notna().any() or quantity.table == "networks":
            frame[quantity.name] = values
            found.append(quantity)
            at |= {} if size is None else {quantity.name: size}
    axes = axes_by_cell(own["cells"], study)
    return Gathered(frame, pairs, axes, tuple(found), at, len(networks) - len(whole), len(whole) - len(kept))


def _rows(quantity: Quantity, table: pd.DataFrame, networks: pd.Index) -> tuple[pd.DataFrame, float | None]:
    """A quantity's rows for `networks`, or for pairs of them, with its `value`; and the size it was measured at."""
    ends = PAIR if quantity.of_pairs else ("seed",)
    inside = [pd.MultiIndex.from_arrays([table["cell"], table[end]]).isin(networks) for end in ends]
    rows = measured(quantity, table[np.logical_and.reduce(inside)])
    return rows, float(rows["at"].iloc[0]) if quantity.at and len(rows) else None


def _by_network(rows: pd.DataFrame, networks: pd.Index, of_pairs: bool) -> pd.Series:
    """The value of each of `networks`: the mean over its rows or over its pairs' rows; NaN if any of them has none."""
    if of_pairs:
        rows = pd.concat([rows.assign(seed=rows[end]) for end in PAIR], ignore_index=True)
    return averaged(rows, NETWORK).reindex(networks)


def modelled(gathered: Gathered, quantity: Quantity) -> tuple[pd.Series, str]:
    """A quantity's values for models, by cell and seed, and their scale; networks without a value are left out.

    The scale is `log`, base 2, if the quantity varies by factors and all its values are positive, otherwise `linear`.
    For quantities of pairs, each network has its value from `isthmus.statistics.pairs`, computed on that scale; cells
    whose pairs do not determine these values are left out.
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
        networks = network_values(own["value"].to_numpy(), own[[*PAIR]].to_numpy())
        seeds = np.unique(own[[*PAIR]].to_numpy())
        found |= {} if networks is None else {(cell, seed): value for seed, value in zip(seeds, networks, strict=True)}
    index = pd.MultiIndex.from_tuples(list(found), names=NETWORK) if found else values.index[:0]
    return pd.Series(list(found.values()), index=index, dtype=float), scale
