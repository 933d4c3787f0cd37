"""Random streams that do not depend on which networks share a job.

Each network has separate streams, one per purpose. `numpy.random.SeedSequence` (O'Neill's seed-hashing scheme) derives
each stream from the network's seed, the purpose and, where needed, a counter such as the epoch. Resuming after an
interruption therefore needs no saved generator state, and no two networks draw from the same generator.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a stream is for. Every result depends on these numbers: never change one, only add."""

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
    """The seed sequence of `stream` for the network seed `seed` and the given counters (epoch, step, ...)."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(int(stream), *counters))


def generator(seed: int, stream: Stream, *counters: int) -> np.random.Generator:
    """A NumPy generator over `sequence(seed, stream, *counters)`."""
    return np.random.default_rng(sequence(seed, stream, *counters))


def integer(seed: int, stream: Stream, *counters: int) -> int:
    """A 63-bit integer from the same sequence, for seeding another library's generator, such as torch's."""
    state = sequence(seed, stream, *counters).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
