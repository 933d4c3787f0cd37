"""Networks trained elsewhere in the configuration: files, facts, and mistakes that are found before any job runs."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import own_models
import pytest
import torch
from running import configuration, folder_with, loaded_from

from isthmus.analyses.claims.statements import read_claims
from isthmus.core.errors import ConfigurationError
from isthmus.models import description
from isthmus.recipes.recipe import Recipe
from isthmus.recipes.schedules import known_peak_rate
from isthmus.study.checkpoints import INDEX
from isthmus.study.config import Configuration
from isthmus.study.graph import Graph
from isthmus.study.grid import Checkpoints
from isthmus.study.jobs import Jobs
from isthmus.study.overview import asked

CELL = "width=4+depth=1+batch_size=32"
SEED = {"batch_size": [32], "seed": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two networks of two widths in `presets/runs`, and with what is known about their files."""
    made = folder_with(tmp_path_factory, "own_models.py")
    for width in (4, 6):
        for seed in (0, 1):
            torch.manual_seed(seed)
            path = made / f"presets/runs/{width}/seed{seed}.pt"
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(own_models.mlp(width, 1, 10, (1, 8, 8)).state_dict(), path)
    return made


@pytest.fixture(autouse=True)
def working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def study(**others: Any) -> dict[str, Any]:
    """A study of these networks; keyword arguments replace sections, or keys of `networks` and `grid`."""
    files = {key: others.pop(key) for key in ("checkpoints", "initial", "state_dict") if key in others}
    return {
        "network": {"module": "own_models.py:mlp"},
        "networks": {"checkpoints": "runs/{width}/seed{seed}.pt"} | files,
        "training": {"epochs": 3},
        "grid": {"width": [4], "depth": [1], "batch_size": [32], "seed": 2} | others.pop("grid", {}),
    } | others


def loaded(**studies: Any) -> Configuration:
    return loaded_from("presets", configuration(**studies))


