"""The configuration: defaults, axes, and a refusal in words for everything that cannot work."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import ROOT

from isthmus.core.defaults import with_defaults
from isthmus.core.errors import ConfigurationError
from isthmus.data.corruptions import SEVERITIES
from isthmus.data.facts import BUILTIN, Facts, facts
from isthmus.study.checks import study_errors
from isthmus.study.config import Configuration, load
from isthmus.study.grid import Study
from isthmus.study.schema import schema
from isthmus.tables.descriptions import stages
from isthmus.training.cost import work

IMAGES = Facts(1_000, 100, (3, 32, 32), 10)
"""What the data set `images`, whose files do not exist, would be."""

DATASETS = {"images": {"source": "parquet", "train": "absent/train.parquet", "test": ["absent/test.parquet"]}}
GRID = {"width": [8], "depth": [2], "batch_size": [32], "seed": 2}


def look_up(name: str, description: dict[str, Any]) -> Facts:
    return IMAGES if name == "images" else facts(name, description)


def configuration(grid: dict[str, Any] | None = None, name: str = "s", **sections: Any) -> dict[str, Any]:
    """A configuration with one study; `grid` and `sections` add to the least that works, None takes away."""
    axes = {axis: values for axis, values in (GRID | (grid or {})).items() if values is not None}
    return {"datasets": DATASETS, "studies": {name: {"grid": axes} | sections}}


def study_of(grid: dict[str, Any] | None = None, **sections: Any) -> Study:
    return load(configuration(grid, **sections), look_up).studies["s"]


def mistakes(config: Any) -> list[str]:
    """The lines of the error that a configuration causes."""
    with pytest.raises(ConfigurationError) as error:
        load(config, look_up)
    first, *lines = str(error.value).splitlines()
    assert first == "the configuration cannot be used:"
    assert all(line.startswith("  - ") for line in lines)
    return [line.removeprefix("  - ") for line in lines]


def mistake(grid: dict[str, Any] | None = None, **sections: Any) -> str:
    """The one mistake in the study `s`."""
    (line,) = mistakes(configuration(grid, **sections))
    return line


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


@pytest.mark.parametrize(
    "path",
    # The preset of a network of one's own is loaded in test_own_networks.py, which has its module described.
    [ROOT / "config.yaml", *sorted(set(ROOT.glob("presets/*.yaml")) - {ROOT / "presets/own-model.yaml"})],
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


# What the schema refuses


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "the configuration: the key `studies` is missing"),
        ({"studies": {}}, "studies: {} was given; allowed is a mapping with at least 1 entries"),
        ({"studies": None}, "studies: null was given; allowed is a mapping with at least 1 entries"),
        ({"studies": {"s": {}}}, "studies.s: the key `grid` is missing"),
        ({"studies": {"s": {"grid": None}}}, "studies.s.grid: null was given; allowed is a mapping"),
        (
            configuration({"depth": None}),
            "studies.s.grid: the key `depth` is missing; the built-in architectures have it",
        ),
        (configuration() | {"jobs": {"seeds": 0}}, "jobs.seeds: 0 was given; allowed is an integer at least 1"),
        (
            configuration() | {"jobs": {"stack": "all"}},
            'jobs.stack: "all" was given; allowed is one of auto or an integer at least 1',
        ),
    ],
)  # fmt: skip
def test_structure_is_checked(config: dict[str, Any], expected: str) -> None:
    assert mistakes(config) == [expected]


@pytest.mark.parametrize(
    ("config", "place", "meant", "allowed"),
    [
        (configuration() | {"study": {}}, "study", "studies", "datasets, jobs, studies"),
        (configuration() | {"jobs": {"thread": 1}}, "jobs.thread", "threads", "deterministic, device"),
        (configuration(trainig={}), "studies.s.trainig", "training", "analyses, data, grid, network, training"),
        (configuration(data={"label_nois": 0}), "studies.s.data.label_nois", "label_noise", "train_size"),
        (configuration(network={"normalisation": "batch"}), "studies.s.network.normalisation", "normalization", ""),
        (configuration(training={"learning-rate": 1}), "studies.s.training.learning-rate", "learning_rate", "momentum"),
        (configuration({"batchsize": [8]}), "studies.s.grid.batchsize", "batch_size", "width, depth, batch_size, seed"),
        (configuration({"optimiser": ["sgd"]}), "studies.s.grid.optimiser", "optimizer", "learning_rate"),
        (configuration() | {"datasets": {"m": {"rot": "x"}}}, "datasets.m.rot", "root", "download, file, image_column"),
    ],
)  # fmt: skip
def test_unknown_keys_are_named_with_the_nearest_that_exists(
    config: dict[str, Any], place: str, meant: str, allowed: str
) -> None:
    lines = mistakes(config)
    assert lines[0].startswith(f"{place}: unknown key (did you mean `{meant}`?); allowed are: ")
    assert allowed in lines[0]
    assert len(lines) == 1


def test_an_unknown_key_like_no_other_has_no_suggestion() -> None:
    line = mistake(network={"zzz": 1})
    assert line.startswith(
        "studies.s.network.zzz: unknown key; allowed are: activation, architecture, arguments, blocks"
    )


def test_an_unknown_analysis_is_refused() -> None:
    line = mistake(analyses={"telepathy": {}})
    assert line.startswith("studies.s.analyses.telepathy: unknown key")
    known = sorted(stage.name for stage in stages().values() if stage.options is not None)
    assert line.endswith("allowed are: " + (", ".join(known) or "none"))


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("data", "name", 5, "a name"),
        ("data", "train_size", 0, "an integer or null at least 1"),
        ("data", "train_size", 10.5, "an integer or null at least 1"),
        ("data", "selection", "random", "one of balanced, first"),
        ("data", "label_noise", 1.5, "a number at least 0, at most 1"),
        ("data", "label_noise", -0.1, "a number at least 0, at most 1"),
        ("network", "architecture", "vit", "one of mlp, cnn, resnet"),
        ("network", "normalization", "group", "one of none, batch, layer"),
        ("network", "activation", "swish", "one of relu, tanh, gelu"),
        ("network", "blocks", 0, "an integer at least 1"),
        ("network", "hidden_units", -1, "an integer at least 0"),
        ("training", "loss", "hinge", "one of cross_entropy, squared_error"),
        ("training", "optimizer", "lion", "one of sgd, adam, adamw"),
        ("training", "learning_rate", 0, "a number above 0"),
        ("training", "learning_rate", "fast", "a number above 0"),
        ("training", "momentum", 1, "a number at least 0, below 1"),
        ("training", "nesterov", 1, "true or false"),
        ("training", "epochs", 0, "an integer at least 1, at most 1000000"),
        ("training", "epochs", "ten", "an integer at least 1, at most 1000000"),
        ("training", "epochs", True, "an integer at least 1, at most 1000000"),
        ("training", "final_rate_fraction", 1.1, "a number at least 0, at most 1"),
        ("training", "decay_factor", 0, "a number above 0, at most 1"),
        ("training", "until_train_accuracy", 2, "a number or null above 0, at most 1"),
        ("training", "statistics_size", 1, "an integer at least 2"),
        ("training", "divergence_factor", 1, "a number above 1"),
        ("training", "snapshots", [3, 3], "a list without repetitions, each of them an integer at least 1"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_answered_with_the_range(section: str, key: str, value: Any, allowed: str) -> None:
    line = mistake(**{section: {key: value}})
    assert line.startswith(f"studies.s.{section}.{key}: {json.dumps(value)} was given; allowed is {allowed}")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["learning_rate", "weight_decay", "warmup_epochs"])
def test_numbers_are_finite(key: str, value: float) -> None:
    """YAML has .nan and .inf, and no comparison finds a NaN out of range."""
    assert mistake(training={key: value}).startswith(f"studies.s.training.{key}: ")


def test_elements_of_lists_are_named_by_their_index() -> None:
    assert mistake(training={"milestones": [0.5, 1.0]}) == (
        "studies.s.training.milestones[1]: 1.0 was given; allowed is a number above 0, below 1"
    )


@pytest.mark.parametrize("axis", ["width", "depth", "batch_size"])
@pytest.mark.parametrize(
    ("values", "place", "given"),
    [
        ([], "", "[]"),
        ([8, 0], "[1]", "0"),
        ([-3], "[0]", "-3"),
        (["8"], "[0]", '"8"'),
        ([8, 8], "", "[8, 8]"),
        (8, "", "8"),
    ],
)
def test_axes_are_lists_of_whole_numbers_from_one_on(axis: str, values: Any, place: str, given: str) -> None:
    allowed = "an integer at least 1, at most 1000000"
    if not place:
        allowed = f"a list with at least 1 entries, without repetitions, each of them {allowed}"
    hint = " (this is text; as a number it is written 8)" if given == '"8"' else ""
    assert mistake({axis: values}) == f"studies.s.grid.{axis}{place}: {given} was given; allowed is {allowed}{hint}"


@pytest.mark.parametrize("seed", [0, -1, [], [1, 1], [-1], [2**32], 1.5, "all", None])
def test_seeds_are_refused_in_words(seed: Any) -> None:
    config = configuration()
    config["studies"]["s"]["grid"]["seed"] = seed
    (line,) = mistakes(config)
    assert line.startswith("studies.s.grid.seed: ")
    assert "an integer at least 1, at most 100000 or a list with at least 1 entries, without repetitions" in line
    assert "each of them an integer at least 0, at most 4294967295" in line


def test_a_grid_beyond_all_bounds_is_refused_at_once() -> None:
    many = [each + 1 for each in range(1000)]
    line = mistake({"width": many, "depth": many[:30]})
    assert line == "studies.s.grid: it has 30,000 cells; allowed are at most 20,000"
    assert "at most 12" in mistake(network={"architecture": "cnn", "blocks": 10**10})
    sweep = {"width": [3], "points": [10**9]}
    assert "at most 100000" in mistake(analyses={"manifold": {"sweeps": {"tiny": sweep}}})


def test_an_empty_axis_of_any_kind_is_refused() -> None:
    assert mistake({"learning_rate": []}).startswith("studies.s.grid.learning_rate: [] was given; allowed is a list")


@pytest.mark.parametrize("name", ["1st", "a/b", "with space", "", "..", "a\n"])
def test_names_of_studies_are_names_of_folders(name: str) -> None:
    (line,) = mistakes(configuration(name=name))
    assert line.startswith(f"studies: {json.dumps(name)} was given; allowed is ")
    assert "^[A-Za-z][A-Za-z0-9_-]*$" in line


def test_names_of_studies_are_short_enough_for_a_folder() -> None:
    (line,) = mistakes(configuration(name=101 * "a"))
    assert "of at most 100 characters" in line
    assert load(configuration(name=100 * "a"), look_up).studies


def test_names_that_differ_in_their_case_alone_are_refused() -> None:
    studies = configuration()["studies"]
    twice = {"studies": {"s": studies["s"], "S": studies["s"]}}
    sweeps = {"tiny": {"width": [3], "points": [4]}, "Tiny": {"width": [2], "points": [4]}}
    data = {"mnist": {"source": "parquet", "train": "a.parquet", "test": "b.parquet"}}
    assert mistakes(twice) == ["studies.S: there is also s; names must differ by more than their case"]
    assert mistakes(configuration() | {"datasets": data}) == [
        "datasets.mnist: there is also MNIST; names must differ by more than their case"
    ]
    assert mistake(analyses={"manifold": {"sweeps": sweeps}}) == (
        "studies.s.analyses.manifold.sweeps.Tiny: there is also tiny; names must differ by more than their case"
    )


@pytest.mark.parametrize("name", ["data", "tables", "figures", "logs", "benchmarks"])
def test_names_that_the_results_need_are_reserved(name: str) -> None:
    (line,) = mistakes(configuration(name=name))
    assert line.startswith(f'studies: "{name}" was given')
    assert "reserved" in line


@pytest.mark.parametrize("rates", [{32: 0}, {32: "fast"}, {"small": 0.1}, {}, [0.1]])
def test_a_mapping_of_learning_rates_is_checked(rates: Any) -> None:
    line = mistake(training={"learning_rate": rates})
    assert line.startswith("studies.s.training.learning_rate")
    assert "a number above 0" in line


# What takes knowledge to refuse


def test_an_axis_stands_in_one_place() -> None:
    line = mistake({"learning_rate": [0.1]}, training={"learning_rate": 0.2})
    assert line == "studies.s.grid.learning_rate: also given as training.learning_rate; keep one of the two"


def test_values_of_an_axis_are_checked_like_the_key_itself() -> None:
    assert mistake({"learning_rate": [0.1, -0.1]}) == (
        "studies.s.grid.learning_rate[1]: -0.1 was given; allowed is "
        "a number above 0 or a mapping with at least 1 entries"
    )
    assert mistake({"optimizer": ["sgd", "lion"]}) == (
        'studies.s.grid.optimizer[1]: "lion" was given; allowed is one of sgd, adam, adamw'
    )
    assert mistake({"train_size": [None, 0]}) == (
        "studies.s.grid.train_size[1]: 0 was given; allowed is an integer or null at least 1"
    )


@pytest.mark.parametrize("axis", ["milestones", "snapshots"])
def test_lists_cannot_be_axes(axis: str) -> None:
    assert mistake({axis: [[1], [2]]}).startswith(f"studies.s.grid.{axis}: this key holds a list")


def test_an_axis_takes_single_values() -> None:
    assert mistake({"learning_rate": [{"32": 0.1}]}) == (
        'studies.s.grid.learning_rate[0]: {"32": 0.1} was given; an axis takes single values'
    )


@pytest.mark.parametrize("where", ["section", "axis"])
def test_an_unknown_data_set_is_answered_with_the_known_ones(where: str) -> None:
    line = mistake(data={"name": "MINST"}) if where == "section" else mistake({"name": ["digits", "MINST"]})
    assert line.startswith('studies.s.data.name: "MINST" was given; there are ')
    assert all(name in line for name in [*BUILTIN, "images"])


def test_a_parquet_set_names_its_files() -> None:
    config = configuration() | {"datasets": {"mine": {"source": "parquet", "train": "x.parquet"}}}
    assert mistakes(config) == ["datasets.mine: the key `test` is missing; a set of source parquet names its files"]
    config = configuration() | {"datasets": {"mine": {"source": "parquet"}}}
    assert len(mistakes(config)) == 2


def test_a_data_set_without_source_has_a_builtin_name() -> None:
    (line,) = mistakes(configuration() | {"datasets": {"mine": {"root": "somewhere"}}})
    assert line.startswith("datasets.mine: no built-in data set has this name; there are digits, MNIST")
    assert line.endswith("or set another `source`")


def test_missing_files_of_a_data_set_in_use_are_named() -> None:
    config = configuration(data={"name": "images"})
    with pytest.raises(ConfigurationError, match=r"studies\.s\.data\.name: .*absent/train\.parquet"):
        load(config)


def test_files_of_a_data_set_that_no_study_uses_are_not_looked_at() -> None:
    assert "s" in load(configuration()).studies


@pytest.mark.parametrize("where", ["section", "axis"])
def test_no_more_examples_than_the_data_set_has(where: str) -> None:
    expected = "studies.s.data.train_size: 1438 was given; digits has 1437 training examples"
    assert (
        mistake(data={"train_size": 1438}) if where == "section" else mistake({"train_size": [1437, 1438]})
    ) == expected
    assert study_of(data={"train_size": 1437}).cells


@pytest.mark.parametrize(("data", "examples"), [({}, 1437), ({"train_size": 100}, 100), ({"name": "images"}, 1000)])
def test_no_batch_larger_than_the_training_set(data: dict[str, Any], examples: int) -> None:
    line = mistake({"batch_size": [examples, examples + 1, 10]}, data=data)
    assert line.startswith(f"studies.s.grid.batch_size: {examples + 1} was given; there are ")
    assert f"{examples} training examples" in line


def test_aligning_automatically_takes_two_training_examples_for_each_class() -> None:
    grid, connect = {"batch_size": [10]}, {"kinds": ["linear", "linear-aligned"]}
    assert study_of(grid, data={"train_size": 20}, analyses={"connect": connect})
    line = mistake(grid, data={"train_size": 19}, analyses={"connect": connect})
    assert line.startswith("studies.s.analyses.connect.alignment.method: auto matches and selects on separate")
    assert "at least 20, two for each class; there are 19: " in line
    for other in ({"kinds": ["linear"]}, connect | {"alignment": {"method": "weights"}}):
        assert study_of(grid, data={"train_size": 19}, analyses={"connect": other})


def test_every_batch_size_has_a_learning_rate() -> None:
    line = mistake({"batch_size": [32, 64]}, training={"learning_rate": {"32": 0.1}})
    assert line == "studies.s.training.learning_rate: no rate is given for batch size 64"


@pytest.mark.parametrize("depth", [1, 2, 7, 9, 18])
def test_a_resnet_has_six_n_plus_two_layers(depth: int) -> None:
    line = mistake({"depth": [8, 20, depth]}, network={"architecture": "resnet"})
    assert line == f"studies.s.grid.depth: {depth} was given; a resnet has 6n + 2 layers: 8, 14, 20, 26, 32, ..."


@pytest.mark.parametrize(
    ("name", "most", "size"), [("digits", 3, "8x8"), ("MNIST", 4, "28x28"), ("images", 5, "32x32")]
)
def test_a_cnn_halves_an_image_only_while_there_is_one(name: str, most: int, size: str) -> None:
    for blocks in range(1, most + 1):
        assert study_of(data={"name": name}, network={"architecture": "cnn", "blocks": blocks}).cells
    line = mistake(data={"name": name}, network={"architecture": "cnn", "blocks": most + 1})
    assert line.startswith(f"studies.s.network.blocks: {most + 1} was given; each ")
    assert f"halves the image, and {size} pixels allow fewer" in line


@pytest.mark.parametrize("training", [{"optimizer": "adam"}, {"optimizer": "adamw"}, {"momentum": 0}])
def test_nesterov_takes_sgd_with_momentum(training: dict[str, Any]) -> None:
    assert mistake(training=training | {"nesterov": True}) == (
        "studies.s.training.nesterov: true was given; it needs the optimizer sgd with a momentum above 0"
    )
    assert study_of(training={"nesterov": True}).cells


@pytest.mark.parametrize(("batch_size", "examples"), [(1, 100), (33, 100), (9, 100)])
def test_a_batch_of_one_cannot_be_batch_normalized_by_an_mlp(batch_size: int, examples: int) -> None:
    """The variance of a single value is zero; the pixels of an image are many values."""
    grid, data = {"batch_size": [batch_size]}, {"train_size": examples}
    assert examples % batch_size == (0 if batch_size == 1 else 1)
    line = mistake(grid, data=data, network={"normalization": "batch"})
    assert line.startswith(
        f"studies.s.grid.batch_size: {batch_size} was given; with {examples} examples it leaves a batch of one"
    )
    assert "training.drop_last" in line
    for normalization, architecture in (("layer", "mlp"), ("none", "mlp"), ("batch", "cnn")):
        assert study_of(grid, data=data, network={"normalization": normalization, "architecture": architecture}).cells
    if batch_size > 1:
        assert study_of(grid, data=data, network={"normalization": "batch"}, training={"drop_last": True}).cells


@pytest.mark.parametrize(
    ("training", "length"),
    [({"epochs": 5, "warmup_epochs": 5}, "5"), ({"steps": 90, "warmup_epochs": 2.5}, "2")],
)
def test_a_warm_up_is_shorter_than_the_run(training: dict[str, Any], length: str) -> None:
    """1,437 digits in batches of 32 are 45 steps."""
    line = mistake(training=training)
    assert line.startswith("studies.s.training.warmup_epochs: ")
    assert line.endswith(f"was given; the run has {length} epochs")
    assert study_of(training=training | {"warmup_epochs": 1.9}).cells


@pytest.mark.parametrize(
    ("training", "length"), [({"epochs": 5}, "5"), ({"steps": 225}, "5"), ({"steps": 239}, "5.31111")]
)
def test_snapshots_are_taken_within_the_run(training: dict[str, Any], length: str) -> None:
    line = mistake(training=training | {"snapshots": [1, 5, 6]})
    assert line == f"studies.s.training.snapshots: 6 was given; the run has {length} epochs"
    assert study_of(training=training | {"snapshots": [1, 5]}).cells


@pytest.mark.parametrize(
    ("training", "run", "least"),
    [
        ({"epochs": 5, "averaging": "swa", "averaging_start": 0.95}, "5 epochs has 1 ends of epochs", "swa"),
        ({"steps": 50, "averaging": "swa"}, "1.11111 epochs has 1 ends of epochs", "swa"),
        ({"steps": 40, "averaging": "swa", "averaging_start": 0.0}, "0.888889 epochs has 0 ends of epochs", "swa"),
        ({"steps": 2, "averaging": "ema", "averaging_start": 0.9}, "0.0444444 epochs has 1 steps", "ema"),
    ],
)
def test_an_average_takes_two_networks_at_least(training: dict[str, Any], run: str, least: str) -> None:
    """1,437 digits in batches of 32 are 45 steps."""
    line = mistake(training=training)
    assert line == (
        f"studies.s.training.averaging_start: {training.get('averaging_start', 0.75)} was given; the run of {run} "
        f"from there on, and {least} needs at least 2"
    )
    assert study_of(training=training | {"steps": 180, "averaging_start": 0.75}).cells


@pytest.mark.parametrize(
    ("key", "value"),
    [("sharpness_radius", -0.1), ("averaging", "mean"), ("averaging_start", 1), ("averaging_decay", 1)],
)
def test_options_of_flatness_out_of_range_are_refused(key: str, value: Any) -> None:
    assert mistake(training={key: value}).startswith(f"studies.s.training.{key}: ")


def test_sharpness_aware_training_is_given_the_time_of_two_gradients() -> None:
    minutes = []
    for radius in (0.0, 0.05):
        (cell,) = study_of(data={"name": "MNIST"}, training={"sharpness_radius": radius}).cells.values()
        minutes.append(work(cell.recipe, BUILTIN["MNIST"], {}, 5).minutes() - 10)
    assert minutes[1] == pytest.approx(2 * minutes[0], rel=0.05)


def test_epochs_without_their_last_batch_are_shorter() -> None:
    """1,437 digits in batches of 1,000, the rest dropped: an epoch is one step, and ten steps are ten epochs."""
    training = {"steps": 10, "drop_last": True, "snapshots": [8], "warmup_epochs": 7}
    assert study_of({"batch_size": [1000]}, training=training).cells


# Parts of the grid


def where_mistakes(where: dict[str, list[Any]], grid: dict[str, Any]) -> list[str]:
    """What is wrong with an analysis of the study `s` limited to `where`, whichever analyses there are."""
    given = configuration(grid)["studies"]["s"]
    described = schema()["properties"]["studies"]["additionalProperties"]
    study = with_defaults(given, described) | {"analyses": {"any": {"where": where}}}
    digits = {"digits": {"source": "builtin"}}
    return list(study_errors("studies.s", given, study, digits, look_up, {}))


def test_an_analysis_is_limited_to_values_the_grid_has() -> None:
    grid = {"depth": [1, 3], "label_noise": [0.0, 0.2]}
    assert where_mistakes({"depth": [3], "label_noise": [0]}, grid) == []
    assert where_mistakes({"depth": [3, 4]}, grid) == [
        "studies.s.analyses.any.where.depth: 4 was given; the grid has [1, 3]"
    ]


def test_an_analysis_is_limited_along_axes_the_grid_has() -> None:
    grid = {"label_noise": [0.0, 0.2]}
    place = "studies.s.analyses.any.where"
    allowed = "allowed are: width, depth, batch_size, label_noise"
    assert where_mistakes({"seed": [0]}, grid) == [f"{place}.seed: unknown key; {allowed}"]
    assert where_mistakes({"dept": [1]}, grid) == [f"{place}.dept: unknown key (did you mean `depth`?); {allowed}"]
    assert len(where_mistakes({"momentum": [0.9]}, grid)) == 1


# A second data set to test on


def test_a_second_data_set_has_the_shape_and_the_classes_of_the_first() -> None:
    shifted = {"analyses": {"robustness": {"shifted_data": "MNIST"}}}
    place = "studies.s.analyses.robustness.shifted_data"
    assert mistake(**shifted) == (
        f"{place}: MNIST was given, which has 1 channel of 28x28 pixels and 10 classes; networks trained on digits "
        "take 1 channel of 8x8 pixels and 10 classes"
    )
    colour = {"data": {"name": "CIFAR10"}, "analyses": {"robustness": {"shifted_data": "CIFAR100"}}}
    assert mistake(**colour).endswith("3 channels of 32x32 pixels and 10 classes")
    for first, second in (("MNIST", "KMNIST"), ("SVHN", "CIFAR10"), ("CIFAR10", "images"), ("digits", None)):
        analyses = {"robustness": {"shifted_data": second}}
        assert study_of(data={"name": first}, analyses=analyses).analyses["robustness"]["shifted_data"] == second


def test_a_second_data_set_is_compared_where_the_analysis_works() -> None:
    def grid_of(where: dict[str, Any]) -> dict[str, Any]:
        robustness = {"shifted_data": "KMNIST", "where": where}
        return configuration({"name": ["MNIST", "digits"]}, analyses={"robustness": robustness})

    assert load(grid_of({"name": ["MNIST"]}), look_up).studies["s"].cells_of("robustness")
    (line,) = mistakes(grid_of({}))
    assert "networks trained on digits" in line


def test_a_second_data_set_exists() -> None:
    line = mistake(analyses={"robustness": {"shifted_data": "mnist"}})
    assert line.startswith('studies.s.analyses.robustness.shifted_data: "mnist" was given; there are CIFAR10, CIFAR100')
    absent = configuration(data={"name": "CIFAR10"}, analyses={"robustness": {"shifted_data": "images"}})
    with pytest.raises(ConfigurationError, match=r"shifted_data: .*absent/train\.parquet"):
        load(absent)


@pytest.mark.parametrize(
    ("key", "value"),
    [("corruptions", ["fog"]), ("severities", [0]), ("severities", []), ("test_size", 0), ("seed", -1)],
)
def test_corruptions_and_severities_are_those_there_are(key: str, value: Any) -> None:
    assert mistake(analyses={"robustness": {key: value}}).startswith(f"studies.s.analyses.robustness.{key}")


def test_the_schema_names_the_corruptions_that_the_library_has() -> None:
    options = schema()["properties"]["studies"]["additionalProperties"]["properties"]["analyses"]["properties"]
    corruptions = options["robustness"]["properties"]["corruptions"]
    assert corruptions["items"]["enum"] == corruptions["default"] == list(SEVERITIES)


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
