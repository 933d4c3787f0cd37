"""What takes knowledge to refuse, beyond the schema of the configuration, in words."""

from typing import Any

import pytest
from studies import configuration, look_up, mistake, mistakes, study_of

from isthmus.core.defaults import with_defaults
from isthmus.core.errors import ConfigurationError
from isthmus.data.corruptions import SEVERITIES
from isthmus.data.facts import BUILTIN
from isthmus.study.checks import study_errors
from isthmus.study.config import load
from isthmus.study.schema import schema
from isthmus.training.cost import work


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
    assert mistakes(config) == ["datasets.mine: the key `test` is missing; a set of source parquet needs it"]
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
    assert (
        line
        == f"studies.s.grid.depth: {depth} was given; network.architecture resnet has 6n + 2 layers: 8, 14, 20, ..."
    )


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
    study = with_defaults(given, described) | {"analyses": {"movement": {"where": where}}}
    digits = {"digits": {"source": "builtin"}}
    return list(study_errors("studies.s", given, study, digits, look_up, {}))


def test_an_analysis_is_limited_to_values_the_grid_has() -> None:
    grid = {"depth": [1, 3], "label_noise": [0.0, 0.2]}
    assert where_mistakes({"depth": [3], "label_noise": [0]}, grid) == []
    assert where_mistakes({"depth": [3, 4]}, grid) == [
        "studies.s.analyses.movement.where.depth: 4 was given; the grid has [1, 3]"
    ]


def test_an_analysis_is_limited_along_axes_the_grid_has() -> None:
    grid = {"label_noise": [0.0, 0.2]}
    place = "studies.s.analyses.movement.where"
    allowed = "allowed are: width, depth, batch_size, label_noise"
    assert where_mistakes({"seed": [0]}, grid) == [f"{place}.seed: unknown key; {allowed}"]
    assert where_mistakes({"dept": [1]}, grid) == [f"{place}.dept: unknown key (did you mean `depth`?); {allowed}"]
    assert len(where_mistakes({"momentum": [0.9]}, grid)) == 1


def test_an_analysis_that_starts_from_another_works_where_that_one_does() -> None:
    place = "studies.s.analyses.further_training"
    alone = mistake(analyses={"further_training": {}})
    assert alone == f"{place}: it starts from what the analysis tickets keeps; ask for that one, too"
    few, grid = {"width": [8]}, {"width": [8, 16]}
    beyond = mistake(grid, analyses={"further_training": {}, "tickets": {"where": few}})
    assert beyond == f"{place}.where: it starts from what tickets keeps, which is not asked for in all these cells"
    for analyses in ({"further_training": {"where": few}, "tickets": {}}, {"further_training": {}, "tickets": {}}):
        assert study_of(grid, analyses=analyses).cells_of("further_training")


def test_steps_from_which_stability_is_measured_are_steps_of_the_run() -> None:
    training = {"epochs": 1, "steps": 100}
    assert mistake(training=training, analyses={"stability": {"steps": [0, 100]}}) == (
        "studies.s.analyses.stability.steps: 100 was given; at batch size 32 the run has 100 steps"
    )


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
