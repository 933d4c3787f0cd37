"""How far training moves a network's weights from their initialization: is training lazy or rich?

In the lazy limit, weights hardly move relative to their norm (Chizat et al. 2019): |w_T - w_0| / |w_0| falls as
width^-1/2, and as width^-1 in layers between hidden layers (Lee et al. 2019, fig. 1). In the standard parameterization,
which `isthmus.models.stacked` uses, this requires a learning rate that falls as 1/width. The ratio also falls because
|w_0| grows with the width. The distance and both norms are therefore reported, too, for the whole network and each
layer.

    for row in movement(load_weights(path, seed=3, snapshot="initial"), load_weights(path, seed=3)):
        print(row.layer, row.relative)
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

Weights = Mapping[str, Tensor]

ALL = "all"
ROOT = "root"


@dataclass(frozen=True)
class Movement:
    """How far training moved the parameters of one layer, or of the whole network.

    layer: the name of the module that holds them, e.g. "1" or "4.residual.0"; `ALL` for the whole network, `ROOT` for
    parameters that the network holds itself. index: the position of the layer in the network, from 1; 0 for the whole
    network. parameters: number of scalars. distance: |w_T - w_0|; norm_initial: |w_0|; norm: |w_T|; Euclidean, in the
    unit of the weights. relative: distance / norm_initial, None if norm_initial is 0.
    """

    layer: str
    index: int
    parameters: int
    distance: float
    norm_initial: float
    norm: float
    relative: float | None


def movement(initial: Weights, now: Weights) -> list[Movement]:
    """The movement of one network from `initial` to `now`: first of all parameters, then of each layer.

    initial, now: weights of one network by name, both with or both without a leading stack dimension of one. A layer's
    weight and bias count together. Layers are sorted by name, with numbers compared as numbers; for nested
    `Sequential`s this is the network's order (files of weights do not keep it). Sums are in float64.

    Raises ValueError if the two differ in names or shapes or are empty, or if a value is not finite.
    """
    if not initial or initial.keys() != now.keys():
        unmatched = sorted(initial.keys() ^ now.keys())
        raise ValueError(f"the weights before and after training must have the same names; unmatched: {unmatched}")
    squares = {name: _squares(name, initial[name], now[name]) for name in initial}
    layers: dict[str, list[str]] = {}
    for name in sorted(initial, key=_natural_order):
        layers.setdefault(name.rpartition(".")[0] or ROOT, []).append(name)
    parts: list[tuple[str, Iterable[str]]] = [(ALL, initial), *layers.items()]
    rows = []
    for index, (layer, names) in enumerate(parts):
        distance, norm_initial, norm = (sum(squares[name][which] for name in names) ** 0.5 for which in range(3))
        relative = distance / norm_initial if norm_initial > 0 else None
        parameters = sum(initial[name].numel() for name in names)
        rows.append(Movement(layer, index, parameters, distance, norm_initial, norm, relative))
    return rows


def _squares(name: str, initial: Tensor, now: Tensor) -> tuple[float, float, float]:
    """|w_T - w_0|^2, |w_0|^2 and |w_T|^2 of one tensor."""
    if initial.shape != now.shape:
        raise ValueError(f"{name!r} has the shape {tuple(initial.shape)} before training, {tuple(now.shape)} after")
    if not (initial.isfinite().all() and now.isfinite().all()):
        raise ValueError(f"{name!r} holds values that are not finite: leave diverged networks out first")
    first, last = initial.double(), now.double()
    return tuple(float(each.square().sum()) for each in (last - first, first, last))  # type: ignore[return-value]


def _natural_order(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts the parts of a name one by one, numbers as numbers and before words."""
    parts = [(part, re.fullmatch(r"[0-9]+", part)) for part in name.split(".")]
    return [(not number, int(part) if number else 0, part) for part, number in parts]
