"""How flat the ends of paths are: top eigenvalue, trace, and the response of the loss to noise on the weights.

Hessians at the ends come from the paths themselves (`connect` measures sharpness along them), and from the table
`curvature` if paths have none. The Hessian of cross-entropy vanishes with the loss, so each is also divided by it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from isthmus.statistics.values import PAIR, measured
from isthmus.tables.quantities import named

HESSIAN = ("top_eigenvalue", "trace")
TABLES = ("paths", "curvature", "perturbations")
NOISE = "relative_noise_rise"
ROUNDING = 1e-5
"""Mean cross-entropies below this are dominated by float32 rounding, so dividing by them is meaningless."""


@dataclass(frozen=True)
class Flatness:
    """The flatness of networks: `values` by cell and seed, small if flat.

    name: of the quantity in `isthmus.tables.quantities`. over_loss: whether it is divided by the loss, on the examples
    that it was measured on. table: the one that it comes from.
    """

    name: str
    over_loss: bool
    table: str
    values: pd.Series


def flatness_of_ends(own: Mapping[str, pd.DataFrame], networks: pd.MultiIndex) -> Iterator[Flatness]:
    """Every kind of flatness that was measured at `networks`, given by cell and seed.

    own: a study's rows of the tables. Division by the loss is for cross-entropy alone.
    """
    entropy = own["networks"]["loss"].eq("cross_entropy").all()
    for name, table, found in _measured(own):
        rows = found.dropna(subset="value").drop_duplicates(["cell", "seed"]).set_index(["cell", "seed"]).sort_index()
        rows = rows.loc[rows.index.isin(networks), ["value", "loss"]].astype(float)
        if rows.empty:
            continue
        yield Flatness(name, False, table, rows["value"])
        if entropy:
            yield Flatness(name, True, table, (rows["value"] / rows["loss"].where(rows["loss"] >= ROUNDING)).dropna())


def _measured(own: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Name, table and rows of each kind of flatness, with `cell`, `seed`, `value` and `loss`."""
    for name in HESSIAN:
        ends = _at_ends(own, name)
        if ends["value"].notna().any():
            yield name, "paths", ends
        elif "curvature" in own:
            rows = own["curvature"]
            rows = rows[rows["final"].astype(bool)]
            yield name, "curvature", rows[["cell", "seed", "loss"]].assign(value=rows[name])
    if "perturbations" in own:
        rows = measured(named(NOISE), own["perturbations"])
        yield NOISE, "perturbations", rows.join(own["perturbations"]["loss"])


def _at_ends(own: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame:
    """What a column of `paths` is at the ends of paths, which are networks."""
    wanted = ["cell", "seed", "loss", "value"]
    if "paths" not in own:
        return pd.DataFrame(columns=wanted)
    rows = own["paths"].assign(loss=own["paths"]["sharpness_loss"], value=own["paths"][name])
    ends = [rows[rows["t"] == t].assign(seed=rows[end]) for t, end in zip((0.0, 1.0), PAIR, strict=True)]
    return pd.concat(ends)[wanted].astype({"loss": float, "value": float})
