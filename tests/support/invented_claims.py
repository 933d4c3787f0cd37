"""Invented tables, and claims on them, for the tests of claims and of their figure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from invented_cells import with_cells

from isthmus.analyses.claims import verdicts
from isthmus.analyses.claims.statements import Claim, parse_claims
from isthmus.tables.descriptions import table

FALLS = {"measure": {"kind": "slope", "by": "width"}, "expect": {"below": 0}}
SETUP = {"dataset": "MNIST", "depth": 1, "width": [32, 512]}


def frame(name: str, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows of a table as a data frame; columns that they lack are null."""
    columns = [column.name for column in table(name).columns]
    return pd.DataFrame([{column: row.get(column) for column in columns} for row in rows], columns=columns)


def networks(
    study: str = "digits",
    dataset: str = "digits",
    widths: Sequence[int] = (32, 128, 512),
    depths: Sequence[int] = (1,),
    seeds: int = 4,
    power: float = -0.5,
    scatter: float = 0.02,
    diverged: Sequence[tuple[int, int]] = (),
) -> pd.DataFrame:
    """The table `networks`, with a relative movement that is a power of the width; `diverged` holds (width, seed)."""
    random, rows = np.random.default_rng(0), []
    for width, depth, seed in product(widths, depths, range(seeds)):
        lost = (width, seed) in diverged
        movement = width**power * depth * np.exp(random.normal(0, scatter))
        known = {"study": study, "cell": f"width={width}+depth={depth}+batch_size=32", "width": width, "depth": depth}
        known |= {"batch_size": 32, "seed": seed, "dataset": dataset, "diverged": lost, "label_noise": 0.0}
        known |= {"epochs": 3.0 if lost else 30.0, "loss": "cross_entropy"}
        known |= {} if lost else {"train_accuracy": 1.0, "train_loss": 0.01}
        accuracy = 0.9 + 0.01 * np.log2(width / 32) + random.normal(0, 0.001)
        rows.append(known | ({} if lost else {"relative_movement": movement, "test_accuracy": accuracy}))
    return frame("networks", rows)


def connections(of: pd.DataFrame, kinds: Sequence[str] = ("linear", "bezier")) -> pd.DataFrame:
    """The table `connections` for all pairs of these networks: curves with a tenth of the lines' barriers."""
    random, rows = np.random.default_rng(1), []
    for cell, members in of.groupby("cell"):
        own = {key: members[key].iloc[0] for key in ("study", "width", "depth", "batch_size")} | {"cell": cell}
        share = {seed: random.normal(0, 0.02) for seed in members["seed"]}
        for (a, b), kind in product(combinations(members["seed"], 2), kinds):
            barrier = 0.4 * (32 / own["width"]) ** 0.3 + share[a] + share[b] + random.normal(0, 0.01)
            barrier *= 0.1 if kind == "bezier" else 1
            known = {"seed_a": a, "seed_b": b, "kind": kind, "diverged": False, "barrier_test_error": barrier}
            rows.append(own | known)
    return frame("connections", rows)


def judge(claims: Iterable[Claim], tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """The rows of `claims` from invented tables and the cells in them."""
    return verdicts.judge(claims, with_cells(tables))


def claim(**given: Any) -> Claim:
    """A claim on the relative movement: that it falls with width; keyword arguments replace its keys."""
    ratio = {"kind": "ratio", "by": "width", "of": "smallest", "to": "largest"}
    usual = {"id": "A1a", "statement": "relative movement falls", "source": "somebody", "published": 4.0}
    usual |= {"table": "networks", "quantity": "relative_movement", "measure": ratio, "expect": {"above": 1}}
    (made,) = parse_claims({"sources": {"somebody": "Somebody 2020"}, "claims": [usual | given]})
    return made


def with_twins(**given: Any) -> tuple[Claim, ...]:
    """A claim on the top eigenvalue, that it falls with width, and its twins."""
    usual = {"id": "B4c", "statement": "the top eigenvalue falls", "source": "somebody", "reference": -0.5}
    usual |= {"table": "curvature", "quantity": "top_eigenvalue", "where": {"final": True}} | FALLS
    usual["twins"] = {"over_loss": {"quantity": "top_eigenvalue_over_loss"}, "equal_loss": {}}
    return parse_claims({"sources": {"somebody": "Somebody 2020"}, "claims": [usual | given]})


def curvature(of: pd.DataFrame, power: Callable[[float], float], moments: int = 6) -> pd.DataFrame:
    """The table `curvature` of these networks: losses fall to 1 / width, eigenvalues are `power(loss)` at any width."""
    random, rows = np.random.default_rng(2), []
    for network in of.itertuples():
        known = {key: getattr(network, key) for key in ("study", "cell", "width", "depth", "batch_size", "seed")}
        for loss, epoch in zip(np.geomspace(2.0, 1.0 / network.width, moments), range(moments), strict=True):
            top = power(loss) * np.exp(random.normal(0, 0.02))
            row = {"final": epoch == moments - 1, "epoch": float(epoch), "diverged": False, "loss": loss}
            rows.append(known | row | {"top_eigenvalue": top, "top_eigenvalue_over_loss": top / loss})
    return frame("curvature", rows)
