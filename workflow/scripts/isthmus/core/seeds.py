"""Random streams that do not depend on who shares the job.

From the seed of a network come separate streams, one per purpose, each derived with
`numpy.random.SeedSequence` (O'Neill's seed-hashing scheme) from the seed, the purpose and, where needed, a
counter such as the epoch. A stream is thus a function of what it is for: nothing has to be saved to go on after
an interruption, and two networks of one job never draw from a shared generator.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a stream is for. The numbers are part of every result: never change one, only add."""

    INITIALIZATION = 0
    ORDER = 1
    LABEL_NOISE = 2
    AUGMENTATION = 3
    PROBES = 4
    SELECTION = 5
    SPLIT = 6
    BOOTSTRAP = 7
    PAIRS = 8
    ALIGNMENT = 9
    CURVATURE = 10
    PLANES = 11
    PERTURBATIONS = 12
    THEORY = 13
    WALKS = 14
    CORRUPTIONS = 15
    RANDOM_MASKS = 16
    REINITIALIZATION = 17
    SGD_NOISE = 18
    PRUNED = 19
    SUBSETS = 20


def sequence(seed: int, stream: Stream, *counters: int) -> np.random.SeedSequence:
    """The seed sequence of `stream` for the network seed `seed`, at the given counters (epoch, step, ...)."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(int(stream), *counters))


def generator(seed: int, stream: Stream, *counters: int) -> np.random.Generator:
    """A NumPy generator over `sequence(seed, stream, *counters)`."""
    return np.random.default_rng(sequence(seed, stream, *counters))


def integer(seed: int, stream: Stream, *counters: int) -> int:
    """A 63-bit integer from the same sequence, to seed a generator of another library (torch's, say)."""
    state = sequence(seed, stream, *counters).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
