"""Random streams: a function of the seed and the purpose, and of nothing else."""

import hashlib
import itertools

import numpy as np
import pytest
import torch

from isthmus.core import seeds
from isthmus.core.seeds import Stream


def test_the_numbers_of_the_streams_never_change() -> None:
    """Every stored result depends on them; new purposes are names."""
    fixed = """INITIALIZATION ORDER LABEL_NOISE AUGMENTATION PROBES SELECTION SPLIT BOOTSTRAP PAIRS ALIGNMENT CURVATURE
        PLANES PERTURBATIONS THEORY WALKS CORRUPTIONS RANDOM_MASKS REINITIALIZATION SGD_NOISE PRUNED SUBSETS"""
    assert {stream.name: int(stream) for stream in Stream} == {name: place for place, name in enumerate(fixed.split())}


@pytest.mark.parametrize(
    ("seed", "stream", "counters", "expected"),
    [
        (0, Stream.INITIALIZATION, (), 4_334_430_513_956_379_144),
        (0, Stream.ORDER, (0,), 5_769_891_174_451_087_230),
        (7, Stream.ORDER, (3,), 4_901_673_970_096_119_456),
        (4_294_967_295, Stream.AUGMENTATION, (12, 5), 3_707_048_564_398_776_620),
    ],
)
def test_integers_are_the_upper_63_bits_of_numpy_seed_sequences(
    seed: int, stream: Stream, counters: tuple[int, ...], expected: int
) -> None:
    """The spawn key is the number of the stream and the counters; NumPy guarantees its seed sequences to stay."""
    key = (int(stream), *counters)
    (state,) = np.random.SeedSequence(entropy=seed, spawn_key=key).generate_state(1, np.uint64)
    assert seeds.integer(seed, stream, *counters) == int(state) // 2 == expected


def test_streams_are_the_children_that_numpy_spawns() -> None:
    child = np.random.SeedSequence(7).spawn(2)[Stream.ORDER].spawn(4)[3]
    expected = np.random.default_rng(child).random(100)
    assert np.array_equal(seeds.generator(7, Stream.ORDER, 3).random(100), expected)


def test_a_stream_begins_anew_each_time_it_is_asked_for() -> None:
    first = seeds.generator(3, Stream.PROBES, 5).random(10)
    seeds.generator(4, Stream.PROBES, 5).random(10)
    assert np.array_equal(seeds.generator(3, Stream.PROBES, 5).random(10), first)


def test_seed_purpose_and_counters_all_matter() -> None:
    keys = list(itertools.product(range(6), Stream, [(), (0,), (1,), (0, 0), (0, 1), (1, 0)]))
    found = {seeds.integer(seed, stream, *counters) for seed, stream, counters in keys}
    assert len(found) == len(keys)


def test_streams_are_uncorrelated() -> None:
    """Correlations of 10,000 draws lie within five standard errors of zero."""
    count = 10_000
    keys = list(itertools.product(range(3), Stream, [(0,), (1,)]))
    draws = np.stack(
        [seeds.generator(seed, stream, *counters).standard_normal(count) for seed, stream, counters in keys]
    )
    off_diagonal = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(off_diagonal).max() < 5 / count**0.5


def test_torch_takes_every_integer_as_a_seed() -> None:
    drawn = {seeds.integer(seed, Stream.INITIALIZATION) for seed in range(200)}
    assert all(0 <= value < 2**63 for value in drawn)
    assert max(drawn) > 2**62  # all the bits are in use
    firsts = {float(torch.rand((), generator=torch.Generator().manual_seed(value))) for value in drawn}
    assert len(firsts) > 190


def test_a_named_stream_is_the_hash_of_its_name() -> None:
    """64 bits of its SHA-256 with the highest bit set, which no number of a purpose reaches."""
    digest = hashlib.sha256(b"langevin noise").hexdigest()
    key = int(digest[:16], 16) | 1 << 63
    expected = np.random.default_rng(np.random.SeedSequence(entropy=3, spawn_key=(key, 2))).random(10)
    assert np.array_equal(seeds.generator(3, "langevin noise", 2).random(10), expected)
    assert not np.array_equal(seeds.generator(3, "langevin noises", 2).random(10), expected)


def test_no_name_draws_what_a_number_draws() -> None:
    names = [stream.name for stream in Stream] + [str(int(stream)) for stream in Stream]
    numbered = {seeds.integer(0, stream) for stream in Stream}
    assert len({seeds.integer(0, name) for name in names} | numbered) == len(names) + len(numbered)
