"""Random streams that do not depend on who shares the job.

Each network seed gives separate streams, one per purpose. A stream is derived with `numpy.random.SeedSequence`
(O'Neill's seed-hashing scheme) from the seed, the purpose and, where needed, counters such as the epoch. It is
therefore a function of what it is for: nothing has to be saved to resume after an interruption, and two networks of
one job never draw from a shared generator.

Some purposes have numbers (`Stream`). A new purpose needs no entry anywhere: it is a name, and the hash of the name
decides what is drawn.

    generator(seed, "langevin noise", step)
"""

import hashlib
from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The purposes that have a number. Every result depends on these numbers: never change or add any."""

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


def sequence(seed: int, stream: Stream | str, *counters: int) -> np.random.SeedSequence:
    """The seed sequence of `stream` for the network seed `seed`, at the given counters (epoch, step, ...).

    stream: the name of a purpose, or one of the numbered purposes.
    """
    return np.random.SeedSequence(entropy=seed, spawn_key=(_key(stream), *counters))


def generator(seed: int, stream: Stream | str, *counters: int) -> np.random.Generator:
    """A NumPy generator over `sequence(seed, stream, *counters)`.

    >>> generator(0, "example").integers(10, size=3) == generator(0, "example").integers(10, size=3)
    array([ True,  True,  True])
    """
    return np.random.default_rng(sequence(seed, stream, *counters))


def integer(seed: int, stream: Stream | str, *counters: int) -> int:
    """A 63-bit integer from the same sequence, to seed a generator of another library such as torch."""
    state = sequence(seed, stream, *counters).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def _key(stream: Stream | str) -> int:
    """The number of a stream; for a name, 64 bits of its hash with the highest bit set, so that it equals no number."""
    if isinstance(stream, Stream):
        return int(stream)
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "big") | 1 << 63
