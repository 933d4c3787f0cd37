"""Quantities: single numbers that describe a network or a pair, such as test accuracy, sharpness or a barrier.

A stage lists its quantities under `quantities` in `workflow/schemas/stages/`. Each names a table, a condition that
selects rows and an expression in the table's columns, both in the language of `pandas.eval`. The table `summaries`
holds the mean of every quantity over the networks of each cell, with its interval; figures show these.

Quantities with a `group` are also compared with each other: those in the group `outcome` say how well a network
generalizes, and all others are geometric.
"""

from dataclasses import dataclass
from functools import cache
from math import inf

from isthmus.core.files import read_yaml
from isthmus.tables.descriptions import SCHEMAS, stages, table

OUTCOME = "outcome"
GROUPS = (OUTCOME, "training", "movement", "curvature", "noise", "paths")
"""The order of groups in tables and figures; any other group comes after these."""

FEWEST_POINTS = 13
"""Points of a path from which on a barrier read off them counts as that of the path.

Below, too much of a barrier is missed: 13 points find 97 to 99 % of the loss barriers of curves and 88 to 91 % of their
test-error barriers, 5 points 89 to 95 % and 58 to 80 % (docs/claims.md).
"""

STABLE_BARRIER = 0.02
"""Barrier in test error below which Frankle et al. (2020) call a network stable to SGD noise."""


@dataclass(frozen=True)
class Quantity:
    """A number per network or pair.

    label: name in figures. unit: its unit, empty for pure numbers; `loss` is that of the loss, and `%` says that
    figures label a share in percent. value: expression in the columns of `table`. rows: condition on its rows; empty
    selects all. by: columns of the table that a network has several values of the quantity for, such as the kind of
    path or the epoch. If several rows remain for one network and one value of these, their mean is taken; in statistics
    on networks, the mean over the network's pairs. at: a column, such as the noise size; only rows with its smallest
    value in the study are used.

    log: whether to model the logarithm, because the quantity is positive and varies by factors; its means are then
    geometric. limits: the least and the greatest possible value. floor: smaller values count as this one. held: the
    column of `by`, such as the epoch, after whose last value a network that has stopped keeps its value. share: for a
    share of examples, an expression that makes it a whole number when multiplied with it, such as the number of
    examples. converged: the column that says whether an estimate reached its precision. examples: the column with the
    number of examples that it was measured on. median: whether its summary is the median, because a null stands for a
    number that is too large to be seen, such as the steps of a network that never gets there. baseline: whether it
    compares a network with the one of the same cell and seed in `networks`, so that it has no value where that one
    diverged. networks: the table that says which networks diverged, if the quantity's own does not. points: the column
    with the number of points of a path that it is the largest value at; below `FEWEST_POINTS`, the path may hold more.
    """

    name: str
    label: str
    table: str
    value: str
    rows: str = ""
    by: tuple[str, ...] = ()
    group: str = ""
    at: str = ""
    log: bool = True
    limits: tuple[float, float] = (-inf, inf)
    floor: float | None = None
    held: str = ""
    share: str = ""
    unit: str = ""
    converged: str = ""
    examples: str = ""
    median: bool = False
    baseline: bool = False
    networks: str = "networks"
    points: str = ""

    @property
    def of_pairs(self) -> bool:
        """Whether it belongs to pairs of networks, so that the values of a cell's networks depend on each other."""
        return stages()[table(self.table).stage].unit == "pair"


@cache
def quantities() -> tuple[Quantity, ...]:
    """All quantities by stage, as their stages list them."""
    found = []
    for stage in stages():
        described = read_yaml(SCHEMAS / "stages" / f"{stage}.yaml")
        for name, given in described.get("quantities", {}).items():
            low, high = given.get("limits", (None, None))
            limits = (-inf if low is None else low, inf if high is None else high)
            found.append(Quantity(name, **(given | {"by": tuple(given.get("by", ())), "limits": limits})))
    return tuple(found)


@cache
def compared() -> tuple[Quantity, ...]:
    """The quantities that are compared with each other: by group, then by stage, then as their stage lists them."""
    found = [quantity for quantity in quantities() if quantity.group]
    order = [*GROUPS, *dict.fromkeys(quantity.group for quantity in found if quantity.group not in GROUPS)]
    return tuple(sorted(found, key=lambda quantity: order.index(quantity.group)))


def named(name: str) -> Quantity:
    """The quantity called `name`. Raises KeyError if no stage lists it."""
    return {quantity.name: quantity for quantity in quantities()}[name]
