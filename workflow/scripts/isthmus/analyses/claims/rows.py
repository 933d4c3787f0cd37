"""The rows of a table that test a claim: joined with facts about their networks and selected by conditions.

This module does not import torch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from isthmus.analyses.claims.statements import ENDS, Claim, literal, operands
from isthmus.recipes.cell_table import axes_in, with_axes
from isthmus.recipes.cells import cell_name, spell

COMPARISONS = {"above": np.greater, "at_least": np.greater_equal, "below": np.less, "at_most": np.less_equal}
CELL = ["study", "cell"]
PAIR = ["seed_a", "seed_b"]
TRAINED = "networks."
NEEDED = {
    *CELL,
    "seed",
    *PAIR,
    "sweep",
    "parameters",
    "diverged",
    "objective",
    "cell_least_train_loss",
    "loss",
    "epoch",
}
"""Columns that measuring needs in addition to those a claim names."""


class NotMeasured(Exception):
    """The tables cannot test the claim. The message says what is missing."""


def rows_of_study(name: str, tables: Mapping[str, pd.DataFrame], study: str) -> pd.DataFrame:
    """The rows of `study` in the table `name`, with columns from `networks` and `cells`.

    If both tables have a column, its name refers to the table's own, and the one from `networks` gets the prefix
    `TRAINED`. Rows of pairs get the values of the first network of the cell that did not diverge, so only columns that
    are constant within a cell are meaningful there. All rows get what their cell reached in training (`_reached`).
    Raises NotMeasured if there are no rows.
    """
    if name not in tables:
        raise NotMeasured(f"no study makes the table `{name}`")
    rows = tables[name]
    rows = rows[rows["study"] == study].reset_index(drop=True)
    if rows.empty:
        raise NotMeasured(f"nothing in the table `{name}`")
    if "cell" not in rows:
        return rows
    networks = tables["networks"][tables["networks"]["study"] == study].sort_values(["diverged", *CELL, "seed"])
    keys = [*CELL, "seed"] if "seed" in rows else CELL
    known = networks.drop_duplicates(keys)
    # A column such as `train_examples` counts measured examples in one table and training examples in the other.
    known = known.rename(columns={name: TRAINED + name for name in known if name in rows and name not in keys})
    known = known[[name for name in known if name in keys or name not in (*CELL, "seed")]]
    rows = rows.merge(known, on=keys, how="left").merge(_reached(networks), on=CELL, how="left")
    rows = with_axes(rows, tables["cells"], study)
    axes = pd.DataFrame({cell: _numbers(axes) for cell, axes in axes_in(rows).items()}).T.infer_objects()
    return rows.join(axes[[axis for axis in axes if axis not in rows]], on="cell")


def _reached(networks: pd.DataFrame) -> pd.DataFrame:
    """Loss function, mean training accuracy and lowest training loss of each cell's networks that did not diverge."""
    whole = networks[~diverged(networks)].astype({"train_accuracy": float, "train_loss": float})
    reached = {"cell_train_accuracy": ("train_accuracy", "mean"), "cell_least_train_loss": ("train_loss", "min")}
    return whole.groupby(CELL).agg(objective=("loss", "first"), **reached).reset_index()


def _numbers(axes: Mapping[str, Any]) -> dict[str, float | bool | str]:
    """Axes as conditions name them: {"width": 8, "train_size": None} gives {"width": 8.0, "train_size": "none"}."""
    return {
        axis: value if isinstance(value, bool) else float(value) if isinstance(value, int | float) else spell(value)
        for axis, value in axes.items()
    }


def evaluate(rows: pd.DataFrame, expression: str) -> pd.Series:
    """The value of a column or of an expression with two operands (`isthmus.analyses.claims.statements.operands`).

    Comparisons give 1 if they hold, 0 if not, and null if a side is null. Raises NotMeasured if a column is missing.
    """
    names, operator = operands(expression)
    missing = [name for name in names if name not in rows and literal(name) is None]
    if missing:
        raise NotMeasured(f"there is no column `{missing[0]}`")
    if operator is None:
        return rows[expression]
    first, second = (rows[name] if name in rows else pd.Series(literal(name), index=rows.index) for name in names)
    if operator == "==":
        return (first == second).astype(float).mask(first.isna() | second.isna())
    first, second = first.astype(float), second.astype(float)
    if operator == "<":
        return (first < second).astype(float).mask(first.isna() | second.isna())
    return first - second if operator == "-" else first / second.mask(second == 0)