def mistakes(**others: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        loaded(s=study(**others))
    return [line.removeprefix("  - studies.s.") for line in str(refused.value).splitlines()[1:]]


def mistake(**others: Any) -> str:
    (line,) = mistakes(**others)
    return line


def test_a_block_is_imported_from_the_files_of_its_seeds() -> None:
    trained, built_in = {"grid": {"width": [2], "depth": [1]} | SEED}, study(network={"architecture": "mlp"})
    configured = loaded(s=study(grid={"width": [4, 6]}), built_in=built_in, trained=trained)
    graph = Graph(configured, read_claims())
    jobs, wildcards = Jobs(graph, "train"), SimpleNamespace(study="s", cell=CELL, block="0")
    assert jobs.checkpoints(wildcards) == [f"presets/runs/4/seed{seed}.pt" for seed in (0, 1)]
    snapshots = jobs.snapshots(wildcards)
    assert snapshots.keys() == {"final"}
    assert snapshots["final"]["files"] == jobs.checkpoints(wildcards)
    assert len(set(snapshots["final"]["contents"])) == 2
    assert (graph.studies_trained(elsewhere=True), graph.studies_trained(elsewhere=False)) == ("s|built_in", "trained")
    assert jobs.checkpoints(SimpleNamespace(study="trained", cell="width=2+depth=1+batch_size=32", block="0")) == []
    assert jobs.minutes(wildcards, 1) == 10


def test_a_recipe_says_what_is_known_about_training() -> None:
    cells = loaded(s=study(training={"epochs": 3, "loss": "squared_error"}, grid={"learning_rate": [0.1]})).studies["s"]
    (cell,) = cells.cells.values()
    assert cell.recipe.trained_elsewhere
    assert cell.recipe.known == ("epochs", "learning_rate")
    assert Recipe.from_dict(json.loads(json.dumps(cell.recipe.as_dict()))) == cell.recipe
    assert known_peak_rate(cell.recipe) == 0.1
    assert [cell.recipe.fact(key) for key in ("epochs", "optimizer", "weight_decay")] == [3, None, None]
    assert asked(cells)["training"] == {"loss": "squared_error", "epochs": "3"}
    assert asked(cells)["networks"] == {"checkpoints": "presets/runs/{width}/seed{seed}.pt"}


def test_networks_trained_here_know_everything() -> None:
    (cell,) = loaded(built={"grid": {"width": [2], "depth": [1]} | SEED}).studies["built"].cells.values()
    assert not cell.recipe.trained_elsewhere
    assert "known" not in cell.recipe.as_dict()
    assert cell.recipe.fact("optimizer") == "sgd"


def test_weights_before_training_may_be_shared_and_elsewhere_in_a_file() -> None:
    found = Checkpoints.of({"checkpoints": "{seed}.pt", "state_dict": "model", "initial": "0.pt"})
    assert found.entries == {"final": "model", "initial": "model"}
    assert found.files({}, [0, 1])["initial"] == ["0.pt", "0.pt"]
    assert loaded(s=study(initial="runs/{width}/seed0.pt", analyses={"movement": {}})).contents.keys() == {
        f"presets/runs/4/seed{seed}.pt" for seed in (0, 1)
    }


def test_a_file_is_known_by_its_content_and_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before, file = loaded(s=study()).contents, Path("presets/runs/4/seed0.pt")
    with monkeypatch.context() as patched:
        patched.setattr(description, "_inspected", lambda _: pytest.fail("a file that is known was looked at again"))
        os.utime(file)
        assert loaded(s=study()).contents == before
    kept, state = file.read_bytes(), torch.load(file)
    state["1.bias"] += 1
    torch.save(state, file)
    changed = loaded(s=study()).contents
    file.write_bytes(kept)
    assert {path for path in before if before[path] != changed[path]} == {str(file)}
    assert loaded(s=study()).contents == before


def test_a_damaged_list_of_known_files_is_made_again() -> None:
    before = loaded(s=study()).contents
    for damaged in (INDEX.read_text().replace(before["presets/runs/4/seed0.pt"], "0" * 16), '{"finger'):
        INDEX.write_text(damaged)
        assert loaded(s=study()).contents == before


def test_missing_and_wrong_files_are_named_before_any_job() -> None:
    given = {
        "missing": study(grid={"seed": 4}),
        "many": study(grid={"seed": 100}),
        "shape": study(grid={"width": [6]}, checkpoints="runs/4/seed{seed}.pt"),
        "deeper": study(grid={"depth": [2], "seed": 1}),
        "entry": study(grid={"seed": 1}, state_dict="model"),
    }
    with pytest.raises(ConfigurationError) as refused:
        loaded(**given)
    found: dict[str, list[str]] = {}
    for line in str(refused.value).splitlines()[1:]:
        place, _, said = line.removeprefix("  - studies.").partition(": ")
        found.setdefault(place.removesuffix(".networks.checkpoints"), []).append(said.removeprefix("presets/runs/4/"))
    assert found.keys() == given.keys()
    assert found["missing"] == ["seed2.pt does not exist", "seed3.pt does not exist"]
    assert (len(found["many"]), found["many"][-1]) == (11, "88 more files cannot be used")
    shape = "`1.weight` has the shape [4, 64]; the network's has [6, 64]"
    assert found["shape"] == [f"seed{seed}.pt: {shape}" for seed in (0, 1)]
    assert found["deeper"] == ["seed0.pt: it lacks `5.weight`, `5.bias`"]
    assert found["entry"][0].startswith("seed0.pt: there is no state dictionary under `model`; it holds `1.weight`")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"checkpoints": "runs/4/seed0.pt"}, "it lacks {seed}, of which the grid has several values"),
        ({"grid": {"width": [4, 6]}, "checkpoints": "runs/4/{seed}.pt"}, "it lacks {width}, of which"),
        ({"checkpoints": "runs/{widht}/{seed}.pt"}, "`widht` is not an axis of the grid, which has width, depth,"),
        ({"checkpoints": "runs/{seed"}, "braces hold axes of the grid, as in `seed{seed}.pt`"),
        ({"training": {}}, "training: the key `epochs` is missing"),
        (
            {"training": {"epochs": 3, "flip": True}},
            "training.flip: nothing uses it for networks trained elsewhere",
        ),
        ({"grid": {"momentum": [0.0, 0.9]}}, "grid.momentum: nothing uses it"),
        ({"data": {"label_noise": 0.1}}, "data.label_noise: [0.1] was given; networks trained elsewhere did not learn"),
        (
            {"analyses": {"movement": {}}},
            "analyses.movement: it needs the weights before training; name their files as",
        ),
        ({"analyses": {"tickets": {}}}, "analyses.tickets: it trains networks again"),
        ({"analyses": {"curvature": {"during_training": True}}}, "analyses.curvature.during_training: true was given"),
    ],
)
def test_what_networks_trained_elsewhere_lack_is_refused_by_name(others: dict[str, Any], said: str) -> None:
    assert any(said in each for each in mistakes(**others))


def test_an_axis_of_data_or_of_the_measurement_needs_no_files_of_its_own() -> None:
    grid = {"train_size": [100, None], "loss": ["cross_entropy", "squared_error"], "statistics_size": [50, 100]}
    assert len(loaded(s=study(grid=grid)).studies["s"].cells) == 8


def test_bends_of_curves_take_a_recipe_of_their_own() -> None:
    lacking = mistakes(analyses={"connect": {}})
    keys = [
        "training.optimizer",
        *(f"analyses.connect.curve.{key}" for key in ("learning_rate", "schedule", "weight_decay")),
    ]
    said = "the key is missing; networks trained elsewhere give no recipe for curves"
    assert lacking == [f"{key}: {said}" for key in keys]
    curve = {"learning_rate": 0.1, "schedule": "linear", "weight_decay": 0.0}
    training = {"epochs": 3, "optimizer": "sgd", "momentum": 0.5}
    (cell,) = loaded(s=study(training=training, analyses={"connect": {"curve": curve}})).studies["s"].cells.values()
    assert cell.recipe.training.momentum == 0.5
    assert cell.recipe.known == ("epochs", "optimizer")
    training = {"epochs": 3, "optimizer": "sgd", "learning_rate": 0.1, "schedule": "linear", "weight_decay": 0.0}
    assert loaded(s=study(training=training, analyses={"connect": {}})).studies
    nesterov = training | {"nesterov": True, "momentum": 0.0}
    assert "training.nesterov: true was given" in mistake(training=nesterov, analyses={"connect": {}})
