"""What an alignment is, and the check that it leaves what a network computes unchanged.

Two networks trained from different seeds number their hidden units differently, and a straight line between them
mixes units that have nothing to do with each other. After alignment, the permutation of one network's hidden units
that brings it closest to the other, the barrier between wide networks all but vanishes (Entezari et al. 2022;
Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin").

    found = groups(recipe.network, shape, classes)
    alignment = match_weights(weights_a, weights_b, found, seeds.generator(seed, seeds.Stream.PROBES, other_seed))
    check_same_function(network, weights_b, alignment.weights, images)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from isthmus.models.hidden_units import Group, Weights
from isthmus.models.same_function import TOLERANCE, difference

Groups = Mapping[str, Group]


class AlignmentError(Exception):
    """Two networks cannot be aligned, or an alignment changed what a network computes."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Permutations of one network's hidden units onto another's, and how well they fit.

    permutations: int64 `[size]` by group; unit p[i] of the network moves to position i, that of unit i of the
        reference (`isthmus.models.hidden_units.apply`).
    weights: the permuted weights, with their original types.
    objective: the quantity to maximize. For weight matching, the inner product <w_A, pi(w_B)> over all parameters, so
        that |w_A - pi(w_B)|^2 = |w_A|^2 + |w_B|^2 - 2 objective. For activation matching, the inner product of the
        activations of all groups, averaged over images.
    restarts: the final objective of each restart, in order; `objective` is the largest.
    course: the objective at the start of the best restart and after each of its sweeps. It never falls; the last sweep
        improves nothing. Empty for activation matching, which takes one step.
    """

    permutations: dict[str, Tensor]
    weights: dict[str, Tensor]
    objective: float
    restarts: tuple[float, ...]
    course: tuple[float, ...] = field(default=())

    @property
    def sweeps(self) -> int:
        """Sweeps over all groups in the best restart, including the last, idle one; 0 for activation matching."""
        return max(len(self.course) - 1, 0)


def check_comparable(reference: Weights, weights: Weights) -> None:
    shapes = [{name: tuple(value.shape) for name, value in each.items()} for each in (reference, weights)]
    for name in sorted(reference.keys() | weights.keys()):
        first, second = (each.get(name, "missing") for each in shapes)
        if first != second:
            raise AlignmentError(f"networks of one architecture are needed, but {name} is {first} and {second}")
        if not all(bool(each[name].isfinite().all()) for each in (reference, weights)):
            raise AlignmentError(f"the parameter {name} is not finite; a diverged network cannot be aligned")


def assignment(similarities: Tensor, block: int = 1) -> tuple[Tensor, float]:
    """The permutation p with the largest sum of similarities[i, p[i]], and its gain over the identity.

    With blocks, the largest among permutations of blocks and of the units in each (`isthmus.models.hidden_units`):
    every pair of blocks is matched, and then the blocks by what that gives.

    >>> assignment(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    (tensor([1, 0]), 2.0)
    """
    size = len(similarities)
    if block == 1:
        step = _assigned(similarities)
    else:
        pairs = similarities.view(size // block, block, size // block, block).transpose(1, 2)
        inside = torch.stack([torch.stack([_assigned(pair) for pair in row]) for row in pairs])
        whole = _assigned(pairs.gather(-1, inside[..., None]).sum((-2, -1)))
        step = (whole[:, None] * block + inside[torch.arange(len(whole)), whole]).flatten()
    return step, (similarities[torch.arange(size), step] - similarities.diagonal()).sum().item()


def _assigned(similarities: Tensor) -> Tensor:
    return torch.from_numpy(linear_sum_assignment(similarities.numpy(), maximize=True)[1])


def check_same_function(
    network: nn.Module, weights: Weights, permuted: Weights, images: Tensor, tolerance: float = TOLERANCE
) -> None:
    """Raise AlignmentError unless `weights` and `permuted` give the same logits on images `[N, C, H, W]`.

    network: a stack of one that supplies the architecture. tolerance: largest difference of two logits,
    divided by the largest logit, both in absolute value. It computes in float64 copies, where only the order of sums
    differs, so rounding stays far below the tolerance. Batch-norm statistics are computed over all of `images`.

    >>> from isthmus.models.networks import build
    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> network = build(NetworkRecipe("mlp", 2, 1, "none", "relu", 0, 0, 1), (1, 1, 1), 1)
    >>> first = {"1.weight": torch.tensor([[1.0], [-2.0]]), "1.bias": torch.zeros(2)}
    >>> first |= {"3.weight": torch.tensor([[3.0, 4.0]]), "3.bias": torch.zeros(1)}
    >>> permuted = first | {"1.weight": first["1.weight"].flip(0), "3.weight": first["3.weight"].flip(1)}
    >>> check_same_function(network, first, permuted, torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
    """
    apart, size = difference(network, weights, permuted, images)
    if not apart <= tolerance * size:  # also where one of them is not a number
        raise AlignmentError(
            f"the permuted network computes another function: logits of size {size:.3g} differ by {apart:.3g} "
            f"(allowed: {tolerance:.1g} of their size); the permutation structure of the architecture is wrong"
        )
