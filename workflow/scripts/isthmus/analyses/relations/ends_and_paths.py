"""Rank correlations between the flatness of networks and the paths between them: do flatter ends have simpler paths?

Flatness belongs to networks and geometry to pairs, and the pairs (0, 1) and (0, 2) share a network. A pair's flatness
is the mean of the ranks of its two ends, so it does not matter whether values are averaged or their logarithms. It
is correlated with the rank of the path among the pairs. Three scopes answer three questions:

- `between`: are the means of cells correlated (Spearman's rho)? Cells differ in width and depth, which may be the only
  reason.
- `within` cells: ranks are those among the networks, or pairs, of one cell, and deviations from their mean are pooled
  over cells. Differences between cells play no part.
- `partial`: the same with ranks among all networks, or pairs, of one width and depth, and with the training loss held
  constant: Pearson's partial correlation, given the ranks of the losses and their logarithms (a pair's is the mean of
  its ends'). Ranks alone would hold the loss too loosely, because they forget how far losses lie apart.

Ranks within blocks are Taylor's (1987) answer to blocking variables, partial correlations of ranks Quade's (1974).

**Tests** are by permutation of the *networks'* flatness, which leaves the dependence between pairs as it is: the
quadratic assignment procedure (Krackhardt 1988). Flatness is permuted among the networks of a cell. Cells that differ
only in the training recipe start networks of one seed from the same weights, and these end alike: such cells get one
permutation of their seeds together. For `partial`, they are also exchanged as wholes if they have one width and depth
and equal numbers of networks, because networks of one cell are more alike than others. Held losses are first taken out
of the flatness (Dekker, Krackhardt & Snijders 2007). `between` permutes cells. With B = 9999 permutations, a p-value is
(1 + permutations at least as extreme) / (1 + B) (Phipson & Smyth 2010).

**Intervals** for `between` are bootstrap intervals over cells (`isthmus.analyses.relations.correlations`). The others
leave out one start at a time, that is all networks that started from the same weights (the jackknife, with ranks as
they are), on Fisher's scale, with Student's distribution. The degrees of freedom are the starts, less one for each
group of cells that share them. Where `partial` exchanges cells, they are left out one at a time, too: the variance is
that by starts, plus that by cells, minus that by networks (Cameron, Gelbach & Miller 2011), and not less than that by
starts. The degrees of freedom are then at most these cells, less one for each stratum.

How often tests of 5 % and nominal 95 % intervals are right, for normal values of networks that correlate with r, over
all pairs; "share" is the ends' part of a path's variance, and intervals are to hold the coefficient that is found on
average (300 and 200 draws: one standard deviation is 1.3 and 1.5 %):

    cells x networks                        4 x 4    8 x 3    8 x 5   16 x 5   6 x 10
    false alarms, share 10 % to 100 %
    within                                 2 to 4   3 to 4   5 to 6   4 to 5   4 to 5 %
    partial, no relation to the loss       3 to 7   4 to 5     5        4      5 to 6 %
    partial, r = 0.6 with the loss           5      4 to 7   5 to 8   3 to 5     4    %
    the same, pairs of cells in a stratum,
    cells apart by their scatter             5        5      4 to 5   4 to 6   4 to 5 %
    partial, r = 0.9 with the loss         4 to 6   5 to 6   6 to 8   3 to 10  4 to 10 %
    between, cells apart                     0      3 to 5   2 to 4   2 to 3     4    %

    cells x networks                        4 x 4    8 x 3    8 x 5   16 x 5   5 x 10
    coverage
    within       share 10 %               99-100   98-100     100      100      100 %
                       50 %               98-100   98-100    99-100   98-100     98 %
                      100 %                94-97   96-100    96-99    95-100   95-97 %
    partial      share 10 %                100     98-100    98-100    100      100 %
                       50 %               98-100   99-100    98-100   99-100     98 %
                      100 %                96-98    96-100    96-98    96-99   94-98 %

If networks of one seed have 50 % or 80 % of their variance in common in all cells, which are one stratum for `partial`
and lie apart by their scatter:

    cells x networks                        4 x 4    8 x 3    8 x 5   16 x 5   5 x 10
    false alarms
    within                                    0        0      2 to 3   1 to 3  5 to 7 %
    partial                                6 to 10  4 to 5   4 to 6   6 to 8   3 to 6 %
    within, networks one by one            8 to 22 14 to 36  19 to 42 30 to 51 17 to 32 %
    coverage
    within, share 50 %                      98-99      -      96-99      99     97-99 %
    partial, share 10 % to 100 %            94-98    95-98    91-94    87-93    92-94 %
    partial, nothing in common             99-100   97-100    96-98    94-96    94-96 %
    pairs of cells in a stratum              100    99-100   99-100    96-98    98-99 %

Three starts in all have no interval within.

Intervals are too wide where networks matter little, as those of `isthmus.statistics.pairs` are. If both sides depend
very strongly on the loss, and there are many networks, holding it constant leaves a little of it: take small p-values
of `partial` with care if the scope `within` has none.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from isthmus.analyses.relations.correlations import LEVEL, correlate
from isthmus.analyses.relations.pair_ranks import SAME, PairRanks, held_losses, ranks_within
from isthmus.core.seeds import generator

PERMUTATIONS = 9999
FEWEST_IN_STRATUM = 3  # networks: the pairs of two networks are one
SCOPES = ("between", "within", "partial")
STREAM = "flatness of ends against paths"
NOWHERE = -1


@dataclass(frozen=True)
class PathCorrelation:
    """A coefficient with its interval, dimensionless, and one-sided p-values; NaN if there is none.

    p_above is small if the coefficient is clearly positive, p_below if it is clearly negative. networks, pairs, cells:
    how many entered.
    """

    coefficient: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p_above: float = math.nan
    p_below: float = math.nan
    networks: int = 0
    pairs: int = 0
    cells: int = 0


@dataclass(frozen=True)
class Networks:
    """Networks of a study and what is known of them, NaN where it is not known; each is [networks] but for `start`.

    cell, stratum: the numbers of their cell, and of what is held constant of it for `partial`, such as its width and
    depth. start: [networks, 2], the number of the group of cells that start alike, and the seed. flat: their flatness.
    loss: their training loss.
    """

    cell: np.ndarray
    stratum: np.ndarray
    start: np.ndarray
    flat: np.ndarray
    loss: np.ndarray

    def chosen(self, kept: np.ndarray) -> "Networks":
        """Some of the networks; kept: [networks], booleans."""
        return Networks(*(getattr(self, each.name)[kept] for each in fields(self)))


def correlate_paths(
    networks: Networks,
    ends: np.ndarray,
    paths: np.ndarray,
    scope: str,
    fewest: int = 5,
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> list[PathCorrelation]:
    """The rank correlation of the flatness of ends with what paths between them are like, for each quantity of paths.

    ends: [pairs, 2], indices of the networks; paths: [pairs, quantities], NaN where unknown. scope: one of `SCOPES`.
    There is no coefficient with fewer than `fewest` networks (or cells, for `between`), or if nothing varies.
    """
    known = np.isfinite(networks.flat) & (np.isfinite(networks.loss) | (scope != "partial"))
    blocks = networks.stratum if scope == "partial" else networks.cell
    alike: dict[bytes, list[int]] = {}  # quantities of the same pairs are permuted together
    masks = []
    for number, path in enumerate(paths.T):
        used = np.isfinite(path) & known[ends].all(axis=1)
        if scope != "between":
            used &= np.isin(blocks[ends[:, 0]], _blocks_that_vary(networks.flat, path, blocks, ends, used))
        masks.append(used)
        alike.setdefault(used.tobytes(), []).append(number)
    found = [PathCorrelation()] * len(masks)
    for numbers in alike.values():
        used = masks[numbers[0]]
        kept = np.zeros(len(known), dtype=bool)
        kept[ends[used]] = True
        some, own = networks.chosen(kept), (np.cumsum(kept) - 1)[ends[used]]
        counts = {"networks": int(kept.sum()), "pairs": int(used.sum()), "cells": len(np.unique(some.cell))}
        told = [PathCorrelation()] * len(numbers)
        if scope == "between":
            told = [_between(some, own, paths[used, number], fewest, seed, permutations) for number in numbers]
        elif counts["networks"] >= fewest:
            told = _inside(some, own, paths[np.ix_(used, numbers)], scope, seed, permutations)
        for number, each in zip(numbers, told, strict=True):
            found[number] = replace(each, **counts)
    return found


def _blocks_that_vary(
    flat: np.ndarray, path: np.ndarray, blocks: np.ndarray, ends: np.ndarray, used: np.ndarray
) -> list[int]:
    """The blocks with enough networks in pairs that are `used`, in which flatness and paths vary."""
    kept = []
    for block in np.unique(blocks[ends[used]]):
        own = used & (blocks[ends[:, 0]] == block)
        members = np.unique(ends[own])
        if len(members) >= FEWEST_IN_STRATUM and np.ptp(flat[members]) > 0 and np.ptp(path[own]) > 0:
            kept.append(int(block))
    return kept


def _between(
    networks: Networks, ends: np.ndarray, path: np.ndarray, fewest: int, seed: int, permutations: int
) -> PathCorrelation:
    """The correlation over the means of cells."""
    cells = np.unique(networks.cell)
    x = np.array([networks.flat[networks.cell == cell].mean() for cell in cells])
    y = np.array([path[networks.cell[ends[:, 0]] == cell].mean() for cell in cells])
    found = correlate(x, y, np.arange(len(cells)), "spearman", "all", fewest, seed=seed)
    if np.isnan(found.coefficient):
        return PathCorrelation()
    first, second = (ranks_within(each, np.zeros(len(cells))) for each in (x, y))
    order = generator(seed, STREAM).random((permutations, len(cells))).argsort(axis=1)
    drawn = first[order] @ second / np.sqrt((first @ first) * (second @ second))
    ends_of = (
        (found.low, found.high) if found.high - found.low > SAME else (math.nan, math.nan)
    )  # all resamples are in order
    return PathCorrelation(found.coefficient, *ends_of, *_p_values(drawn, found.coefficient))


def _inside(
    networks: Networks, ends: np.ndarray, paths: np.ndarray, scope: str, seed: int, permutations: int
) -> list[PathCorrelation]:
    """The correlations inside cells or strata, one for each column of `paths`."""
    blocks = np.unique(networks.stratum if scope == "partial" else networks.cell, return_inverse=True)[1]
    block = blocks[ends[:, 0]]
    ranks = PairRanks(
        ranks_within(networks.flat, blocks),
        held_losses(networks.loss, blocks) if scope == "partial" else np.empty((len(blocks), 0)),
        np.column_stack([ranks_within(path, block) for path in paths.T]),
        ends,
        block,
    )
    values = ranks.coefficients(np.ones((1, len(paths))))[0]
    starts, start = np.unique(networks.start, axis=0, return_inverse=True)
    groups, start = starts[:, 0][start.reshape(-1)], start.reshape(-1)
    drawn = ranks.permuted(
        _orders_within(*(tuple(each.tolist()) for each in (networks.cell, blocks, groups, start)), seed, permutations)
    )
    variance, freedom = _variance(ranks, start), len(starts) - len(np.unique(groups))
    several = np.array([len(set(networks.cell[blocks == block])) > 1 for block in blocks])
    if several.any():  # cells of one stratum count as draws, too
        cell, single = (np.where(several, each, NOWHERE) for each in (networks.cell, np.arange(len(blocks))))
        variance = np.maximum(variance, variance + _variance(ranks, cell) - _variance(ranks, single))
        freedom = min(freedom, len(np.unique(cell[several])) - len(np.unique(blocks[several])))
    return [
        PathCorrelation()
        if np.isnan(value)
        else PathCorrelation(value, *_interval(value, variance[place], freedom), *_p_values(drawn[:, place], value))
        for place, value in enumerate(values.tolist())
    ]


@lru_cache(maxsize=4)
def _orders_within(
    cells: tuple[int, ...],
    blocks: tuple[int, ...],
    groups: tuple[int, ...],
    starts: tuple[int, ...],
    seed: int,
    permutations: int,
) -> np.ndarray:
    """Permutations [permutations, networks] of the starts of each group, and of cells of one block and group.

    cells, blocks, groups, starts: [networks]; a start is the same number in all cells of its group, from 0 on. The
    networks of a cell are ordered by keys of their starts. Cells change places if they have equally many networks.
    """
    random = generator(seed, STREAM)
    own = random.random((permutations, max(starts) + 1))[:, starts]
    alike: dict[tuple[int, int, int], list[np.ndarray]] = {}
    for cell in sorted(set(cells)):
        members = np.flatnonzero(np.array(cells) == cell)
        alike.setdefault((blocks[members[0]], groups[members[0]], len(members)), []).append(members)
    order = np.empty((permutations, len(cells)), dtype=np.int32)
    for group in alike.values():
        drawn = np.stack([members[own[:, members].argsort(axis=1)] for members in group], axis=1)
        places = random.random((permutations, len(group))).argsort(axis=1)
        order[:, np.concatenate(group)] = np.take_along_axis(drawn, places[:, :, np.newaxis], 1).reshape(len(drawn), -1)
    return order


def _p_values(drawn: np.ndarray, value: float) -> tuple[float, float]:
    """One-sided p-values: how often a permutation is at least, and at most, `value`, which counts as one of them."""
    above, below = (drawn >= value - SAME).sum(), (drawn <= value + SAME).sum()
    return float(1 + above) / (1 + len(drawn)), float(1 + below) / (1 + len(drawn))


def _variance(ranks: PairRanks, cluster: np.ndarray) -> np.ndarray:
    """The jackknife's variance of the coefficients on Fisher's scale, [quantities], leaving out one cluster at a time.

    cluster: [networks], numbers; networks that are `NOWHERE` always stay.
    """
    clusters = np.unique(cluster[cluster != NOWHERE])
    stay = (cluster[ranks.ends][np.newaxis] != clusters[:, np.newaxis, np.newaxis]).all(axis=2).astype(float)
    found = np.arctanh(np.clip(ranks.coefficients(stay), -1 + SAME, 1 - SAME))
    return (len(clusters) - 1) / len(clusters) * np.sum((found - found.mean(axis=0)) ** 2, axis=0)


def _interval(value: float, variance: float, freedom: int) -> tuple[float, float]:
    """Student's interval; variance: on Fisher's scale."""
    from scipy.stats import t

    if freedom < 1 or not variance > SAME**2 or abs(value) > 1 - SAME:  # the variance may be NaN or nothing
        return math.nan, math.nan
    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance)
    return float(np.tanh(np.arctanh(value) - half)), float(np.tanh(np.arctanh(value) + half))
