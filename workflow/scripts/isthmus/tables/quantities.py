"""Quantities: single numbers that describe a network, such as its test accuracy or its sharpness.

A stage lists its quantities under `quantities` in `workflow/schemas/stages/`. Each names a table, a condition that
selects rows and an expression in the table's columns, both in the language of `pandas.eval`. Quantities in the group
`outcome` say how well a network generalizes. All others are geometric and are compared with the outcomes.
"""

from dataclasses import dataclass
from functools import cache

from isthmus.core.files import read_yaml
from isthmus.tables.descriptions import SCHEMAS, stages

OUTCOME = "outcome"
GROUPS = (OUTCOME, "training", "movement", "curvature", "noise", "paths")
"""The order of groups in tables and figures; any other group comes after these."""


@dataclass(frozen=True)
class Quantity:
    """A number per network.

    label: name in figures. value: expression in the columns of `table`. rows: condition on its rows; empty selects all.
    If several rows of a network remain, their mean is taken; in tables of pairs, the mean over the network's pairs.
    at: a column, such as the noise size; only rows with its smallest value in the study are used. log: whether to model
    the logarithm, because the quantity is positive and varies by factors. share: for a share of examples, an expression
    that makes it a whole number when multiplied with it, such as the number of examples.
    """

    name: str
    label: str
    group: str
    table: str
    value: str
    rows: str = ""
    at: str = ""
    log: bool = True
    share: str = ""

    @property
    def of_pairs(self) -> bool:
        """Whether it belongs to pairs of networks, so that the values of a cell's networks depend on each other."""
        return self.table == "connections"


@cache
def quantities() -> tuple[Quantity, ...]:
    """All quantities, ordered by group, then by stage, then as their stage lists them."""
    found = []
    for stage in stages():
        described = read_yaml(SCHEMAS / "stages" / f"{stage}.yaml")
        found += [Quantity(name, **given) for name, given in described.get("quantities", {}).items()]
    others = [quantity.group for quantity in found if quantity.group not in GROUPS]
    order = [*GROUPS, *dict.fromkeys(others)]
    return tuple(sorted(found, key=lambda quantity: order.index(quantity.group)))


def label_of(name: str) -> str:
    """A quantity's label in figures. Raises KeyError if there is no quantity of that name."""
    return {quantity.name: quantity.label for quantity in quantities()}[name]
