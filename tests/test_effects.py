"""Effects of width and depth are those of known power laws, and a plateau is found where it begins."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from isthmus.effects import Effect, Model, fit, opposite, saturation, spread_of_pairs
from isthmus.pair_statistics import network_values


def grid(
    widths: tuple[int, ...] = (8, 16, 32, 64, 128),
    depths: tuple[int, ...] = (1, 2, 4),
    batch_sizes: tuple[int, ...] = (32,),
    networks: int = 4,
) -> pd.DataFrame:
    """The networks of a grid: their axes, and the names of their cells."""
    rows = [
        {"cell": f"width={w}+depth={d}+batch_size={b}", "width": w, "depth": d, "batch_size": b}
        for w, d, b, _ in product(widths, depths, batch_sizes, range(networks))
    ]
    return pd.DataFrame(rows)


def model(frame: pd.DataFrame, value: pd.Series | np.ndarray, interaction: bool = False) -> Model:
    others = pd.Series("", index=frame.index)
    axes = frame[["width", "depth", "batch_size"]]
    return fit(pd.Series(value, index=frame.index), axes, frame["cell"], others, interaction)


def power_law(frame: pd.DataFrame, scatter: float, among: float = 0.0, seed: int = 0) -> pd.Series:
    """log2 of 3 w^-0.5 d^0.3, with normal scatter of networks, and of cells."""
    random = np.random.default_rng(seed)
    value = np.log2(3 * frame["width"] ** -0.5 * frame["depth"] ** 0.3) + random.normal(0, scatter, len(frame))
    return value + frame["cell"].map({cell: random.normal(0, among) for cell in frame["cell"].unique()})


def test_a_power_law_in_width_and_depth_has_its_powers() -> None:
    frame = grid()
    exact = model(frame, power_law(frame, 0)).effects
    assert exact["width"].coefficient == pytest.approx(-0.5)
    assert exact["depth"].coefficient == pytest.approx(0.3)
    found = model(frame, power_law(frame, 0.1))
    assert found.effects.keys() == {"width", "depth"}, "the batch size does not vary"
    assert found.effects["width"].low < -0.5 < found.effects["width"].high
    assert found.effects["depth"].low < 0.3 < found.effects["depth"].high
    assert opposite(found.effects) == "opposite"
    assert (found.cells, found.freedom) == (15, 12)


@pytest.mark.parametrize("among", [0.0, 0.1])
def test_intervals_of_effects_cover_whether_or_not_cells_have_something_of_their_own(among: float) -> None:
    frame = grid((8, 16, 32, 64), (1, 2), networks=3)
    found = [model(frame, power_law(frame, 0.1, among, seed)).effects for seed in range(120)]
    for axis, truth in (("width", -0.5), ("depth", 0.3)):
        covered = np.mean([each[axis].low <= truth <= each[axis].high for each in found])
        assert covered == pytest.approx(0.95, abs=0.05)


def test_coefficients_are_those_of_least_squares_over_networks() -> None:
    frame = grid(batch_sizes=(32, 256)).drop(index=[0, 1, 17])  # cells of different numbers of networks
    frame["value"] = power_law(frame, 0.2)
    plain = smf.ols("value ~ np.log2(width) + np.log2(depth) + np.log2(batch_size)", frame).fit().params
    found = model(frame, frame["value"]).effects
    for axis in ("width", "depth", "batch_size"):
        assert found[axis].coefficient == pytest.approx(plain[f"np.log2({axis})"])


def test_the_interaction_is_that_of_the_logarithms() -> None:
    frame = grid()
    value = power_law(frame, 0.02) + 0.2 * np.log2(frame["width"]) * np.log2(frame["depth"])
    found = model(frame, value, interaction=True)
    assert found.effects["width:depth"].coefficient == pytest.approx(0.2, abs=0.02)
    assert found.effects["width"].coefficient == pytest.approx(model(frame, value).effects["width"].coefficient)
    assert "width:depth" not in model(grid(depths=(2,)), np.arange(20.0), interaction=True).effects


def test_other_axes_have_constants_of_their_own() -> None:
    frame = grid()
    twice = pd.concat([frame, frame.assign(cell=frame["cell"] + "+label_noise=0.2")], ignore_index=True)
    noisy = twice["cell"].str.contains("noise")
    twice = twice[~noisy | (twice["width"] > 16)].reset_index(drop=True)  # noise goes with width
    noisy = twice["cell"].str.contains("noise")
    value = power_law(twice, 0) + 5.0 * noisy
    found = fit(value, twice[["width", "depth"]], twice["cell"], noisy.astype(str))
    assert found.effects["width"].coefficient == pytest.approx(-0.5)


def test_what_cannot_be_told_is_nan() -> None:
    diagonal = grid((8, 16), (1, 2)).query("width == 8 * depth")
    assert np.isnan(model(diagonal, np.arange(8.0)).effects["width"].coefficient), "width and depth go together"
    assert np.isnan(model(grid(), np.ones(60)).effects["width"].coefficient), "a constant"
    two = grid((8, 16), (1,))
    effect = model(two, np.repeat([1.0, 3.0], 4)).effects["width"]
    assert effect.coefficient == pytest.approx(2)
    assert np.isnan(effect.low), "two cells and two coefficients leave no scatter"


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
    found = [saturation(*plateau(seed))[0]["saturation_width"] for seed in range(40)]
    assert found.count(64) > 30, "three comparisons at 95 %"
    assert all(width is None or width >= 64 for width in found)


def test_the_gain_that_remains_has_welchs_interval() -> None:
    value, width = plateau(0)
    rows = saturation(value, width)
    assert [row["width"] for row in rows] == [8, 16, 32, 64, 128, 256]
    assert rows[1]["difference"] == pytest.approx(-2, abs=0.05)
    assert rows[1]["low"] < -2 < rows[1]["high"] < 0
    assert [row["within_noise"] for row in rows[:3]] == [False, False, False]
    assert (rows[-1]["low"], rows[-1]["within_noise"], rows[-1]["difference"]) == (None, None, 0)


def test_what_still_changes_is_not_saturated() -> None:
    width = pd.Series(np.repeat([8, 16, 32], 3))
    value = np.log2(width) + np.tile([-0.01, 0, 0.01], 3)
    assert {row["saturation_width"] for row in saturation(value, width)} == {None}
    constant = saturation(pd.Series(np.ones(9)), width)
    assert {row["saturation_width"] for row in constant} == {8}
    alone = saturation(pd.Series([1.0, 2.0, 3.0]), pd.Series([8, 16, 32]))
    assert {row["within_noise"] for row in alone} == {None}, "one network has no spread"


@pytest.mark.parametrize("networks", [3, 4, 7])
def test_means_over_pairs_scatter_as_the_networks_they_are_of(networks: int) -> None:
    """The factor makes them the jackknife's values of `isthmus.pair_statistics`."""
    pairs = np.array([(i, j) for j in range(networks) for i in range(j)])
    values = np.random.default_rng(0).normal(size=len(pairs))
    means = np.array([values[(pairs == seed).any(axis=1)].mean() for seed in range(networks)])
    np.testing.assert_allclose(spread_of_pairs(means), network_values(values, pairs))
