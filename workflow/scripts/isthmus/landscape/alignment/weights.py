"""Weight matching: the permutation pi of hidden units that brings the weights pi(w_B) closest to w_A, without data.

With all groups of units but one held fixed, this is a linear assignment, which is solved exactly, so the distance falls
group after group (Ainsworth et al. 2023, algorithm 1). Where a parameter has a group on two axes, such as a layer from
a residual stream to itself, the assignment is that of the linearized distance, and is kept if the distance falls. The
joint problem is NP-hard, and the start of the descent decides which of its many local optima it ends in
(`isthmus.landscape.alignment.choice` says how much depends on that).
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.landscape.alignment.result import Alignment, Groups, assignment, check_comparable
from isthmus.models.hidden_units import Axis, Permutations, Weights, apply, identity, random_permutations

NEGLIGIBLE = 1e-12  # a gain below this, relative to |w_A| |w_B|, counts as rounding


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

    >>> from isthmus.models.unit_groups import groups
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
    the other parameters. `quadratic`: the groups that a parameter has on two axes.
    """

    reference: dict[str, Tensor]
    weights: dict[str, Tensor]
    groups: Groups
    unshared: dict[str, Tensor]
    shared: dict[str, tuple[Axis, ...]]
    quadratic: frozenset[str]

    @classmethod
    def of(cls, reference: Weights, weights: Weights, groups: Groups) -> "_Problem":
        check_comparable(reference, weights)
        first, second = (
            {name: value.detach().to("cpu", torch.float64) for name, value in each.items()}
            for each in (reference, weights)
        )
        carriers = Counter(axis.name for group in groups.values() for axis in group.axes)
        unshared, shared = {}, {}
        for name, group in groups.items():
            alone = [axis for axis in group.axes if carriers[axis.name] == 1]
            zero = torch.zeros(group.size, group.size, dtype=torch.float64)
            unshared[name] = sum((_products(first, second, axis, group.size) for axis in alone), zero)
            shared[name] = tuple(axis for axis in group.axes if carriers[axis.name] > 1)
        twice = frozenset(
            name for name, group in groups.items() if len({axis.name for axis in group.axes}) < len(group.axes)
        )
        return cls(first, second, groups, unshared, shared, twice)


def _products(first: Weights, second: Weights, axis: Axis, size: int) -> Tensor:
    """Inner products `[size, size]` of one parameter's slices for each unit of one network and each of another."""
    parts = [axis.parts(each[axis.name], size) for each in (first, second)]
    found = [row.reshape(size, -1) @ column.reshape(size, -1).T for row, column in zip(*parts, strict=True)]
    return sum(found[1:], found[0])


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
            similarities = _similarities(problem, name, current, permutations[name])
            step, gain = assignment(similarities, problem.groups[name].block)
            if gain <= negligible:
                continue
            stepped = apply({name: step}, current, problem.groups)
            if name in problem.quadratic:
                ends = [_inner_product(problem.reference, each) for each in (current, stepped)]
                if ends[1] - ends[0] <= negligible:
                    continue
            current, permutations[name], improved = stepped, permutations[name][step], True
        course.append(_inner_product(problem.reference, current))
    return permutations, tuple(course)


def _similarities(problem: _Problem, name: str, current: Weights, permutation: Tensor) -> Tensor:
    """Inner products `[size, size]` of one group's units in the reference and in the other network's current order."""
    total = problem.unshared[name][:, permutation]
    for axis in problem.shared[name]:
        total = total + _products(problem.reference, current, axis, problem.groups[name].size)
    return total


def _inner_product(first: Weights, second: Weights) -> float:
    return sum(torch.dot(first[name].flatten(), second[name].flatten()).item() for name in first)
