"""The configuration: defaults, axes, and all mistakes at once."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import ROOT
from studies import DATASETS, GRID, configuration, look_up, mistakes, study_of

from isthmus.core.defaults import with_defaults
from isthmus.core.errors import ConfigurationError
from isthmus.data.facts import BUILTIN, facts
from isthmus.study.config import Configuration, load
from isthmus.study.schema import schema

# What is accepted


def test_a_grid_is_all_it_takes() -> None:
    found = load({"studies": {"s": {"grid": GRID}}})
    assert isinstance(found, Configuration)
    study = found.studies["s"]
    assert (list(study.cells), study.seeds, study.analyses) == (["width=8+depth=2+batch_size=32"], (0, 1), {})
    (cell,) = study.cells.values()
    assert (cell.recipe.data.name, cell.recipe.network.architecture) == ("digits", "mlp")


def test_every_default_of_the_schema_reaches_the_recipe() -> None:
    described = schema()["properties"]["studies"]["additionalProperties"]["properties"]
    (cell,) = study_of().cells.values()
    recipe = cell.recipe.as_dict()
    own = {"width": 8, "depth": 2, "batch_size": 32}
    for section in ("data", "network", "training"):
        keys = described[section]["properties"]
        defaults = {key: content["default"] for key, content in keys.items() if key not in ("module", "arguments")}
        assert {key: value for key, value in recipe[section].items() if key not in own} == defaults
    assert {key: value for section in recipe.values() for key, value in section.items() if key in own} == own


def test_defaults_are_filled_in_at_every_depth() -> None:
    config = configuration(training={"epochs": 3}) | {"jobs": {"seeds": 2}}
    config["datasets"] = DATASETS | {"MNIST": {"root": "elsewhere"}}
    found = load(config, look_up)
    assert (found.jobs["seeds"], found.jobs["stack"], found.jobs["evaluation_batch_size"]) == (2, "auto", 256)
    assert (found.datasets["images"]["image_column"], found.datasets["images"]["label_column"]) == ("img", "label")
    mnist = found.datasets["MNIST"]
    assert (mnist["source"], mnist["root"], mnist["download"]) == ("builtin", "elsewhere", True)
    assert found.datasets["CIFAR10"]["root"] == "data"
    assert BUILTIN.keys() < found.datasets.keys()
    (cell,) = found.studies["s"].cells.values()
    assert (cell.recipe.training.epochs, cell.recipe.training.momentum) == (3, 0.9)


def test_what_was_given_is_left_as_it_was() -> None:
    config = configuration({"learning_rate": [1]}, training={"schedule": "step", "milestones": [0.5]})
    before = yaml.safe_dump(config)
    found = load(config, look_up)
    assert yaml.safe_dump(config) == before
    found.jobs["seeds"] = -1
    found.datasets["digits"]["root"] = "changed"
    again = load(config, look_up)
    assert again.jobs["seeds"] == 5
    assert again.datasets["digits"]["root"] == "data"
    described = schema()["properties"]["studies"]["additionalProperties"]["properties"]["training"]
    with_defaults({}, described)["milestones"].append(0.9)
    assert with_defaults({}, described)["milestones"] == [0.5, 0.75]


# Networks of one's own are described first: test_own_networks.py and workflow/test_checkpoints.py load these presets.
# test_elsewhere.py loads that of tables.
OWN = ("own-model", "checkpoints", "yang2021")


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "config" / "config.yaml",
        *(path for path in sorted(ROOT.glob("presets/*.yaml")) if not path.stem.startswith(OWN)),
    ],
    ids=lambda path: path.name,
)
def test_the_configurations_that_come_with_the_workflow_load(path: Path) -> None:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    parquet = {name for name, given in config.get("datasets", {}).items() if given.get("source") == "parquet"}
    found = load(config, lambda name, given: BUILTIN["CIFAR10"] if name in parquet else facts(name, given), [path])
    assert found.studies
    for study in found.studies.values():
        assert study.cells
        assert study.seeds
        for cell in study.cells.values():
            assert cell.recipe.data.name in found.datasets


def test_a_configuration_as_snakemake_hands_it_over_loads() -> None:
    """Nested OrderedDicts, as snakemake makes of a file, and numbers as keys, as YAML allows."""

    def ordered(value: Any) -> Any:
        if isinstance(value, dict):
            return OrderedDict((key, ordered(content)) for key, content in value.items())
        return value

    plain = configuration({"batch_size": [16, 32]}, training={"learning_rate": {16: 0.1, 32: 0.2}})
    assert load(ordered(plain), look_up) == load(plain, look_up)


# Axes


def recipes(grid: dict[str, Any], key: str, section: str, **sections: Any) -> list[Any]:
    return [getattr(getattr(cell.recipe, section), key) for cell in study_of(grid, **sections).cells.values()]


@pytest.mark.parametrize(
    ("axis", "section", "values", "spelled"),
    [
        ("learning_rate", "training", [0.01, 0.1], ["0.01", "0.1"]),
        ("label_noise", "data", [0.0, 0.2], ["0.0", "0.2"]),
        ("optimizer", "training", ["sgd", "adamw"], ["sgd", "adamw"]),
        ("train_size", "data", [100, 500, None], ["100", "500", "none"]),
        ("epochs", "training", [1, 2], ["1", "2"]),
        ("steps", "training", [None, 50], ["none", "50"]),
        ("weight_decay", "training", [0.0, 1e-4], ["0.0", "0.0001"]),
        ("normalization", "network", ["none", "layer"], ["none", "layer"]),
        ("nesterov", "training", [True, False], ["true", "false"]),
        ("until_train_loss", "training", [None, 0.01], ["none", "0.01"]),
        ("name", "data", ["digits", "MNIST", "images"], ["digits", "MNIST", "images"]),
    ],
)
def test_any_scalar_of_data_network_and_training_can_be_an_axis(
    axis: str, section: str, values: list[Any], spelled: list[str]
) -> None:
    assert recipes({axis: values}, axis, section) == values
    assert list(study_of({axis: values}).cells) == [f"width=8+depth=2+batch_size=32+{axis}={each}" for each in spelled]


def test_width_depth_and_batch_size_reach_the_recipe() -> None:
    grid = {"width": [4, 8], "depth": [1, 2, 3], "batch_size": [16, 32]}
    found = {
        (cell.recipe.network.width, cell.recipe.network.depth, cell.recipe.training.batch_size)
        for cell in study_of(grid).cells.values()
    }
    assert found == {(width, depth, size) for width in (4, 8) for depth in (1, 2, 3) for size in (16, 32)}


def test_integers_and_floats_give_one_recipe_and_one_name() -> None:
    for axis in ("learning_rate", "label_noise", "weight_decay", "momentum"):
        value = 1 if axis == "learning_rate" else 0
        assert repr(study_of({axis: [value]})) == repr(study_of({axis: [float(value)]}))
    whole, fractional = {"learning_rate": 1, "momentum": 0}, {"learning_rate": 1.0, "momentum": 0.0}
    assert repr(study_of(training=whole)) == repr(study_of(training=fractional))
    stops = [None, 1], [None, 1.0]
    assert repr(study_of({"until_train_loss": stops[0]})) == repr(study_of({"until_train_loss": stops[1]}))


WHOLE = ["width", "depth", "batch_size", "epochs", "train_size"]


@pytest.mark.parametrize(
    ("whole", "fractional"),
    [
        *((configuration({axis: [100]}), configuration({axis: [100.0]})) for axis in WHOLE),
        (configuration({"seed": 2}), configuration({"seed": 2.0})),
        (configuration({"seed": [1, 4]}), configuration({"seed": [1.0, 4.0]})),
        (configuration() | {"jobs": {"seeds": 3}}, configuration() | {"jobs": {"seeds": 3.0}}),
        (configuration(training={"snapshots": [3]}), configuration(training={"snapshots": [3.0]})),
    ],
    ids=[*WHOLE, "seed", "seeds", "jobs.seeds", "snapshots"],
)
def test_a_whole_number_written_as_a_fraction_is_an_integer_or_refused(whole: Any, fractional: Any) -> None:
    """YAML reads 1.0e+2 as a float. Left as one it would end in the names of folders and in shapes of tensors."""
    try:
        found = load(fractional, look_up)
    except ConfigurationError as error:
        assert "allowed is" in str(error)  # noqa: PT017
    else:
        assert repr(found) == repr(load(whole, look_up))


def test_the_learning_rate_can_be_a_mapping_from_batch_size() -> None:
    rates = {32: 0.005, 64: 0.0075, 1024: 1}
    grid = {"batch_size": [32, 64, 512, 1024]}
    found = recipes(
        grid, "learning_rate", "training", training={"learning_rate": rates | {512: 0.04}}, data={"name": "MNIST"}
    )
    assert found == [0.005, 0.0075, 0.04, 1.0]
    assert all(isinstance(rate, float) for rate in found)


def test_seeds_are_a_number_or_a_list() -> None:
    assert study_of({"seed": 3}).seeds == (0, 1, 2)
    assert study_of({"seed": [9, 4]}).seeds == (4, 9)


def test_studies_do_not_see_each_other() -> None:
    both = configuration({"width": [4]})
    both["studies"]["t"] = configuration({"width": [16]}, training={"epochs": 2})["studies"]["s"]
    found = load(both, look_up).studies
    assert found["s"].cells == study_of({"width": [4]}).cells
    assert [cell.recipe.training.epochs for cell in found["t"].cells.values()] == [2]


# Several at once


def test_all_mistakes_of_form_are_reported_at_once() -> None:
    config = configuration({"width": [0], "depth": []}, network={"activation": "swish"}, training={"epoch": 3})
    config["jobs"] = {"seeds": "many"}
    places = [line.split(":")[0] for line in mistakes(config)]
    assert sorted(places) == [
        "jobs.seeds",
        "studies.s.grid.depth",
        "studies.s.grid.width[0]",
        "studies.s.network.activation",
        "studies.s.training.epoch",
    ]


def test_all_mistakes_of_meaning_are_reported_at_once_and_once_each() -> None:
    config = configuration(
        {"width": [4, 8], "depth": [7, 8], "batch_size": [32, 2000]},
        network={"architecture": "resnet"},
        training={"warmup_epochs": 100, "snapshots": [70, 80]},
    )
    config["studies"]["t"] = configuration(data={"name": "nowhere"})["studies"]["s"]
    places = [line.split(":")[0] for line in mistakes(config)]
    assert sorted(places) == [
        "studies.s.grid.batch_size",
        "studies.s.grid.depth",
        "studies.s.training.snapshots",
        "studies.s.training.warmup_epochs",
        "studies.t.data.name",
    ]


def test_several_wrong_axes_are_reported_at_once() -> None:
    found = mistakes(configuration({"optimiser": ["sgd"], "momentum": [0.5, 1]}, training={"momentum": 0.3}))
    assert [line.split(":")[0] for line in found] == [
        "studies.s.grid.optimiser",
        "studies.s.grid.momentum",
        "studies.s.grid.momentum[1]",
    ]
