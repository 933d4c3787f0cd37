"""Alignment: the permutation of one network's hidden units that brings it closest to another network.

Two networks trained from different seeds number their hidden units differently, and a straight line between them
mixes units that have nothing to do with each other. After alignment the barrier between wide networks all but vanishes
(Entezari et al. 2022; Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin"). Two methods:

* *weight matching* (Ainsworth et al. 2023, algorithm 1) needs no data: the permutation pi that brings the weights
  pi(w_B) closest to w_A. With all groups but one held fixed, this is a linear assignment, solved exactly, so the
  distance falls group by group. The joint problem is NP-hard, and the start of the descent decides which of many local
  optima it finds (`isthmus.landscape.matching` says how much this matters).
* *activation matching* (Li et al. 2015; Ainsworth et al. 2023, section 3.1) pairs units that are active on the same
  images, one group at a time.

    found = groups(recipe.network, shape, classes)
    alignment = match_weights(weights_a, weights_b, found, seeds.generator(seed, seeds.Stream.PROBES, other_seed))
    check_same_function(network, weights_b, alignment.weights, images)
"""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from isthmus.models.evaluation import evaluation_mode
from isthmus.models.hidden_units import Axis, Group, Permutations, Weights, apply, identity, random_permutations

Groups = Mapping[str, Group]

NEGLIGIBLE = 1e-12
"""A gain below this, relative to |w_A| |w_B|, counts as rounding."""


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


def match_weights(
    reference: Weights,
    weights: Weights,
    groups: Groups,
    generator: np.random.Generator,
    restarts: int = 8,
    start: Permutations | None = None,
) -> Alignment:
    """Permute the hidden units of `weights` so that the weights come close to `reference`.

    This is coordinate descent over the groups, in a new random order in each sweep, until no group improves. Restarts
    0, 2, 4, ... start from the identity, so the result is never worse than no permutation. Restarts 1, 3, 5, ... start
    from random permutations, which end as high on average and are more diverse: among 21 pairs of small networks
    trained on the digits, the best of 8 + 8 restarts came from a random start for 12 and from the identity for 7. With
    `start`, permutations of all groups, every restart begins there, and only the order of the groups differs.
    `generator` must be fresh: restart r depends only on its seed and on r, so more restarts never do worse. Computes in
    float64 on the CPU.

    Raises AlignmentError if the networks differ in their parameters or are not finite, and ValueError for `restarts`
    below 1.

    >>> from isthmus.models.hidden_units import groups
    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> hidden = groups(NetworkRecipe("mlp", 2, 1, "none", "relu", 0, 0, 1), (1, 1, 1), 1)
    >>> first = {"1.weight": torch.tensor([[1.0], [2.0]]), "1.bias": torch.zeros(2)}
    >>> first |= {"3.weight": torch.tensor([[3.0, 4.0]]), "3.bias": torch.zeros(1)}
    >>> second = first | {"1.weight": first["1.weight"].flip(0), "3.weight": first["3.weight"].flip(1)}
    >>> match_weights(first, second, hidden, np.random.default_rng(0)).weights["3.weight"]
    tensor([[3., 4.]])
    """
    if restarts < 1:
        raise ValueError(f"at least one restart is needed, {restarts} were asked for")
    problem = _Problem.of(reference, weights, groups)
    runs = []
    for restart, own in enumerate(generator.spawn(restarts)):
        begin = start or (random_permutations(groups, own) if restart % 2 else identity(groups))
        runs.append(_descend(problem, begin, own))
    permutations, course = max(runs, key=lambda run: run[1][-1])
    objectives = tuple(ended[-1] for _, ended in runs)
    return Alignment(permutations, apply(permutations, weights, groups), course[-1], objectives, course)


@dataclass(frozen=True)
class _Problem:
    """Two networks in float64, and the parts of their units' similarities that every step needs.

    `unshared[group]`: inner products `[size, size]` of the reference's units with the unpermuted network's, over the
    parameters that belong to no other group. No permutation of another group changes them. `shared[group]`: the axes of
    the other parameters.
    """

    reference: dict[str, Tensor]
    weights: dict[str, Tensor]
    groups: Groups
    unshared: dict[str, Tensor]
    shared: dict[str, tuple[Axis, ...]]

    @classmethod
    def of(cls, reference: Weights, weights: Weights, groups: Groups) -> "_Problem":
        _check_comparable(reference, weights)
        first, second = (
            {name: value.detach().to("cpu", torch.float64) for name, value in each.items()}
            for each in (reference, weights)
        )
        carriers = Counter(axis.parameter for group in groups.values() for axis in group.axes)
        unshared, shared = {}, {}
        for name, group in groups.items():
            alone = [axis for axis in group.axes if carriers[axis.parameter] == 1]
            zero = torch.zeros(group.size, group.size, dtype=torch.float64)
            unshared[name] = sum((_products(first, second, axis, group.size) for axis in alone), zero)
            shared[name] = tuple(axis for axis in group.axes if carriers[axis.parameter] > 1)
        return cls(first, second, groups, unshared, shared)


