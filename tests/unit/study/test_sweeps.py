"""Analyses with networks of their own: sweeps in the place of cells, checked and packed."""

from typing import Any

import pytest
from running import small_study

from isthmus.analyses.manifold import cost
from isthmus.core.errors import ConfigurationError
from isthmus.study.config import Configuration, load
from isthmus.tables.descriptions import stages


def study_with(sweeps: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    options = {} if sweeps is None else {"sweeps": sweeps}
    return small_study() | {"analyses": {"manifold": options, **others}}


def loaded(sweeps: dict[str, Any] | None = None, **others: Any) -> Configuration:
    return load({"studies": {"small": study_with(sweeps) | others}})


def test_sweeps_stand_in_the_place_of_cells_and_have_seeds_of_their_own() -> None:
    sweeps = {"b": {"width": [3], "points": [4], "seeds": 5}, "a": {"width": [3], "points": [4], "seeds": 2}}
    study, stage = loaded(sweeps).studies["small"], stages()["manifold"]
    assert stage.unit == "sweep"
    assert study.cells_of("manifold") == ["b", "a"]
    assert study.cells_of("train") == list(study.cells)
    assert study.blocks_of(stage, {"seeds": 2, "pairs": 3}, "b") == {0: (0, 1), 1: (2, 3), 2: (4,)}
    assert study.blocks_of(stage, {"seeds": 2, "pairs": 3}, "a") == {0: (0, 1)}


def test_a_sweep_of_many_small_networks_keeps_them_together_in_fewer_jobs() -> None:
    sweeps = {"many": {"width": [1], "points": [4], "seeds": 7, "together": 6}}
    study, stage = loaded(sweeps).studies["small"], stages()["manifold"]
    assert study.blocks_of(stage, {"seeds": 2, "pairs": 3}, "many") == {0: (0, 1, 2, 3, 4, 5), 1: (6,)}


def test_nothing_need_be_given() -> None:
    options = loaded().studies["small"].analyses["manifold"]
    assert options["sweeps"]["width"]["activation"] == ["tanh"]
    assert "where" not in options


def test_rows_of_a_sweep_have_no_cell() -> None:
    for table in stages()["manifold"].tables:
        names = [column.name for column in table.columns]
        assert names[:3] == ["study", "sweep", "seed"]
        assert "cell" not in names


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ({"points": [0]}, "sweeps.one.points[0]: 0 was given; allowed is an integer at least 1"),
        ({"width": []}, "sweeps.one.width: [] was given; allowed is a list"),
        ({"activation": ["swish"]}, 'sweeps.one.activation[0]: "swish" was given; allowed is one of tanh'),
        ({"data": ["images"], "outputs": [1, 3]}, "outputs: 3 was given; images of digits take 1 output or 10"),
        ({"data": ["images"], "points": [5000]}, "points: 5000 was given; digits has 1437 training examples"),
        ({"where": {}}, "sweeps.one.where: unknown key"),
    ],
)
def test_bad_sweeps_are_refused_by_name(sweep: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        loaded({"one": {"width": [3], "points": [4]} | sweep})
    assert f"studies.small.analyses.manifold.{expected}" in str(error.value) or expected in str(error.value)


def test_a_sweep_names_its_widths_and_points_and_knows_no_where() -> None:
    with pytest.raises(ConfigurationError, match=r"sweeps\.one: the key `points` is missing"):
        loaded({"one": {"width": [3]}})
    with pytest.raises(ConfigurationError, match=r"manifold\.where: unknown key"):
        load({"studies": {"small": small_study() | {"analyses": {"manifold": {"where": {"width": [4]}}}}}})


def test_images_take_one_data_set() -> None:
    study = study_with({"one": {"width": [3], "points": [4], "data": ["images"]}})
    study["grid"] |= {"name": ["digits"]}
    with pytest.raises(ConfigurationError, match="images was given; that takes one data set"):
        load({"studies": {"small": study}})


def test_fewer_weights_than_points_are_a_choice() -> None:
    assert loaded({"one": {"width": [1], "points": [500]}}).studies


def test_resources_grow_with_the_work() -> None:
    options = loaded().studies["small"].analyses["manifold"]
    small, large = ({"width": [w], "points": [d]} for w, d in ((8, 20), (400, 1000)))
    small, large = (
        {"depth": [2], "outputs": [1], "activation": ["tanh"], "data": ["random"], "learning_coefficient": True} | each
        for each in (small, large)
    )
    assert cost.work(options, small, 5).minutes() < 12 < cost.work(options, large, 5).minutes()
    assert cost.memory_mb(options, small, 5) < 1100 < cost.memory_mb(options, large, 5)
