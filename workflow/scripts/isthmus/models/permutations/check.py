"""Whether the groups of a user's own module are right: permutations of them must leave its outputs unchanged."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from isthmus.core.errors import UserError
from isthmus.models.functional import MakeModule, Stacked, construct
from isthmus.models.hidden_units import Group, Weights, apply, random_permutations
from isthmus.models.permutations.derivation import Derived
from isthmus.models.same_function import TOLERANCE, difference
from isthmus.models.unit_groups import own_groups


def checked_groups(make: MakeModule, images: Tensor) -> Derived:
    """The groups of a module, of which each was permuted at random, with random weights, on inputs `[N, ...]`.

    Raises UserError if there is none, or if a permutation changes the outputs by more than rounding does.
    """
    found = own_groups(construct(make, 0), torch.zeros_like(images[:2]))
    if not found.groups:
        reasons = sorted(set(found.kept.values()))
        raise UserError("; ".join(["none of its hidden units can be permuted", *reasons]))
    network = Stacked(make, 1)
    weights = random_weights(network)
    permutations = random_permutations(found.groups, np.random.default_rng(0))
    if not _preserves(network, weights, permutations, found.groups, images):
        for name, permutation in permutations.items():
            if not _preserves(network, weights, {name: permutation}, found.groups, images):
                where = ", ".join(f"{axis.name} (dimension {axis.dimension})" for axis in found.groups[name].axes)
                raise UserError(f"permuting the hidden units {name} changes what it computes; they are in {where}")
        raise UserError("permuting all hidden units changes what it computes, although permuting each group does not")
    return found


def random_weights(network: Stacked) -> dict[str, Tensor]:
    """Float64 weights that differ from unit to unit, also where a constructor makes them alike."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name, value in network.named_parameters():
        weight = value[0].detach().double()
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        made[name] = weight + 0.1 * (weight.std(correction=0) or 1.0) * noise
    return made


def multiplications(module_groups: Mapping[str, Group], weights: Weights) -> int:
    """How many multiplications the inner products of all pairs of units take, group by group.

    >>> from isthmus.models.hidden_units import Axis
    >>> multiplications({"units": Group(2, (Axis("weight", 0),))}, {"weight": torch.zeros(2, 5)})  # 2 * 2 * 5
    20
    """
    return sum(group.size * weights[axis.name].numel() for group in module_groups.values() for axis in group.axes)


def _preserves(
    network: Stacked, weights: Weights, permutations: Mapping[str, Tensor], groups: Mapping[str, Group], images: Tensor
) -> bool:
    apart, size = difference(network, weights, apply(permutations, weights, groups), images)
    return apart <= TOLERANCE * size
