"""What the schema of the configuration refuses, in words."""

import json
from typing import Any

import pytest
from studies import configuration, look_up, mistake, mistakes

from isthmus.study.config import load
from isthmus.tables.descriptions import stages


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
        (configuration(trainig={}), "studies.s.trainig", "training", "analyses, data, grid, network, networks, "),
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
    line = mistake({"seed": 1000}, analyses={"connect": {}})
    assert line == "studies.s.analyses.connect: 1,000 seeds make 499,500 pairs; allowed are at most 100,000"
    line = mistake(training={"epochs": 10**400})
    assert line.startswith("studies.s.training.epochs: 1000")
    assert line.endswith("allowed is an integer at least 1, at most 1000000 (this is too large)")


def test_own_files_in_a_home_that_does_not_exist_are_refused_with_their_study() -> None:
    line = mistake(networks={"checkpoints": "~nobody-has-this-name/{seed}.pt"})
    assert line == "studies.s: ~nobody-has-this-name/{seed}.pt: there is no such home folder"


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
    assert mistakes(twice) == ["studies.S: there is also s; names must differ in more than case"]
    assert mistakes(configuration() | {"datasets": data}) == [
        "datasets.mnist: there is also MNIST; names must differ in more than case"
    ]
    assert mistake(analyses={"manifold": {"sweeps": sweeps}}) == (
        "studies.s.analyses.manifold.sweeps.Tiny: there is also tiny; names must differ in more than case"
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
