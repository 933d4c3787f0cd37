"""Data sets of the user's own as NumPy arrays in one `.npz` file: images, values or tokens, classes or real targets.

The file holds `train_inputs`, `train_targets`, `test_inputs` and `test_targets`. Inputs `[N, ...]` of type uint8 or of
floats are normalized: images (three axes: channels, height, width) by channel, everything else value by value. Inputs
of other integer types are tokens, which networks get as they are. Targets are classes, integers 0, 1, ... `[N]`, or
real numbers to regress on, floats `[N]` or `[N, outputs]`.

Checking a file reads it in parts, so that it takes little memory. Pickled objects are never read.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from isthmus.core.errors import ConfigurationError, DataError
from isthmus.core.files import expanded
from isthmus.data.facts import MOST_CLASSES, Facts

HALVES, WHAT = ("train", "test"), ("inputs", "targets")
"""The arrays of a file are called `train_inputs`, ..., `test_targets`."""

BYTES_AT_ONCE = 2**24
MOST_TOKENS = 2**31
"""Labels and tokens from here on are refused: more likely they are something else."""

UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that zipfile and NumPy raise if a file cannot be read."""


def file_of(name: str, description: Mapping[str, Any]) -> Path:
    """The file of the data set `name`, as its entry in `datasets` says. ConfigurationError if the entry names none."""
    if "file" not in description:
        raise ConfigurationError(
            f"`datasets.{name}.file` is missing: a data set of source `arrays` names its .npz file."
        )
    return expanded(description["file"])


def facts_of(name: str, description: Mapping[str, Any]) -> Facts:
    """The facts about a data set, from the checked file. Raises DataError, naming file and array, if it is wrong."""
    file = file_of(name, description)
    try:
        now = file.stat()
    except OSError as error:
        raise DataError(f"{file} does not exist. Put it there, or correct `datasets.{name}.file`.") from error
    return _checked(file, now.st_mtime_ns, now.st_size)


