"""The analysis connect in the real workflow: its tables against the networks, growth, packing, diverged networks."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from running import configuration, read, small_study, succeed
from shared_study import KINDS, PLAIN

from isthmus.core.errors import ConfigurationError
from isthmus.data.dataset import load_dataset, normalized
from isthmus.data.subsets import subset
from isthmus.landscape.alignment.choice import METHODS
from isthmus.landscape.barriers import barrier
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.models.evaluation import evaluation_mode
from isthmus.recipes.path_kinds import is_aligned, is_repaired
from isthmus.study.config import load
from isthmus.training.weights import load_network

CELL = "width=8+depth=2+batch_size=32+label_noise=0.0"
CONNECTIONS = "results/tables/connections.parquet"
KEYS = ["study", "cell", "seed_a", "seed_b", "kind"]


def jobs(seeds: int = 1, pairs: int = 2, **others: Any) -> dict[str, Any]:
    return {"jobs": {"seeds": seeds, "pairs": pairs} | others}


def tables(finished: Path, *names: str) -> list[pd.DataFrame]:
    """The rows of the study `plain` in some tables."""
    return [read(finished, name, "plain") for name in names]


def test_every_pair_has_every_kind_of_path(finished: Path) -> None:
    connections, paths, planes = tables(finished, "connections", "paths", "planes")
    assert len(connections) == 2 * 3 * len(KINDS)
    assert not connections.duplicated(KEYS).any()
    assert not connections["diverged"].any()
    assert (paths.groupby(KEYS).size() == 13).all()
    assert len(paths) == 13 * len(connections)
    assert (planes.groupby(["cell", "plane"]).size() == 25).all()
    assert set(planes["plane"]) == {"bezier", "random"}
    assert set(zip(planes["seed_a"], planes["seed_b"], strict=True)) == {(0, 1)}


@pytest.mark.parametrize(("t", "end"), [(0.0, "seed_a"), (1.0, "seed_b")])
def test_the_ends_of_all_paths_are_the_trained_networks(finished: Path, t: float, end: str) -> None:
    paths, networks = tables(finished, "paths", "networks")
    networks = networks[networks["batch_size"] == 32]
    ends = paths[paths["t"] == t].merge(networks, left_on=["cell", end], right_on=["cell", "seed"], suffixes=("", "_n"))
    assert len(ends) == 2 * 3 * len(KINDS)
    noisy = networks[networks["label_noise"] > 0]  # where every network has learned labels of its own
    assert (noisy["train_accuracy"] < noisy["train_accuracy_clean"]).all()
    for column in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        np.testing.assert_allclose(ends[column], ends[f"{column}_n"], rtol=1e-5, atol=1e-7)


def test_barriers_and_geometry_follow_from_the_points(finished: Path) -> None:
    connections, paths = tables(finished, "connections", "paths")
    paths = paths.sort_values([*KEYS, "t"])
    for _, row in connections.iterrows():
        points = paths[(paths[KEYS] == row[KEYS]).all(axis=1)]
        t = points["t"].to_numpy()
        assert row["barrier_train_loss"] == pytest.approx(barrier(points["train_loss"], t), rel=1e-6, abs=1e-9)
        assert row["barrier_test_error"] == pytest.approx(barrier(1 - points["test_accuracy"], t), abs=1e-9)
        if row["kind"] == "linear-repaired":  # its points leave the line, and what they follow has no closed form
            assert points["arc_length"].isna().all()
            assert row[["length", "detour", "turning"]].isna().all()
            continue
        assert points["arc_length"].iloc[-1] == pytest.approx(row["length"])
        assert row["length"] == pytest.approx(row["chord"] * row["detour"])
        assert row["sharpness_max"] == points["top_eigenvalue"].max()
        if row["kind"].startswith("linear"):
            assert row["detour"] == pytest.approx(1)
            assert row["turning"] == 0
        else:
            assert row["detour"] > 1
            assert 0 < row["turning"] < np.pi


def test_alignment_shortens_the_chord_and_changes_no_network(finished: Path) -> None:
    connections = read(finished, "connections", "plain").set_index(KEYS).unstack("kind")
    assert (connections["chord"]["linear-aligned"] < connections["chord"]["linear"]).all()
    assert (connections["chord"]["linear-aligned"] == connections["chord"]["linear-repaired"]).all()
    for column in ("disagreement", "cka"):
        assert (connections[column]["linear-aligned"] == connections[column]["linear"]).all()
    squares = connections["chord"] ** 2
    gained = squares["linear"] - squares["linear-aligned"]
    assert (gained > 0).all()
    assert (connections["barrier_train_loss"]["bezier"] < connections["barrier_train_loss"]["linear"]).mean() > 0.8


def test_the_table_says_which_method_of_alignment_was_kept(finished: Path) -> None:
    connections = read(finished, "connections", "plain")
    aligned = connections["kind"].map(is_aligned)
    losses = connections.loc[aligned, [f"midpoint_loss_{method}" for method in METHODS]]
    kept = losses.idxmin(axis=1).str.removeprefix("midpoint_loss_")
    assert kept.equals(connections.loc[aligned, "alignment_method"])
    assert connections.loc[~aligned, ["alignment_objective", *losses.columns]].isna().all(axis=None)
    assert not connections.loc[~aligned, "alignment_method"].isin(METHODS).any()


def test_sharpness_at_an_end_is_that_of_the_whole_hessian(finished: Path) -> None:
    dataset = load_dataset(finished / "results/data/digits.safetensors")
    images = normalized(dataset.train_images, dataset.mean, dataset.std)
    chosen = subset(dataset.train_labels, 300)
    network = load_network(finished / f"results/plain/train/{CELL}/0.safetensors", seed=0).double()
    with evaluation_mode(network, images[None].double()):
        hessian = dense(CurvatureOperator(network, images[chosen], dataset.train_labels[chosen], "cross_entropy"))
    exact = torch.linalg.eigvalsh(hessian)
    paths = read(finished, "paths", "plain")
    measured = [kind for kind in KINDS if not is_repaired(kind)]
    ends = paths[(paths["cell"] == CELL) & (paths["seed_a"] == 0) & (paths["t"] == 0) & paths["kind"].isin(measured)]
    assert len(ends) == 2 * len(measured)
    np.testing.assert_allclose(ends["top_eigenvalue"], exact[-1].item(), rtol=2e-3)
    assert (ends["top_eigenvalue_residual"] <= 1e-3 * ends["top_eigenvalue"]).all()
    assert (abs(ends["trace"] - exact.sum().item()) < 4 * ends["trace_error"]).all()
    assert paths["top_eigenvalue"].notna().sum() == 3 * 2 * 3 * len(measured)


@pytest.mark.exhaustive
def test_packing_changes_no_number(finished: Path, tmp_path: Path) -> None:
    """In the shared study three networks trained together, and three pairs share a job; here each has its own."""
    study = PLAIN | {"grid": PLAIN["grid"] | {"batch_size": [32], "label_noise": [0.0]}}
    study |= {"analyses": {"connect": PLAIN["analyses"]["connect"]}}
    tables = ("connections", "paths", "planes")
    targets = [f"results/tables/{table}.parquet" for table in tables]
    succeed(tmp_path, configuration(plain=study) | jobs(seeds=1, pairs=1), *targets)
    for table in tables:
        one, other = (read(folder, table, "plain") for folder in (finished, tmp_path))
        one = one[one["cell"] == CELL].reset_index(drop=True)
        for column in one.columns.drop("seconds", errors="ignore"):
            if one[column].dtype == float:
                # Curves that are fitted together take sums in another order.
                np.testing.assert_allclose(other[column], one[column], rtol=0.02, atol=2e-3, err_msg=column)
            else:
                assert one[column].equals(other[column]), column


@pytest.mark.exhaustive
def test_a_block_that_grows_measures_its_new_pairs_only(tmp_path: Path) -> None:
    options = PLAIN["analyses"]["connect"] | {"kinds": ["linear", "bezier"], "planes": {"points": 0}, "where": {}}
    for seeds, others in ((2, set()), (3, {"pair (0, 2): linear", "pair (1, 2): bezier"})):
        study = small_study(width=[4], seed=seeds) | {"analyses": {"connect": options}}
        succeed(tmp_path, configuration(small=study) | jobs(seeds=3, pairs=3), CONNECTIONS)
        log = next((tmp_path / "results/logs/connect/small").rglob("0.log")).read_text()
        assert ("pair (0, 1): linear measured" in log) == (seeds == 2)
        assert all(other in log for other in others)
    assert len(read(tmp_path, "connections")) == 6
    assert not list((tmp_path / "results/checkpoints").rglob("*.json")), "full blocks leave nothing behind"


def test_diverged_networks_have_rows_that_say_so(finished: Path) -> None:
    connections, paths, planes = (read(finished, name, "sizes") for name in ("connections", "paths", "planes"))
    lost = connections["cell"].str.contains("learning_rate=1e+20", regex=False)
    assert (connections["reason"] == np.where(lost, "network diverged", "measured")).all()
    assert lost.sum() == (~lost).sum() == 3
    for column in ("barrier_train_loss", "chord", "sharpness_mean", "cka"):
        assert (connections[column].isna() == lost).all()
    for table, rows in ((paths, 3), (planes, 2)):
        gone = table[table["diverged"]]
        assert len(gone) == rows
        assert gone["train_loss"].isna().all()


@pytest.mark.parametrize(
    ("options", "seeds", "message"),
    [
        ({}, 1, "studies.small.analyses.connect: it works on pairs of networks"),
        ({"pairs": 4}, 3, "studies.small.analyses.connect.pairs: 4 was given; 3 seeds make 3 pairs"),
        ({"kinds": ["cubic"]}, 2, "studies.small.analyses.connect.kinds[0]"),
        ({"curve": {"epoch": 3}}, 2, "studies.small.analyses.connect.curve.epoch: unknown key"),
        (
            {"alignment": {"method": "mean"}},
            2,
            "studies.small.analyses.connect.alignment.method",
        ),
        ({"planes": {"points": 1}}, 2, "studies.small.analyses.connect.planes.points"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], seeds: int, message: str) -> None:
    study = small_study(seed=seeds) | {"analyses": {"connect": options}}
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load(configuration(small=study))


@pytest.mark.exhaustive
def test_barriers_fall_with_width_and_vanish_after_alignment(tmp_path: Path) -> None:
    """Entezari et al. (2022), Ainsworth et al. (2023): wide networks are connected by a line, once they are aligned."""
    training = {"learning_rate": 0.05, "warmup_epochs": 3, "epochs": 60}
    options = {"kinds": ["linear", "linear-aligned"], "sharpness": {"points": 0}, "planes": {"points": 0}}
    grid = {"width": [8, 128], "depth": [3], "batch_size": [32], "seed": 5}
    study = {"training": training, "grid": grid, "analyses": {"connect": options}}
    succeed(tmp_path, configuration(small=study) | jobs(seeds=5, pairs=10), CONNECTIONS)
    barriers = read(tmp_path, "connections").groupby(["kind", "width"])["barrier_train_loss"].mean()
    assert 2 < barriers["linear", 8] < 5
    assert 0.5 < barriers["linear", 128] < 1.2
    assert 0.5 < barriers["linear-aligned", 8] < 2.5
    assert barriers["linear-aligned", 128] < 0.02
