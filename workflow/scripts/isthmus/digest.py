"""A digest of the library code a script depends on.

Snakemake reruns a job when its script changes, but does not look into what the script imports. Every rule therefore
carries, as a parameter, the digest of all modules of the library that its script reaches, directly or not. Comments,
docstrings and layout do not enter it: only a change of the code does. Modules that carry results from one place to
another without changing a number (`PLUMBING`) do not enter it either: hours of training are not repeated for a new
wording in a log, and columns that no longer fit are found when tables are collected, whose rule counts plumbing too.
"""

import ast
from functools import cache
from pathlib import Path

from isthmus.files import sha256_of

LIBRARY = Path(__file__).resolve().parent
PLUMBING = frozenset({"errors", "files", "logs", "progress", "records", "stages", "tables"})


def digest(script: Path | str, plumbing: bool = False) -> str:
    """The digest, 16 hexadecimal digits, of the library modules that `script` reaches, with or without plumbing."""
    script = Path(script).resolve()
    reached: set[Path] = {script} if script.is_relative_to(LIBRARY) else set()
    waiting = sorted(_imports(script))
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += sorted(_imports(module))
    left_out = set() if plumbing else {LIBRARY / f"{name}.py" for name in PLUMBING}
    counted = sorted(reached - left_out)
    chunks = [f"{module.relative_to(LIBRARY)}\n{_code(module)}\n".encode() for module in counted]
    return sha256_of(*chunks)[:16]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def _code(path: Path) -> str:
    """The code of a module without comments, descriptions and layout."""
    return _spelled(_tree(path))


def _spelled(node: object) -> str:
    """A syntax tree as text that all versions of Python agree on: fields that are empty or absent are left out."""
    if isinstance(node, list):
        return "[" + " ".join(_spelled(each) for each in node if not _is_text(each)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (f"{name}={_spelled(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({' '.join(fields)})"


def _is_text(node: object) -> bool:
    """Whether a statement is a text and nothing else: the description of a module, function or constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _imports(path: Path) -> frozenset[Path]:
    """Files of the library that a file imports, wherever in the file it does."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for name in names:
        if name == "isthmus" or name.startswith("isthmus."):
            place = LIBRARY.joinpath(*name.split(".")[1:])
            found |= {each for each in (place.with_suffix(".py"), place / "__init__.py") if each.is_file()}
    return frozenset(found)
