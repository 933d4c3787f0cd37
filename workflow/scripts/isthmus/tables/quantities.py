"""The quantities of a network: what was measured of it, one number each, as the stages of the workflow describe them.

A stage lists its quantities under `quantities` in `workflow/schemas/stages/`. Each says how its number is found: in the
rows of a table for which a condition holds, by an expression in its columns (both in the language of `pandas.eval`).
Quantities of the group `outcome` say how well a network generalizes; the others are geometric, and are compared with
them.
"""

from dataclasses import dataclass
from functools import cache

from isthmus.core.files import read_yaml
from isthmus.tables.descriptions import SCHEMAS, stages

OUTCOME = "outcome"
GROUPS = (OUTCOME, "training", "movement", "curvature", "noise", "paths")
"""The order of the groups in tables and figures; other groups follow."""


@dataclass(frozen=True)
class Quantity:
    """A number per network.

    label: in figures. value: expression in the columns of `table`. rows: condition on its rows, all where empty; of
    several rows per network the mean is taken, and of rows of pairs that over the pairs which the network is in. at: a
    column of whose values in the study the smallest is taken, such as the size of the noise. log: whether it is
    positive and spreads over factors, so that its logarithm is modelled. share: for a share of examples, an expression
    for the number of which the value times it is whole, such as the number of examples.
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
        """Whether it belongs to pairs of networks: the values of networks of a cell then depend on each other."""
        return self.table == "connections"


@cache
def quantities() -> tuple[Quantity, ...]:
    """All quantities, by group and then in the order of stages and of their descriptions."""
    found = []
    for stage in stages():
        described = read_yaml(SCHEMAS / "stages" / f"{stage}.yaml")
        found += [Quantity(name, **given) for name, given in described.get("quantities", {}).items()]
    others = [quantity.group for quantity in found if quantity.group not in GROUPS]
    order = [*GROUPS, *dict.fromkeys(others)]
    return tuple(sorted(found, key=lambda quantity: order.index(quantity.group)))


def label_of(name: str) -> str:
    """How a quantity is called in figures. KeyError where there is none of that name."""
    return {quantity.name: quantity.label for quantity in quantities()}[name]