def read(name: str, description: Mapping[str, Any]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The training inputs and targets, and those for testing, in the types in which a prepared data set stores them.

    Inputs: uint8, float32, or int64 for tokens, `[N, ...]`. Targets: int64 `[N]` or float32 `[N, outputs]`. Raises
    DataError like `facts_of`.
    """
    file = file_of(name, description)
    facts_of(name, description)
    with _errors_of(file), np.load(file, allow_pickle=False) as arrays:
        return tuple((_inputs(arrays[f"{half}_inputs"]), _targets(arrays[f"{half}_targets"])) for half in HALVES)


def value_statistics(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float32, of `inputs` `[N, ...]`: by channel `[C]` if there are three axes after N,
    else of every value `[...]`. What is constant gets deviation 1. Tokens, which are not normalized, have 0 and 1.

    >>> mean, std = value_statistics(np.array([[1.0, 5.0], [3.0, 5.0]], np.float32))
    >>> mean.tolist(), std.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    """
    if inputs.dtype == np.int64:
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    axes = (0, 2, 3) if inputs.ndim == 4 else (0,)
    count = prod(inputs.shape[axis] for axis in axes)
    parts = np.array_split(inputs, -(-inputs.nbytes // BYTES_AT_ONCE))  # bounds the memory of copies in float64
    mean = sum(part.sum(axis=axes, dtype=np.float64) for part in parts) / count
    along = mean[:, None, None] if inputs.ndim == 4 else mean
    variance = sum(np.square(part - along).sum(axis=axes) for part in parts) / count
    constant = inputs.min(axis=axes) == inputs.max(axis=axes)
    std = np.where(constant, 1, np.sqrt(variance)).astype(np.float32)
    return mean.astype(np.float32), np.where(std == 0, 1, std)


@dataclass(frozen=True)
class _Array:
    """One array of a file, of which only the header has been read."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def kind(self) -> str:
        """How its values are used: `floats`, `integers`, or `bytes` for inputs of type uint8."""
        if self.dtype == np.uint8 and self.name.endswith("inputs"):
            return "bytes"
        return "floats" if self.dtype.kind == "f" else "integers"

    def wrong(self, what: str) -> DataError:
        """An error about this array."""
        return DataError(f"{self.file}: the array `{self.name}` {what}.")

    def parts(self) -> Iterator[np.ndarray]:
        """All its values in parts, flat, in the order of the file."""
        with _member(self.file, self.name) as member:
            _header(member)
            size = BYTES_AT_ONCE // self.dtype.itemsize * self.dtype.itemsize
            left = prod(self.shape) * self.dtype.itemsize
            while left:
                content = member.read(min(size, left))
                left -= len(content)
                if not content:
                    raise EOFError(f"the array {self.name} ends too soon")
                yield np.frombuffer(content, self.dtype)


@cache
def _checked(file: Path, _changed: int, _size: int) -> Facts:
    """The facts about a file. It is checked once as long as its time of change and size stay what they are."""
    with _errors_of(file):
        found = {f"{half}_{what}": _array(file, f"{half}_{what}") for half, what in product(HALVES, WHAT)}
        train, test, targets, test_targets = (found[f"{half}_{what}"] for what, half in product(WHAT, HALVES))
        for half in HALVES:
            inputs, wanted = found[f"{half}_inputs"], found[f"{half}_targets"]
            _check_inputs(inputs)
            _check_targets(wanted)
            if inputs.shape[0] != wanted.shape[0]:
                raise wanted.wrong(f"has {wanted.shape[0]} targets for the {inputs.shape[0]} examples of {inputs.name}")
        for first, second in ((train, test), (targets, test_targets)):
            if first.kind != second.kind:
                raise second.wrong(f"is of type {second.dtype}, and {first.name} of {first.dtype}: give both one type")
            if first.shape[1:] != second.shape[1:]:
                raise second.wrong(f"has examples of shape {second.shape[1:]}, and {first.name} of {first.shape[1:]}")
        inputs_kind = _inputs_kind(train)
        largest = max(_check_values(train), _check_values(test))
        classes = max(_check_values(targets), _check_values(test_targets)) + 1
    regression = targets.kind == "floats"
    return Facts(
        train.shape[0],
        test.shape[0],
        train.shape[1:],
        prod(targets.shape[1:]) if regression else classes,
        "regression" if regression else "classification",
        inputs_kind,
        largest + 1 if inputs_kind == "tokens" else 0,
        inputs_kind == "images" and train.kind == "bytes" and train.shape[1] in (1, 3),
        {"bytes": 1, "floats": 4, "integers": 8}[train.kind],
    )


def _inputs_kind(inputs: _Array) -> str:
    """What the inputs are: `tokens`, `images` or `values`."""
    if inputs.kind == "integers":
        return "tokens"
    return "images" if len(inputs.shape) == 4 else "values"


def _check_inputs(inputs: _Array) -> None:
    if len(inputs.shape) < 2:
        raise inputs.wrong(
            f"has the shape {inputs.shape}; needed are examples with axes of their own, [N, 1] for numbers"
        )


def _check_targets(targets: _Array) -> None:
    axes = len(targets.shape)
    if targets.kind != "floats" and axes != 1:
        raise targets.wrong(
            f"has the shape {targets.shape}; integers are classes, one for each example, and floats are real targets"
        )
    if targets.kind == "floats" and axes not in (1, 2):
        raise targets.wrong(f"has the shape {targets.shape}; real targets are [N] or [N, outputs]")


def _check_values(array: _Array) -> int:
    """The largest value of an array of integers; 0 for floats. Every value must be one that networks can take."""
    if array.kind == "floats":
        for part in array.parts():
            with np.errstate(over="ignore"):
                finite = np.isfinite(part.astype(np.float32)).all()
            if not finite:
                raise array.wrong("has values that are NaN, or infinite in float32; remove or replace these examples")
        return 0
    labels = array.name.endswith("targets")
    largest, what = 0, "labels" if labels else "tokens"
    for part in array.parts():
        if part.min() < 0:
            raise array.wrong(f"has the value {part.min()}; {what} are integers from 0 on")
        largest = max(largest, int(part.max()))
    if largest >= (MOST_CLASSES if labels else MOST_TOKENS):
        raise array.wrong(f"has the value {largest}, too large for {what}, which count from 0")
    return largest


def _array(file: Path, name: str) -> _Array:
    """One array, by its header alone; numbers of a kind that is known, and at least one."""
    with _member(file, name) as member:
        array = _Array(file, name, *_header(member))
    if array.dtype.hasobject:
        raise array.wrong("holds Python objects, which are never read; save it as numbers")
    if array.dtype.kind not in "fiu":
        raise array.wrong(f"is of type {array.dtype}; needed are integers or floats")
    if not prod(array.shape):
        raise array.wrong(f"has the shape {array.shape}: no examples")
    return array


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type of an array, from the beginning of its file, which is then at the first value."""
    version = np.lib.format.read_magic(member)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(member)
    return shape, dtype


@contextmanager
def _member(file: Path, name: str) -> Iterator[IO[bytes]]:
    """An array in a file, open for reading. DataError if there is none of this name."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if f"{name}.npy" not in names:
            there = ", ".join(each.removesuffix(".npy") for each in names) or "nothing"
            raise DataError(f"{file} has no array `{name}`; it has {there}.")
        with archive.open(f"{name}.npy") as member:
            yield member


@contextmanager
def _errors_of(file: Path) -> Iterator[None]:
    """Turn errors about an unreadable file into a DataError that names it."""
    try:
        yield
    except UNREADABLE as error:
        raise DataError(
            f"{file} cannot be read as an .npz file ({' '.join(str(error).split()) or type(error).__name__}): it is "
            "damaged or of another kind. Write it again with numpy.savez."
        ) from error


def _inputs(inputs: np.ndarray) -> np.ndarray:
    if inputs.dtype == np.uint8:
        return inputs
    return inputs.astype(np.float32 if inputs.dtype.kind == "f" else np.int64)


def _targets(targets: np.ndarray) -> np.ndarray:
    return (
        targets.astype(np.float32).reshape(len(targets), -1) if targets.dtype.kind == "f" else targets.astype(np.int64)
    )
