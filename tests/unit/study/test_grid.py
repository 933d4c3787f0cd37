"""Cells and blocks: names that stay as they are when a study grows."""

import itertools
from dataclasses import replace

import pytest

from isthmus.recipes.cells import cell_name, combinations, network_axes, spell
from isthmus.study.config import load
from isthmus.study.grid import Study, blocks


def study_of(**grid: object) -> Study:
    axes = {"width": [8], "depth": [1], "batch_size": [32], "seed": 1}
    return load({"studies": {"s": {"grid": axes | grid}}}).studies["s"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(128, "128"), (0.05, "0.05"), (0.0, "0.0"), (None, "none"), (True, "true"), (False, "false"), ("adamw", "adamw")],
)
def test_values_are_spelled_as_a_user_writes_them(value: object, expected: str) -> None:
    assert spell(value) == expected


def test_a_name_has_width_depth_and_batch_size_first_and_other_axes_in_alphabetical_order() -> None:
    axes = {"optimizer": "adam", "batch_size": 32, "label_noise": 0.2, "depth": 2, "width": 128}
    expected = "width=128+depth=2+batch_size=32+label_noise=0.2+optimizer=adam"
    for order in itertools.permutations(axes):
        assert cell_name({axis: axes[axis] for axis in order}) == expected


def test_cells_that_differ_in_some_axes_share_the_name_without_them() -> None:
    axes = {"width": 8, "depth": 1, "batch_size": 32, "learning_rate": 1e16, "nesterov": True, "train_size": None}
    assert cell_name(axes, without=["width", "nesterov"]) == "depth=1+batch_size=32+learning_rate=1e+16+train_size=none"
    assert cell_name(network_axes(axes | {"normalization": "batch"})) == "width=8+depth=1+normalization=batch"
    assert "," not in cell_name(axes)  # Snakemake splits a job's wildcards at commas


def test_cells_are_all_combinations_of_all_axes_but_the_seed() -> None:
    study = study_of(width=[8, 16], batch_size=[16, 32], label_noise=[0.0, 0.2], seed=3)
    assert list(study.cells) == [
        f"width={width}+depth=1+batch_size={batch_size}+label_noise={noise}"
        for width, batch_size, noise in itertools.product([8, 16], [16, 32], [0.0, 0.2])
    ]
    assert all(name == cell.name and cell.study == "s" for name, cell in study.cells.items())


def test_a_cell_knows_its_axes_and_its_recipe_agrees() -> None:
    for cell in study_of(width=[8, 16], depth=[1, 3], batch_size=[16, 32], momentum=[0, 0.9]).cells.values():
        recipe = cell.recipe
        assert cell.axes == {
            "width": recipe.network.width,
            "depth": recipe.network.depth,
            "batch_size": recipe.training.batch_size,
            "momentum": recipe.training.momentum,
        }
        assert cell.name == cell_name(cell.axes)


def test_a_grid_that_grows_keeps_the_names_and_recipes_it_has() -> None:
    small = study_of(width=[8, 16], depth=[2], seed=2)
    large = study_of(width=[16, 4, 8, 32], depth=[1, 2], seed=5)
    assert small.cells.keys() < large.cells.keys()
    assert all(large.cells[name] == cell for name, cell in small.cells.items())


def test_the_order_in_which_axes_are_written_changes_no_name() -> None:
    axes = {"width": [8, 16], "depth": [1, 2], "batch_size": [32], "learning_rate": [0.1, 0.2], "seed": 1}
    names = set()
    for order in itertools.permutations(axes):
        study = load({"studies": {"s": {"grid": {axis: axes[axis] for axis in order}}}}).studies["s"]
        names.add(frozenset(study.cells))
    assert len(names) == 1


def test_seeds_are_a_number_of_them_or_a_list() -> None:
    assert study_of(seed=4).seeds == (0, 1, 2, 3)
    assert study_of(seed=[7, 3, 12]).seeds == (3, 7, 12)


def test_an_analysis_works_on_the_cells_it_is_limited_to_and_training_on_all() -> None:
    study = study_of(width=[8, 16], depth=[1, 3], label_noise=[0, 0.2])
    assert study.cells_of("train") == list(study.cells)
    for where, chosen in (
        ({}, lambda axes: True),
        ({"depth": [3]}, lambda axes: axes["depth"] == 3),
        ({"depth": [1, 3], "width": [16]}, lambda axes: axes["width"] == 16),
        ({"label_noise": [0], "width": [8]}, lambda axes: axes["label_noise"] == 0 and axes["width"] == 8),
    ):
        limited = replace(study, analyses={"any": {"where": where}})
        assert limited.cells_of("any") == [name for name, cell in study.cells.items() if chosen(cell.axes)]
        assert limited.cells_of("train") == list(study.cells)


def test_combinations_run_through_the_last_axis_fastest() -> None:
    found = combinations({"a": [1, 2], "b": ["x", "y", "z"]})
    assert found == [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y", "z")]
    assert combinations({}) == [{}]


# Blocks


@pytest.mark.parametrize("size", [1, 3, 5, 100])
def test_blocks_hold_every_seed_once_in_order(size: int) -> None:
    seeds = [0, 1, 2, 3, 7, 8, 20]
    found = blocks(reversed(seeds), size)
    assert list(itertools.chain.from_iterable(found.values())) == seeds
    assert all(1 <= len(members) <= size for members in found.values())
    assert list(found) == sorted(found)


def test_blocks_are_numbered_by_what_they_hold() -> None:
    assert blocks(range(7), 3) == {0: (0, 1, 2), 1: (3, 4, 5), 2: (6,)}
    assert blocks([4, 5, 17], 5) == {0: (4,), 1: (5,), 3: (17,)}
    assert blocks([2, 0, 1], 1) == {0: (0,), 1: (1,), 2: (2,)}


@pytest.mark.parametrize("size", [1, 4, 5])
def test_new_seeds_leave_full_blocks_as_they_are(size: int) -> None:
    before, after = blocks(range(10), size), blocks(range(23), size)
    full = {index: members for index, members in before.items() if len(members) == size}
    assert full
    assert full.items() <= after.items()
    assert all(after[index][: len(members)] == members for index, members in before.items())
