"""A digest of the library code that a script depends on.

Snakemake reruns a job when its script changes but does not follow the script's imports. Each rule therefore has a
parameter: the digest of every library module that its script imports, directly or indirectly, and of the packages that
contain them. Comments, docstrings and layout do not count. Nor do modules that move results around without changing a
number, or time which way of computing them is fastest (`PLUMBING`), so a reworded log line does not repeat hours of
training. If columns no longer fit, the rule that collects tables notices, because its digest includes plumbing.

Imports are read from the source, never run. Imports that cannot be followed this way are refused: relative imports, and
modules imported by a computed name.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from isthmus.core.files import sha256_of

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


def digest(script: Path | str, plumbing: bool = False) -> str:
    """The digest, 16 hexadecimal digits, of the library modules that `script` imports, with or without plumbing.

    Raises ValueError, naming the file and the line, if an import cannot be followed.
    """
    script = Path(script).resolve()
    counted = sorted(reached(script) - (set() if plumbing else {_file(name) for name in PLUMBING}))
    chunks = [f"{module.relative_to(LIBRARY)}\n{_code(module)}\n".encode() for module in counted]
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


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def _code(path: Path) -> str:
    """A module's code without comments, docstrings and layout."""
    return _spelled(_tree(path))


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


@cache
def _imports(path: Path) -> frozenset[Path]:
    """The library files that a file imports, anywhere in the file, with the packages that contain them."""
    tree = _tree(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise ValueError(f"{path}:{node.lineno}: imports must name the whole package, so that reruns see them")
        if isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__"):
            raise ValueError(f"{path}:{node.lineno}: a module imported by a computed name is hidden from reruns")
    return frozenset(_found(LIBRARY.parent, (name for name in _named(tree) if name.split(".")[0] == "isthmus")))


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
