"""Rules for operations that rearrange tensors: views, pieces, concatenation."""

from collections.abc import Sequence

from isthmus.models.permutations.atoms import Dimension
from isthmus.models.permutations.call import Call, Dimensions, unknown


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


def ordered(call: Call) -> Dimensions:
    """Along some dimensions, the order of indices matters."""
    given = call.given("self")
    name = "dims" if "dims" in call.arguments else "dim"
    for index in call.axes(len(given), name):
        call.atoms.fix(given[index])
    return given


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


def look_up(call: Call) -> Dimensions:
    """A row of a table for each token: tokens keep their numbers, the entries of a row are units."""
    tokens, units = call.given("weight")
    call.atoms.fix(tokens)
    return (*call.given("indices"), units)


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