def holds(values: pd.Series, condition: Any) -> pd.Series:
    """Which values meet a condition: a value, a list of allowed values, or bounds. Null meets none."""
    if isinstance(condition, dict):
        numbers = pd.to_numeric(values, errors="coerce")
        met = [COMPARISONS[name](numbers, bound) for name, bound in condition.items()]
        return pd.Series(np.logical_and.reduce(met), index=values.index)
    wanted = condition if isinstance(condition, list) else [condition]
    found = {value: any(_same(value, each) for each in wanted) for value in values.unique()}
    return values.map(found).fillna(False).astype(bool)


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) or isinstance(value, str):
        return value == wanted
    if isinstance(wanted, bool):
        return isinstance(value, bool | np.bool_) and bool(value) == wanted
    return value is not None and bool(np.isclose(float(value), float(wanted), rtol=1e-9, atol=0))


def select(rows: pd.DataFrame, conditions: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that meet all conditions. Missing values of diverged networks pass, so that they are counted."""
    keep = pd.Series(True, index=rows.index)
    for expression, condition in conditions.items():
        values = evaluate(rows, expression)
        keep &= holds(values, condition) | (diverged(rows) & values.isna())
    return rows[keep]


def settings_of(claim: Claim, rows: pd.DataFrame) -> pd.Series:
    """The setting of each row, as text: all axes except the compared one, and what is held in place of other axes."""
    if "cell" not in rows:
        return rows["sweep"] if "sweep" in rows else pd.Series("", index=rows.index)
    held = claim.measure.get("held", [])
    free = [claim.by or "", *(name for each in held for name in operands(each)[0])]
    setting = rows["cell"].map({cell: cell_name(axes, without=free) for cell, axes in axes_in(rows).items()})
    for each in held:
        setting += f" {each} " + evaluate(rows, each).astype(float).map("{:.6g}".format)
    return setting


def with_held(claim: Claim, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows for which everything that the claim holds is known. Raises NotMeasured if there are none."""
    for each in claim.measure.get("held", []):
        rows = rows[evaluate(rows, each).notna() | diverged(rows)]
        if diverged(rows).all():
            raise NotMeasured(f"`{each}` is not known")
    return rows


def diverged(rows: pd.DataFrame) -> pd.Series:
    """Whether a row's network, or either network of its pair, diverged."""
    if "diverged" not in rows:
        return pd.Series(False, index=rows.index)
    return rows["diverged"].isin([True])


def published_rows(claim: Claim, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks in the published setup.

    Raises NotMeasured, naming the condition, if there are none or if the setup lists a value of the axis `by` that the
    rows lack.
    """
    for name, condition in claim.setup.items():
        unfinished = diverged(rows) & (name == "epochs")  # a diverged network stopped early but still counts
        column = TRAINED + name if TRAINED + name in rows else name
        found = rows[holds(evaluate(rows, column), condition) | unfinished]
        wanted = condition if isinstance(condition, list) else [condition]
        missing = [each for each in wanted if not holds(found[column], each).any()] if name == claim.by else []
        if found.empty or missing:
            raise NotMeasured(f"the published setup has {name} {spelled(missing or condition)}")
        rows = found
    return rows


def spelled(condition: Any) -> str:
    """A condition in words: `32`, `32, 1024`, `above 1`."""
    if isinstance(condition, dict):
        return " and ".join(f"{name.replace('_', ' ')} {bound:g}" for name, bound in condition.items())
    if isinstance(condition, list):
        return ", ".join(spelled(each) for each in condition)
    return f"{condition:g}" if isinstance(condition, float) else str(condition)


def level_of(values: pd.Series, wanted: Any) -> Any:
    """The axis value that `wanted` refers to: a value, `smallest` or `largest`. Raises NotMeasured if there is none."""
    levels = sorted(values.dropna().unique())
    if wanted in ENDS and levels:
        return levels[0 if wanted == "smallest" else -1]
    for level in levels:
        if _same(level, wanted):
            return level
    raise NotMeasured(f"there is no {values.name} {spelled(wanted)}")


def check_counts(rows: pd.DataFrame, least: Mapping[str, int]) -> None:
    """Raise NotMeasured if a column has fewer distinct values than required; `seed` stands for networks."""
    for name, count in least.items():
        if name == "seed" and "seed" not in rows:
            there = len(pd.unique(rows[PAIR].to_numpy().ravel()))
        else:
            there = int(evaluate(rows, name).dropna().nunique())
        if there < count:
            found = f"there {'is' if there == 1 else 'are'} {there}"
            raise NotMeasured(f"{count} values of {name} are needed; where the claim's conditions hold, {found}")
