"""Permutations of hidden units that leave the network's function unchanged.

Permute the units of a layer, that is, the rows of the weights that compute them and the columns of the weights that
read them, and the network still computes the same function (Hecht-Nielsen 1990). Units that are added to each other, as
in the residual stream of a ResNet, must be permuted together. A *group* is a set of units with a common numbering. This
module describes groups and permutes them; `isthmus.models.unit_groups` finds those of a network.

A permutation is an int64 tensor p `[size]` that moves unit p[i] to position i. The permutations of a whole network are
a dictionary by group. Weights belong to one network and have no stack dimension, like those from
`isthmus.training.weights.load_weights`.

>>> weights = {"first": torch.rand(4, 64), "second": torch.rand(10, 4)}
>>> found = {"hidden": Group(4, (Axis("first", 0), Axis("second", 1)))}
>>> permutations = random_permutations(found, np.random.default_rng(0))
>>> same_function = apply(permutations, weights, found)
>>> restored = apply(inverse(permutations), same_function, found)
>>> all(torch.equal(restored[name], value) for name, value in weights.items())
True
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Permutations = Mapping[str, Tensor]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Axis:
    """One dimension of one tensor that is indexed by the units of a group.

    name: of a parameter. Each unit has `repeat` consecutive indices: 1, or height * width if a linear layer reads
    flattened channels, for example. The first unit begins at all `starts`: at 0, or at three indices if one layer
    computes queries, keys and values.

    >>> Axis("5.weight", dimension=1, repeat=2, starts=(0, 6)).indices(size=3).tolist()
    [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]
    """

    name: str
    dimension: int
    repeat: int = 1
    starts: tuple[int, ...] = (0,)

    def indices(self, size: int) -> Tensor:
        """The indices of each unit, `[starts, size, repeat]`."""
        inside = torch.arange(size * self.repeat).view(size, self.repeat)
        return torch.tensor(self.starts)[:, None, None] + inside

    def parts(self, value: Tensor, size: int) -> list[Tensor]:
        """A tensor with this axis as one `[size, repeat, ...]` for each start.

        >>> Axis("weight", dimension=1).parts(torch.zeros(10, 3), size=3)[0].shape
        torch.Size([3, 1, 10])
        """
        moved = value.movedim(self.dimension, 0)
        return [moved[start : start + size * self.repeat].unflatten(0, (size, self.repeat)) for start in self.starts]


@dataclass(frozen=True)
class Place(Axis):
    """Where the activations of units are recorded. name: of a module, whose output has this axis, or which reads it."""

    reads: bool = False


@dataclass(frozen=True)
class Group:
    """Hidden units with a common numbering: their number, their axes in the parameters, and where to record them.

    places: in the order in which the modules run. A residual stream has one per block. There may be none. block: units
    that belong together, such as those of one head of attention: blocks are permuted as wholes, and units in a block.

    >>> Group(2, (Axis("1.weight", 0), Axis("3.weight", 1)), (Place("2", 2),)).size
    2
    """

    size: int
    axes: tuple[Axis, ...] = ()
    places: tuple[Place, ...] = ()
    block: int = 1


def apply(permutations: Permutations, weights: Weights, groups: Mapping[str, Group]) -> dict[str, Tensor]:
    """The weights after moving each unit p[i] to position i; groups without a permutation do not change.

    Tensors that no permutation affects are not copied. Raises KeyError for an unknown group or parameter, and
    ValueError if a permutation is invalid or an axis has the wrong length.

    >>> group = Group(2, (Axis("first", 0), Axis("second", 1)))
    >>> weights = {"first": torch.tensor([[1], [2]]), "second": torch.tensor([[3, 4]])}
    >>> permuted = apply({"hidden": torch.tensor([1, 0])}, weights, {"hidden": group})
    >>> permuted["first"].tolist(), permuted["second"].tolist()
    ([[2], [1]], [[4, 3]])
    """
    permuted = dict(weights)
    for name, permutation in permutations.items():
        group = groups[name]
        if not torch.equal(permutation.sort().values, torch.arange(group.size, device=permutation.device)):
            raise ValueError(f"group {name}: not a permutation of 0 .. {group.size - 1}")
        blocks = permutation.view(-1, group.block) // group.block
        if not (blocks == blocks[:, :1]).all():
            raise ValueError(f"group {name}: the units of a block of {group.block} do not stay together")
        for axis in group.axes:
            value = permuted[axis.name]
            order, indices = torch.arange(value.shape[axis.dimension]), axis.indices(group.size)
            if indices.max() >= len(order):
                raise ValueError(
                    f"{axis.name} has {len(order)} entries along dimension {axis.dimension}; "
                    f"group {name} needs {int(indices.max()) + 1}"
                )
            order[indices] = indices[:, permutation.cpu()]
            permuted[axis.name] = value.index_select(axis.dimension, order.to(value.device))
    return permuted


def identity(groups: Mapping[str, Group]) -> dict[str, Tensor]:
    """The permutations that leave every unit at its position.

    >>> identity({"hidden": Group(3)})["hidden"].tolist()
    [0, 1, 2]
    """
    return {name: torch.arange(group.size) for name, group in groups.items()}


def random_permutations(groups: Mapping[str, Group], generator: np.random.Generator) -> dict[str, Tensor]:
    """A uniformly random permutation of every group, among those that keep blocks together.

    >>> drawn = random_permutations({"hidden": Group(3)}, np.random.default_rng(0))
    >>> sorted(drawn["hidden"].tolist())
    [0, 1, 2]
    """
    return {name: _random_permutation(group, generator) for name, group in groups.items()}


def _random_permutation(group: Group, generator: np.random.Generator) -> Tensor:
    if group.block == 1:
        return torch.from_numpy(generator.permutation(group.size))
    blocks = generator.permutation(group.size // group.block)
    return torch.from_numpy(
        np.concatenate([index * group.block + generator.permutation(group.block) for index in blocks])
    )


def compose(first: Permutations, second: Permutations) -> dict[str, Tensor]:
    """The permutations equal to `first` followed by `second`. Raises KeyError if their groups differ.

    >>> compose({"hidden": torch.tensor([1, 2, 0])}, {"hidden": torch.tensor([1, 0, 2])})["hidden"].tolist()
    [2, 1, 0]
    """
    if first.keys() != second.keys():
        raise KeyError(f"different groups: {sorted(first)} and {sorted(second)}")
    return {name: first[name][second[name]] for name in first}


def inverse(permutations: Permutations) -> dict[str, Tensor]:
    """The permutations that undo `permutations`.

    >>> inverse({"hidden": torch.tensor([1, 2, 0])})["hidden"].tolist()
    [2, 0, 1]
    """
    return {name: permutation.argsort() for name, permutation in permutations.items()}
