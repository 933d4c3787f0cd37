"""Where in the depth a barrier comes from: lines between two networks along which only some layers are interpolated.

For layers S of the networks A and B, the line at A is (1 - t) A + t B in S and A elsewhere, so it leads from A to
A with the layers S of B. The line at B is the same in S and B elsewhere, and leads from B with the layers S of A to B.
S is one layer `alone`, `all_but` one, or `all`. A layer is what one module holds: weight and bias together.

`halfway` is the measure of Adilova et al. (2024): the loss at t = 1/2 minus the mean loss of A and B. `barrier` is the
largest rise above the straight line between the values at the two ends of the line itself, and `replaced` is the rise
where the layers S are entirely those of the other network. Each is the mean over the line at A and the line at B.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.core.tensors import Tensors
from isthmus.landscape.barriers import barrier
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.paths import column
from isthmus.recipes.pairs import Pair
from isthmus.tables.rows import Row, Rows, finite

ALL, ROOT = "all", "root"
"""The name of all layers together, and of the layer of parameters that the network holds itself."""

Array = NDArray[np.float64]


def layers_of(names: Iterable[str]) -> dict[str, list[str]]:
    """The parameters of each layer, in the order of the network.

    >>> layers_of(["1.weight", "1.bias", "token"])
    {'1': ['1.weight', '1.bias'], 'root': ['token']}
    """
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition(".")[0] or ROOT, []).append(name)
    return layers


@dataclass(frozen=True)
class Moved:
    """Layers that are interpolated while all others stay. layer, index: which one, and its position from 1; 0 for all.

    what: `alone`, `all_but` or `all`; layers: `[layers]`, 1 for those that move.
    """

    layer: str
    index: int
    what: str
    layers: Array


def moves(layers: Iterable[str]) -> list[Moved]:
    """All layers, each layer alone, and all but each; nothing is left without the only layer of a network.

    >>> [(move.what, move.index, move.layers.tolist()) for move in moves(["1", "3"])][:3]
    [('all', 0, [1.0, 1.0]), ('alone', 1, [1.0, 0.0]), ('alone', 2, [0.0, 1.0])]
    """
    names = list(layers)
    alone = np.eye(len(names))
    others = 1 - alone if len(names) > 1 else alone[:0]
    found = [Moved(ALL, 0, ALL, np.ones(len(names)))]
    for what, each in (("alone", alone), ("all_but", others)):
        found += [
            Moved(name, place + 1, what, mask) for place, (name, mask) in enumerate(zip(names, each, strict=False))
        ]
    return found


def measure(evaluator: Evaluator, pair: Pair, first: Tensors, second: Tensors, points: int) -> Rows:
    """The measured columns of the rows of `layers` for one pair.

    first, second: the weights of its networks by name `[...]`. points: of each line, in a uniform grid with both ends;
    the middle is added if it is none of them. With labels of their own, each network's labels count by the share of
    the weights that are its own.
    """
    layers = layers_of(name for name, _ in evaluator.single.named_parameters())
    place = {name: index for index, names in enumerate(layers.values()) for name in names}
    start, end = (evaluator.placed(each) for each in (first, second))
    sizes = np.array([sum(first[name].numel() for name in names) for names in layers.values()], dtype=np.float64)
    t, moved = np.union1d(np.linspace(0, 1, points), [0.5]), moves(layers)
    # The share of the second network in each layer, [moves, lines, points, layers]; many of these points are the same.
    shares = np.stack([[np.where(each.layers, t[:, None], rest) for rest in (0.0, 1.0)] for each in moved])
    every, where = np.unique(shares.reshape(-1, len(layers)), axis=0, return_inverse=True)

    def weights_at(numbers: Tensor) -> Tensors:
        share = torch.from_numpy(every)[numbers].to(evaluator.settings.device)
        return {
            name: torch.lerp(value, end[name], column(share[:, place[name]], value)) for name, value in start.items()
        }

    scores = evaluator.at(weights_at, every @ sizes / sizes.sum(), evaluator.pair_labels(pair))
    rows: Rows = []
    for each, numbers in zip(moved, where.reshape(shares.shape[:3]), strict=True):
        row: Row = {"layer": each.layer, "layer_index": each.index, "what": each.what}
        row |= {"parameters": int(each.layers @ sizes), "distance": _distance(first, second, each, layers)}
        for name, (loss, accuracy) in scores.items():
            for quantity, values in (("loss", loss.numpy()), ("error", 1 - accuracy.numpy())):
                networks = values[where.reshape(shares.shape[:3])[0, 0, [0, -1]]]
                found = rises(values[numbers], t, networks)
                row |= {f"{key}_{name}_{quantity}": finite(value) for key, value in found.items()}
        rows.append(row)
    return rows


def rises(values: Array, t: Array, networks: Array) -> dict[str, float]:
    """The three measures, each the mean over both lines.

    values: of a loss or an error, `[2, T]`, at the points t `[T]` of the lines at the first and at the second network;
    networks: of the two themselves, `[2]`.

    >>> rises(np.array([[0.0, 1.0, 4.0], [6.0, 3.0, 2.0]]), np.array([0.0, 0.5, 1.0]), np.array([0.0, 2.0]))
    {'barrier': 0.0, 'halfway': 1.0, 'replaced': 4.0}
    """
    halfway = values[:, np.flatnonzero(t == 0.5)[0]].mean() - networks.mean()
    replaced = values[0, -1] - networks[0] + values[1, 0] - networks[1]
    return {"barrier": float(barrier(values, t).mean()), "halfway": float(halfway), "replaced": float(replaced / 2)}


def _distance(first: Tensors, second: Tensors, moved: Moved, layers: Mapping[str, list[str]]) -> float:
    """The Euclidean length of a line."""
    chosen = [name for names, moves in zip(layers.values(), moved.layers, strict=True) if moves for name in names]
    squares = [float((second[name].double() - first[name].double()).square().sum()) for name in chosen]
    return float(sum(squares) ** 0.5)
