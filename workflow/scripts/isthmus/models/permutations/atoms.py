"""Dimensions of tensors as products and sums of *atoms*: sets of indices that are permuted as one.

A dimension is a tuple of atoms, the row-major product of their index sets: index = (first index) * (size of the rest) +
(index in the rest). A dimension of size 1 is the empty product. An atom starts as a whole, and is taken apart where an
operation demands it: into *factors* (the channels and pixels of flattened channels, the heads of a layer of attention)
or into *terms*, one after the other (concatenated channels, the queries, keys and values of one linear layer).

Atoms that an operation pairs are unified. Those whose order matters are *fixed*. The others, taken apart as far as
all operations demand, are the groups of units that can be permuted. Fixing is always safe; whatever cannot be
expressed in products and sums is fixed.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import prod

Dimension = tuple[int, ...]


class Atoms:
    """All atoms of a network, by number.

    >>> atoms = Atoms()
    >>> flattened, (channels, pixels) = atoms.dimension(12), (atoms.dimension(3), atoms.dimension(4, ""))
    >>> atoms.unify(flattened, channels + pixels)
    >>> [(starts, repeat) for _, starts, repeat in atoms.occurrences(flattened)]
    [((0,), 4), ((0, 4, 8), 1)]
    >>> [atoms.reason(atom) for atom, _, _ in atoms.occurrences(flattened)]
    [None, '']
    """

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._parents: list[int] = []
        self._factors: dict[int, Dimension] = {}
        self._terms: dict[int, Dimension] = {}
        self._reasons: dict[int, str] = {}

    def dimension(self, size: int, reason: str | None = None) -> Dimension:
        """A new dimension, fixed if there is a reason for that; the reason is empty if it goes without saying."""
        return () if size == 1 else (self._new(size, reason),)

    def size(self, dimension: Dimension) -> int:
        return prod(self._sizes[atom] for atom in dimension)

    def reason(self, atom: int) -> str | None:
        """Why a whole atom, neither product nor sum, is fixed; None if it is not."""
        return self._reasons.get(self._root(atom))

    def fix(self, dimension: Dimension, reason: str = "") -> None:
        for atom in self.whole(dimension):
            self._reasons[atom] = min(reason, self._reasons.get(atom, reason), key=bool)

    def fixed(self, dimension: Dimension) -> bool:
        return all(atom in self._reasons for atom in self.whole(dimension))

    def unify(self, first: Dimension, second: Dimension) -> None:
        """Permute two dimensions of the same size as one. What does not fit together is fixed."""
        left, right = self._led(first), self._led(second)
        while left and right:
            x, y = left[0], right[0]
            if self._sizes[x] == self._sizes[y]:
                self._equate(x, y)
                left, right = left[1:], right[1:]
            else:
                larger, smaller = sorted((x, y), key=self._sizes.__getitem__, reverse=True)
                if not self._factor(larger, self._sizes[smaller]):
                    for rest in (left, right):
                        self.fix(rest, "units are regrouped in a way that mixes them")
                    return
            left, right = self._led(left), self._led(right)

    def regrouped(self, atoms: Dimension, sizes: Iterable[int]) -> list[Dimension] | None:
        """A product as dimensions of these sizes, in row-major order; None if it cannot be expressed."""
        made = []
        for size in sizes:
            taken: Dimension = ()
            while size > 1:
                atoms = self._led(atoms)
                if not atoms:
                    return None
                if size % self._sizes[atoms[0]] == 0:
                    size //= self._sizes[atoms[0]]
                    taken, atoms = (*taken, atoms[0]), atoms[1:]
                elif not self._factor(atoms[0], size):
                    return None
            made.append(taken)
        return made

    def cut(self, dimension: Dimension, sizes: Sequence[int]) -> list[Dimension] | None:
        """A dimension as consecutive pieces of these sizes; None if it cannot be expressed."""
        parts, pieces = self._parts(dimension), []
        for size in sizes:
            taken: list[Dimension] = []
            while size > 0:
                if self.size(parts[0]) > size:
                    whole = self._led(parts[0])
                    rest = self.size(whole[1:])
                    if size % rest:
                        return None
                    self._split(whole[0], (size // rest, self._sizes[whole[0]] - size // rest), self._terms)
                    parts = self._parts(whole) + parts[1:]
                size -= self.size(parts[0])
                taken.append(parts.pop(0))
            pieces.append(self.joined(taken))
        return pieces

    def joined(self, dimensions: Sequence[Dimension]) -> Dimension:
        """The sum of dimensions, one after the other."""
        if len(dimensions) == 1:
            return dimensions[0]
        terms: list[int] = []
        for dimension in dimensions:
            if len(dimension) == 1:
                terms += dimension
            else:
                terms.append(self._new(self.size(dimension)))
                if dimension:
                    self._factors[terms[-1]] = dimension
        whole = self._new(sum(self._sizes[term] for term in terms))
        self._terms[whole] = tuple(terms)
        return (whole,)

    def whole(self, dimension: Dimension) -> Iterator[int]:
        """The atoms of a dimension that are neither product nor sum."""
        for atom in map(self._root, dimension):
            inside = self._factors.get(atom) or self._terms.get(atom)
            if inside:
                yield from self.whole(inside)
            elif self._sizes[atom] > 1:
                yield atom

    def paths(self, dimension: Dimension) -> set[Dimension]:
        """The whole atoms that an index of a dimension can lie in: sums have an alternative for each term."""
        found: set[Dimension] = {()}
        for atom in map(self._root, dimension):
            if atom in self._terms:
                inside = {path for term in self._terms[atom] for path in self.paths((term,))}
            elif atom in self._factors:
                inside = self.paths(self._factors[atom])
            else:
                inside = {(atom,) if self._sizes[atom] > 1 else ()}
            found = {path + rest for path in found for rest in inside}
        return found

    def occurrences(self, dimension: Dimension) -> Iterator[tuple[int, tuple[int, ...], int]]:
        """The whole atoms of a dimension with their indices: element u has start + u * repeat + (0 .. repeat - 1)."""
        return self._occurrences(dimension, (0,), 1)

    def _occurrences(
        self, dimension: Dimension, starts: tuple[int, ...], repeat: int
    ) -> Iterator[tuple[int, tuple[int, ...], int]]:
        repeat *= self.size(dimension)
        for atom in map(self._root, dimension):
            size = self._sizes[atom]
            repeat //= size
            if atom in self._factors:
                yield from self._occurrences(self._factors[atom], starts, repeat)
            elif atom in self._terms:
                offset = 0
                for term in self._terms[atom]:
                    yield from self._occurrences((term,), tuple(start + offset for start in starts), repeat)
                    offset += self._sizes[term] * repeat
            elif size > 1:
                yield atom, starts, repeat
            starts = tuple(start + index * repeat for start in starts for index in range(size))

    def _new(self, size: int, reason: str | None = None) -> int:
        self._sizes.append(size)
        self._parents.append(len(self._parents))
        if reason is not None:
            self._reasons[self._parents[-1]] = reason
        return self._parents[-1]

    def _root(self, atom: int) -> int:
        while self._parents[atom] != atom:
            atom = self._parents[atom]
        return atom

    def _led(self, atoms: Dimension) -> Dimension:
        """A product whose first atom is no product itself."""
        while atoms:
            first = self._root(atoms[0])
            if first in self._factors:
                atoms = self._factors[first] + atoms[1:]
            elif self._sizes[first] == 1:
                atoms = atoms[1:]
            else:
                return (first, *atoms[1:])
        return ()

    def _parts(self, dimension: Dimension) -> list[Dimension]:
        """A dimension as a sum of products: (a + b) c = a c + b c."""
        whole = self._led(dimension)
        if not whole or whole[0] not in self._terms:
            return [whole]
        return [part + whole[1:] for term in self._terms[whole[0]] for part in self._parts((term,))]

    def _split(self, atom: int, sizes: tuple[int, int], into: dict[int, Dimension]) -> None:
        into[atom] = tuple(self._new(size, self._reasons.get(atom)) for size in sizes)

    def _factor(self, atom: int, outer: int) -> bool:
        """Take `outer` out of a whole atom as its first factor, if that is possible."""
        if atom in self._terms or self._sizes[atom] % outer:
            return False
        self._split(atom, (outer, self._sizes[atom] // outer), self._factors)
        return True

    def _equate(self, x: int, y: int) -> None:
        """Unify two atoms of the same size, neither of which is a product."""
        if x == y:
            return
        if x in self._terms and y in self._terms:
            self._equate_sums(x, y)
        if x in self._terms:
            x, y = y, x
        if x in self._reasons and x not in self._terms:
            self.fix((y,), self._reasons[x])
        self._parents[x] = y

    def _equate_sums(self, x: int, y: int) -> None:
        """Unify two sums term by term, which are cut where either of them has an end."""
        ends = set()
        for atom in (x, y):
            end = 0
            for part in self._parts((atom,)):
                end += self.size(part)
                ends.add(end)
        sizes, start = [], 0
        for end in sorted(ends):
            sizes.append(end - start)
            start = end
        pieces = [self.cut((atom,), sizes) for atom in (x, y)]
        if pieces[0] is None or pieces[1] is None:
            for atom in (x, y):
                self.fix((atom,), "concatenated units are regrouped in a way that mixes them")
            return
        for first, second in zip(*pieces, strict=True):
            self.unify(first, second)
