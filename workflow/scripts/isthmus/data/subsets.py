"""Which examples a measurement uses when it does not use all of them.

All subsets come from one order of the examples, drawn once with a fixed seed. The examples of each class are shuffled.
The classes are then interleaved so that, at every length, the front of the order holds each class in proportion to its
size, to within less than one example. A subset is therefore random within each class, a larger subset contains every
smaller one, and examples taken `after` the first ones do not overlap with them.

Evenly spaced subsets look harmless but are not: in MNIST's training file, images at even and at odd indices come from
two populations of writers, so that every 50th image, say, is a biased sample.

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
    """An order of all examples, int64 `[N]`, in which the first k hold the classes in proportion, for every k.

    labels: `[N]`, the clean class of each example, even if training used noisy labels. Real targets `[N, outputs]` have
    no classes, and the order is random.
    """
    classes = np.zeros(len(labels), np.int64) if labels.is_floating_point() else labels.cpu().numpy()
    random = generator(0, Stream.SUBSETS)
    shuffled = random.permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    _, counts = np.unique(classes, return_counts=True)
    return torch.from_numpy(by_class[_interleaved(counts, random)])


def _interleaved(counts: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Interleave examples sorted by class, `counts` of each, into an order `[N]` that keeps the classes in proportion.

    With C classes there is an order in which the first k examples hold every class within 1 - 1 / (2 C - 2) of its
    share of k (Tijdeman 1980, "The chairman assignment problem"). That bound gives each example an earliest and a
    latest place. Always taking the example whose latest place comes soonest meets all bounds. Ties are broken
    at random.
    """
    total, parts = int(counts.sum()), max(2 * len(counts) - 2, 1)
    rank = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    scale = parts * np.repeat(counts, counts)
    # Places count from 1 and are computed in integers, so that rounding cannot move one across its bound.
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
    """Indices, int64 `[min(size, N - after)]` in rising order, of the examples after the first `after` of the order.

    labels: as for `order`. Raises ValueError if `size` is below 1 or no examples are left.
    """
    return taken(order(labels), size, after)


def places(chosen: Tensor, among: Tensor) -> Tensor:
    """Where each of the indices `chosen` `[N]` is in `among` `[M]`, in rising order; -1 if it is not there: `[N]`.

    >>> places(torch.tensor([2, 3, 9]), among=torch.tensor([1, 2, 9])).tolist()
    [1, -1, 2]
    """
    found = torch.searchsorted(among, chosen).clamp(max=len(among) - 1)
    return found.where(among[found] == chosen, -1)


def taken(ordered: Tensor, size: int, after: int = 0) -> Tensor:
    """Like `subset`, from an `order` `[N]` that was computed before."""
    if size < 1 or after >= len(ordered):
        raise ValueError(f"no subset of {size} examples after the first {after}: there are {len(ordered)}")
    return ordered[after : after + size].sort().values
