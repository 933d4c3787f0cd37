"""Effects are those of known power laws and agree with claims, and a plateau is found where it begins."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from invented import Tables, invented_tables
from invented_claims import claim, judge
from scipy.stats import ttest_ind

from isthmus.analyses.relations.effects import Effect, effect, numeric_axes, opposite, saturation
from isthmus.analyses.relations.gather import gather
from isthmus.analyses.relations.measure import effect_rows, saturation_rows
from isthmus.recipes.cells import cell_name

AXES = [{"width": width, "depth": depth, "batch_size": 32} for width, depth in product((8, 16, 32, 64, 128), (1, 2, 4))]
CELLS = {cell_name(axes): axes for axes in AXES}


def grid(
    widths: tuple[int, ...] = (8, 16, 32, 64, 128),
    depths: tuple[int, ...] = (1, 2, 4),
    networks: int = 4,
    scatter: float = 0.0,
    seed: int = 0,
) -> pd.Series:
    """log2 of 3 w^-0.5 d^0.3 for the networks of a grid, by cell and seed, with normal scatter."""
    random = np.random.default_rng(seed)
    values = {
        (f"width={w}+depth={d}+batch_size=32", n): np.log2(3 * w**-0.5 * d**0.3) + random.normal(0, scatter)
        for w, d, n in product(widths, depths, range(networks))
    }
    return pd.Series(values).rename_axis(["cell", "seed"])


def test_a_power_law_in_width_and_depth_has_its_powers() -> None:
    exact = grid()
    assert effect(exact, ["width"], CELLS).coefficient == pytest.approx(-0.5)
    assert effect(exact, ["depth"], CELLS).coefficient == pytest.approx(0.3)
    noisy = grid(scatter=0.1)
    found = {axis: effect(noisy, [axis], CELLS) for axis in ("width", "depth")}
    assert found["width"].low < -0.5 < found["width"].high < 0 < found["depth"].low < 0.3 < found["depth"].high
    assert opposite(found) == "opposite"
    assert (found["width"].settings, found["depth"].settings) == (3, 5)


def test_the_effect_is_the_average_over_settings_of_least_squares_within_them() -> None:
    values = grid(scatter=0.3)
    frame = values.reset_index(name="value")
    frame[["width", "depth"]] = frame["cell"].str.extract(r"width=(\d+)\+depth=(\d+)").astype(float).to_numpy()
    means = frame.groupby(["depth", "width"])["value"].mean()
    slopes = [np.polyfit(np.log2(own.index.get_level_values("width")), own, 1)[0] for _, own in means.groupby("depth")]
    assert effect(values, ["width"], CELLS).coefficient == pytest.approx(np.mean(slopes))


def test_what_sets_cells_apart_is_no_error() -> None:
    """The grid is fixed: the interval of an average over it comes from the networks of its cells alone."""
    values = grid(scatter=0.1)
    own = {cell: 3 * np.sin(place) for place, cell in enumerate(values.index.get_level_values("cell").unique())}
    apart = values + values.index.get_level_values("cell").map(own)
    before, after = effect(values, ["width"], CELLS), effect(apart, ["width"], CELLS)
    assert after.high - after.low == pytest.approx(before.high - before.low)


def test_intervals_of_effects_cover() -> None:
    found = [effect(grid(depths=(1, 2), networks=3, scatter=0.1, seed=seed), ["width"], CELLS) for seed in range(400)]
    assert np.mean([each.low <= -0.5 <= each.high for each in found]) >= 0.93


def test_the_interaction_is_that_of_the_logarithms() -> None:
    values = grid(scatter=0.02)
    axes = values.index.get_level_values("cell").str.extract(r"width=(\d+)\+depth=(\d+)").astype(float).to_numpy()
    found = effect(values + 0.2 * np.log2(axes[:, 0]) * np.log2(axes[:, 1]), ["width", "depth"], CELLS)
    assert found.low < 0.2 < found.high
    assert found.coefficient == pytest.approx(0.2, abs=0.02)
    assert np.isnan(effect(grid(depths=(2,)), ["width", "depth"], CELLS).coefficient)


def test_what_cannot_be_told_is_nan() -> None:
    values = grid((8, 16), (1, 2))
    ends = ("width=8+depth=1+batch_size=32", "width=16+depth=2+batch_size=32")
    diagonal = values[values.index.get_level_values("cell").isin(ends)]
    assert np.isnan(effect(diagonal, ["width"], CELLS).coefficient), "width and depth go together"
    constant = effect(grid(), ["width"], CELLS)
    assert constant.coefficient == pytest.approx(-0.5)
    assert np.isnan(constant.low), "networks that do not differ tell no error"
    assert np.isnan(effect(grid(networks=1), ["width"], CELLS).coefficient)
    assert np.isnan(effect(grid()[:0], ["width"], CELLS).coefficient)


@pytest.mark.parametrize(
    ("quantity", "table", "column", "where", "scale", "axis"),
    [
        ("top_eigenvalue", "curvature", "top_eigenvalue", {"final": True}, "log", "width"),
        ("top_eigenvalue", "curvature", "top_eigenvalue", {"final": True}, "log", "depth"),
        ("linear_error_barrier", "connections", "barrier_test_error", {"kind": "linear"}, "linear", "width"),
        ("bezier_detour", "connections", "detour - 1", {"kind": "bezier"}, "log", "depth"),
    ],
)
def test_effects_and_claims_give_the_same_numbers(
    quantity: str, table: str, column: str, where: dict[str, Any], scale: str, axis: str
) -> None:
    tables = invented_tables(widths=(8, 16, 64), depths=(1, 2), diverged=[(16, 1, 0)], seeds=5)
    (row,) = (
        row
        for row in effect_rows(gather("digits", tables))
        if (row["quantity"], row["term"], row["scale"]) == (quantity, axis, scale)
    )
    measure = {"kind": "slope", "by": axis, "scale": scale}
    given = {"table": table, "quantity": column, "where": where, "measure": measure, "expect": {"below": 0}}
    (judged,) = judge([claim(**given)], tables)
    assert [row[key] for key in ("coefficient", "low", "high", "p")] == pytest.approx(
        [judged[key] for key in ("value", "low", "high", "p")]
    )


@pytest.mark.parametrize(
    ("width", "depth", "expected"),
    [
        ((-1, -0.5), (0.1, 0.2), "opposite"),
        ((0.5, 1), (-2, -1), "opposite"),
        ((0.5, 1), (0.1, 3), "same"),
        ((-1, -0.5), (-0.1, 0.2), "undecided"),
        ((np.nan, np.nan), (0.1, 0.2), "undecided"),
    ],
)
def test_directions_are_opposite_only_where_both_are_known(
    width: tuple[float, float], depth: tuple[float, float], expected: str
) -> None:
    effects = {name: Effect(np.mean(ends), *ends) for name, ends in (("width", width), ("depth", depth))}
    assert opposite(effects) == expected
    assert opposite({"width": effects["width"]}) is None


def plateau(seed: int, networks: int = 4, scatter: float = 0.02) -> tuple[pd.Series, pd.Series]:
    """A value that falls by 1 with each width up to 64 and is level from there on."""
    random = np.random.default_rng(seed)
    width = pd.Series(np.repeat([8, 16, 32, 64, 128, 256], networks))
    level = -np.log2(width.clip(upper=64))
    return level + random.normal(0, scatter, len(width)), width


def test_a_plateau_is_found_where_it_begins() -> None:
    found = [saturation(*plateau(seed))[0]["saturation_level"] for seed in range(40)]
    assert found.count(64) > 30, "three comparisons at 95 %"
    assert all(width is None or width >= 64 for width in found)


def test_the_gain_that_remains_has_welchs_interval() -> None:
    value, width = plateau(0)
    rows = saturation(value, width)
    assert [row["level"] for row in rows] == [8, 16, 32, 64, 128, 256]
    welch = ttest_ind(value[width == 256], value[width == 16], equal_var=False).confidence_interval(0.95)
    assert (rows[1]["low"], rows[1]["high"]) == pytest.approx((welch.low, welch.high))
    assert [row["within_noise"] for row in rows[:3]] == [False, False, False]
    assert rows[-1]["within_noise"] is None


def test_networks_without_scatter_leave_saturation_open() -> None:
    constant = saturation(pd.Series(np.ones(8)), pd.Series([8, 16] * 4))
    assert {row["within_noise"] for row in constant} == {None}
    alone = saturation(pd.Series([1.0, 2.0, 3.0]), pd.Series([8, 16, 32]))
    assert {row["within_noise"] for row in alone} == {None}, "one network has no spread"


# Every axis


RATES = tuple({"learning_rate": rate, "label_noise": noise} for rate in (0.05, 0.1, 0.2) for noise in (0.0, 0.1, 0.4))


def along_other_axes() -> Tables:
    """Networks whose movement is the learning rate to the power 2, times 8 to the power of the label noise."""
    tables = invented_tables(widths=(16,), depths=(2,), extra=RATES, seeds=3)
    networks = tables["networks"].merge(tables["cells"][["cell", "learning_rate", "label_noise"]], on="cell")
    exact = networks["learning_rate"] ** 2 * 8 ** networks["label_noise"]
    wobble = 1 + 0.001 * np.random.default_rng(0).normal(size=len(networks))
    return {"networks": networks.assign(movement=exact * wobble), "cells": tables["cells"]}


def test_every_numeric_axis_has_its_effect_and_one_with_zero_that_of_its_range() -> None:
    rows = {
        row["term"]: row for row in effect_rows(gather("digits", along_other_axes())) if row["quantity"] == "movement"
    }
    rate, noise = rows["learning_rate"], rows["label_noise"]
    assert set(rows) == {"learning_rate", "label_noise"}
    assert rate["coefficient"] == pytest.approx(2, abs=0.01), "a power of the rate"
    assert noise["coefficient"] == pytest.approx(3 * 0.4, abs=0.01), "from no noise to 0.4"
    assert (rate["step"], rate["smallest"], rate["largest"]) == ("doubling", 0.05, 0.2)
    assert (noise["step"], noise["smallest"], noise["largest"]) == ("range", 0.0, 0.4)
    assert rate["low"] < 2 < rate["high"]


def test_what_is_no_number_has_no_effect() -> None:
    values = {"optimizer": ["sgd", "adam"], "nesterov": [True, False], "train_size": [100, None], "epochs": [3, 3]}
    axes = {str(place): {name: each[place] for name, each in values.items()} for place in (0, 1)}
    assert numeric_axes(axes) == {}
    assert list(numeric_axes({"a": {"width": 1, "rate": 0.1}, "b": {"width": 2, "rate": 0.2}})) == ["width", "rate"]


def test_effects_are_corrected_for_their_number() -> None:
    rows = effect_rows(gather("digits", invented_tables(widths=(8, 16), depths=(1, 2), seeds=3)))
    told = sorted((row["p"], row["p_corrected"]) for row in rows if row["p"] is not None)
    assert told[0][1] == pytest.approx(min(1.0, len(told) * told[0][0]))
    assert all(corrected >= p for p, corrected in told)


def test_saturation_goes_along_every_numeric_axis() -> None:
    rows = pd.DataFrame(saturation_rows(gather("digits", along_other_axes()))).query("quantity == 'movement'")
    assert set(rows["axis"]) == {"learning_rate", "label_noise"}
    rates = rows.query("axis == 'learning_rate'")
    assert len(rates) == 9
    for _, own in rates.groupby("line"):
        assert own["level"].tolist() == [0.05, 0.1, 0.2]
        assert own["difference"].tolist() == pytest.approx([4, 2, 0], abs=0.01)
        assert all(f"learning_rate={row.level:g}" in row.cell for row in own.itertuples())
