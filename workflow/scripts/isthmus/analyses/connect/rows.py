"""The rows of `connections`, `paths` and `planes`, from the measurements on the pairs of a block."""

from collections.abc import Mapping, Sequence
from typing import Any

from isthmus.analyses.connect.measure import first_curve
from isthmus.data.dataset import Dataset
from isthmus.models.networks import count_parameters
from isthmus.recipes.path_kinds import is_repaired
from isthmus.recipes.recipe import Recipe
from isthmus.tables.rows import Row, Rows, complete

GAINS = ("train_loss", "test_error")
"""The barriers of which a repaired line says how much lower they are."""


def fixed_columns(recipe: Recipe, dataset: Dataset) -> Row:
    """The columns of `connections` that are the same for all pairs and kinds of path of a cell."""
    return {
        "dataset": dataset.name,
        "architecture": recipe.network.architecture,
        "normalization": recipe.network.normalization,
        "parameters": count_parameters(recipe.network, dataset.shape, dataset.classes),
        "loss": recipe.training.loss,
    }


def fewer(counts: Row, most: int) -> Row:
    """The same counts of examples where at most so many of each are used.

    >>> fewer({"train_examples": 800, "test_examples": 300, "statistics_examples": 0}, 500)
    {'train_examples': 500, 'test_examples': 300, 'statistics_examples': 0}
    """
    return {name: min(count, most) for name, count in counts.items()}


def plane_names(kinds: Sequence[str]) -> list[str]:
    """The planes of a cell: the plane of its first curved kind of path, if it has one, and the random plane."""
    curved = first_curve(kinds)
    return [curved, "random"] if curved else ["random"]


def connection_row(fixed: Row, kind: str, points: int, found: Mapping[str, Any] | None) -> Row:
    """The row of a pair and a kind of path.

    fixed: keys and the columns that are the same for a whole cell; found: what
    `isthmus.analyses.connect.session.Session.measure` returned, None if a network diverged.
    """
    reason = "network diverged" if found is None else "fit diverged" if found["diverged"] else "measured"
    row = fixed | {"kind": kind, "diverged": reason != "measured", "reason": reason, "points": points, "seconds": 0.0}
    return complete("connections", row, found["connection"] if found is not None else {})


def repair_gain(kind: str, found: Mapping[str, Any] | None, unrepaired: Mapping[str, Any] | None) -> Row:
    """How much lower barriers are on a repaired line than on the aligned line of the same pair, `unrepaired`.

    Empty for other kinds of paths, and where one of the two was not measured.

    >>> lower, higher = ({"connection": {f"barrier_{name}": each for name in GAINS}} for each in (0.25, 1.0))
    >>> repair_gain("linear-repaired", lower, higher)
    {'repair_gain_train_loss': 0.75, 'repair_gain_test_error': 0.75}
    """
    if found is None or unrepaired is None or not is_repaired(kind):
        return {}
    barriers = [{name: each["connection"][f"barrier_{name}"] for name in GAINS} for each in (unrepaired, found)]
    known = [name for name in GAINS if None not in (barriers[0][name], barriers[1][name])]
    return {f"repair_gain_{name}": barriers[0][name] - barriers[1][name] for name in known}


def path_rows(keys: Row, kind: str, found: Mapping[str, Any] | None) -> Rows:
    """One row per point of a path, or a single row with nulls if nothing was measured."""
    if found is None or found["diverged"]:
        return [complete("paths", keys, {"kind": kind, "diverged": True})]
    return [keys | {"kind": kind, "diverged": False} | row for row in found["paths"]]


def plane_rows(keys: Row, names: Sequence[str], found: Mapping[str, Any] | None) -> Rows:
    """The rows of a pair's planes `names`; a plane that was not measured has a single row with nulls."""
    rows = [] if found is None else found["planes"]
    measured = {row["plane"] for row in rows}
    absent = [complete("planes", keys, {"plane": name, "diverged": True}) for name in names if name not in measured]
    return [keys | row for row in rows] + absent
