"""A digest of the library code that a script depends on.

Snakemake reruns a job when its script changes but does not follow the script's imports. Each rule therefore has a
parameter: the digest of every library module that its script imports, directly or indirectly, and of the packages that
contain them. Comments, docstrings and layout do not count. Nor do modules that move results around without changing a
number (`PLUMBING`), so a reworded log line does not repeat hours of training. If columns no longer fit, the rule that
collects tables notices, because its digest includes plumbing.

Imports are read from the source, never run. Imports that cannot be followed this way are refused: relative imports, and
modules imported by a computed name.
"""

import ast
from collections.abc import Iterator
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
    found: set[Path] = set()
    for name in _imported_names(path):
        parts = name.split(".")
        if parts[0] == "isthmus":
            places = [LIBRARY.joinpath(*parts[1:end]) for end in range(1, len(parts) + 1)]
            candidates = [file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))]
            found |= {each for each in candidates if each.is_file()}
    return frozenset(found)


def _imported_names(path: Path) -> Iterator[str]:
    """Everything that a file imports, by its full name: `a.b` for `from a import b`, whether module or name."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}:{node.lineno}: imports must name the whole package, so that reruns see them")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__"):
            raise ValueError(f"{path}:{node.lineno}: a module imported by a computed name is hidden from reruns")


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
