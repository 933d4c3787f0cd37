"""What each operation of PyTorch does to the dimensions of its tensors: one rule per kind of operation.

An operation is *equivariant* to a permutation of indices if permuting its inputs permutes its outputs. A rule unifies
the atoms that have to be permuted as one for this, fixes those that cannot be permuted, and returns the dimensions of
the outputs. Operations are those of `torch.ops.aten`, to which all others are reduced (`isthmus.models.tracing`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from isthmus.models.atoms import Atoms, Dimension

Dimensions = tuple[Dimension, ...]


@dataclass(frozen=True)
class Call:
    """One call of an operation: its arguments by name, the shape of its first result, and the dimensions of tensors.

    contracts: is told each tensor and its dimension that is summed over in a product.
    """

    atoms: Atoms
    name: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    dimensions: Callable[[Tensor], Dimensions]
    contracts: Callable[[Tensor, Dimension], None]

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


Rule = Callable[[Call], Dimensions]


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


def elementwise(call: Call) -> Dimensions:
    """Broadcasting aligns shapes at their ends."""
    given = [call.dimensions(tensor) for tensor in call.tensors()]
    longest = max(map(len, given))
    padded = [((),) * (longest - len(each)) + each for each in given]
    return tuple(call.unify_all(each) for each in zip(*padded, strict=True))


def same(call: Call) -> Dimensions:
    return call.given("self")


def reshape(call: Call) -> Dimensions:
    flat = sum(call.given("self"), ())
    made = call.atoms.regrouped(flat, call.shape)
    if made is None:
        call.atoms.fix(flat, "units are regrouped in a way that mixes them")
        return tuple(map(call.fixed, call.shape))
    return tuple(made)


def transpose(call: Call) -> Dimensions:
    given = list(call.given("self"))
    if call.name == "permute":
        return tuple(given[each] for each in call.arguments["dims"])
    if len(given) > 1:
        first, second = (0, 1) if call.name == "t" else (call.axis(len(given), name) for name in ("dim0", "dim1"))
        given[first], given[second] = given[second], given[first]
    return tuple(given)


def expand(call: Call) -> Dimensions:
    given = call.given("self")
    padded = ((),) * (len(call.shape) - len(given)) + given
    return tuple(
        each or call.atoms.dimension(size) if size > 1 else () for each, size in zip(padded, call.shape, strict=True)
    )


def repeat(call: Call) -> Dimensions:
    given, repeats = call.given("self"), call.arguments["repeats"]
    padded = ((),) * (len(repeats) - len(given)) + given
    return tuple(call.atoms.dimension(count) + each for count, each in zip(repeats, padded, strict=True))


def reduce(call: Call) -> Dimensions:
    given = call.given("self")
    reduced = call.axes(len(given)) if given else set()
    if call.arguments.get("keepdim"):
        return tuple(() if index in reduced else each for index, each in enumerate(given))
    return tuple(each for index, each in enumerate(given) if index not in reduced)


def extreme(call: Call) -> Dimensions:
    """The largest or smallest element along a dimension, and its index, which depends on the order."""
    given = call.given("self")
    if "dim" in call.arguments:
        call.atoms.fix(given[call.axis(len(given))])
    return reduce(call)


def ordered(call: Call) -> Dimensions:
    """Along some dimensions, the order of indices matters."""
    given = call.given("self")
    name = "dims" if "dims" in call.arguments else "dim"
    for index in call.axes(len(given), name):
        call.atoms.fix(given[index])
    return given


def pad(call: Call) -> Dimensions:
    padded = len(call.arguments["pad"]) // 2
    return _resized(call, call.given("self"), range(len(call.shape) - padded, len(call.shape)))


def pool(call: Call) -> Dimensions:
    given = call.given("self")
    return _resized(call, given, range(len(given) - (3 if "3d" in call.name else 2), len(given)))


def _resized(call: Call, given: Dimensions, along: Iterable[int]) -> Dimensions:
    """Along some dimensions, each index depends on its neighbours."""
    made = list(given)
    for index in along:
        call.atoms.fix(given[index])
        made[index] = call.fixed(call.shape[index])
    return tuple(made)


def select(call: Call) -> Dimensions:
    given = call.given("self")
    index = call.axis(len(given))
    call.atoms.fix(given[index])
    return given[:index] + given[index + 1 :]


def index(call: Call) -> Dimensions:
    """Indexing by one tensor; `index_select` has it as a single tensor, with the dimension."""
    given = call.given("self")
    if call.name == "index_select":
        at, indices = call.axis(len(given)), [call.arguments["index"]]
    else:
        at, indices = 0, list(call.arguments["indices"])
        while indices and indices[0] is None:
            at, indices = at + 1, indices[1:]
    if len([each for each in indices if each is not None]) != 1 or indices[0].dtype.is_floating_point:
        return unknown(call)
    count = len(call.shape) - len(given) + 1
    if call.name == "index" and (count != indices[0].dim() or indices[0].element_size() == 1):
        return unknown(call)
    for dimension in (given[at], *call.dimensions(indices[0])):
        call.atoms.fix(dimension)
    return given[:at] + tuple(map(call.fixed, call.shape[at : at + count])) + given[at + 1 :]


def piece(call: Call) -> Dimensions:
    """`slice`: consecutive indices, or every n-th."""
    given = call.given("self")
    at = call.axis(len(given))
    size, wanted = call.atoms.size(given[at]), call.shape[at]
    if wanted == size:
        return given
    start = call.arguments["start"] or 0
    start = min(max(start + size if start < 0 else start, 0), size)
    whole = call.arguments["step"] == 1
    cut = _cut(call, given[at], [start, wanted, size - start - wanted])[1] if whole else None
    if cut is None:
        call.atoms.fix(given[at])
        cut = call.fixed(wanted)
    return (*given[:at], cut, *given[at + 1 :])


def pieces(call: Call) -> list[Dimensions]:
    """`split` and its like: all pieces along a dimension."""
    given = call.given("self")
    at = call.axis(len(given))
    if call.name == "unbind":
        return [select(call)] * call.atoms.size(given[at])
    size, sizes = call.atoms.size(given[at]), call.arguments.get("split_sizes", call.arguments.get("split_size"))
    if isinstance(sizes, int):
        sizes = [min(sizes, size - start) for start in range(0, size, sizes)]
    return [(*given[:at], cut, *given[at + 1 :]) for cut in _cut(call, given[at], sizes)]


def _cut(call: Call, dimension: Dimension, sizes: Sequence[int]) -> list[Dimension]:
    """The pieces of a dimension, fixed if they mix units."""
    found = None if call.atoms.fixed(dimension) else call.atoms.cut(dimension, [each for each in sizes if each])
    if found is None:
        call.atoms.fix(dimension, "units are cut in a way that mixes them")
        return [call.fixed(size) for size in sizes]
    rest = iter(found)
    return [next(rest) if size else () for size in sizes]


def glu(call: Call) -> Dimensions:
    given = call.given("self")
    at = call.axis(len(given))
    halves = _cut(call, given[at], [call.shape[at]] * 2)
    return (*given[:at], call.unify_all(halves), *given[at + 1 :])


def concatenate(call: Call) -> Dimensions:
    tensors = [each for each in call.arguments["tensors"] if each.numel()]
    given = [call.dimensions(each) for each in tensors]
    at = call.axis(len(call.shape))
    if call.name == "stack":
        alike = tuple(call.unify_all(each) for each in zip(*given, strict=True))
        return (*alike[:at], call.fixed(len(given)), *alike[at:])
    return tuple(
        call.atoms.joined(each) if index == at else call.unify_all(each)
        for index, each in enumerate(zip(*given, strict=True))
    )


def product(call: Call) -> Dimensions:
    """Products of matrices, of stacks of matrices, and with vectors; `addmm` and its like add something first."""
    names = list(call.arguments)
    added, (first, second) = (names[:1], names[1:3]) if "beta" in names else ([], names[:2])
    left, right = call.given(first), call.given(second)
    stacks = tuple(call.unify_all(each) for each in zip(left[:-2], right[:-2], strict=True))
    inner = right[-2] if len(right) > 1 else right[0]
    for name, dimension in ((first, left[-1]), (second, inner)):
        call.contracts(call.arguments[name], dimension)
    call.unify_all([left[-1], inner])
    made = (*stacks, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))
    for name in added:
        given = call.given(name)
        made = tuple(call.unify_all(each) for each in zip(made, ((),) * (len(made) - len(given)) + given, strict=True))
    return made


def convolve(call: Call) -> Dimensions:
    """With groups, channels are (groups)(channels of a group): groups as wholes, or within all groups alike."""
    images, filters = call.given("input"), call.given("weight")
    groups, transposed = call.arguments["groups"], call.arguments["transposed"]
    pixels = images[2:]
    if any(filters[2:]) or call.shape[2:] != tuple(map(call.atoms.size, pixels)):
        for dimension in (*filters[2:], *pixels):
            call.atoms.fix(dimension)
        pixels = tuple(map(call.fixed, call.shape[2:]))
    into, out = (filters[0], filters[1]) if transposed else (filters[1], filters[0])
    read = images[1]
    if groups > 1:
        # One of the two dimensions of the filters counts all groups, the other the channels of one of them.
        whole, within = (into, out) if transposed else (out, into)
        shares = [_shares(call, each, groups) for each in (read, whole)]
        call.unify_all([shares[0][0], shares[1][0]])
        read, inner = shares[0][1], shares[1][1]
        into, out = (inner, shares[0][0] + within) if transposed else (within, shares[0][0] + inner)
    call.contracts(call.arguments["weight"], into)
    call.unify_all([read, into])
    if call.arguments["bias"] is not None:
        call.unify_all([out, call.given("bias")[0]])
    return (images[0], out, *pixels)


def _shares(call: Call, dimension: Dimension, count: int) -> list[Dimension]:
    """A dimension as (count)(the rest); fixed if it mixes units."""
    sizes = [count, call.atoms.size(dimension) // count]
    found = call.atoms.regrouped(dimension, sizes)
    if found is None:
        call.atoms.fix(dimension, "groups of channels mix units")
        return [call.fixed(size) for size in sizes]
    return found


def normalize_channels(call: Call) -> Dimensions:
    """Batch normalization; with groups of channels, these are (groups)(channels of a group)."""
    given = call.given("input")
    if call.arguments.get("group", 1) > 1:
        _shares(call, given[1], call.arguments["group"])
    _scale(call, given[1:2])
    return given


def normalize_layer(call: Call) -> Dimensions:
    given = call.given("input")
    _scale(call, given[len(given) - len(call.arguments["normalized_shape"]) :])
    return given


def _scale(call: Call, given: Dimensions) -> None:
    """Unify dimensions with those of weights, biases and statistics."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        if call.arguments.get(name) is not None:
            for pair in zip(given, call.given(name), strict=True):
                call.unify_all(pair)


