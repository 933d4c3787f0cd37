"""Flat ends and simple paths: coefficients are those of definitions, and tests err as often as they say."""

from collections.abc import Callable
from dataclasses import asdict
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, pearsonr, rankdata, spearmanr

from isthmus.analyses.relations.ends_and_paths import SCOPES, Networks, PathCorrelation, correlate_paths

Drawn = tuple[pd.Series, pd.Series, pd.DataFrame, dict[str, tuple[str, str]]]


def drawn(
    seed: int,
    cells: int = 6,
    networks: int = 5,
    related: float = 0.0,
    share: float = 1.0,
    loss: float = 0.0,
    together: int = 1,
    apart: float = 0.0,
    common: float = 0.0,
) -> Drawn:
    """Flatness and losses of networks, pairs with a value, stratum and group of each cell; all normal, losses' logs.

    A pair's value is the sum of what its ends bring, which correlates with their flatness, and of scatter of its own;
    `share` is the ends' part of its variance. loss: the correlation of both with the loss. together: cells of a
    stratum; apart: how far cells differ, in flatness and paths independently. common: what networks of one seed, and
    pairs, have in common in all cells, as a share of their variance; all cells are then one group.
    """
    random = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([[f"c{cell:02d}" for cell in range(cells)], range(networks)])
    losses, flat, other = alike(random, common, (3, cells, networks))
    brings = related * flat + np.sqrt(1 - related**2) * other
    flat, brings = (loss * losses + np.sqrt(1 - loss**2) * each for each in (flat, brings))
    shifts = apart * random.normal(size=(2, cells, 1))
    rows = [
        (f"c{cell:02d}", a, b, np.sqrt(share / 2) * (brings[cell, a] + brings[cell, b]) + shifts[1, cell, 0])
        for cell, (a, b) in product(range(cells), combinations(range(networks), 2))
    ]
    pairs = pd.DataFrame(rows, columns=["cell", "seed_a", "seed_b", "value"])
    pairs["value"] += np.sqrt(1 - share) * alike(random, common, (1, cells, len(pairs) // cells)).ravel()
    strata = {
        f"c{cell:02d}": (f"s{cell // together:02d}", "all" if common else f"c{cell:02d}") for cell in range(cells)
    }
    index = index.set_names(["cell", "seed"])
    return pd.Series((flat + shifts[0]).ravel(), index), pd.Series(np.exp(losses).ravel(), index), pairs, strata


def alike(random: np.random.Generator, common: float, shape: tuple[int, int, int]) -> np.ndarray:
    """Normal values [kinds, cells, members], of whose variance a share is the same in all cells."""
    kinds, _, members = shape
    return np.sqrt(1 - common) * random.normal(size=shape) + np.sqrt(common) * random.normal(size=(kinds, 1, members))


def found(scope: str, given: Drawn, **options: Any) -> PathCorrelation:
    flat, loss, pairs, strata = given
    flat = flat.sort_index()
    cells = flat.index.get_level_values("cell")
    named = (cells, *zip(*(strata[cell] for cell in cells), strict=True))
    cell, stratum, group = (np.unique(np.array(names, dtype=str), return_inverse=True)[1] for names in named)
    start = np.column_stack([group, flat.index.get_level_values("seed")])
    networks = Networks(cell, stratum, start, flat.to_numpy(), loss.reindex(flat.index).to_numpy())
    pairs = pairs.sort_values(["cell", "seed_a", "seed_b"])
    ends = [flat.index.get_indexer(pd.MultiIndex.from_frame(pairs[["cell", end]])) for end in ("seed_a", "seed_b")]
    values = pairs["value"].to_numpy(float)[:, np.newaxis]
    (one,) = correlate_paths(networks, np.column_stack(ends), values, scope, **({"permutations": 199} | options))
    return one


def of_pairs(networks: pd.Series, pairs: pd.DataFrame) -> np.ndarray:
    """The mean of the two ends of each pair."""
    ends = (networks.reindex(pd.MultiIndex.from_frame(pairs[["cell", end]])).to_numpy() for end in ("seed_a", "seed_b"))
    return sum(ends) / 2


def test_within_one_cell_it_correlates_the_mean_rank_of_the_ends_with_the_rank_of_the_path() -> None:
    flat, loss, pairs, strata = drawn(0, cells=1, networks=6, related=0.8, share=0.5)
    expected = pearsonr(of_pairs(flat.rank(), pairs), rankdata(pairs["value"])).statistic
    assert found("within", (flat, loss, pairs, strata)).coefficient == pytest.approx(expected)


def test_between_cells_it_is_spearmans_over_their_means() -> None:
    flat, loss, pairs, strata = drawn(1, apart=2.0)
    expected = spearmanr(flat.groupby("cell").mean(), pairs.groupby("cell")["value"].mean()).statistic
    assert found("between", (flat, loss, pairs, strata)).coefficient == pytest.approx(expected)


def test_cells_in_perfect_order_have_no_interval() -> None:
    flat, loss, pairs, strata = drawn(1, cells=5)
    place = {cell: 100.0 * number for number, cell in enumerate(strata)}
    far = flat + flat.index.get_level_values("cell").map(place).to_numpy()
    one = found("between", (far, loss, pairs.assign(value=pairs["value"] + pairs["cell"].map(place)), strata))
    assert one.coefficient == pytest.approx(1)
    assert np.isnan([one.low, one.high]).all()
    assert one.p_above < 0.05


def test_partial_is_the_correlation_of_what_the_loss_leaves() -> None:
    flat, loss, pairs, strata = drawn(2, cells=1, networks=8, related=0.7, share=0.6, loss=0.7)
    held = [np.ones(len(pairs)), of_pairs(loss.rank(), pairs), of_pairs(np.log(loss), pairs)]
    left = []
    for each in (of_pairs(flat.rank(), pairs), rankdata(pairs["value"])):
        left.append(each - np.column_stack(held) @ np.linalg.lstsq(np.column_stack(held), each)[0])
    expected = pearsonr(*left).statistic
    assert found("partial", (flat, loss, pairs, strata)).coefficient == pytest.approx(expected)


def test_no_difference_between_cells_enters_within() -> None:
    given = drawn(3, related=0.5, apart=0.0)
    flat, loss, pairs, strata = given
    far = {cell: 100.0 * place for place, cell in enumerate(strata)}
    moved = flat + flat.index.get_level_values("cell").map(far).to_numpy()
    opposed = pairs.assign(value=pairs["value"] - pairs["cell"].map(far))
    assert found("within", (moved, loss, opposed, strata)) == found("within", given)
    assert found("between", (moved, loss, opposed, strata)).coefficient == pytest.approx(-1)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("change", [np.exp, lambda values: -1 / (5 + values.clip(lower=-4.9))], ids=["exp", "inverse"])
def test_the_scale_of_flatness_does_not_matter(scope: str, change: Callable[[pd.Series], pd.Series]) -> None:
    """Over cells this needs cells that lie further apart than their networks."""
    flat, loss, pairs, strata = drawn(4, cells=5, networks=4, related=0.5)
    place = {cell: float(number) for number, cell in enumerate(strata)}
    flat = 0.1 * flat / flat.abs().max() + flat.index.get_level_values("cell").map(place).to_numpy()
    assert found(scope, (change(flat), loss, pairs, strata)) == found(scope, (flat, loss, pairs, strata))


@pytest.mark.parametrize("scope", SCOPES)
def test_the_order_of_rows_and_of_ends_does_not_matter(scope: str) -> None:
    flat, loss, pairs, strata = given = drawn(5, related=0.5, share=0.7, loss=0.4, together=2)
    turned = pairs.rename(columns={"seed_a": "seed_b", "seed_b": "seed_a"})
    mixed = [each.sample(frac=1, random_state=1) for each in (flat, loss, turned)]
    one, other = found(scope, given), found(scope, (*mixed, strata))
    assert one.coefficient == pytest.approx(other.coefficient)
    assert (one.low, one.high, one.p_above) == pytest.approx((other.low, other.high, other.p_above))


def test_p_values_are_those_of_all_permutations_of_the_networks() -> None:
    flat, loss, pairs, strata = drawn(6, cells=1, networks=5, related=0.6)
    one = found("within", (flat, loss, pairs, strata), permutations=4000)
    every = []
    for order in permutations(range(5)):
        moved = pd.Series(flat.to_numpy()[list(order)], flat.index)
        every.append(pearsonr(of_pairs(moved.rank(), pairs), rankdata(pairs["value"])).statistic)
    for p, share in (
        (one.p_above, np.mean(np.array(every) >= one.coefficient - 1e-9)),
        (one.p_below, np.mean(np.array(every) <= one.coefficient + 1e-9)),
    ):
        assert binom.ppf(1e-6, 4000, share) <= p * 4001 - 1 <= binom.ppf(1 - 1e-6, 4000, share)


NOTHING: list[dict[str, Any]] = [
    {"scope": "between", "apart": 1.0},
    {"scope": "within", "share": 0.1},
    {"scope": "within"},
    {"scope": "partial", "loss": 0.7},
    {"scope": "partial", "loss": 0.7, "together": 2, "apart": 1.0},
    {"scope": "within", "common": 0.8},
    {"scope": "partial", "loss": 0.7, "together": 6, "apart": 1.0, "common": 0.8},
]


def false_alarms(draws: int, scope: str, **given: Any) -> int:
    """Tests at 5 % that find a relation where there is none: pairs depend on each other by networks and cells."""
    each = [found(scope, drawn(seed, **given)) for seed in range(draws)]
    return sum(2 * min(one.p_above, one.p_below) <= 0.05 for one in each)


@pytest.mark.parametrize("given", NOTHING, ids=str)
@pytest.mark.parametrize("draws", [60, pytest.param(600, marks=pytest.mark.exhaustive)])
def test_where_nothing_is_related_one_test_in_twenty_says_so(given: dict[str, Any], draws: int) -> None:
    assert false_alarms(draws, **given) <= binom.ppf(0.9999, draws, 0.05)


@pytest.mark.parametrize("scope", ["within", "partial"])
@pytest.mark.parametrize("related", [0.0, 0.8])
@pytest.mark.parametrize("common", [0.0, 0.8])
@pytest.mark.parametrize("draws", [60, pytest.param(600, marks=pytest.mark.exhaustive)])
def test_intervals_cover_what_is_found_on_average(scope: str, related: float, common: float, draws: int) -> None:
    given: dict[str, Any] = {"related": related, "share": 0.7, "common": common}
    if scope == "partial":
        given |= {"loss": 0.6} | ({"together": 6, "apart": 1.0} if common else {})
    each = [found(scope, drawn(seed, **given), permutations=1) for seed in range(draws)]
    truth = np.mean([one.coefficient for one in each])
    covered = sum(one.low <= truth <= one.high for one in each)
    assert covered >= binom.ppf(0.0001, draws, 0.93)


def test_pairs_of_a_network_that_is_not_known_are_left_out() -> None:
    flat, loss, pairs, strata = drawn(7, related=0.5)
    counts = found("within", (flat.where(~flat.index.isin([("c00", 1), ("c03", 0)])), loss, pairs, strata))
    assert (counts.networks, counts.pairs, counts.cells) == (28, 4 * 10 + 2 * 6, 6)
    lost = loss.where(~loss.index.isin([("c01", 2)]))
    assert found("partial", (flat, lost, pairs, strata)).networks == 29
    assert found("within", (flat, lost, pairs, strata)).networks == 30


def test_cells_of_two_networks_or_without_variation_say_nothing_within() -> None:
    flat, loss, pairs, strata = drawn(8, related=0.5)
    two = flat.where(~flat.index.isin([("c00", seed) for seed in range(2, 5)]))
    assert found("within", (two, loss, pairs, strata)).cells == 5
    level = pairs.assign(value=pairs["value"].mask(pairs["cell"] == "c02", 1.0))
    assert found("within", (flat, loss, level, strata)).cells == 5


@pytest.mark.parametrize("scope", SCOPES)
def test_too_few_networks_have_no_coefficient(scope: str) -> None:
    for given in (drawn(0, cells=1, networks=4), drawn(0, cells=2, networks=1)):
        one = found(scope, given)
        assert np.isnan([one.coefficient, one.low, one.high, one.p_above, one.p_below]).all()
    flat, loss, pairs, strata = drawn(0)
    nothing = found(scope, (flat * np.nan, loss, pairs, strata))
    np.testing.assert_equal(asdict(nothing), asdict(PathCorrelation()))


def test_flatness_that_is_the_loss_leaves_nothing_at_equal_loss() -> None:
    flat, _, pairs, strata = drawn(9, related=0.9)
    assert np.isnan(found("partial", (flat, 2 * flat, pairs, strata)).coefficient)
    assert found("within", (flat, 2 * flat, pairs, strata)).coefficient > 0.5
