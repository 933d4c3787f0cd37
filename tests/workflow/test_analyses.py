"""Analyses in the real workflow: their tables against other tables, and what is run again when a study grows."""

import copy
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from running import configuration, planned, read, small_study, succeed
from scipy.stats import spearmanr
from shared_study import CONFIG, TARGETS

from isthmus.core.tensors import load_tensors
from isthmus.tables.descriptions import stages

CELL = "width=8+depth=2+batch_size=32+label_noise=0.0"


# The tables


def test_robustness_is_tested_on_corrupted_and_on_shifted_images(finished: Path) -> None:
    rows, networks = read(finished, "robustness", "plain"), read(finished, "networks", "plain")
    assert len(rows) == 3 * (1 + 2 * 2 + 1)
    assert not rows["diverged"].any()
    clean = rows[rows["corruption"] == "none"].merge(networks, on=["cell", "seed"], suffixes=("_here", ""))
    assert (clean["accuracy"] == clean["test_accuracy"]).all()
    assert (clean["loss_here"] == clean["test_loss"]).all()
    assert (clean["relative_accuracy"] == 1).all()
    again = rows[rows["corruption"] == "shifted"].merge(networks, on=["cell", "seed"])
    assert (again["accuracy"] == again["test_accuracy"]).all()
    accuracy = rows.groupby(["corruption", "severity"])["accuracy"].mean()
    assert accuracy["shot_noise", 5] < accuracy["none", 0]


@pytest.mark.parametrize(
    ("table", "rows", "columns"),
    [
        ("robustness", 2 * 2, ["accuracy", "relative_accuracy", "loss"]),
        ("tickets", 2 * (1 + 2), ["test_loss", "test_accuracy"]),
        ("stability", 2 * 2, ["barrier_test_error", "stable"]),
        ("layers", 1, ["distance", "barrier_train_loss", "halfway_test_error", "replaced_test_loss"]),
    ],
)
def test_diverged_networks_have_rows_that_say_so(finished: Path, table: str, rows: int, columns: list[str]) -> None:
    found = read(finished, table, "sizes")
    lost = found["cell"].str.contains("learning_rate=1e+20", regex=False)
    assert lost.sum() == rows
    assert (found["diverged"] == lost).all()
    assert found.loc[lost, columns].isna().all(axis=None)
    assert found.loc[~lost, columns].notna().all(axis=None)


def test_tickets_agree_with_the_tables_of_networks_and_of_robustness(finished: Path) -> None:
    tickets, networks = read(finished, "tickets", "plain"), read(finished, "networks", "plain")
    assert len(tickets) == 3 * (1 + 2 * 5)
    assert not tickets["diverged"].any()
    dense = tickets[tickets["kind"] == "dense"].merge(networks, on=["cell", "seed"])
    assert (dense["test_loss_x"] == dense["test_loss_y"]).all()
    assert (tickets["kept"] == np.floor(tickets["kept_fraction"] * tickets["prunable"] + 0.5)).all()
    assert tickets[tickets["kind"].isin(["dense", "ticket"])]["stability_test_error"].notna().all()
    assert set(tickets["rewind_step"]) == {0, 10}
    corrupted = read(finished, "robustness", "plain").query("severity > 0").groupby(["cell", "seed"])["accuracy"].mean()
    both = dense.merge(corrupted.rename("mean").reset_index(), on=["cell", "seed"])
    assert np.allclose(both["corrupted_accuracy"], both["mean"], atol=1e-12)
    assert tickets["corrupted_accuracy"].notna().all()


def test_what_is_kept_of_tickets_is_counted_by_layer_and_stored(finished: Path) -> None:
    tickets, layers = read(finished, "tickets", "plain"), read(finished, "ticket_layers", "plain")
    keys = ["cell", "seed", "level", "kind"]
    sums = layers.groupby(keys)["kept"].sum(min_count=1).reset_index()
    both = tickets.merge(sums, on=keys)
    assert len(both) == len(tickets)
    assert (both["kept_x"] == both["kept_y"]).all()
    tensors, metadata = load_tensors(finished / f"results/plain/tickets/{CELL}/0.safetensors")
    assert json.loads(metadata["options"])["rewind_step"] == 10
    chosen = layers.query("seed == 1 and level == 2 and kind == 'ticket' and layer == '1' and kept == kept")
    assert int(tensors["1/2/mask/1.weight"].sum()) == int(chosen["kept"].iloc[0])
    assert (tensors["1/2/weights/1.weight"][~tensors["1/2/mask/1.weight"]] == 0).all()


def test_tickets_go_on_from_where_they_ended_and_twins_are_those_of_tickets(finished: Path) -> None:
    keys, columns = ["cell", "seed", "kind", "level"], ["train_loss", "test_loss", "test_accuracy"]
    tickets, further = read(finished, "tickets", "sizes"), read(finished, "further_training", "sizes")
    assert (further["diverged"] == further["cell"].str.contains("1e+20", regex=False)).all()
    began = further.query("epoch == 0 and not diverged").merge(tickets, on=keys)
    assert len(began) == 2 * 3
    for column in columns:
        assert np.allclose(began[f"first_{column}"], began[f"{column}_y"], rtol=1e-5)
    ends = further.query("final and not diverged")
    assert (ends["epoch"] == 1).all()
    assert ends[[*columns, "forgotten"]].notna().all(axis=None)
    twins = read(finished, "stability", "sizes").query("step == 0 and not diverged")
    dense = twins.merge(tickets.query("kind == 'dense'"), on=["cell", "seed"])
    assert len(dense) == 2
    assert np.allclose(dense["barrier_test_loss"], dense["stability_test_loss"], rtol=1e-3, atol=1e-5)