def _rules() -> dict[str, Callable[[Call], Any]]:
    """The rules by the name of an operation."""
    named: dict[Callable[[Call], Any], str] = {
        elementwise: "copy_ _prelu_kernel hardswish hardswish_ mish_ native_dropout",
        same: "alias detach clone contiguous _to_copy lift_fresh _softmax _safe_softmax _log_softmax fill_ zero_",
        reshape: "view _unsafe_view reshape _reshape_alias squeeze unsqueeze",
        transpose: "t transpose permute",
        expand: "expand",
        repeat: "repeat",
        reduce: "mean sum amax amin prod var std logsumexp linalg_vector_norm norm var_mean std_mean all any",
        extreme: "max min",
        ordered: "cumsum roll flip",
        pad: "constant_pad_nd",
        pool: (
            "max_pool2d_with_indices avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d mkldnn_adaptive_avg_pool2d "
            "max_pool3d_with_indices avg_pool3d upsample_nearest2d upsample_bilinear2d upsample_bicubic2d"
        ),
        select: "select",
        index: "index index_select",
        piece: "slice",
        pieces: "split split_with_sizes unbind",
        glu: "glu",
        concatenate: "cat stack",
        product: "mm addmm bmm baddbmm mv addmv dot",
        convolve: "convolution",
        normalize_channels: "native_batch_norm native_group_norm",
        normalize_layer: "native_layer_norm _fused_rms_norm",
    }
    return {name: rule for rule, names in named.items() for name in names.split()}


RULES = _rules()
