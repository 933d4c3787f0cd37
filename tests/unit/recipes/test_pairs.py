"""Pairs of networks: new seeds only append, and a choice of pairs is a fair and fixed one."""

import pytest

from isthmus.recipes.pairs import choose_pairs, pair_blocks, pair_number, pair_of


def test_pairs_are_numbered_so_that_new_seeds_only_append() -> None:
    expected = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (0, 4)]
    assert [pair_of(number) for number in range(7)] == expected
    assert [pair_number(*pair) for pair in expected] == list(range(7))
    large = (123_456_788, 123_456_789)
    assert pair_of(pair_number(*large)) == large
    for wrong in ((1, 1), (2, 1), (-1, 0)):
        with pytest.raises(ValueError, match="not a pair"):
            pair_number(*wrong)


def test_all_pairs_of_more_seeds_begin_with_those_of_fewer() -> None:
    fewer, more = choose_pairs(range(4), "all"), choose_pairs(range(6), "all")
    assert len(more) == 15
    assert more[: len(fewer)] == fewer


def test_a_choice_of_pairs_is_fixed_and_a_larger_one_holds_a_smaller_one() -> None:
    chosen = choose_pairs(range(20), 12)
    assert chosen == choose_pairs(reversed(range(20)), 12)
    assert len(set(chosen)) == 12
    assert set(choose_pairs(range(20), 5)) < set(chosen)
    assert choose_pairs(range(3), 100) == choose_pairs(range(3), "all")


def test_a_choice_of_pairs_favours_no_network() -> None:
    counts = [0] * 40
    for first, second in choose_pairs(range(40), 390):
        counts[first] += 1
        counts[second] += 1
    assert sum(counts) == 780
    # Half of the 780 pairs: each network is in 19.5 of its 39 on average, with a standard deviation of about 3.1.
    assert min(counts) >= 8
    assert max(counts) <= 31


def test_blocks_of_pairs_keep_their_members_when_seeds_are_added() -> None:
    fewer, more = (pair_blocks(choose_pairs(range(seeds), "all"), 10) for seeds in (5, 7))
    assert fewer == {0: more[0]}
    assert [len(block) for block in more.values()] == [10, 10, 1]
    assert all(0 <= pair_number(*pair) - 10 * block < 10 for block, pairs in more.items() for pair in pairs)
