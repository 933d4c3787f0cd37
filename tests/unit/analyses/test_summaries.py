"""Summaries: the means that figures show are those of `isthmus.statistics`, and no network is left out in silence."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from invented import Tables, invented_tables

from isthmus.analyses.summaries.measure import summarize_quantity, summarize_study
from isthmus.statistics.bootstrap import bootstrap_interval
from isthmus.statistics.pairs import summarize_pairs
from isthmus.statistics.values import values
from isthmus.study.schema import summary_columns
from isthmus.tables.parquet import read_table, write_frame
from isthmus.tables.quantities import Quantity, named, quantities

NETWORKS = pd.DataFrame({"cell": "a", "seed": range(4), "diverged": [False, False, False, True]})


@pytest.fixture(scope="module")
def tables() -> Tables:
    return invented_tables(diverged=[(16, 1, 0)])


def of_networks(**given: Any) -> Quantity:
    return Quantity("invented", "invented", "networks", "value", **given)


def test_a_mean_and_its_interval_are_those_of_the_statistics() -> None:
    rows = NETWORKS.assign(value=[0.25, 0.5, 0.625, None])
    row = summarize_quantity(of_networks(log=False, limits=(0.0, 1.0)), rows, rows).iloc[0]
    low, high = bootstrap_interval([0.25, 0.5, 0.625], limits=(0.0, 1.0))
    assert (row["value"], row["low"], row["high"]) == (pytest.approx(1.375 / 3, rel=1e-15), low, high)
    assert (row["statistic"], row["method"]) == ("mean", "bootstrap over networks")


def test_a_quantity_that_varies_by_factors_has_a_geometric_mean() -> None:
    rows = NETWORKS.assign(value=[1.0, 2.0, 4.0, None])
    row = summarize_quantity(of_networks(), rows, rows).iloc[0]
    low, high = bootstrap_interval(np.log([1.0, 2.0, 4.0]))
    assert row["statistic"] == "geometric mean"
    assert (row["value"], row["low"], row["high"]) == pytest.approx((2.0, np.exp(low), np.exp(high)), rel=1e-14)


def test_every_network_is_in_the_mean_or_counted_with_its_reason() -> None:
    rows = NETWORKS.assign(value=[4.0, 0.0, None, None])
    row = summarize_quantity(of_networks(), rows, rows).iloc[0]
    assert tuple(row[["n", "not_positive", "missing", "diverged"]]) == (1, 1, 1, 1)
    assert row["value"] == 4.0
    assert np.isnan(row["low"])


def test_a_median_counts_networks_without_a_value_as_infinite_and_none_as_missing() -> None:
    rows = pd.DataFrame({"cell": "a", "seed": range(3), "diverged": False, "value": [4.0, None, 2.0]})
    row = summarize_quantity(of_networks(median=True), rows, rows).iloc[0]
    assert tuple(row[["value", "low", "n", "missing", "not_positive"]]) == (4.0, 2.0, 3, 0, 0)
    assert np.isnan(row["high"])  # infinite
    assert (row["statistic"], row["method"]) == ("median", "order statistics")


def test_an_infinite_median_has_a_row_without_a_value() -> None:
    rows = pd.DataFrame({"cell": "a", "seed": range(3), "diverged": False, "value": [4.0, None, None]})
    row = summarize_quantity(of_networks(median=True), rows, rows).iloc[0]
    assert np.isnan(row[["value", "low", "high"]].astype(float)).all()
    assert tuple(row[["n", "missing"]]) == (3, 0)


@pytest.mark.parametrize("name", ["steps_to_dense", "reached_dense"])
def test_a_network_without_a_baseline_counts_as_diverged_and_not_as_never_arriving(name: str) -> None:
    kept = pd.DataFrame({"cell": "a", "seed": range(4), "diverged": False, "kind": "random", "level": 1})
    row = summarize_quantity(named(name), kept.assign(steps_to_dense=[100.0, None, 300.0, 50.0]), NETWORKS).iloc[0]
    assert tuple(row[["n", "diverged"]]) == (3, 1)
    assert row["value"] == pytest.approx({"steps_to_dense": 300.0, "reached_dense": 2 / 3}[name])


def test_a_cell_whose_networks_all_diverged_has_a_row() -> None:
    rows = pd.DataFrame({"cell": ["a", "a", "b"], "seed": [0, 1, 0], "diverged": [True, True, False]})
    summary = summarize_quantity(of_networks(), rows.assign(value=[None, None, 1.0]), rows).set_index("cell")
    assert tuple(summary.loc["a", ["n", "diverged"]]) == (0, 2)
    assert np.isnan(summary.loc["a", "value"])


def test_diverged_networks_count_where_the_table_has_no_rows_of_them() -> None:
    rises = pd.DataFrame({"cell": "a", "seed": [0, 1, 2], "kind": "noise", "size": 0.1, "relative_rise": [1.0, 2.0, 4]})
    (row,) = summarize_quantity(named("noise_rise_over_loss"), rises, NETWORKS).to_dict("records")
    assert (row["size"], row["n"], row["diverged"]) == (0.1, 3, 1)


def test_a_diverged_pair_counts_once_though_its_row_has_no_place_on_the_path() -> None:
    rows = [{"seed_a": a, "seed_b": 2, "t": t, "test_accuracy": 0.5 + t} for a in (0, 1) for t in (0.0, 0.5)]
    rows = [{"cell": "a", "kind": "linear", "diverged": False} | row for row in rows]
    lost = {"cell": "a", "kind": "linear", "diverged": True, "seed_a": 0, "seed_b": 3, "t": None, "test_accuracy": None}
    summary = summarize_quantity(named("test_error_along"), pd.DataFrame([*rows, lost]), NETWORKS)
    assert summary[["t", "value", "pairs", "n", "diverged"]].values.tolist() == [[0.0, 0.5, 2, 3, 1], [0.5, 0, 2, 3, 1]]


def test_means_over_pairs_resample_their_networks(tables: Tables) -> None:
    summary = summarize_study("digits", ["train_loss_barrier"], tables)
    own = tables["connections"]
    expected = summarize_pairs(own, ["cell", "kind"], "barrier_train_loss", limits=(0.0, np.inf))
    both = summary.merge(expected, on=["cell", "kind"], validate="1:1", suffixes=("", "_expected"))
    assert len(both) == len(summary) == 16
    np.testing.assert_array_equal(both[["value", "pairs", "n"]], both[["mean", "count", "networks"]])
    np.testing.assert_array_equal(both[["low", "high"]], both[["low_expected", "high_expected"]])
    assert set(summary["method"]) == {"bootstrap over the networks of pairs"}


def test_a_network_that_has_stopped_keeps_its_last_value() -> None:
    epochs = {0: [0, 5, 10], 1: [0, 5, 7]}
    rows = [
        {"cell": "a", "seed": seed, "epoch": float(epoch), "train_loss": 1.0 + seed + epoch}
        for seed, own in epochs.items()
        for epoch in own
    ]
    found = values(named("train_loss_curve"), pd.DataFrame(rows), NETWORKS).pivot(
        index="epoch", columns="seed", values="value"
    )
    # Epoch 7 is left out: network 0 has no value there, and nothing is interpolated.
    assert found.index.tolist() == [0, 5, 10]
    assert found[1].tolist() == [2.0, 7.0, 9.0]


def test_a_network_that_diverged_later_is_in_no_mean_from_the_start() -> None:
    rows = {"cell": "a", "seed": [0, 3], "epoch": 0.0, "train_loss": [1.0, 9.0]}
    assert values(named("train_loss_curve"), pd.DataFrame(rows), NETWORKS)["value"].tolist() == [1.0]


def test_averaged_weights_stand_for_the_epoch_that_training_ended_with() -> None:
    rows = {"cell": "a", "seed": 0, "epoch": [0.0, 4.0, 4.0], "final": [False, False, True]}
    rows |= {"top_eigenvalue_converged": True}
    found = values(
        named("top_eigenvalue_in_training"), pd.DataFrame(rows | {"top_eigenvalue": [9.0, 5.0, 3.0]}), NETWORKS
    )
    assert found["value"].tolist() == [9.0, 3.0]


def test_several_rows_of_a_network_have_one_mean_only_if_all_have_a_value() -> None:
    rows = {
        "cell": "a",
        "seed": [0, 0, 1, 1],
        "severity": [1, 2, 1, 2],
        "images": 10,
        "accuracy": [0.9, 0.7, 0.8, None],
    }
    found = values(named("mean_corrupted_accuracy"), pd.DataFrame(rows | {"diverged": False}), NETWORKS)
    assert found["value"].tolist()[0] == 0.8
    assert np.isnan(found["value"].tolist()[1])


def test_axes_are_columns(tables: Tables) -> None:
    summary = summarize_study("digits", ["top_eigenvalue", "test_error"], tables)
    assert summary.groupby("quantity", sort=False).size().to_dict() == {"top_eigenvalue": 8, "test_error": 8}
    assert sorted(summary["width"].unique()) == [8, 16, 32, 64]


def test_a_study_without_an_analysis_has_no_summaries_of_it(tables: Tables) -> None:
    few = {name: table for name, table in tables.items() if name in ("networks", "cells")}
    assert summarize_study("digits", ["test_error"], few | {"curvature": tables["curvature"].iloc[:0]}).shape[0] == 8
    assert summarize_study("digits", ["trace"], few | {"curvature": tables["curvature"].iloc[:0]}).empty


def test_the_file_has_the_types_of_axes_and_of_what_tells_values_apart(tables: Tables, tmp_path: Path) -> None:
    summary = summarize_study("digits", ["test_error", "train_loss_barrier"], tables)
    write_frame(tmp_path / "summaries.parquet", "summaries", summary, summary_columns(summary))
    schema = read_table(tmp_path / "summaries.parquet").schema
    assert [str(schema.field(name).type) for name in ("width", "n", "pairs", "value")] == ["int64"] * 3 + ["double"]
    assert str(schema.field("kind").type).startswith("dictionary")


def test_every_quantity_names_columns_of_its_table() -> None:
    for quantity in quantities():
        assert set(quantity.by) <= {column.name for column in summary_columns(dict.fromkeys(quantity.by, ()))}
        assert not quantity.held or quantity.held in quantity.by
