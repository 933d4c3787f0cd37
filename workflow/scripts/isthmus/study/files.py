"""Configuration files as they were written: mistakes that can no longer be seen once YAML has been read.

Snakemake reads YAML 1.1, where the last of two equal keys silently wins, `yes` means true, `010` means 8 and
`1:30` means 90. The text of a file is therefore checked, and whatever does not mean what it seems to is refused.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from isthmus.core.files import read_yaml

TRUE_OR_FALSE = ("true", "false")
BASE_60 = re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.\d*)?")
BASE_8 = re.compile(r"[-+]?0[0-7_]+")


def folder_of(files: Sequence[Path | str]) -> Path:
    """The folder of the last of these files that has studies; the working directory if there is none."""
    for file in reversed(files):
        content = read_yaml(file)
        if isinstance(content, dict) and "studies" in content:
            return Path(file).parent
    return Path()


def unreadable(file: Path | str) -> str:
    """Why a file cannot be read as a configuration, in a sentence; empty if it can.

    Snakemake reads these files before the workflow does, and says less.
    """
    try:
        node = yaml.compose(Path(file).read_bytes().decode(), yaml.SafeLoader)
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return f"{file}, line {line}: a character is not in UTF-8; save the file in this encoding"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return f"{file}{where}: {error.problem}"
    except yaml.YAMLError as error:
        return f"{file}: {' '.join(str(error).split())}"
    if not isinstance(node, yaml.MappingNode):
        return f"{file} has no keys at the top, such as `studies`"
    if line := _line_of_recursion(node, (), set()):
        return f"{file}, line {line}: this part contains itself by an alias"
    return ""


def _line_of_recursion(node: yaml.Node, around: tuple[int, ...], checked: set[int]) -> int:
    """The line of a part of a file that contains itself; 0 if there is none. around: the parts that contain `node`."""
    if id(node) in around:
        return int(node.start_mark.line) + 1
    if id(node) in checked:  # aliases repeat it
        return 0
    checked.add(id(node))
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    else:
        parts = node.value if isinstance(node, yaml.SequenceNode) else []
    lines = (_line_of_recursion(part, (*around, id(node)), checked) for part in parts)
    return next(filter(None, lines), 0)


def file_errors(files: Sequence[Path | str]) -> list[str]:
    """Keys given twice, and values that YAML reads differently from a person: a sentence each, with the line."""
    found: dict[str, None] = {}  # a file may be given twice
    for file in files:
        node = yaml.compose(Path(file).read_text(encoding="utf-8"), yaml.SafeLoader)
        if node is not None:
            found |= dict.fromkeys(f"{file}, {mistake}" for mistake in _mistakes(node, set()))
    return list(found)


def _mistakes(node: yaml.Node, seen: set[int]) -> Iterator[str]:
    """Mistakes in a part of a file; `seen` has the parts that were looked at, since aliases repeat them."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if first := lines.get(key.value):
                    yield f"line {line}: the key `{key.value}` was given in line {first} already; keep one of them"
                lines.setdefault(key.value, line)
            yield from _mistakes(key, seen)
            yield from _mistakes(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _mistakes(value, seen)
    elif isinstance(node, yaml.ScalarNode) and node.style is None and (meaning := _surprise(node)):
        line = node.start_mark.line + 1
        yield f"line {line}: `{node.value}` means {meaning} in YAML 1.1; write that, or put it in quotes"


def _surprise(node: yaml.ScalarNode) -> str:
    """What a text without quotes means, if it does not look like that."""
    kind = node.tag.rpartition(":")[2]
    if kind == "bool" and node.value.lower() not in TRUE_OR_FALSE:
        return str(yaml.safe_load(node.value)).lower()
    if (kind in ("int", "float") and BASE_60.fullmatch(node.value)) or (kind == "int" and BASE_8.fullmatch(node.value)):
        return str(yaml.safe_load(node.value))
    return "a date" if kind == "timestamp" else ""
