"""The dimensions of all tensors in one forward pass of a module.

PyTorch reduces whatever a module does to a few basic operations and tells them to a dispatch mode. Each has a rule
(`isthmus.models.permutations.rules`) for the dimensions of its tensors (`isthmus.models.permutations.atoms`), from the
images and the parameters to the outputs. Running the module, instead of exporting it with `torch.export`, takes a
fraction of the time, works for any Python code, and shows which tensors modules read and return. What depends on the
values of a tensor, such as `.item()`, is refused, since other values could take another course.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from isthmus.core.errors import UserError
from isthmus.models.permutations.atoms import Atoms, Dimension
from isthmus.models.permutations.call import Call, Dimensions, tensors_in, unknown
from isthmus.models.permutations.layers import elementwise
from isthmus.models.permutations.rules import RULES
from isthmus.models.permutations.shapes import pieces

VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
CREATED = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}

Key = tuple[Any, ...]


@dataclass
class Visit:
    """A call of a module: the dimensions of its first input and of its output, if these are tensors."""

    module: str
    read: Dimensions | None = None
    returned: Dimensions | None = None


class Tracer(TorchDispatchMode):
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
        self.mixed: list[tuple[Dimensions, Dimensions]] = []
        self.visits: list[Visit] = []
        self.varying: set[int] = set()
        self.known: dict[Key, list[Dimension]] = {}
        self.alive: list[Tensor] = []
        for name, value in self.parameters.items():
            self.names[storage(value)] = name
            self._record(value, [self.atoms.dimension(size) for size in value.shape])
        self._record(images, [self.atoms.dimension(size, "") for size in images.shape])
        self.varying |= {storage(images), *self.names}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = operation._schema.name.partition("::")[2]
        if name not in RULES:
            with self:
                decomposed = operation.decompose(*args, **kwargs)
            if decomposed is not NotImplemented:
                return decomposed
        given = list(tensors_in([*args, *kwargs.values()]))
        varies = any(storage(each) in self.varying for each in given)
        selects = name != "index" or any(each.dtype in (torch.bool, torch.uint8) for each in given[1:])
        if varies and selects and VALUES & set(operation.tags):
            raise UserError(f"what it computes depends on the values of a tensor (`{name.strip('_')}`)")
        before = [self.dimensions(each) for each in given]  # constants are looked at before they may change
        results = operation(*args, **kwargs)
        made = list(tensors_in([results]))
        if name in CREATED or not before:
            for each in made:
                free = "empty" in name  # what it holds is an accident, and will be written over
                self._record(each, map(self.atoms.dimension, each.shape) if free else self._constant(each))
            return results
        if made:
            self._follow(operation, name, args, kwargs, made)
        changed = made + (given if operation._schema.is_mutable else [])
        self.varying |= {storage(each) for each in changed if varies}
        return results

    def _follow(self, operation: Any, name: str, args: Any, kwargs: Any, made: list[Tensor]) -> None:
        """Apply the rule of an operation, and note the dimensions of its results."""
        schema = operation._schema.arguments
        arguments = {each.name: each.default_value if each.has_default_value() else None for each in schema}
        arguments |= dict(zip(arguments, args, strict=False)) | kwargs
        call = Call(self.atoms, name, arguments, tuple(made[0].shape), self.dimensions, self._contracts, self._mixes)
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
        if storage(tensor) in self.names:
            self.used[self.names[storage(tensor)]] = None
        rest = iter(self.known.get(key, []))
        return tuple(next(rest) if size > 1 else () for size in tensor.shape)

    def _constant(self, tensor: Tensor) -> list[Dimension]:
        """The dimensions of a tensor that no rule made: where all entries are alike, they can be permuted."""
        if storage(tensor) in self.varying:
            for key, dimensions in self.known.items():
                for each in dimensions if key[0] == storage(tensor) else []:
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
        if storage(tensor) in self.names:
            self.contracted.setdefault(self.names[storage(tensor)], []).append(dimension)

    def _mixes(self, along: Dimensions, others: Dimensions) -> None:
        self.mixed.append((along, others))

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


def storage(tensor: Tensor) -> int:
    """The memory of a tensor, as a number."""
    return int(tensor.untyped_storage()._cdata)


def _key(tensor: Tensor) -> Key:
    """The memory that a tensor shows."""
    layout = tuple(pair for pair in zip(tensor.shape, tensor.stride(), strict=True) if pair[0] > 1)
    return (storage(tensor), tensor.storage_offset(), layout)