def _check_comparable(reference: Weights, weights: Weights) -> None:
    shapes = [{name: tuple(value.shape) for name, value in each.items()} for each in (reference, weights)]
    for name in sorted(reference.keys() | weights.keys()):
        first, second = (each.get(name, "missing") for each in shapes)
        if first != second:
            raise AlignmentError(f"networks of one architecture are needed, but {name} is {first} and {second}")
        if not all(bool(each[name].isfinite().all()) for each in (reference, weights)):
            raise AlignmentError(f"the parameter {name} is not finite; a diverged network cannot be aligned")


def _products(first: Weights, second: Weights, axis: Axis, size: int) -> Tensor:
    """Inner products `[size, size]` of one parameter's slices for each unit of one network and each of another."""
    rows, columns = (each[axis.parameter].movedim(axis.dimension, 0).reshape(size, -1) for each in (first, second))
    return rows @ columns.T


def _descend(
    problem: _Problem, start: Permutations, generator: np.random.Generator
) -> tuple[dict[str, Tensor], tuple[float, ...]]:
    """One coordinate descent from `start`: its final permutations, and the course of the objective."""
    permutations, current = dict(start), apply(start, problem.weights, problem.groups)
    norms = [_inner_product(each, each) ** 0.5 for each in (problem.reference, problem.weights)]
    negligible = NEGLIGIBLE * norms[0] * norms[1]
    course = [_inner_product(problem.reference, current)]
    names, improved = list(problem.groups), True
    while improved:
        improved = False
        for index in generator.permutation(len(names)):
            name = names[index]
            step, gain = _assignment(_similarities(problem, name, current, permutations[name]))
            if gain > negligible:
                current = apply({name: step}, current, problem.groups)
                permutations[name] = permutations[name][step]
                improved = True
        course.append(_inner_product(problem.reference, current))
    return permutations, tuple(course)


def _similarities(problem: _Problem, name: str, current: Weights, permutation: Tensor) -> Tensor:
    """Inner products `[size, size]` of one group's units in the reference and in the other network's current order."""
    total = problem.unshared[name][:, permutation]
    for axis in problem.shared[name]:
        total = total + _products(problem.reference, current, axis, problem.groups[name].size)
    return total


def _assignment(similarities: Tensor) -> tuple[Tensor, float]:
    """The permutation p with the largest sum of similarities[i, p[i]], and its gain over the identity."""
    rows, columns = linear_sum_assignment(similarities.numpy(), maximize=True)
    step = torch.from_numpy(columns)
    return step, (similarities[rows, step] - similarities.diagonal()).sum().item()


def _inner_product(first: Weights, second: Weights) -> float:
    return sum(torch.dot(first[name].flatten(), second[name].flatten()).item() for name in first)


