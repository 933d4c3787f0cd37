"""Pruning masks: magnitude pruning, level by level, and random masks with the same counts.

Only the weights of linear layers (attention included) and convolutions are pruned; biases and normalization are not
(Frankle & Carbin 2019). Masks are boolean tensors by parameter name, each with its parameter's shape, True where a
weight is kept. Counts are exact. Among equal magnitudes, the weight that comes first in the order of layers, and then
in memory, is kept.

>>> weights = {"0.weight": torch.tensor([4.0, -3.0, 2.0, 1.0]), "2.weight": torch.tensor([8.0, 0.0])}
>>> levels = schedule([0.5, 0.25], output_rate=1.0)
>>> ranked = pools(["0.weight", "2.weight"], "global", output_rate=1.0)
>>> first = magnitude_mask(weights, None, ranked, levels[0])
>>> second = magnitude_mask(weights, first, ranked, levels[1])  # after training again, usually
>>> first["0.weight"].tolist(), second["0.weight"].tolist()
([True, True, False, False], [True, False, False, False])
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from isthmus.core.tensors import Tensors
from isthmus.models.functional import Stacked
from isthmus.models.stacked import Convolution, Linear

PRUNABLE = ("weight", "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""The parameters of linear layers, convolutions and attention that can be pruned."""


def prunable(network: nn.Module) -> tuple[str, ...]:
    """Names of the weights that can be pruned, in the order of the layers; the last is the output layer.

    >>> prunable(nn.Sequential(Linear(1, 4, 3), nn.ReLU(), Linear(1, 3, 2)))
    ('0.weight', '2.weight')
    """
    kinds = (Linear, Convolution, nn.Linear, _ConvNd, nn.MultiheadAttention)
    layers = [name for name, module in network.named_modules() if isinstance(module, kinds)]
    if isinstance(network, Stacked):  # its layers may be called in another order
        layers.sort(key=lambda name: name == network.last_layer)
    possible = [f"{layer}.{each}".removeprefix(".") for layer in layers for each in PRUNABLE]
    there = {name for name, _ in network.named_parameters()}  # weights that are tied have one name
    return tuple(name for name in possible if name in there)


@dataclass(frozen=True)
class Kept:
    """Fractions of weights kept at one level: in layers pruned at the full rate, and in the output layer.

    >>> Kept(fraction=0.5, output_fraction=0.75)
    Kept(fraction=0.5, output_fraction=0.75)
    """

    fraction: float
    output_fraction: float


def schedule(fractions: Sequence[float], output_rate: float) -> list[Kept]:
    """The kept fractions of each level, from falling `fractions`.

    output_rate: the output layer's pruning rate, relative to that of the other layers.

    >>> schedule([0.5, 0.25], output_rate=0.5)
    [Kept(fraction=0.5, output_fraction=0.75), Kept(fraction=0.25, output_fraction=0.5625)]
    """
    found, before, output = [], 1.0, 1.0
    for fraction in fractions:
        output *= 1 - output_rate * (1 - fraction / before)
        found.append(Kept(fraction, output))
        before = fraction
    return found


@dataclass(frozen=True)
class Pool:
    """Layers, by the names of their weights, whose magnitudes are ranked together; whether it is the output layer.

    >>> Pool(("0.weight", "2.weight"), output=False).names
    ('0.weight', '2.weight')
    """

    names: tuple[str, ...]
    output: bool


def pools(names: Sequence[str], scope: str, output_rate: float) -> list[Pool]:
    """Which layers are ranked together: all of them (`global`) or none (`layerwise`).

    An output layer with its own pruning rate is always ranked separately.

    >>> pools(["0.weight", "2.weight"], "layerwise", output_rate=1.0)
    [Pool(names=('0.weight',), output=False), Pool(names=('2.weight',), output=True)]
    """
    hidden, output = tuple(names[:-1]), (names[-1],)
    if scope == "layerwise":
        return [*(Pool((name,), False) for name in hidden), Pool(output, True)]
    if output_rate == 1:
        return [Pool(tuple(names), False)]
    return [Pool(hidden, False), Pool(output, True)] if hidden else [Pool(output, True)]


def magnitude_mask(weights: Tensors, before: Tensors | None, ranked: Sequence[Pool], kept: Kept) -> Tensors:
    """The mask that keeps the largest |w| in each pool, among the weights that the mask `before` keeps.

    weights: by name. A pool of N weights keeps `fraction` * N of them, rounded; N includes weights pruned before.

    >>> weights = {"0.weight": torch.tensor([1.0, -3.0, 2.0, 0.0])}
    >>> magnitude_mask(weights, None, [Pool(("0.weight",), False)], Kept(0.5, 0.5))["0.weight"].tolist()
    [False, True, True, False]
    """
    mask: Tensors = {}
    for pool in ranked:
        sizes = [weights[name].numel() for name in pool.names]
        magnitudes = torch.cat([weights[name].flatten().abs().cpu() for name in pool.names])
        if before is not None:  # rank pruned weights below zeros that are not pruned
            magnitudes[torch.cat([~before[name].flatten() for name in pool.names])] = -1
        fraction = kept.output_fraction if pool.output else kept.fraction
        order = torch.sort(magnitudes, descending=True, stable=True).indices
        flat = torch.zeros(sum(sizes), dtype=torch.bool)
        flat[order[: count_kept(fraction, sum(sizes))]] = True
        for name, part in zip(pool.names, flat.split(sizes), strict=True):
            mask[name] = part.reshape(weights[name].shape)
    return {name: mask[name] for name in weights if name in mask}


def count_kept(fraction: float, size: int) -> int:
    """`fraction` * `size`, rounded to the nearest integer, halves up.

    >>> count_kept(0.5, 5)
    3
    """
    return int(fraction * size + 0.5)


def random_mask(like: Tensors, generator: np.random.Generator) -> Tensors:
    """A random mask that keeps as many weights in every layer as `like`.

    >>> like = {"0.weight": torch.tensor([True, False, False])}
    >>> int(random_mask(like, np.random.default_rng(0))["0.weight"].sum())
    1
    """
    found = {}
    for name, mask in like.items():
        flat = torch.zeros(mask.numel(), dtype=torch.bool)
        flat[torch.from_numpy(generator.permutation(mask.numel())[: int(mask.sum())])] = True
        found[name] = flat.reshape(mask.shape)
    return found


def masked(weights: Tensors, mask: Tensors) -> Tensors:
    """A copy of the weights with zeros where they are pruned.

    >>> masked({"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([True, False])})["a"].tolist()
    [1.0, 0.0]
    """
    return {name: value * mask[name] if name in mask else value.clone() for name, value in weights.items()}


def free(weights: Tensors, mask: Tensors) -> Tensor:
    """Which of the trainable scalars are not pruned, `[P]` (bool), in the order of `weights`.

    >>> free({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}, {"a": torch.tensor([True, False])}).tolist()
    [True, False, True]
    """
    whole = {name: torch.ones_like(value, dtype=torch.bool) for name, value in weights.items()}
    return torch.cat([mask.get(name, part).flatten() for name, part in whole.items()])
