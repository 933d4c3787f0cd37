"""The groups of hidden units of any module, from the dimensions of all tensors in one forward pass.

Atoms that are not fixed are groups. Where each index of one has units of its own, such as the heads of attention, both
are one group with blocks: each head may permute its units in its own way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from isthmus.models.functional import plain_attention
from isthmus.models.hidden_units import Axis, Group, Place
from isthmus.models.layer_stacks import ACTIVATIONS
from isthmus.models.permutations.atoms import Dimension
from isthmus.models.permutations.call import Dimensions
from isthmus.models.permutations.tracing import Tracer, storage

Axes = dict[int, list[Axis]]  # by atom


@dataclass(frozen=True)
class Derived:
    """Groups by name, in the order in which they are computed, and why other hidden units keep their positions.

    kept: by parameter; whatever never can be permuted, such as the pixels of a filter or the classes, is left out.
    """

    groups: dict[str, Group]
    kept: dict[str, str]


def derive(module: nn.Module, images: Tensor) -> Derived:
    """The groups of a module, in the mode that it is in. images: as it takes them, more than one.

    Raises UserError if what the module computes depends on the values of tensors.

    >>> module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    >>> derive(module, torch.zeros(2, 1, 8, 8)).groups["0"].axes[-1]
    Axis(name='3.weight', dimension=1, repeat=36, starts=(0,))
    """
    tracer = Tracer(module, images)
    with torch.no_grad(), plain_attention(), sdpa_kernel(SDPBackend.MATH), tracer.watched(module), tracer:
        outputs = module(images)
    for dimension in tracer.dimensions(outputs):
        tracer.atoms.fix(dimension)
    return _Groups(tracer, module).derived()


@dataclass(frozen=True)
class Block:
    """What each index of an atom has of its own: atoms of units, such as those of queries and of values; their size."""

    units: frozenset[int]
    size: int


class _Groups:
    """Reads the groups off a forward pass."""

    def __init__(self, tracer: Tracer, module: nn.Module) -> None:
        self.tracer, self.atoms, self.module = tracer, tracer.atoms, module
        self.parameters = {name: tracer.dimensions(tracer.parameters[name]) for name in tracer.used}
        self.blocks: dict[int, Block] = {}
        self.blocks = self._blocks(self._axes())

    def derived(self) -> Derived:
        groups: dict[str, Group] = {}
        for atom, axes in self._axes().items():
            layer = axes[0].name.rpartition(".")[0] or axes[0].name
            alike = sum(each.partition(" ")[0] == layer for each in groups)
            block = self.blocks[atom].size if atom in self.blocks else 1
            name = f"{layer} {alike + 1}" if alike else layer
            groups[name] = Group(self._size(atom), tuple(axes), self._places(atom), block)
        kept = {}
        for name, dimensions in self.parameters.items():
            for reason in filter(None, map(self.atoms.reason, self._whole(dimensions))):
                kept[name] = reason
        return Derived(groups, kept)

    def _whole(self, dimensions: Dimensions) -> Iterator[int]:
        for dimension in dimensions:
            yield from self.atoms.whole(dimension)

    def _size(self, atom: int) -> int:
        return self.atoms.size((atom,)) * (self.blocks[atom].size if atom in self.blocks else 1)

    def _axes(self) -> Axes:
        """The axes of each group, in the order in which parameters are used."""
        axes: Axes = {}
        for name, dimensions in self.parameters.items():
            for index, dimension in enumerate(dimensions):
                for atom, repeat, starts in self._indices(dimension):
                    axes.setdefault(atom, []).append(Axis(name, index, repeat, starts))
        return axes

    def _indices(self, dimension: Dimension) -> list[tuple[int, int, tuple[int, ...]]]:
        """The atoms of a dimension that are not fixed, with their indices; one that occurs twice has both starts.

        An atom and the units in it that make a block are one.
        """
        found: dict[tuple[int, int], tuple[int, ...]] = {}
        for atom, starts, repeat in self.atoms.occurrences(dimension):
            if self.atoms.reason(atom) is None:
                found[atom, repeat] = found.get((atom, repeat), ()) + starts
        for outer, repeat in [each for each in found if each[0] in self.blocks]:
            inner = repeat // self.blocks[outer].size
            inside = [(unit, inner) for unit in self.blocks[outer].units if (unit, inner) in found]
            if inside:
                found[outer, inner] = found.pop((outer, repeat))
                found = {each: starts for each, starts in found.items() if each not in inside}
        return [(atom, repeat, starts) for (atom, repeat), starts in found.items()]

    # Blocks

    def _blocks(self, axes: Axes) -> dict[int, Block]:
        blocks: dict[int, Block] = {}
        taken: set[int] = set()
        for outer, wholes in axes.items():
            inside = [each for each in axes if each != outer and self._nested(outer, wholes, each, axes[each])]
            sizes = {self.atoms.size((each,)) for each in inside}
            covered = sum(len(axis.starts) for each in inside for axis in axes[each])
            needed = sum(len(axis.starts) for axis in wholes) * self.atoms.size((outer,))
            if len(sizes) == 1 and covered == needed and not taken & {outer, *inside}:
                blocks[outer] = Block(frozenset(inside), sizes.pop())
                taken |= {outer, *inside}
        return blocks

    def _nested(self, outer: int, wholes: list[Axis], unit: int, units: list[Axis]) -> bool:
        """Whether every index of an outer atom may permute its units in its own way.

        That is so if no parameter has units but directly inside it, if no other tensor has units without it or has it
        twice, and if nothing depends on several of its indices for each unit separately.
        """
        size, count = self.atoms.size((unit,)), self.atoms.size((outer,))
        starts = {(axis.name, axis.dimension, axis.repeat): axis.starts for axis in wholes}
        for axis in units:
            repeat = size * axis.repeat
            within = starts.get((axis.name, axis.dimension, repeat), ())
            each = [{start + index * repeat for index in range(count)} for start in within]
            if {*axis.starts} != set().union(*(indices for indices in each if indices <= {*axis.starts})):
                return False
        for dimensions in self.tracer.known.values():
            for paths in product(*map(self.atoms.paths, dimensions)):
                atoms = [atom for path in paths for atom in path]
                if atoms.count(outer) > 1 or (unit in atoms and outer not in atoms):
                    return False
        sides = [[set(self._whole(side)) for side in pair] for pair in self.tracer.mixed]
        return not any(outer in along and unit in others for along, others in sides)

    # Places

    def _places(self, atom: int) -> tuple[Place, ...]:
        """Where units are recorded: where activation functions return them, if all that do so are modules called once.

        Otherwise, where modules read them with weights of their own; or else, where they are made.
        """
        names = [each.module for each in self.tracer.visits]
        activated, readers, makers = [], [], []
        once = True
        for visit in self.tracer.visits:
            module = self.module.get_submodule(visit.module)
            made = self._place(visit.module, visit.returned, atom, reads=False)
            if isinstance(module, ACTIVATIONS) and made:
                once &= names.count(visit.module) == 1
                activated += made
            if not visit.module or names.count(visit.module) > 1:
                continue
            summed = [
                self.tracer.contracted.get(self.tracer.names[storage(each)], [])
                for each in module.parameters(recurse=False)
            ]
            if any(atom in self._whole(tuple(each)) for each in summed):
                readers += self._place(visit.module, visit.read, atom, reads=True)
            makers += made
        return tuple((activated if once else []) or readers or makers[:1])

    def _place(self, name: str, dimensions: Dimensions | None, atom: int, reads: bool) -> list[Place]:
        """The place of units in one tensor; none inside other units, whose order would decide theirs."""
        for index, dimension in enumerate(dimensions or ()):
            places = {
                each: Place(name, index, repeat, starts, reads) for each, repeat, starts in self._indices(dimension)
            }
            if atom in places:
                taken = {each: self._taken(place, each) for each, place in places.items()}
                alone = not any(taken[atom] & taken[each] for each in taken if each != atom)
                return [places[atom]] if alone else []
        return []

    def _taken(self, place: Place, atom: int) -> set[int]:
        return set(place.indices(self._size(atom)).flatten().tolist())
