"""What a study asks of data without classes, or of inputs that are no images, is refused before the first job."""

from typing import Any

import pytest

from isthmus.core.errors import ConfigurationError
from isthmus.data.facts import Facts
from isthmus.study.config import Configuration, load
from isthmus.study.graph import Graph

FACTS = {
    "alike": Facts(100, 20, (5,), 1, "classification", "values", 0, False),
    "real": Facts(100, 20, (5,), 2, "regression", "values", 0, False),
    "vectors": Facts(100, 20, (5,), 3, "classification", "values", 0, False),
    "tokens": Facts(100, 20, (2,), 23, "classification", "tokens", 24, False),
    "floats": Facts(100, 20, (3, 8, 8), 3, "classification", "images", 0, False),
    "pixels": Facts(100, 20, (3, 8, 8), 3, "classification", "images", 0, True),
}
SQUARED = {"loss": "squared_error"}


def loaded(
    name: str, training: dict[str, Any] | None = None, normalization: dict[str, Any] | None = None, **others: Any
) -> Configuration:
    study = {"data": {"name": name}, "training": training or {}, "grid": GRID} | others
    datasets: dict[str, dict[str, Any]] = {each: {"source": "arrays", "file": f"{each}.npz"} for each in FACTS}
    datasets[name] |= normalization or {}
    return load({"datasets": datasets, "studies": {"s": study}}, lambda name, _: FACTS[name])


GRID = {"width": [4], "depth": [2], "batch_size": [10], "seed": 2}
EVERYTHING: dict[str, Any] = {"connect": {}, "curvature": {}, "movement": {}, "tickets": {}, "relations": {}}


@pytest.mark.parametrize(("data", "training"), [("real", SQUARED), ("vectors", {}), ("floats", {}), ("pixels", {})])
def test_what_does_not_need_more_is_allowed(data: str, training: dict[str, Any]) -> None:
    assert loaded(data, training, analyses=EVERYTHING).facts[data] == FACTS[data]


def test_corruptions_take_8_bit_images_with_classes() -> None:
    loaded("pixels", analyses={"robustness": {}})


@pytest.mark.parametrize(
    ("data", "given", "message"),
    [
        ("real", {}, "training.loss: cross_entropy was given; the targets of real are real numbers"),
        ("real", {"training": SQUARED | {"until_train_accuracy": 0.9}}, "training.until_train_accuracy: 0.9"),
        ("real", {"training": SQUARED, "data": {"name": "real", "label_noise": 0.1}}, "data.label_noise: 0.1"),
        (
            "real",
            {"training": SQUARED, "analyses": {"robustness": {}}},
            "analyses.robustness: it corrupts 8-bit images",
        ),
        (
            "vectors",
            {"analyses": {"tickets": {}, "further_training": {"corruption": "jpeg"}}},
            "analyses.further_training.corruption: it corrupts 8-bit images",
        ),
        ("vectors", {"analyses": {"robustness": {}}}, "values of shape [5] and 3 classes"),
        ("floats", {"analyses": {"robustness": {}}}, "not in 8 bits"),
        (
            "vectors",
            {"analyses": {"tickets": {"robustness": {"corruptions": ["jpeg"]}}}},
            "analyses.tickets.robustness.corruptions",
        ),
        ("vectors", {"training": {"flip": True}}, "training.flip: true was given; it takes images"),
        ("vectors", {"training": {"crop_padding": 2}}, "training.crop_padding: 2 was given; it takes images"),
        ("vectors", {"network": {"architecture": "cnn"}}, "network.architecture: cnn was given; it takes images"),
        ("tokens", {}, "network.architecture: mlp was given; the inputs of tokens are tokens of shape [2]"),
        (
            "real",
            {
                "training": SQUARED,
                "analyses": {"manifold": {"sweeps": {"a": {"width": [4], "points": [5], "data": ["images"]}}}},
            },
            "sweeps.a.data: images was given",
        ),
        ("pixels", {"analyses": {"robustness": {"shifted_data": "floats"}}}, "shifted_data: floats was given"),
    ],
)
def test_what_data_do_not_allow_is_refused_by_name(data: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        loaded(data, **given)
    (line,) = str(error.value).splitlines()[1:]
    assert line.startswith("  - studies.s.")
    assert message in line


def test_a_file_belongs_to_its_source() -> None:
    study = {"s": {"grid": GRID}}
    for entry, message in (
        ({"source": "arrays"}, "datasets.mine: the key `file` is missing"),
        (
            {"source": "parquet", "file": "x.npz", "train": "a", "test": "b"},
            "`file` is for sets of source arrays; set `source`, or leave it out",
        ),
        (
            {"source": "arrays", "file": "x.npz", "train": "a"},
            "`train` is for sets of source folder or parquet; set `source`, or leave it out",
        ),
        (
            {"source": "folder", "train": ["a"], "test": "b"},
            r"datasets.mine.train: \[\"a\"\] was given; allowed is one folder",
        ),
    ):
        with pytest.raises(ConfigurationError, match=message):
            load({"datasets": {"mine": entry}, "studies": study})


def test_an_array_set_is_prepared_from_its_file_and_where_a_folder_is_does_not_matter() -> None:
    graph = Graph(loaded("vectors"), {"sources": {}, "claims": []})
    assert graph.sources("vectors") == ["vectors.npz"]
    assert graph.content("vectors")["file"] == "vectors.npz"


def test_labels_of_one_class_cannot_be_noisy() -> None:
    loaded("alike")
    expected = "s.data.label_noise: 0.5 was given; alike has one class, so no label can be replaced by another"
    with pytest.raises(ConfigurationError, match=expected):
        loaded("alike", data={"name": "alike", "label_noise": 0.5})


@pytest.mark.parametrize(
    ("data", "mean", "message"),
    [
        ("pixels", [0, 0], r"datasets.pixels.mean: [0, 0] was given; inputs [3, 8, 8] take one number or a list of 3"),
        ("vectors", [0, 0], r"inputs [5] take one number or a list of 5"),
        ("tokens", 0, r"datasets.tokens.mean: 0 was given; tokens are not normalized"),
        ("pixels", None, r"datasets.pixels: inputs are normalized with `mean` and `std`; give both, or neither"),
    ],
)
def test_constants_of_normalization_fit_the_inputs(data: str, mean: Any, message: str) -> None:
    given = {"std": 255} | ({} if mean is None else {"mean": mean})
    with pytest.raises(ConfigurationError) as error:
        loaded(data, network={"module": "torch.nn:Identity"} if data == "tokens" else {}, normalization=given)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("data", "mean"), [("pixels", [125.3, 123.0, 113.9]), ("vectors", [0, 1, 2, 3, 4]), ("real", 0)]
)
def test_constants_of_normalization_are_part_of_the_content(data: str, mean: Any) -> None:
    training = SQUARED if data == "real" else {}
    graph = Graph(loaded(data, training, normalization={"mean": mean, "std": 2}), {"sources": {}, "claims": []})
    assert graph.content(data)["mean"] == mean
    assert "mean" not in Graph(loaded(data, training), {"sources": {}, "claims": []}).content(data)
