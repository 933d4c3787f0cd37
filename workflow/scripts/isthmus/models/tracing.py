"""The groups of hidden units of any module, derived from one forward pass.

PyTorch reduces whatever a module does to a few basic operations and tells them to a dispatch mode. Each has a rule
(`isthmus.models.operations`) for the dimensions of its tensors (`isthmus.models.atoms`), from the images and the
parameters to the outputs. Running the module, instead of exporting it with `torch.export`, takes a few milliseconds per
layer, works for any Python code, and shows which tensors modules read and return. What depends on the values of a
tensor, such as `.item()`, is refused, since other values could take another course.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from isthmus.core.errors import UserError
from isthmus.models.atoms import Atoms, Dimension
from isthmus.models.functional import plain_attention
from isthmus.models.hidden_units import Axis, Group, Place
from isthmus.models.operations import RULES, Call, Dimensions, elementwise, pieces, tensors_in, unknown

VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
CREATED = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Derived:
    """Groups by name, in the order in which they are computed, and why other hidden units keep their positions.

    kept: by parameter; whatever never can be permuted, such as the pixels of a filter or the classes, is left out.
    """

    groups: dict[str, Group]
    kept: dict[str, str]


@dataclass
class Visit:
    """A call of a module: the dimensions of its first input and of its output, if these are tensors."""

    module: str
    read: Dimensions | None = None
    returned: Dimensions | None = None


def derive(module: nn.Module, images: Tensor) -> Derived:
    """The groups of a module, in the mode that it is in. images: as it takes them, more than one.

    Raises UserError if what the module computes depends on the values of tensors.

    >>> module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    >>> derive(module, torch.zeros(2, 1, 8, 8)).groups["0"].axes[-1]
    Axis(name='3.weight', dimension=1, repeat=36, starts=(0,))
    """
    tracer = _Tracer(module, images)
    with torch.no_grad(), plain_attention(), sdpa_kernel(SDPBackend.MATH), tracer.watched(module), tracer:
        outputs = module(images)
    for dimension in tracer.dimensions(outputs):
        tracer.atoms.fix(dimension)
    return tracer.derived(module)


class _Tracer(TorchDispatchMode):
    """Follows dimensions through the operations of a forward pass.

    A tensor is known by the memory that it shows, since PyTorch makes new objects for views.
    """

    def __init__(self, module: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.atoms = Atoms()
        self.names: dict[int, str] = {}
        self.parameters = dict(module.named_parameters())
        self.used: dict[str, None] = {}
        self.contracted: dict[str, list[Dimension]] = {}
        self.visits: list[Visit] = []
        self.varying: set[int] = set()
        self.known: dict[Key, list[Dimension]] = {}
        self.alive: list[Tensor] = []
        for name, value in self.parameters.items():
            self.names[_storage(value)] = name
            self._record(value, [self.atoms.dimension(size) for size in value.shape])
        self._record(images, [self.atoms.dimension(size, "") for size in images.shape])
        self.varying |= {_storage(images), *self.names}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = operation._schema.name.partition("::")[2]
        if name not in RULES:
            with self:
                decomposed = operation.decompose(*args, **kwargs)
            if decomposed is not NotImplemented:
                return decomposed
        given = list(tensors_in([*args, *kwargs.values()]))
        varies = any(_storage(each) in self.varying for each in given)
        selects = name != "index" or any(each.dtype in (torch.bool, torch.uint8) for each in given[1:])
        if varies and selects and VALUES & set(operation.tags):
            raise UserError(f"what it computes depends on the values of a tensor (`{name.strip('_')}`)")
        before = [self.dimensions(each) for each in given]  # constants are looked at before they may change
        results = operation(*args, **kwargs)
        made = list(tensors_in([results]))
        if name in CREATED or not before:
            for each in made:
                self._record(each, self._constant(each))
            return results
        if made:
            self._follow(operation, name, args, kwargs, made)
        changed = made + (given if operation._schema.is_mutable else [])
        self.varying |= {_storage(each) for each in changed if varies}
        return results

    def _follow(self, operation: Any, name: str, args: Any, kwargs: Any, made: list[Tensor]) -> None:
        """Apply the rule of an operation, and note the dimensions of its results."""
        schema = operation._schema.arguments
        arguments = {each.name: each.default_value if each.has_default_value() else None for each in schema}
        arguments |= dict(zip(arguments, args, strict=False)) | kwargs
        call = Call(self.atoms, name, arguments, tuple(made[0].shape), self.dimensions, self._contracts)
        rule = RULES.get(name, elementwise if torch.Tag.pointwise in operation.tags else unknown)
        if rule is pieces:
            for each, dimensions in zip(made, pieces(call), strict=True):
                self._record(each, dimensions)
            return
        dimensions = rule(call)
        for each in made:  # results of other shapes are the statistics of a normalization, which nobody reads
            alike = each.shape == made[0].shape
            self._record(each, dimensions if alike else [self.atoms.dimension(size, "") for size in each.shape])

    def dimensions(self, tensor: Tensor) -> Dimensions:
        """The dimensions of a tensor."""
        key = _key(tensor)
        if tensor.numel() and key not in self.known:
            self._record(tensor, self._constant(tensor))
        if _storage(tensor) in self.names:
            self.used[self.names[_storage(tensor)]] = None
        rest = iter(self.known.get(key, []))
        return tuple(next(rest) if size > 1 else () for size in tensor.shape)

    def _constant(self, tensor: Tensor) -> list[Dimension]:
        """The dimensions of a tensor that no rule made: where all entries are alike, they can be permuted."""
        if _storage(tensor) in self.varying:
            for key, dimensions in self.known.items():
                for each in dimensions if key[0] == _storage(tensor) else []:
                    self.atoms.fix(each, "a tensor is read in a way that cannot be followed")
            return [self.atoms.dimension(size, "") for size in tensor.shape]
        made = []
        for index, size in enumerate(tensor.shape):
            alike = size > 0 and bool((tensor == tensor.narrow(index, 0, 1)).all())
            made.append(self.atoms.dimension(size, None if alike else ""))
        return made

    def _record(self, tensor: Tensor, dimensions: Iterable[Dimension]) -> None:
        if not tensor.numel():
            return
        kept = [each for each, size in zip(dimensions, tensor.shape, strict=True) if size > 1]
        before = self.known.setdefault(_key(tensor), kept)
        self.alive.append(tensor)
        for first, second in zip(before, kept, strict=True):
            self.atoms.unify(first, second)

    def _contracts(self, tensor: Tensor, dimension: Dimension) -> None:
        if _storage(tensor) in self.names:
            self.contracted.setdefault(self.names[_storage(tensor)], []).append(dimension)

    @contextmanager
    def watched(self, module: nn.Module) -> Iterator[None]:
        """Note what the modules inside read and return."""
        handles = []
        for name, each in module.named_modules():
            handles.append(each.register_forward_pre_hook(partial(self._enter, name)))
            handles.append(each.register_forward_hook(partial(self._leave, name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.visits.append(Visit(name, self._seen(arguments[0]) if arguments else None))

    def _leave(self, name: str, _: nn.Module, arguments: tuple[Any, ...], returned: Any) -> None:
        visit = next(each for each in reversed(self.visits) if each.module == name)
        visit.returned = self._seen(returned)

    def _seen(self, value: object) -> Dimensions | None:
        return self.dimensions(value) if isinstance(value, Tensor) and _key(value) in self.known else None

    # After the forward pass

    def derived(self, module: nn.Module) -> Derived:
        axes: dict[int, list[Axis]] = {}
        kept: dict[str, str] = {}
        for name in self.used:
            for index, dimension in enumerate(self.dimensions(self.parameters[name])):
                for atom, repeat, starts in self._indices(dimension):
                    reason = self.atoms.reason(atom)
                    if reason is None:
                        axes.setdefault(atom, []).append(Axis(name, index, repeat, starts))
                    elif reason:
                        kept[name] = reason
        groups: dict[str, Group] = {}
        for atom, found in axes.items():
            layer = found[0].name.rpartition(".")[0] or found[0].name
            alike = sum(each.partition(" ")[0] == layer for each in groups)
            name = f"{layer} {alike + 1}" if alike else layer
            groups[name] = Group(self.atoms.size((atom,)), tuple(found), self._places(module, atom))
        return Derived(groups, kept)

    def _places(self, module: nn.Module, atom: int) -> tuple[Place, ...]:
        """Where units are recorded: where modules read them with weights of their own, or else, where they are made."""
        names = [each.module for each in self.visits]
        once = [each for each in self.visits if each.module and names.count(each.module) == 1]
        readers, makers = [], []
        for visit in once:
            own = [self.names[_storage(each)] for each in module.get_submodule(visit.module).parameters(recurse=False)]
            summed = [each for name in own for each in self.contracted.get(name, [])]
            if any(atom in self.atoms.whole(each) for each in summed):
                readers += self._place(visit.module, visit.read, atom, reads=True)
            makers += self._place(visit.module, visit.returned, atom, reads=False)
        return tuple(readers or makers[:1])

    def _place(self, name: str, dimensions: Dimensions | None, atom: int, reads: bool) -> list[Place]:
        """The place of units in one tensor; none inside others, as heads and the units in them, which depend on each
        other's order and can only be matched together."""
        for index, dimension in enumerate(dimensions or ()):
            free = [each for each in self._indices(dimension) if self.atoms.reason(each[0]) is None]
            taken = [
                set(Axis(name, index, repeat, starts).indices(self.atoms.size((found,))).flatten().tolist())
                for found, repeat, starts in free
            ]
            for number, (found, repeat, starts) in enumerate(free):
                others = set().union(*taken[:number], *taken[number + 1 :])
                if found == atom and not taken[number] & others:
                    return [Place(name, index, repeat, starts, reads)]
        return []

    def _indices(self, dimension: Dimension) -> Iterable[tuple[int, int, tuple[int, ...]]]:
        """The atoms of a dimension with their indices: an atom that occurs twice has the starts of both."""
        merged: dict[tuple[int, int], tuple[int, ...]] = {}
        for atom, starts, repeat in self.atoms.occurrences(dimension):
            merged[atom, repeat] = merged.get((atom, repeat), ()) + starts
        return [(atom, repeat, starts) for (atom, repeat), starts in merged.items()]


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _key(tensor: Tensor) -> Key:
    """The memory that a tensor shows."""
    layout = tuple(pair for pair in zip(tensor.shape, tensor.stride(), strict=True) if pair[0] > 1)
    return (_storage(tensor), tensor.storage_offset(), layout)