def test_a_sweep_has_a_row_for_each_of_its_networks(finished: Path) -> None:
    rows = read(finished, "manifold", "sizes")
    rows = rows[rows["sweep"] == "tiny"][["seed", "parameters", "positive"]]
    assert rows.values.tolist() == [[seed, 22, 4] for seed in range(3)]


def test_a_study_is_related_by_one_job(finished: Path) -> None:
    rows, networks = read(finished, "correlations"), read(finished, "networks", "plain")
    assert set(rows["study"]) == {"plain"}
    assert rows.loc[(rows["scope"] == "all") & (rows["selection"] == "all"), "networks"].max() == len(networks)
    wanted = {"quantity": "relative_movement", "outcome": "test_loss", "method": "spearman"}
    wanted |= {"scope": "all", "selection": "all"}
    (coefficient,) = rows[(rows[list(wanted)] == pd.Series(wanted)).all(axis=1)]["coefficient"]
    assert coefficient == pytest.approx(spearmanr(networks["relative_movement"], networks["test_loss"]).statistic)


def test_every_figure_is_drawn_twice(finished: Path) -> None:
    known = {figure.name for stage in stages().values() for figure in stage.figures}
    for kind, first in (("pdf", b"%PDF"), ("png", b"\x89PNG")):
        drawn = list((finished / "results/figures").rglob(f"*.{kind}"))
        assert {path.stem for path in drawn} == known
        assert all(path.read_bytes().startswith(first) for path in drawn)
    assert "sizes: drew learning-curves" in (finished / "results/logs/figures/sizes/training.log").read_text()


# What is run again


def test_weights_that_were_deleted_are_made_again(finished_copy: Path) -> None:
    weights = sorted(finished_copy.glob("results/*/train/*/*.safetensors"))
    weights[0].unlink()
    (training,) = (job for job in planned(finished_copy, CONFIG, "all") if job.startswith("Training"))
    assert weights[0].parent.name in training


def test_nothing_is_run_twice(finished_copy: Path) -> None:
    assert planned(finished_copy, CONFIG, *TARGETS) == set()


@pytest.fixture(scope="module")
def grown(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The jobs after changes: another seed in `plain`, more networks in sweeps and another grid of t in `sizes`."""
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("grown") / "study")
    config = copy.deepcopy(CONFIG)
    config["studies"]["plain"]["grid"]["seed"] += 1
    analyses = config["studies"]["sizes"]["analyses"]
    analyses["connect"]["line_points"] = 5
    analyses["manifold"]["sweeps"]["tiny"]["seeds"] += 1
    analyses["manifold"]["sweeps"]["other"] = {"width": [2], "points": [4], "seeds": 1}
    return planned(folder, config, *TARGETS)


def test_new_seeds_train_themselves_and_only_append_pairs(grown: set[str]) -> None:
    training = {job for job in grown if job.startswith("Training")}
    connecting = {job for job in grown if job.startswith("Connecting plain")}
    assert len(training) == 4
    assert {job.split("seeds ")[1] for job in training} == {"3"}
    assert len(connecting) == 2
    assert {job.split("pairs ")[1] for job in connecting} == {"[0, 3] [1, 3] [2, 3]"}


def test_another_grid_of_t_trains_nothing_again(grown: set[str]) -> None:
    assert {job.split(" ")[0] for job in grown if " sizes" in job} == {
        "Connecting",
        "Walking",
        "Summarizing",
        "Drawing",
    }


def test_a_sweep_that_grows_walks_for_its_new_networks_only(grown: set[str]) -> None:
    assert {job for job in grown if job.startswith("Walking")} == {
        "Walking the manifold of sizes: tiny, seeds 3",
        "Walking the manifold of sizes: other, seeds 0",
    }


def test_new_networks_are_related_again(grown: set[str]) -> None:
    assert "Relating geometry and generalization of plain" in grown


# What is asked for


def test_networks_of_a_sweep_take_no_training(tmp_path: Path) -> None:
    study = small_study() | {"analyses": {"manifold": {"sweeps": {"tiny": {"width": [3], "points": [4], "seeds": 1}}}}}
    jobs = planned(tmp_path, configuration(small=study), "results/figures/small/manifold-counts.png")
    assert {job.split(" ")[0] for job in jobs} == {"Walking", "Collecting", "Drawing"}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a dry run prints on two studies, of which `both` has one analysis more; a container is named."""
    alone, both = ({"analyses": {name: {} for name in names}} for names in (["manifold"], ["manifold", "curvature"]))
    config = configuration(alone=small_study() | alone, both=small_study() | both)
    config["jobs"] |= {"container": "isthmus.sif"}
    return succeed(tmp_path_factory.mktemp("planned"), config, "all", "--dry-run")


def test_a_figure_that_requires_another_analysis_is_drawn_where_both_are_asked_for(printed: str) -> None:
    assert "results/figures/both/manifold-outliers.pdf" in printed
    assert "results/figures/alone/manifold-counts.pdf" in printed
    assert "results/figures/alone/manifold-outliers.pdf" not in printed


def test_a_container_may_be_named_and_jobs_are_the_same(printed: str) -> None:
    assert re.search(r"^train +4$", printed, re.MULTILINE)  # a job for each of two widths in two studies


def test_the_workflow_passes_snakemakes_own_lint(tmp_path: Path) -> None:
    assert "good condition" in succeed(tmp_path, configuration(small=small_study()), "--lint")
