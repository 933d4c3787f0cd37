"""One call of an operation of PyTorch, as the rules for dimensions see it.

An operation is *equivariant* to a permutation of indices if permuting its inputs permutes its outputs. A rule unifies
the atoms that have to be permuted as one for this, fixes those that cannot be permuted, and returns the dimensions of
the result. Operations are those of `torch.ops.aten`, to which all others are reduced
(`isthmus.models.permutations.tracing`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from isthmus.models.permutations.atoms import Atoms, Dimension

Dimensions = tuple[Dimension, ...]


@dataclass(frozen=True)
class Call:
    """One call of an operation: its arguments by name, the shape of its first result, and the dimensions of tensors.

    contracts: is told each tensor and its dimension that is summed over in a product. mixes: is told dimensions along
    which indices depend on each other, separately for every index of the other dimensions.
    """

    atoms: Atoms
    name: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    dimensions: Callable[[Tensor], Dimensions]
    contracts: Callable[[Tensor, Dimension], None]
    mixes: Callable[[Dimensions, Dimensions], None]

    def given(self, name: str) -> Dimensions:
        """The dimensions of an argument."""
        return self.dimensions(self.arguments[name])

    def tensors(self) -> list[Tensor]:
        return list(tensors_in(self.arguments.values()))

    def axis(self, length: int, name: str = "dim") -> int:
        """An argument that counts dimensions from the end if it is negative."""
        return int(self.arguments[name]) % length

    def axes(self, length: int, name: str = "dim") -> set[int]:
        """Several of these; all dimensions if there are none."""
        given = self.arguments.get(name)
        chosen = range(length) if given is None or given == [] else [given] if isinstance(given, int) else given
        return {each % length for each in chosen}

    def fixed(self, size: int) -> Dimension:
        return self.atoms.dimension(size, "")

    def unify_all(self, dimensions: Sequence[Dimension]) -> Dimension:
        """One dimension for several: those of size 1 stretch."""
        several = [each for each in dimensions if each]
        for each in several[1:]:
            self.atoms.unify(several[0], each)
        return several[0] if several else ()


def tensors_in(values: Iterable[Any]) -> Iterable[Tensor]:
    """All tensors among values and lists of values."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


def unknown(call: Call) -> Dimensions:
    """What is always right: nothing that the operation reads or writes is permuted."""
    for tensor in call.tensors():
        for dimension in call.dimensions(tensor):
            call.atoms.fix(dimension, f"no rule says how the operation `{call.name}` treats them")
    return tuple(map(call.fixed, call.shape))
