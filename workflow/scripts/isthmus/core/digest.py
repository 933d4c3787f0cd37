"""A digest of the library code that a script depends on.

Snakemake reruns a job when its script changes but does not follow the script's imports. Each rule therefore has a
parameter: the digest of every library module that its script imports, directly or indirectly, and of the packages that
contain them. Comments, docstrings and layout do not count. Nor do modules that move results around without changing a
number, or time which way of computing them is fastest (`PLUMBING`), so a reworded log line does not repeat hours of
training. If columns no longer fit, the rule that collects tables notices, because its digest includes plumbing.

Imports are read from the source, never run. Imports that cannot be followed this way are refused: relative imports, and
modules imported by a computed name. What was read from a file is kept for the next start of Snakemake, by the content
of the file, because reading all files again would take a quarter of that time.
"""

import ast
import atexit
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isthmus.core.files import sha256_of
from isthmus.core.resume import Record, read_record, write_record

LIBRARY = Path(__file__).resolve().parents[1]
PLUMBING = frozenset(
    {
        "core.errors",
        "core.files",
        "core.logs",
        "core.progress",
        "core.resume",
        "tables.descriptions",
        "tables.parquet",
        "training.layouts",
        "training.timing",
    }
)

KEPT = LIBRARY / "__pycache__" / "modules.json"
"""What was read off modules, beside what Python itself keeps of them. It may be deleted at any time."""


def digest(script: Path | str, plumbing: bool = False) -> str:
    """The digest, 16 hexadecimal digits, of the library modules that `script` imports, with or without plumbing.

    Raises ValueError, naming the file and the line, if an import cannot be followed.
    """
    script = Path(script).resolve()
    counted = sorted(reached(script) - (set() if plumbing else {_file(name) for name in PLUMBING}))
    chunks = [f"{module.relative_to(LIBRARY)}\n{_read(module).code}\n".encode() for module in counted]
    return sha256_of(*chunks)[:16]


def digest_beside(script: Path) -> str:
    """The digest, 16 hexadecimal digits, of a user's own file and of the files in its folder that it imports.

    Raises FileNotFoundError if there is no such file, and SyntaxError if one of them is not Python.
    """
    counted: dict[str, str] = {}
    waiting = [script]
    while waiting:
        file = waiting.pop()
        name = file.relative_to(script.parent).as_posix()
        if name not in counted:
            tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
            counted[name] = _spelled(tree)
            waiting += sorted(_found(script.parent, _named(tree)))
    return sha256_of(*(f"{name}\n{counted[name]}\n".encode() for name in sorted(counted)))[:16]


def reached(script: Path) -> set[Path]:
    """The library files that a script imports, directly or indirectly; a script within the library includes itself."""
    found: set[Path] = {script} if script.is_relative_to(LIBRARY) else set()
    waiting = sorted(_imports(script))
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += sorted(_imports(module))
    return found


def _file(name: str) -> Path:
    return LIBRARY.joinpath(*name.split(".")).with_suffix(".py")


@dataclass(frozen=True)
class _Module:
    """code: a digest of the code without comments, docstrings and layout; names: what it imports, in any place."""

    code: str
    names: tuple[str, ...]


@cache
def _kept() -> dict[str, list[Any]]:
    """What earlier starts read off modules, by the digest of their content, to be added to."""
    record = read_record(KEPT)
    return record.content if record is not None else {}


@cache
def _keep_at_exit() -> None:
    """Write down at the end of the process what was read, where Python keeps compiled modules, too."""
    if KEPT.parent.is_dir() and os.access(KEPT.parent, os.W_OK):
        atexit.register(lambda: write_record(KEPT, Record(KEPT.stem, _kept())))


@cache
def _read(path: Path) -> _Module:
    """What counts of a file. Raises ValueError if its imports cannot be followed."""
    source = path.read_bytes()
    key = sha256_of(source)
    if key not in _kept():
        tree = ast.parse(source, str(path))
        _check(tree, path)
        _keep_at_exit()
        _kept()[key] = [sha256_of(_spelled(tree).encode()), sorted(set(_named(tree)))]
    code, names = _kept()[key]
    return _Module(code, tuple(names))


def _spelled(node: object) -> str:
    """A syntax tree as text that is the same in every Python version: empty and absent fields are left out."""
    if isinstance(node, list):
        return "[" + " ".join(_spelled(each) for each in node if not _is_text(each)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (f"{name}={_spelled(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({' '.join(fields)})"


def _is_text(node: object) -> bool:
    """Whether a statement is only a string: the docstring of a module, function or constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _check(tree: ast.Module, path: Path) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise ValueError(f"{path}:{node.lineno}: imports must name the whole package, so that reruns see them")
        if isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__"):
            raise ValueError(f"{path}:{node.lineno}: a module imported by a computed name is hidden from reruns")


@cache
def _imports(path: Path) -> frozenset[Path]:
    """The library files that a file imports, anywhere in the file, with the packages that contain them."""
    return frozenset(_found(LIBRARY.parent, (name for name in _read(path).names if name.split(".")[0] == "isthmus")))


def _named(tree: ast.Module) -> Iterator[str]:
    """Everything that a file imports, by its full name: `a.b` for `from a import b`, whether module or name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = f"{node.module}." if node.module else ""
            yield from (f"{prefix}{alias.name}" for alias in node.names)


def _found(folder: Path, names: Iterable[str]) -> set[Path]:
    """The files in a folder that these names stand for, with the packages that contain them."""
    found: set[Path] = set()
    for name in names:
        parts = name.split(".")
        places = [folder.joinpath(*parts[:end]) for end in range(1, len(parts) + 1)]
        candidates = [file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))]
        found |= {each for each in candidates if each.is_file()}
    return found


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
