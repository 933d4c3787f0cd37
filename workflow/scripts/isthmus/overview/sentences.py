"""What width, depth, batch size and other numeric axes did, in sentences made from the table `effects`.

A sentence states a direction and a size only if the 95 % interval excludes that there is no effect. Otherwise it says
that the networks do not show one, or that there is no interval.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from isthmus.overview.numbers import number, percent
from isthmus.recipes.cell_table import rows_of_study
from isthmus.recipes.cells import AXES
from isthmus.tables.quantities import OUTCOME, compared, named

LEADING = ("test_error", "generalization_gap")
"""The quantities of the group `outcome` that lead; of other groups, the first one that was measured does."""


@dataclass(frozen=True)
class Answer:
    """What an axis did: sentences about the leading quantities, and about all others."""

    axis: str
    leading: list[str]
    others: list[str]


def words(name: str) -> str:
    """A quantity's label within a sentence.

    >>> words("linear_barrier")
    'barrier (linear)'
    """
    what, _, which = named(name).label.partition(", ")
    return f"{what} ({which})" if which else what


def axis_words(axis: str) -> str:
    """An axis within a sentence: `batch_size` is "batch size"."""
    return axis.replace("_", " ")


def effect_sentence(row: pd.Series) -> str:
    """What a row of `effects` proves.

    >>> row = {"quantity": "test_error", "term": "width", "step": "doubling", "scale": "log"}
    >>> row |= {"networks": 12, "cells": 4}
    >>> effect_sentence(pd.Series(row | {"coefficient": 1.5, "low": 1.0, "high": 2.0}))
    'Doubling the width multiplies the test error by 2.8 (95 % interval: 2 to 4; 12 networks in 4 cells).'
    >>> effect_sentence(pd.Series(row | {"coefficient": -0.2, "low": -0.5, "high": 0.1}))[:74]
    'These networks do not show whether doubling the width raises or lowers the'
    """
    doing, quantity = _step(row), f"the {words(row['quantity'])}"
    count = f"{row['networks']} networks in {row['cells']} cells"
    if pd.isna(row["low"]) or pd.isna(row["high"]):
        return (
            f"What {doing} does to {quantity} cannot be determined: there is no interval, because cells have too few "
            f"networks with a value or these do not differ ({count})."
        )
    told = _told(row) if row["low"] > 0 or row["high"] < 0 else None
    if told:
        verb, size, interval = told
        return f"{doing[0].upper()}{doing[1:]} {verb} {quantity} by {size} (95 % interval: {interval}; {count})."
    value, low, high = _change(row)
    return (
        f"These networks do not show whether {doing} raises or lowers {quantity}: the estimate is {value} "
        f"(95 % interval: {low} to {high}; {count})."
    )


def _step(row: pd.Series) -> str:
    """What an axis does for an effect: it doubles, or goes over its range if it contains zero."""
    if row["step"] == "doubling":
        return f"doubling the {axis_words(row['term'])}"
    return f"going from {axis_words(row['term'])} {row['smallest']:g} to {row['largest']:g}"


def _told(row: pd.Series) -> tuple[str, str, str]:
    """Verb, size and interval of an effect that is not zero; `low` and `high` have the same sign."""
    rises = row["low"] > 0
    # By its magnitude, from the end of the interval that is closer to no effect to the other.
    size, near, far = (abs(row[name]) for name in ("coefficient", *(("low", "high") if rises else ("high", "low"))))
    if row["scale"] == "linear":
        unit = f" {named(row['quantity']).unit}".rstrip()
        return "raises" if rises else "lowers", f"{number(size)}{unit}", f"{number(near)} to {number(far)}"
    if size >= 1:
        factors = [2.0**each for each in (size, near, far)]
        return "multiplies" if rises else "divides", number(factors[0]), " to ".join(map(number, factors[1:]))
    shares = [2.0**each - 1 if rises else 1 - 2.0**-each for each in (size, near, far)]
    interval = " to ".join(map(percent, shares[1:]))
    return "raises" if rises else "lowers", f"{percent(shares[0])} of its value", interval


def _change(row: pd.Series) -> tuple[str, str, str]:
    """An effect that may be zero, and the ends of its interval, each with its sign, or as factors if they are large."""
    numbers = [float(row[name]) for name in ("coefficient", "low", "high")]
    if row["scale"] == "linear":
        value, low, high = ("+" * (each > 0) + number(each) for each in numbers)
        return f"a change of {value}", low, high
    if max(map(abs, numbers)) >= 1:
        value, low, high = (number(2.0**each) for each in numbers)
        return f"a factor of {value}", low, high
    value, low, high = (percent(2.0**each - 1, signed=True) for each in numbers)
    return f"a change of {value} of its value", low, high


def answers(study: str, effects: pd.DataFrame, networks: pd.DataFrame) -> list[Answer]:
    """What each axis did in a study, over all its networks that did not diverge.

    effects, networks: the tables of these names; they may hold other studies, too.
    """
    rows, trained = rows_of_study(effects, study), rows_of_study(networks, study)
    rows = rows[rows["selection"] == "all"]
    others = [term for term in dict.fromkeys(rows["term"]) if term not in AXES and ":" not in term]
    return [_answer(axis, rows[rows["term"] == axis], trained) for axis in (*AXES, *others)]


def _answer(axis: str, rows: pd.DataFrame, trained: pd.DataFrame) -> Answer:
    values = trained[axis] if axis in AXES else pd.Series(dtype=float)
    if values.nunique() == 1:
        same = f"All networks of this study have the same {axis_words(axis)}, {values.iloc[0]}"
        return Answer(axis, [f"{same}, so they say nothing about its effect."], [])
    if rows.empty:
        alone = f"What doubling the {axis_words(axis)} does was not measured"
        return Answer(axis, [f"{alone}: the networks that did not diverge all have the same {axis_words(axis)}."], [])
    sentences = {row["quantity"]: effect_sentence(row) for _, row in rows.iterrows()}
    leading = leading_quantities(sentences)
    others = [quantity.name for quantity in compared() if quantity.name in sentences and quantity.name not in leading]
    return Answer(axis, [sentences[name] for name in leading], [sentences[name] for name in others])


def leading_quantities(measured: Iterable[str]) -> list[str]:
    """Of the quantities that were measured, those that lead: `LEADING`, and the first of every other group."""
    given = set(measured)
    first: dict[str, str] = {}
    for quantity in compared():
        if quantity.name in given and quantity.group != OUTCOME:
            first.setdefault(quantity.group, quantity.name)
    return [name for name in LEADING if name in given] + list(first.values())


def directions(study: str, effects: pd.DataFrame) -> list[str]:
    """On which leading quantities width and depth act in the same or in opposite directions, where this is known."""
    rows = rows_of_study(effects, study)
    rows = rows[(rows["selection"] == "all") & rows["opposite"].isin(["same", "opposite"])]
    verdicts = rows.drop_duplicates("quantity").set_index("quantity")["opposite"]
    how = {"same": "in the same direction", "opposite": "in opposite directions"}
    names = leading_quantities(verdicts.index)
    return [f"Width and depth act on the {words(name)} {how[verdicts[name]]}." for name in names]


def count_sentence(study: str, networks: pd.DataFrame, source: str = "") -> str:
    """How many networks a study trained, or has from elsewhere, and how many of them diverged.

    source: who measured them, if the study is made of tables.
    """
    trained = rows_of_study(networks, study)
    diverged, cells = int(trained["diverged"].astype(bool).sum()), trained["cell"].nunique()
    lost = {0: "None of them diverged.", 1: "One of them diverged and is left out of what follows."}
    text = lost.get(diverged, f"{diverged} of them diverged and are left out of what follows.")
    count = f"{len(trained)} networks in {cells} {'cell' if cells == 1 else 'cells'}"
    imported = "stopped" in trained and trained["stopped"].isna().all()  # what stopped training is known of all others
    if source:
        did = f"has {count}, measured by {source}"
    else:
        did = f"has {count}, which were trained elsewhere" if imported else f"trained {count}"
    return f"The study {did}. {text}"
