"""Files that are either complete or absent.

Content goes to a temporary file in the same folder, which is renamed at the end. POSIX `rename` is atomic, so a reader
never sees half a file, even if the writer is killed.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


def write_whole(path: Path | str, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path, then move the file it wrote to `path`.

    The data reach the disk before the rename. On any error, the temporary file is removed, `path` keeps its old
    content, and the error is raised again.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())  # some writers create files that only their owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def sha256_of(*chunks: bytes | memoryview) -> str:
    """The SHA-256 digest of the concatenated chunks, in hexadecimal."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def read_yaml(path: Path | str) -> Any:
    """The content of a YAML file. Uses PyYAML's C parser if available, since every job reads the schemas.

    Raises yaml.YAMLError, with line and column, if it is not YAML.
    """
    return yaml.load(Path(path).read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