def match_activations(
    network: nn.Module, reference: Weights, weights: Weights, groups: Groups, images: Tensor, batch_size: int = 500
) -> Alignment:
    """Permute the hidden units of `weights` so that their activations come close to those of `reference`.

    network: a stack of one that supplies the architecture; its own weights are not used. images `[N, C, H, W]`:
    normalized, not augmented, on the device to compute on; batch-norm statistics are computed over all of them.

    Units are paired by inner products, which is least squares, sum |z_A - pi(z_B)|^2 over all examples (Ainsworth et
    al. 2023), not by correlations (Li et al. 2015). A unit thus counts as much as the next layer sees of it, and dead
    units do not count (they are left for one another, in any order). On 21 pairs of small networks of all
    architectures, trained on the digits, barriers were 0.9 times those after pairing by correlations, in the geometric
    mean, which is within their scatter. Each pixel of a channel is one example. If a group is recorded in several
    modules, their products are summed. Forward passes have the type of the weights; sums over examples are in float64.

    Raises AlignmentError as `match_weights` does.

    >>> from isthmus.models.architectures import build
    >>> from isthmus.models.hidden_units import groups
    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> recipe = NetworkRecipe("mlp", 2, 1, "none", "relu", 0, 0, 1)
    >>> network, hidden = build(recipe, (1, 1, 1), 1), groups(recipe, (1, 1, 1), 1)
    >>> first = {"1.weight": torch.tensor([[1.0], [-2.0]]), "1.bias": torch.zeros(2)}
    >>> first |= {"3.weight": torch.tensor([[3.0, 4.0]]), "3.bias": torch.zeros(1)}
    >>> second = first | {"1.weight": first["1.weight"].flip(0), "3.weight": first["3.weight"].flip(1)}
    >>> images = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)
    >>> match_activations(network, first, second, hidden, images).weights["3.weight"]
    tensor([[3., 4.]])
    """
    _check_comparable(reference, weights)
    dtype = next(iter(weights.values())).dtype
    images = images.to(dtype)
    networks = [_with_weights(network, each, images.device, dtype) for each in (reference, weights)]
    places = [place for group in groups.values() for place in group.places]
    products: dict[str, Tensor] = {}
    with (
        torch.no_grad(),
        evaluation_mode(networks[0], images[None]),
        evaluation_mode(networks[1], images[None]),
        _watched(networks[0], places) as first,
        _watched(networks[1], places) as second,
    ):
        for batch in images.split(batch_size):
            for each in networks:
                each(batch[None])
            for name, group in groups.items():
                for place in group.places:
                    added = _examples(first[place]).T @ _examples(second[place])
                    products[name] = products[name] + added if name in products else added
    permutations, objective = {}, 0.0
    for name in groups:
        similarities = products[name].cpu() / len(images)
        permutations[name], gain = _assignment(similarities)
        objective += similarities.trace().item() + gain
    return Alignment(permutations, apply(permutations, weights, groups), objective, (objective,))


@contextmanager
def _watched(network: nn.Module, places: list[str]) -> Iterator[dict[str, Tensor]]:
    """A dictionary that holds, after each forward pass, the outputs of the modules named in `places`."""
    seen: dict[str, Tensor] = {}

    def hook(place: str) -> Any:
        return lambda module, arguments, output: seen.__setitem__(place, output)

    handles = [network.get_submodule(place).register_forward_hook(hook(place)) for place in places]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _examples(activations: Tensor) -> Tensor:
    """`[1, B, size]` or `[B, size, height, width]` as `[examples, size]`, float64."""
    return (activations[0] if activations.dim() == 3 else activations.movedim(1, -1).flatten(0, -2)).double()


def _with_weights(network: nn.Module, weights: Weights, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A copy of `network`, a stack of one, with other weights."""
    own = copy.deepcopy(network).to(device, dtype)
    own.load_state_dict({name: value[None] for name, value in weights.items()})
    return own


def check_same_function(
    network: nn.Module, weights: Weights, permuted: Weights, images: Tensor, tolerance: float = 1e-8
) -> None:
    """Raise AlignmentError unless `weights` and `permuted` give the same logits on images `[N, C, H, W]`.

    network: a stack of one that supplies the architecture. tolerance: largest difference of two logits,
    divided by the largest logit, both in absolute value. It computes in float64 copies, where only the order of sums
    differs, so rounding stays far below the tolerance. Batch-norm statistics are computed over all of `images`.

    >>> from isthmus.models.architectures import build
    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> network = build(NetworkRecipe("mlp", 2, 1, "none", "relu", 0, 0, 1), (1, 1, 1), 1)
    >>> first = {"1.weight": torch.tensor([[1.0], [-2.0]]), "1.bias": torch.zeros(2)}
    >>> first |= {"3.weight": torch.tensor([[3.0, 4.0]]), "3.bias": torch.zeros(1)}
    >>> permuted = first | {"1.weight": first["1.weight"].flip(0), "3.weight": first["3.weight"].flip(1)}
    >>> check_same_function(network, first, permuted, torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
    """
    images = images.double()[None]
    outputs = []
    for each in (weights, permuted):
        copied = _with_weights(network, each, images.device, torch.float64)
        with torch.no_grad(), evaluation_mode(copied, images):
            outputs.append(copied(images))
    size = outputs[0].abs().max().item()
    difference = (outputs[0] - outputs[1]).abs().max().item()
    if not difference <= tolerance * size:  # also where one of them is not a number
        raise AlignmentError(
            f"the permuted network computes another function: logits of size {size:.3g} differ by {difference:.3g} "
            f"(allowed: {tolerance:.1g} of their size); the permutation structure of the architecture is wrong"
        )
