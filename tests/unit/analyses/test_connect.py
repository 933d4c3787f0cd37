"""The connect analysis in the real workflow: its tables against the networks, growth, kills and diverged networks."""

import json
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from killing import Target, disturb
from running import configuration, planned, run, small_study, succeed

from isthmus.core.resume import Task, recall
from isthmus.data.dataset import load_dataset, normalized
from isthmus.data.subsets import subset
from isthmus.landscape.barriers import barrier
from isthmus.landscape.hessian import CurvatureOperator, dense
from isthmus.landscape.matching import METHODS
from isthmus.models.evaluation import evaluation_mode
from isthmus.training.weights import load_network

KINDS = ["linear", "linear-aligned", "bezier", "polychain", "bezier-aligned"]
OPTIONS: dict[str, Any] = {
    "kinds": KINDS,
    "line_points": 13,
    "curve_points": 13,
    "alignment": {"restarts": 2},
    "curve": {"epochs": 2},
    "sharpness": {"points": 3, "images": 300},
    "planes": {"points": 5},
}
STUDY = {
    "training": {"epochs": 8, "learning_rate": 0.05},
    "grid": {"width": [8], "depth": [2], "batch_size": [32], "seed": 3, "label_noise": [0.0, 0.1]},
    "analyses": {"connect": OPTIONS},
}
CELL = "width=8+depth=2+batch_size=32+label_noise=0.0"
KEYS = ["study", "cell", "seed_a", "seed_b", "kind"]


