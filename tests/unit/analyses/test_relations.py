"""Quantities come from the rows they are defined by, and the statistics of a study say what they left out."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from invented import Tables, invented_tables
from running import configuration, small_study
from scipy.stats import kendalltau, spearmanr

from isthmus.analyses.relations.correlations import correlate
from isthmus.analyses.relations.gather import gather, modelled
from isthmus.analyses.relations.measure import relate
from isthmus.core.errors import DataError
from isthmus.statistics.pairs import network_values
from isthmus.statistics.values import SHARE_GRID
from isthmus.tables.descriptions import stages, table
from isthmus.tables.quantities import OUTCOME, compared

OPTIONS = {"interpolation_threshold": 1.0, "fewest_networks": 5}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return invented_tables(diverged=[(16, 1, 0)])


@pytest.fixture(scope="module")
def few() -> Tables:
    """Four cells, for what is no matter of how many networks there are."""
    return invented_tables(widths=(8, 16), depths=(1, 2), seeds=3, diverged=[(16, 1, 0)])


@pytest.fixture(scope="module")
def made(tables: Tables) -> dict[str, pd.DataFrame]:
    return {name: pd.DataFrame(rows) for name, rows in relate("digits", tables, OPTIONS).items()}


def only(frame: pd.DataFrame, **wanted: Any) -> pd.Series:
    """The one row with these values."""
    rows = frame[(frame[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(rows) == 1
    return rows.iloc[0]


# Quantities


def test_every_quantity_is_made_of_columns_that_there_are() -> None:
    """Of those tables that some stage has: a quantity may be there before its analysis."""
    described = {made.name: {column.name for column in made.columns} for s in stages().values() for made in s.tables}
    assert len({quantity.name for quantity in compared()}) == len(compared())
    for quantity in compared():
        if quantity.table in described:
            empty = pd.DataFrame({name: pd.Series(dtype=float) for name in described[quantity.table]})
            empty.eval(quantity.value)
            empty.astype({"kind": object} if "kind" in empty else {}).query(quantity.rows or "index == index")
            assert not quantity.at or quantity.at in empty
            assert not quantity.share or quantity.table == "tickets" or len(empty.eval(quantity.share)) == 0


@pytest.mark.parametrize("counted", [True, False], ids=["with the number of images", "without"])
def test_networks_with_equally_many_errors_in_all_are_tied_however_these_are_spread(counted: bool) -> None:
    """Errors of seven networks over 3 corruptions of 360 images: the first two have 100 each, parted by rounding."""
    spreads = [(0, 2, 98), (0, 17, 83), (1, 60, 60), (90, 20, 15), (3, 2, 1), (200, 100, 31), (7, 70, 70)]
    tables = invented_tables(widths=(8,), depths=(1,), seeds=len(spreads))
    first = tables["networks"].loc[0, ["study", "cell", "diverged"]].to_dict()
    rows = [
        first | {"seed": seed, "corruption": str(place), "severity": 1, "accuracy": 1 - wrong / 360, "images": 360}
        for seed, errors in enumerate(spreads)
        for place, wrong in enumerate(errors)
    ]
    tables["robustness"] = pd.DataFrame(rows).drop(columns=[] if counted else ["images"])
    plain = (1 - tables["robustness"]["accuracy"]).groupby(tables["robustness"]["seed"]).mean()
    assert plain[0] != plain[1]
    found = gather("digits", tables).frame["corruption_error"].to_numpy()
    assert found[0] == found[1]
    assert len(set(found)) == len(spreads) - 1
    np.testing.assert_allclose(found, [sum(errors) / 1080 for errors in spreads], rtol=0, atol=2.0**-31)
    order = np.arange(len(found), dtype=float)
    exact = kendalltau([sum(errors) for errors in spreads], order).statistic
    cell = np.zeros(len(found))
    assert correlate(found, order, cell, "kendall", "all").coefficient == exact
    assert correlate(plain.to_numpy(), order, cell, "kendall", "all").coefficient != exact


def test_shares_of_different_numbers_of_examples_are_averaged_exactly() -> None:
    tables = invented_tables(widths=(8,), depths=(1,), seeds=2)
    first = tables["networks"].loc[0, ["study", "cell", "diverged"]].to_dict()
    errors = {0: [(1, 3), (1, 7)], 1: [(5, 21), (5, 21)]}  # 1/3 + 1/7 = 10/21
    tables["robustness"] = pd.DataFrame(
        first | {"seed": seed, "severity": 1, "accuracy": 1 - wrong / images, "images": images}
        for seed, each in errors.items()
        for wrong, images in each
    )
    assert gather("digits", tables).frame["corruption_error"].tolist() == [5 / 21, 5 / 21]


def test_a_network_has_its_value_at_the_end_of_training(tables: Tables) -> None:
    found = gather("digits", tables)
    networks = tables["networks"].set_index(["cell", "seed"])
    for (cell, seed), row in found.frame.iterrows():
        error = 1 - networks.loc[(cell, seed), "test_accuracy"]
        assert abs(row["test_error"] - error) <= 0.5 / SHARE_GRID, "the table does not say of how many examples"
        assert row["top_eigenvalue"] < 10, "99 is the value on the way"


def test_disturbances_are_taken_at_their_smallest_size(tables: Tables) -> None:
    found = gather("digits", tables)
    assert found.at == {"noise_rise": 0.005, "relative_noise_rise": 0.005}
    assert found.frame["noise_rise"].max() < 1e-3


def test_a_quantity_of_pairs_is_the_mean_over_the_pairs_of_a_network(tables: Tables) -> None:
    found = gather("digits", tables)
    pairs = tables["connections"].query("kind == 'linear' and not diverged")
    cell = "width=16+depth=1+batch_size=32"  # seed 0 diverged
    mine = pairs[(pairs["cell"] == cell) & ((pairs["seed_a"] == 2) | (pairs["seed_b"] == 2))]
    assert len(mine) == 2
    assert found.frame.loc[(cell, 2), "linear_barrier"] == pytest.approx(mine["barrier_train_loss"].mean())


def test_networks_below_the_threshold_leave_pairs_as_well() -> None:
    tables = invented_tables(widths=(8, 16), depths=(1,))
    networks, cell = tables["networks"], "width=16+depth=1+batch_size=32"
    networks.loc[(networks["cell"] == cell) & (networks["seed"] == 3), "train_accuracy"] = 0.99
    found = gather("digits", tables, threshold=1.0)
    assert found.not_interpolating == 5
    assert list(found.frame.index) == [(cell, seed) for seed in range(3)]
    pairs = tables["connections"].query("kind == 'linear' and width == 16 and seed_b < 3")
    mine = pairs[(pairs["seed_a"] == 1) | (pairs["seed_b"] == 1)]
    assert found.frame.loc[(cell, 1), "linear_barrier"] == pytest.approx(mine["barrier_train_loss"].mean())


def test_corruptions_are_averaged_and_the_clean_images_are_none() -> None:
    tables = invented_tables(widths=(8,), depths=(1,), seeds=1)
    first = tables["networks"].loc[0, ["study", "cell", "seed", "diverged"]].to_dict()
    levels = [("none", 0, 0.9), ("blur", 1, 0.8), ("blur", 2, 0.6)]
    tables["robustness"] = pd.DataFrame(
        [first | {"corruption": name, "severity": severity, "accuracy": value} for name, severity, value in levels]
    )
    assert gather("digits", tables).frame["corruption_error"].tolist() == [pytest.approx(0.3)]


def test_a_study_without_an_analysis_does_without_its_quantities(tables: Tables) -> None:
    few = {name: tables[name] for name in ("networks", "cells")}
    found = gather("digits", few)
    assert {quantity.table for quantity in found.quantities} == {"networks"}
    other = tables["curvature"].assign(study="other")
    assert gather("digits", few | {"curvature": other}).quantities == found.quantities
    with pytest.raises(DataError, match="'nothing'"):
        gather("nothing", tables)


def test_what_is_not_positive_is_modelled_as_it_is() -> None:
    (trace,) = (quantity for quantity in compared() if quantity.name == "trace")
    tables = invented_tables(widths=(8,), depths=(1,), seeds=2)
    for values, expected, scale in (((2.0, 8.0), [1, 3], "log"), ((2.0, -1.0), [2, -1], "linear")):
        tables["curvature"].loc[tables["curvature"]["final"], "trace"] = values
        found, told = modelled(gather("digits", tables), trace)
        assert (found.tolist(), told) == (expected, scale)


def test_pairs_are_modelled_by_the_values_of_their_networks(tables: Tables) -> None:
    (barrier,) = (quantity for quantity in compared() if quantity.name == "linear_error_barrier")
    found, scale = modelled(gather("digits", tables), barrier)
    pairs = tables["connections"].query("kind == 'linear' and not diverged")
    for cell, own in pairs.groupby("cell"):
        values = network_values(own["barrier_test_error"].to_numpy(float), own[["seed_a", "seed_b"]].to_numpy())
        assert found[cell].tolist() == pytest.approx(values.tolist())
    assert scale == "linear"


# Statistics


def test_coefficients_are_scipys_over_the_networks_that_did_not_diverge(
    tables: Tables, made: dict[str, pd.DataFrame]
) -> None:
    networks = tables["networks"].query("not diverged").astype({"relative_movement": float, "test_accuracy": float})
    for selection, chosen in (("all", networks), ("interpolating", networks.query("train_accuracy >= 1"))):
        for method, scipys in (("spearman", spearmanr), ("kendall", kendalltau)):
            wanted = {"quantity": "relative_movement", "outcome": "test_error", "scope": "all"}
            row = only(made["correlations"], **wanted, method=method, selection=selection)
            expected = scipys(chosen["relative_movement"], 1 - chosen["test_accuracy"]).statistic
            assert row["coefficient"] == pytest.approx(expected)
            assert (row["networks"], row["left_out_diverged"]) == (len(chosen), 1)
            assert row["left_out_not_interpolating"] == {"all": 0, "interpolating": 8}[selection]


def test_what_shares_its_scatter_is_related_within_cells(made: dict[str, pd.DataFrame]) -> None:
    wanted = {"outcome": "test_error", "method": "spearman", "scope": "within", "selection": "all"}
    assert only(made["correlations"], **wanted, quantity="top_eigenvalue")["low"] > 0
    row = only(made["correlations"], **wanted, quantity="movement")
    assert row["low"] < 0 < row["high"]
    assert (row["networks"], row["cells"]) == (31, 8)


def test_effects_are_the_powers_put_in(made: dict[str, pd.DataFrame]) -> None:
    for quantity, width, depth, verdict in (
        ("top_eigenvalue", -0.5, 0.3, "opposite"),
        ("linear_barrier", None, None, "opposite"),
        ("test_loss", -0.3, 0, "undecided"),
    ):
        for term, power in (("width", width), ("depth", depth)):
            row = only(made["effects"], quantity=quantity, selection="all", term=term)
            assert row["opposite"] == verdict
            assert row["scale"] == ("linear" if power is None else "log")
            assert power is None or row["low"] < power < row["high"]
            spread = row["coefficient"] / row["standardized"]
            assert row["standardized_low"] == pytest.approx(row["low"] / spread)


def test_saturation_has_a_row_for_every_width(made: dict[str, pd.DataFrame]) -> None:
    rows = made["saturation"].query("quantity == 'test_error' and selection == 'all' and axis == 'width'")
    assert rows.groupby("line")["width"].apply(list).to_dict() == {
        f"depth={depth}+batch_size=32": [8, 16, 32, 64] for depth in (1, 2)
    }
    assert rows.query("width == 16 and depth == 1")["networks"].tolist() == [3]
    assert rows["mean"].between(0.1, 0.3).all()


def test_a_constant_has_nulls_and_the_tables_can_be_written(few: Tables) -> None:
    level = few["networks"].assign(weight_norm_final=3.0)
    rows = relate("digits", {name: few[name] for name in ("curvature", "cells")} | {"networks": level}, OPTIONS)
    for name, found in rows.items():
        described = [column.name for column in table(name).columns]
        assert all(sorted(row) == sorted(described) for row in found)
    found = pd.DataFrame(rows["correlations"]).query("quantity == 'weight_norm'")
    assert found[["coefficient", "low", "high"]].isna().all(axis=None)
    assert (found.query("scope != 'within'")["networks"].unique() == [11, 5]).all()


def test_the_order_of_the_rows_does_not_matter(few: Tables) -> None:
    tables = {name: few[name] for name in ("networks", "connections", "cells")}
    mixed = {name: rows.sample(frac=1, random_state=1) for name, rows in tables.items()}
    assert relate("digits", mixed, OPTIONS) == relate("digits", tables, OPTIONS)


def test_all_networks_diverged_or_none_interpolates() -> None:
    lost = invented_tables(widths=(8,), depths=(1,), seeds=3, diverged=[(8, 1, seed) for seed in range(3)])
    made = relate("digits", lost, OPTIONS)
    assert {row["coefficient"] for row in made["correlations"]} == {None}
    assert {row["left_out_diverged"] for row in made["correlations"]} == {3}
    assert {(row["diverged"], row["value"]) for row in made["quantities"]} == {(True, None)}
    few = relate("digits", invented_tables(widths=(8,), depths=(1,), seeds=3), OPTIONS)
    assert {row["networks"] for row in few["correlations"] if row["selection"] == "interpolating"} == {0}


def test_other_axes_are_part_of_a_line() -> None:
    noisy = invented_tables(widths=(8, 16), depths=(1,), extra=({"label_noise": 0.0}, {"label_noise": 0.2}), seeds=2)
    lines = {row["line"] for row in relate("digits", noisy, OPTIONS)["saturation"] if row["axis"] == "width"}
    assert "depth=1+batch_size=32+label_noise=0.2" in lines


def test_outcomes_are_no_geometry(made: dict[str, pd.DataFrame]) -> None:
    outcomes = {quantity.name for quantity in compared() if quantity.group == OUTCOME}
    assert not set(made["correlations"]["quantity"]) & outcomes
    assert set(made["correlations"]["outcome"]) <= outcomes


# The configuration


def test_it_has_no_part_of_the_grid_to_be_limited_to() -> None:
    from isthmus.core.errors import ConfigurationError
    from isthmus.study.config import load

    study = small_study(seed=3)
    limited = study | {"analyses": {"relations": {"where": {"width": [4]}}}}
    with pytest.raises(ConfigurationError, match=r"studies\.small\.analyses\.relations\.where: unknown key"):
        load(configuration(small=limited))
    loaded = load(configuration(small=study | {"analyses": {"relations": {}}}))
    assert loaded.studies["small"].cells_of("relations") == ["all"]
    assert list(loaded.studies["small"].blocks_of(stages()["relations"], loaded.jobs)) == [0]
    assert np.isclose(loaded.studies["small"].analyses["relations"]["interpolation_threshold"], 1)
