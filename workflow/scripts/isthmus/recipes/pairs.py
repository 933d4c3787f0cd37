"""Pairs of networks, named by their seeds: how to number, choose and pack them into blocks.

Pairs are numbered (0, 1), (0, 2), (1, 2), (0, 3), ..., so a new seed only appends pairs, and a pair always stays in the
same block.
"""

from collections.abc import Iterable
from itertools import combinations
from math import isqrt

from isthmus.core.seeds import Stream, integer

Pair = tuple[int, int]


def pair_number(first: int, second: int) -> int:
    """The number of the pair of seeds first < second in (0, 1), (0, 2), (1, 2), (0, 3), ..., counted from 0.

    Raises ValueError if the seeds are not in rising order.
    """
    if not 0 <= first < second:
        raise ValueError(f"({first}, {second}) is not a pair of different seeds in rising order")
    return second * (second - 1) // 2 + first


def pair_of(number: int) -> Pair:
    """The pair with a given number: the inverse of `pair_number`."""
    second = (1 + isqrt(1 + 8 * number)) // 2
    return number - second * (second - 1) // 2, second


def choose_pairs(network_seeds: Iterable[int], wanted: int | str) -> list[Pair]:
    """All pairs of the seeds, or `wanted` of them drawn at random, sorted by number.

    The draw is reproducible: every pair has its own random number, and the pairs with the smallest are chosen.
    """
    pairs = sorted(combinations(sorted(network_seeds), 2), key=lambda pair: pair_number(*pair))
    if wanted == "all":
        return pairs
    drawn = set(sorted(pairs, key=lambda pair: integer(pair[0], Stream.PAIRS, pair[1]))[: int(wanted)])
    return [pair for pair in pairs if pair in drawn]


def pair_blocks(pairs: Iterable[Pair], size: int) -> dict[int, tuple[Pair, ...]]:
    """Pairs by the index of their block; block b holds the numbers b * size, ..., b * size + size - 1."""
    found: dict[int, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair_number(*pair) // size, []).append(pair)
    return {index: tuple(members) for index, members in sorted(found.items())}