def jobs(seeds: int = 1, pairs: int = 2, **others: Any) -> dict[str, Any]:
    return {"jobs": {"seeds": seeds, "pairs": pairs} | others}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three networks, a job each, their three pairs in two other jobs, with and without label noise."""
    folder = tmp_path_factory.mktemp("connected")
    succeed(folder, configuration(tiny=STUDY) | jobs(), "all")
    return folder


def read(folder: Path, table: str) -> pd.DataFrame:
    frame = pq.read_table(folder / f"results/tables/{table}.parquet").to_pandas()
    for column in frame.columns[frame.dtypes == "category"]:
        frame[column] = frame[column].astype(str)
    return frame


def test_every_pair_has_every_kind_of_path(finished: Path) -> None:
    connections, paths, planes = (read(finished, name) for name in ("connections", "paths", "planes"))
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
    paths, networks = read(finished, "paths"), read(finished, "networks")
    ends = paths[paths["t"] == t].merge(networks, left_on=["cell", end], right_on=["cell", "seed"], suffixes=("", "_n"))
    assert len(ends) == 2 * 3 * len(KINDS)
    noisy = networks[networks["label_noise"] > 0]  # where every network has learned labels of its own
    assert (noisy["train_accuracy"] < noisy["train_accuracy_clean"]).all()
    for column in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        np.testing.assert_allclose(ends[column], ends[f"{column}_n"], rtol=1e-5, atol=1e-7)


def test_barriers_and_geometry_follow_from_the_points(finished: Path) -> None:
    connections, paths = read(finished, "connections"), read(finished, "paths").sort_values([*KEYS, "t"])
    for _, row in connections.iterrows():
        points = paths[(paths[KEYS] == row[KEYS]).all(axis=1)]
        t = points["t"].to_numpy()
        assert row["barrier_train_loss"] == pytest.approx(barrier(points["train_loss"], t), rel=1e-6, abs=1e-9)
        assert row["barrier_test_error"] == pytest.approx(barrier(1 - points["test_accuracy"], t), abs=1e-9)
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
    connections = read(finished, "connections").set_index(KEYS).unstack("kind")
    assert (connections["chord"]["linear-aligned"] < connections["chord"]["linear"]).all()
    for column in ("disagreement", "cka"):
        assert (connections[column]["linear-aligned"] == connections[column]["linear"]).all()
    squares = connections["chord"] ** 2
    gained = squares["linear"] - squares["linear-aligned"]
    assert (gained > 0).all()
    assert (connections["barrier_train_loss"]["bezier"] < connections["barrier_train_loss"]["linear"]).mean() > 0.8


def test_the_table_says_which_method_of_alignment_was_kept(finished: Path) -> None:
    connections = read(finished, "connections")
    aligned = connections["kind"].str.endswith("-aligned")
    losses = connections.loc[aligned, [f"midpoint_loss_{method}" for method in METHODS]]
    kept = losses.idxmin(axis=1).str.removeprefix("midpoint_loss_")
    assert kept.equals(connections.loc[aligned, "alignment_method"])
    assert connections.loc[~aligned, ["alignment_objective", *losses.columns]].isna().all(axis=None)
    assert not connections.loc[~aligned, "alignment_method"].isin(METHODS).any()


def test_sharpness_at_an_end_is_that_of_the_whole_hessian(finished: Path) -> None:
    dataset = load_dataset(finished / "results/data/digits.safetensors")
    images = normalized(dataset.train_images, dataset.mean, dataset.std)
    chosen = subset(dataset.train_labels, 300)
    network = load_network(finished / f"results/tiny/train/{CELL}/0.safetensors", seed=0).double()
    with evaluation_mode(network, images[None].double()):
        hessian = dense(CurvatureOperator(network, images[chosen], dataset.train_labels[chosen], "cross_entropy"))
    exact = torch.linalg.eigvalsh(hessian)
    paths = read(finished, "paths")
    ends = paths[(paths["cell"] == CELL) & (paths["seed_a"] == 0) & (paths["t"] == 0)]
    assert len(ends) == 2 * len(KINDS)
    np.testing.assert_allclose(ends["top_eigenvalue"], exact[-1].item(), rtol=2e-3)
    assert (ends["top_eigenvalue_residual"] <= 1e-3 * ends["top_eigenvalue"]).all()
    assert (abs(ends["trace"] - exact.sum().item()) < 4 * ends["trace_error"]).all()
    assert paths["top_eigenvalue"].notna().sum() == 3 * 2 * 3 * len(KINDS)


def test_packing_changes_no_number(finished: Path, tmp_path: Path) -> None:
    study = STUDY | {"grid": STUDY["grid"] | {"label_noise": [0.0]}}
    succeed(tmp_path, configuration(tiny=study) | jobs(seeds=5, pairs=10), "tables")
    for table in ("connections", "paths", "planes"):
        one, other = (read(folder, table) for folder in (finished, tmp_path))
        one = one[one["cell"] == CELL].reset_index(drop=True)
        for column in one.columns.drop("seconds", errors="ignore"):
            if one[column].dtype == float:
                # Curves that are fitted together take sums in another order.
                np.testing.assert_allclose(other[column], one[column], rtol=0.02, atol=2e-3, err_msg=column)
            else:
                assert one[column].equals(other[column]), column


def test_new_seeds_only_append_pairs(finished: Path) -> None:
    more = STUDY | {"grid": STUDY["grid"] | {"seed": 4}}
    found = planned(finished, configuration(tiny=more) | jobs(), "tables")
    connecting = {job for job in found if job.startswith("Connecting")}
    for noise in ("0.0", "0.1"):
        cell = CELL.replace("0.0", noise)
        # Pair (1, 2) shares its block, number 1, with (0, 3); (1, 3) and (2, 3) are block 2; (0, 1), (0, 2) stay.
        assert {job.split("pairs ")[1] for job in connecting if cell in job} == {"[1, 2] [0, 3]", "[1, 3] [2, 3]"}
    assert {job.split("seeds ")[1] for job in found if job.startswith("Training")} == {"3"}


def test_another_grid_of_t_trains_nothing_again(finished: Path) -> None:
    changed = STUDY | {"analyses": {"connect": OPTIONS | {"line_points": 7}}}
    found = planned(finished, configuration(tiny=changed) | jobs(), "tables")
    assert {job.split(" ")[0] for job in found} == {"Connecting", "Collecting", "Testing"}


def test_a_block_that_grows_measures_its_new_pairs_only(tmp_path: Path) -> None:
    options = OPTIONS | {"kinds": ["linear", "bezier"], "planes": {"points": 0}}
    for seeds, others in ((2, set()), (3, {"pair (0, 2): linear", "pair (1, 2): bezier"})):
        study = small_study(width=[4], seed=seeds) | {"analyses": {"connect": options}}
        succeed(tmp_path, configuration(small=study) | jobs(seeds=3, pairs=3), "tables")
        log = next((tmp_path / "results/logs/connect/small").rglob("0.log")).read_text()
        assert ("pair (0, 1): linear measured" in log) == (seeds == 2)
        assert all(other in log for other in others)
    assert len(read(tmp_path, "connections")) == 6
    assert not list((tmp_path / "results/checkpoints").rglob("*.json")), "full blocks leave nothing behind"


def test_diverged_networks_have_rows_that_say_so(tmp_path: Path) -> None:
    study = small_study(width=[4], learning_rate=[0.05, 1e6]) | {"analyses": {"connect": OPTIONS}}
    succeed(tmp_path, configuration(small=study), "all")
    connections, paths, planes = (read(tmp_path, name) for name in ("connections", "paths", "planes"))
    lost = connections["cell"].str.contains("1000000")
    assert (connections["reason"] == np.where(lost, "network diverged", "measured")).all()
    assert lost.sum() == len(KINDS)
    assert connections.loc[lost, ["barrier_train_loss", "chord", "sharpness_mean", "cka"]].isna().all(axis=None)
    assert connections.loc[~lost, ["barrier_train_loss", "chord", "sharpness_mean", "cka"]].notna().all(axis=None)
    for table, rows in ((paths, len(KINDS)), (planes, 2)):
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
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, Any], seeds: int, message: str) -> None:
    study = small_study(seed=seeds) | {"analyses": {"connect": options}}
    refused = run(tmp_path, configuration(small=study))
    assert refused.returncode != 0
    assert message in refused.stdout
    assert "Traceback" not in refused.stdout


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the jobs to kill in /proc, on Linux")
def test_a_job_killed_while_it_fits_or_measures_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    options = OPTIONS | {"kinds": ["linear-aligned", "bezier"], "curve": {"epochs": 30}}
    study = small_study(width=[16], batch_size=[16], seed=3) | {"analyses": {"connect": options}}
    config = configuration(small=study) | jobs(seeds=3, pairs=3, checkpoint_seconds=0.03)
    target = Target("results/logs/connect/small/width=16+depth=1+batch_size=16/0.log", "parameters", "connect.py")
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    undisturbed.mkdir()
    disturbed.mkdir()
    succeed(undisturbed, config, "tables")
    randomness, resumed = random.Random(3), 0
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        status, printed = disturb(disturbed, config, target, number, randomness.uniform(0.3, 1.5))
        if status == 0:
            break
        assert "Traceback" not in printed or number == signal.SIGKILL, printed
        resumed += bool(list((disturbed / "results/checkpoints/small/connect").rglob("*.*")))
    assert resumed > 0
    succeed(disturbed, config, "tables")
    for table in ("connections", "paths", "planes"):
        one, other = (read(folder, table) for folder in (undisturbed, disturbed))
        kept = one.columns.drop("seconds", errors="ignore")
        pd.testing.assert_frame_equal(one[kept], other[kept], check_exact=True)


def test_a_damaged_record_is_measured_anew(tmp_path: Path) -> None:
    calls: list[int] = []
    path = tmp_path / "x.json"

    def measure() -> dict[str, float]:
        calls.append(1)
        return {"value": 0.1 + 0.2}

    assert recall(path, Task("a", measure)) == recall(path, Task("a", measure)) == {"value": 0.1 + 0.2}
    assert len(calls) == 1
    recall(path, Task("b", measure))
    path.write_text(json.dumps({"fingerprint": "b", "content": 3})[:-5])
    assert recall(path, Task("b", measure)) == {"value": 0.1 + 0.2}
    assert len(calls) == 3


@pytest.mark.slow
def test_barriers_fall_with_width_and_vanish_after_alignment(tmp_path: Path) -> None:
    """Entezari et al. (2022), Ainsworth et al. (2023): wide networks are connected by a line, once they are aligned."""
    training = {"learning_rate": 0.05, "warmup_epochs": 3, "epochs": 60}
    options = {"kinds": ["linear", "linear-aligned"], "sharpness": {"points": 0}, "planes": {"points": 0}}
    grid = {"width": [8, 128], "depth": [3], "batch_size": [32], "seed": 5}
    study = {"training": training, "grid": grid, "analyses": {"connect": options}}
    succeed(tmp_path, configuration(small=study) | jobs(seeds=5, pairs=10), "tables")
    barriers = read(tmp_path, "connections").groupby(["kind", "width"])["barrier_train_loss"].mean()
    assert 2 < barriers["linear", 8] < 5
    assert 0.5 < barriers["linear", 128] < 1.2
    assert 0.5 < barriers["linear-aligned", 8] < 2.5
    assert barriers["linear-aligned", 128] < 0.02
