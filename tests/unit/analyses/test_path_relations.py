"""The table of flat ends and paths between them: what it takes from which table, and which claims read it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from invented import Tables, invented_tables
from invented_claims import claim, judge

from isthmus.analyses.relations.flatness import flatness_of_ends
from isthmus.analyses.relations.gather import gather
from isthmus.analyses.relations.path_rows import path_rows
from isthmus.tables.descriptions import table


def with_ends(tables: Tables, factor: float = 7.0) -> Tables:
    """The tables, and `paths` that have `factor` times the top eigenvalue and the loss of `curvature` at their ends."""
    networks = tables["networks"].set_index(["cell", "seed"])
    tops = tables["curvature"].query("final").set_index(["cell", "seed"])["top_eigenvalue"]
    rows = []
    for pair in tables["connections"].itertuples():
        for t, seed in ((0.0, pair.seed_a), (0.5, None), (1.0, pair.seed_b)):
            own = None if seed is None else (pair.cell, seed)
            top = 999.0 if own is None else factor * tops[own]
            loss = 1.0 if own is None else factor * networks.loc[own, "train_loss"]
            known = {name: getattr(pair, name) for name in ("study", "cell", "seed_a", "seed_b", "kind", "diverged")}
            rows.append(known | {"t": t, "top_eigenvalue": top, "trace": None, "sharpness_loss": loss})
    return tables | {"paths": pd.DataFrame(rows)}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return invented_tables(widths=(8, 16, 32), depths=(1, 2), seeds=4, diverged=[(16, 1, 0)])


@pytest.fixture(scope="module")
def rows(tables: Tables) -> pd.DataFrame:
    return pd.DataFrame(path_rows("digits", tables, gather("digits", tables), 5))


def kinds(tables: Tables) -> dict[tuple[str, bool], Any]:
    return {
        (each.name, each.over_loss): each for each in flatness_of_ends(tables, gather("digits", tables).frame.index)
    }


def test_the_ends_of_paths_are_the_networks(tables: Tables) -> None:
    plain, paths = kinds(tables), kinds(with_ends(tables))
    top = ("top_eigenvalue", False)
    assert (plain[top].table, paths[top].table) == ("curvature", "paths")
    np.testing.assert_allclose(paths[top].values, 7 * plain[top].values.reindex(paths[top].values.index))
    assert len(paths[top].values) == 23
    assert paths["trace", False].table == "curvature", "no trace was measured along the paths"


def test_the_loss_is_divided_out_of_cross_entropy_alone(tables: Tables) -> None:
    found = kinds(with_ends(tables))
    losses = tables["networks"].set_index(["cell", "seed"])["train_loss"].astype(float)
    top = found["top_eigenvalue", False].values
    np.testing.assert_allclose(found["top_eigenvalue", True].values, top / (7 * losses.reindex(top.index)))
    squares = tables | {"networks": tables["networks"].assign(loss="squared_error")}
    assert not any(over for _, over in kinds(with_ends(squares)))


def test_rows_are_described_and_what_the_ends_are_part_of_is_left_out(rows: pd.DataFrame) -> None:
    described = {column.name for column in table("path_relations").columns}
    assert set(rows) == described - {"study", "selection"}
    assert "bezier_sharpness" not in set(rows["path"])
    assert {"linear_barrier", "bezier_turning"} <= set(rows["path"])
    assert not rows.duplicated(["flatness", "over_loss", "path", "scope"]).any()


def test_corrected_p_values_are_holms(rows: pd.DataFrame) -> None:
    for _, own in rows.groupby("scope"):
        p = 2 * own[["p_above", "p_below"]].astype(float).min(axis=1).clip(upper=0.5)
        tested = p.dropna().sort_values()
        expected, most = [], 0.0
        for place, value in enumerate(tested):
            most = max(most, min(1.0, (len(tested) - place) * value))
            expected.append(most)
        assert own.loc[tested.index, "p_corrected"].astype(float).tolist() == pytest.approx(expected)


def test_between_cells_width_and_depth_make_flat_and_connected_go_together(rows: pd.DataFrame) -> None:
    """Invented eigenvalues and barriers both fall with width and rise with depth, and are unrelated within cells."""
    own = rows.query("flatness == 'top_eigenvalue' and not over_loss and path == 'linear_barrier'").set_index("scope")
    assert own.loc["between", "coefficient"] > 0.7
    assert own.loc["between", "p_above"] < 0.1
    assert own.loc["within", "p_above"] > 0.01


def test_studies_without_paths_have_no_rows(tables: Tables) -> None:
    alone = {name: tables[name] for name in ("networks", "cells", "curvature")}
    assert path_rows("digits", alone, gather("digits", alone), 5) == []


STATISTIC = {
    "table": "path_relations",
    "quantity": "coefficient",
    "where": {"path": "linear_barrier", "scope": "between"},
    "measure": {"kind": "coefficient"},
    "published": None,
    "reference": 0.5,
    "expect": {"above": 0},
}


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [(0.0002, 1.0, "reproduced"), (1.0, 0.0002, "contradicted"), (0.03, 0.99, "inconclusive")],
)
def test_claims_take_coefficients_with_their_p_values(
    tables: Tables, above: float, below: float, expected: str
) -> None:
    numbers = {"coefficient": 0.4, "low": 0.2, "high": 0.6, "p_above": above, "p_below": below, "networks": 20}
    row = {"study": "digits", "path": "linear_barrier", "scope": "between"} | numbers
    made = {"networks": tables["networks"], "path_relations": pd.DataFrame([row, row | {"scope": "within"}])}
    (judged,) = judge([claim(**STATISTIC)], made)
    assert judged["direction"] == expected
    assert [judged[name] for name in ("value", "low", "high", "networks")] == [0.4, 0.2, 0.6, 20]
    assert judged["p"] == pytest.approx(2 * min(above, below))
    made["path_relations"]["coefficient"] = None
    (judged,) = judge([claim(**STATISTIC)], made)
    assert (judged["direction"], judged["reason"]) == ("not measured", "there are too few networks, or nothing varies")
