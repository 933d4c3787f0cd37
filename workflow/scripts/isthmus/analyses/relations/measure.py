"""The rows of the tables that relate geometry to generalization and to the axes, from the quantities of a study.

All statistics are computed twice: for `all` networks that did not diverge, and for the `interpolating` ones, whose
training accuracy reaches a threshold. The rows also say how many networks were left out and why.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from itertools import product
from typing import Any

import pandas as pd

from isthmus.analyses.relations.correlations import METHODS, SCOPES, correlate
from isthmus.analyses.relations.effects import effect, numeric_axes, opposite, saturation
from isthmus.analyses.relations.gather import AXES, NETWORK, Gathered, gather, modelled
from isthmus.analyses.relations.path_rows import path_rows
from isthmus.recipes.cells import cell_name
from isthmus.statistics.multiplicity import holm
from isthmus.tables.quantities import OUTCOME
from isthmus.tables.rows import Rows, finite

INTERACTION = ("width", "depth")


def relate(
    study: str,
    tables: Mapping[str, pd.DataFrame],
    options: Mapping[str, Any],
    quantities: Collection[str] | None = None,
) -> dict[str, Rows]:
    """A study's rows of the analysis's tables, by table.

    tables: collected tables by name, `networks` and `cells` among them; options: the analysis's options;
    quantities: their names, None for all that the tables have.
    Raises DataError if the study has no network.
    """
    threshold, fewest = options["interpolation_threshold"], options["fewest_networks"]
    gathered = gather(study, tables, quantities=quantities)
    made: dict[str, Rows] = {
        "quantities": list(quantity_rows(gathered, _networks(study, tables["networks"]), threshold)),
        "correlations": [],
        "effects": [],
        "saturation": [],
        "path_relations": [],
    }
    for selection, chosen in (("all", gathered), ("interpolating", gather(study, tables, threshold, quantities))):
        made["correlations"] += [row | {"selection": selection} for row in correlation_rows(chosen, fewest)]
        for name, rows in (("effects", effect_rows), ("saturation", saturation_rows)):
            made[name] += [row | {"selection": selection} for row in rows(chosen)]
        made["path_relations"] += [row | {"selection": selection} for row in path_rows(study, tables, chosen, fewest)]
    return {name: [{"study": study} | row for row in rows] for name, rows in made.items()}


def _networks(study: str, networks: pd.DataFrame) -> pd.DataFrame:
    """All networks of a study, sorted by cell and seed."""
    rows = networks[networks["study"] == study].copy()
    rows["cell"] = rows["cell"].astype(str)
    return rows.sort_values(NETWORK).reset_index(drop=True)


def quantity_rows(gathered: Gathered, networks: pd.DataFrame, threshold: float) -> Iterator[dict[str, Any]]:
    """Rows of `quantities`, without the study: each quantity of each network, null if the network diverged."""
    for network in networks.itertuples(index=False):
        diverged = bool(network.diverged)
        accuracy = None if diverged else network.train_accuracy
        first = {"cell": network.cell, "seed": int(network.seed)} | {axis: int(getattr(network, axis)) for axis in AXES}
        first |= {"diverged": diverged, "interpolates": bool(accuracy is not None and accuracy >= threshold)}
        for quantity in gathered.quantities:
            value = None if diverged else gathered.frame.at[(network.cell, network.seed), quantity.name]
            named = {"quantity": quantity.name, "group": quantity.group, "at": gathered.at.get(quantity.name)}
            yield first | named | {"value": finite(value)}


def correlation_rows(gathered: Gathered, fewest: int) -> Iterator[dict[str, Any]]:
    """Rows of `correlations`, without study and selection: each geometric quantity with each outcome."""
    outcomes, starts = [each for each in gathered.quantities if each.group == OUTCOME], gathered.starts()
    for quantity, outcome in product(gathered.quantities, outcomes):
        if quantity.group == OUTCOME:
            continue
        both = gathered.frame[[quantity.name, outcome.name]].dropna()
        start = starts[gathered.frame.index.get_indexer(both.index)]
        cell = both.index.get_level_values("cell").to_numpy(dtype=str)
        x, y = (both[each.name].to_numpy(dtype=float) for each in (quantity, outcome))
        for method, scope in product(METHODS, SCOPES):
            found = correlate(x, y, cell, method, scope, fewest, start=start)
            row: dict[str, Any] = {"quantity": quantity.name, "group": quantity.group, "outcome": outcome.name}
            row |= {"method": method, "scope": scope, "networks": found.networks, "cells": found.cells}
            row |= {name: finite(getattr(found, name)) for name in ("coefficient", "low", "high")}
            row |= {"left_out_diverged": gathered.diverged, "left_out_not_interpolating": gathered.not_interpolating}
            yield row | {"left_out_not_measured": len(gathered.frame) - found.networks}


def effect_rows(gathered: Gathered) -> list[dict[str, Any]]:
    """Rows of `effects`, without study and selection: each quantity with each numeric axis that varies."""
    rows = list(_effect_rows(gathered))
    for row, p in zip(rows, holm([math.nan if row["p"] is None else row["p"] for row in rows]), strict=True):
        row["p_corrected"] = finite(p)
    return rows


def _effect_rows(gathered: Gathered) -> Iterator[dict[str, Any]]:
    scales = numeric_axes(gathered.axes)
    for quantity in gathered.quantities:
        value, scale = modelled(gathered, quantity)
        cells = value.index.get_level_values("cell").unique()
        terms: list[tuple[str, ...]] = [
            (axis,) for axis in scales if len({gathered.axes[cell][axis] for cell in cells}) > 1
        ]
        terms += [INTERACTION] if all((axis,) in terms for axis in INTERACTION) else []
        found = {term: effect(value, term, gathered.axes) for term in terms}
        spread = float(value.std()) if value.nunique() > 1 else math.nan
        for term, each in found.items():
            numbers = {"coefficient": each.coefficient, "low": each.low, "high": each.high}
            names = ("standardized", "standardized_low", "standardized_high")
            numbers |= {name: number / spread for name, number in zip(names, list(numbers.values()), strict=True)}
            numbers |= {"p": each.p, "freedom": each.freedom}
            row: dict[str, Any] = {"quantity": quantity.name, "group": quantity.group, "scale": scale}
            row |= {"term": ":".join(term), "step": "doubling" if scales[term[0]].doubles else "range"}
            row |= {end: getattr(scales[term[0]], end) if len(term) == 1 else None for end in ("smallest", "largest")}
            row |= {name: finite(number) for name, number in numbers.items()}
            row |= {"opposite": opposite({axis: found[axis,] for axis in INTERACTION if (axis,) in found})}
            yield row | {"settings": each.settings, "networks": len(value), "cells": len(cells)}


def saturation_rows(gathered: Gathered) -> Iterator[dict[str, Any]]:
    """Rows of `saturation`, without study and selection: each quantity on each line of values of a numeric axis."""
    each = [(quantity, *modelled(gathered, quantity)) for quantity in gathered.quantities]
    for (quantity, value, scale), axis in product(each, numeric_axes(gathered.axes)):
        cells = value.index.get_level_values("cell")
        level = pd.Series([float(gathered.axes[cell][axis]) for cell in cells], index=value.index)
        for line, members in value.groupby([cell_name(gathered.axes[cell], without=[axis]) for cell in cells]):
            fixed: dict[str, Any] = {"quantity": quantity.name, "group": quantity.group}
            fixed |= {"scale": scale, "axis": axis, "line": str(line)}
            own = {level[place]: place[0] for place in members.index}
            for row in saturation(members, level[members.index]):
                cell = own[row["level"]]
                mean = 2.0 ** row["mean"] if scale == "log" else row["mean"]
                common = gathered.frame.loc[cell].iloc[0]
                yield fixed | row | {"cell": cell, "mean": mean} | {name: int(common[name]) for name in AXES}
