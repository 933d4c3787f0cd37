"""Which weights a pruned network keeps: magnitude pruning, level by level, and random masks of the same counts.

Only the weights of linear layers and convolutions are pruned; biases and normalization stay (Frankle & Carbin 2019).
Masks are boolean, by name `[...]`, True where a weight is kept. Counts are exact, and of equal magnitudes the weight
that comes first, in the order of layers and of memory, is kept.

    names = prunable(network)
    kept = schedule([0.8, 0.64, 0.5], output_rate=0.5)
    first = magnitude_mask(weights, None, pools(names, "global", 0.5), kept[0])
    second = magnitude_mask(retrained, first, pools(names, "global", 0.5), kept[1])
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.core.tensors import Tensors
from isthmus.models.stacked import Convolution, Linear


def prunable(network: nn.Module) -> tuple[str, ...]:
    """Names of the weights that can be pruned, first layer first; the last is the output layer."""
    kinds = (Linear, Convolution)
    return tuple(f"{name}.weight" for name, module in network.named_modules() if isinstance(module, kinds))


@dataclass(frozen=True)
class Kept:
    """Fractions of weights kept at a level: of the layers pruned at the full rate, and of the output layer."""

    fraction: float
    output_fraction: float


def schedule(fractions: Sequence[float], output_rate: float) -> list[Kept]:
    """What each level keeps, from falling fractions; the output layer gets `output_rate` of each level's pruning."""
    found, before, output = [], 1.0, 1.0
    for fraction in fractions:
        output *= 1 - output_rate * (1 - fraction / before)
        found.append(Kept(fraction, output))
        before = fraction
    return found


@dataclass(frozen=True)
class Pool:
    """Layers, by the names of their weights, whose magnitudes are ranked together."""

    names: tuple[str, ...]
    output: bool


def pools(names: Sequence[str], scope: str, output_rate: float) -> list[Pool]:
    """The layers ranked together: all of them (`global`) or each by itself (`layerwise`).

    An output layer that is pruned at a rate of its own is always ranked by itself.
    """
    hidden, output = tuple(names[:-1]), (names[-1],)
    if scope == "layerwise":
        return [*(Pool((name,), False) for name in hidden), Pool(output, True)]
    if output_rate == 1:
        return [Pool(tuple(names), False)]
    return [Pool(hidden, False), Pool(output, True)] if hidden else [Pool(output, True)]


def magnitude_mask(weights: Tensors, before: Tensors | None, ranked: Sequence[Pool], kept: Kept) -> Tensors:
    """The mask that keeps the largest |w| of each pool, among those that the mask `before` keeps.

    weights: by name `[...]`. Of a pool of N weights `fraction` N, rounded, are kept, whatever was pruned before.
    """
    mask: Tensors = {}
    for pool in ranked:
        sizes = [weights[name].numel() for name in pool.names]
        magnitudes = torch.cat([weights[name].flatten().abs().cpu() for name in pool.names])
        if before is not None:  # a pruned weight ranks below every zero that is not
            magnitudes[torch.cat([~before[name].flatten() for name in pool.names])] = -1
        fraction = kept.output_fraction if pool.output else kept.fraction
        order = torch.sort(magnitudes, descending=True, stable=True).indices
        flat = torch.zeros(sum(sizes), dtype=torch.bool)
        flat[order[: count_kept(fraction, sum(sizes))]] = True
        for name, part in zip(pool.names, flat.split(sizes), strict=True):
            mask[name] = part.reshape(weights[name].shape)
    return {name: mask[name] for name in weights if name in mask}


def count_kept(fraction: float, size: int) -> int:
    """`fraction` of `size` weights, rounded to the nearest whole number, halves up."""
    return int(fraction * size + 0.5)


def random_mask(like: Tensors, generator: np.random.Generator) -> Tensors:
    """A mask with the counts of `like` in every layer, at random places."""
    found = {}
    for name, mask in like.items():
        flat = torch.zeros(mask.numel(), dtype=torch.bool)
        flat[torch.from_numpy(generator.permutation(mask.numel())[: int(mask.sum())])] = True
        found[name] = flat.reshape(mask.shape)
    return found


def masked(weights: Tensors, mask: Tensors) -> Tensors:
    """The weights, by name `[...]`, with zeros where they are pruned."""
    return {name: value * mask[name] if name in mask else value.clone() for name, value in weights.items()}


def free(weights: Tensors, mask: Tensors) -> Tensor:
    """Which of all trainable scalars are not pruned, `[P]` (bool), in the order of `weights`."""
    whole = {name: torch.ones_like(value, dtype=torch.bool) for name, value in weights.items()}
    return torch.cat([mask.get(name, part).flatten() for name, part in whole.items()])
