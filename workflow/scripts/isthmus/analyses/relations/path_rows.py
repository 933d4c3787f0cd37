"""The rows of the table `path_relations`: every kind of flatness of the ends with every quantity of the paths."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from isthmus.analyses.relations.ends_and_paths import SCOPES, Networks, correlate_paths
from isthmus.analyses.relations.flatness import flatness_of_ends
from isthmus.analyses.relations.gather import NETWORK, Gathered
from isthmus.recipes.cell_table import rows_of_study
from isthmus.recipes.cells import cell_name
from isthmus.statistics.multiplicity import holm
from isthmus.statistics.values import PAIR
from isthmus.tables.quantities import Quantity
from isthmus.tables.rows import finite

WITH_ENDS = ("bezier_sharpness",)
"""Quantities of paths that hold the flatness of the ends themselves."""
HELD = ("width", "depth")
NUMBERS = ("coefficient", "low", "high", "p_above", "p_below")


def path_rows(study: str, tables: Mapping[str, pd.DataFrame], gathered: Gathered, fewest: int) -> list[dict[str, Any]]:
    """Rows of `path_relations`, without study and selection."""
    paths = [each for each in gathered.quantities if each.of_pairs and each.name not in WITH_ENDS]
    if not paths:
        return []
    rows = list(_rows(study, tables, gathered, paths, fewest))
    found = pd.DataFrame(rows, columns=list(rows[0]) if rows else ["scope", "p_above", "p_below"])
    for _, own in found.groupby("scope"):
        both = (2 * own[["p_above", "p_below"]].astype(float).min(axis=1)).clip(upper=1)
        for place, p in zip(own.index, holm(both), strict=True):
            rows[place]["p_corrected"] = finite(p)
    return rows


def _rows(
    study: str, tables: Mapping[str, pd.DataFrame], gathered: Gathered, paths: list[Quantity], fewest: int
) -> Iterator[dict[str, Any]]:
    own, index = {name: rows_of_study(table, study) for name, table in tables.items()}, gathered.frame.index
    loss = own["networks"].set_index(NETWORK)["train_loss"].astype(float).reindex(index).to_numpy()
    cells = index.get_level_values("cell")
    strata = [cell_name({axis: each for axis, each in gathered.axes[cell].items() if axis in HELD}) for cell in cells]
    cell, stratum = (np.unique(np.array(names, dtype=str), return_inverse=True)[1] for names in (cells, strata))
    starts = gathered.starts()
    ends, values = _pairs(gathered, paths)
    points = {path: _fewest_points(path, own["connections"]) for path in paths}
    for flat, scope in product(flatness_of_ends(own, index), SCOPES):
        networks = Networks(cell, stratum, starts, flat.values.reindex(index).to_numpy(dtype=float), loss)
        for path, found in zip(paths, correlate_paths(networks, ends, values, scope, fewest), strict=True):
            yield {
                "flatness": flat.name,
                "over_loss": flat.over_loss,
                "measured_in": flat.table,
                "path": path.name,
                "scope": scope,
                **{name: finite(getattr(found, name)) for name in NUMBERS},
                "networks": found.networks,
                "pairs": found.pairs,
                "cells": found.cells,
                "points": points[path],
            }


def _pairs(gathered: Gathered, paths: list[Quantity]) -> tuple[np.ndarray, np.ndarray]:
    """The networks at the ends of all pairs, [pairs, 2], and the quantities of the pairs, [pairs, quantities]."""
    keys = ["cell", *PAIR]
    values = {path.name: gathered.pairs[path.name].set_index(keys)["value"] for path in paths}
    frame = pd.DataFrame(values).sort_index().reset_index()
    ends = [gathered.frame.index.get_indexer(pd.MultiIndex.from_frame(frame[["cell", end]])) for end in PAIR]
    return np.column_stack(ends), frame[list(values)].to_numpy(dtype=float)


def _fewest_points(path: Quantity, connections: pd.DataFrame) -> int | None:
    """The fewest points at which a path was evaluated, for the largest rise among these; None for other quantities."""
    if path.points not in connections:
        return None
    points = connections.query(path.rows)[path.points].min()
    return None if pd.isna(points) else int(points)
