"""Rules for operations that compute: element by element, over a dimension, products, convolutions, normalization."""

from collections.abc import Iterable

from isthmus.models.permutations.atoms import Dimension
from isthmus.models.permutations.call import Call, Dimensions


def elementwise(call: Call) -> Dimensions:
    """Broadcasting aligns shapes at their ends."""
    given = [call.dimensions(tensor) for tensor in call.tensors()]
    longest = max(map(len, given))
    padded = [((),) * (longest - len(each)) + each for each in given]
    return tuple(call.unify_all(each) for each in zip(*padded, strict=True))


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


def softmax(call: Call) -> Dimensions:
    given = call.given("self")
    index = call.axis(len(given))
    call.mixes(given[index : index + 1], given[:index] + given[index + 1 :])
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
    call.mixes(given[:1] + given[2:], given[1:2])
    _scale(call, given[1:2])
    return given


def normalize_layer(call: Call) -> Dimensions:
    given = call.given("input")
    first = len(given) - len(call.arguments["normalized_shape"])
    call.mixes(given[first:], given[:first])
    _scale(call, given[first:])
    return given


def _scale(call: Call, given: Dimensions) -> None:
    """Unify dimensions with those of weights, biases and statistics."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        if call.arguments.get(name) is not None:
            for pair in zip(given, call.given(name), strict=True):
                call.unify_all(pair)
