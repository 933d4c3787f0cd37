"""Which examples a measurement looks at when it does not look at all of them.

All subsets are taken from the front of one order of the examples, drawn once with a fixed seed: the examples of each
class are shuffled, then the classes are interleaved so that the front of the order holds every class in proportion to
its size, to less than one example. A subset is therefore random within each class, a larger subset contains every
smaller one, and what is taken `after` the first examples shares none with them.

Evenly spaced subsets look harmless and are not: in MNIST's training file even and odd places come from two populations
of writers, so that every 50th image, say, is a biased sample.

>>> import torch
>>> labels = torch.tensor([0, 1] * 50)
>>> torch.bincount(labels[subset(labels, 10)]).tolist()
[5, 5]
>>> set(subset(labels, 10).tolist()) <= set(subset(labels, 20).tolist())
True
>>> set(subset(labels, 10).tolist()) & set(subset(labels, 10, after=10).tolist())
set()
"""

from collections import deque
from heapq import heappop, heappush

import numpy as np
import torch
from torch import Tensor

from isthmus.core.seeds import Stream, generator


def order(labels: Tensor) -> Tensor:
    """An order of all examples, int64 `[N]`, whose every beginning holds the classes in proportion to their sizes.

    labels: `[N]`, the class of each example, the clean ones where training used others; all 0 where there are none.
    """
    classes = labels.cpu().numpy()
    random = generator(0, Stream.SUBSETS)
    shuffled = random.permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    _, counts = np.unique(classes, return_counts=True)
    return torch.from_numpy(by_class[_interleaved(counts, random)])


def _interleaved(counts: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An order `[N]` of examples sorted by class, `counts` of each, that is everywhere less than one off proportion.

    With C classes there is an order in which the first k examples hold every class within 1 - 1 / (2 C - 2) of its
    share of k (Tijdeman 1980, "The chairman assignment problem"). That bound leaves each example a first and a last
    place, and taking at each place the example whose last place comes soonest keeps to all of them. Ties are broken at
    random.
    """
    total, parts = int(counts.sum()), max(2 * len(counts) - 2, 1)
    rank = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    scale = parts * np.repeat(counts, counts)
    # Places count from 1, in whole numbers throughout: rounding must not decide on which side of the bound one lies.
    first = -(-(parts * rank + 1) * total // scale)
    last = (parts * (rank + 1) - 1) * total // scale + 1
    ties = random.permutation(total)
    coming = deque(zip(*(values[np.lexsort((ties, first))].tolist() for values in (first, last, ties)), strict=True))
    chosen, waiting = [], list[tuple[int, int]]()
    for place in range(1, total + 1):
        while coming and coming[0][0] <= place:
            heappush(waiting, coming.popleft()[1:])
        chosen.append(heappop(waiting)[1])
    return np.argsort(ties)[chosen]


def subset(labels: Tensor, size: int, after: int = 0) -> Tensor:
    """Rising indices, int64 `[min(size, N - after)]`, of the examples that follow the first `after` ones of the order.

    labels: as for `order`. Raises ValueError where `size` is below 1 or nothing is left after the first examples.
    """
    return taken(order(labels), size, after)


def taken(ordered: Tensor, size: int, after: int = 0) -> Tensor:
    """The same as `subset` from an `order` that is known already, `[N]`."""
    if size < 1 or after >= len(ordered):
        raise ValueError(f"no subset of {size} examples after the first {after}: there are {len(ordered)}")
    return ordered[after : after + size].sort().values
