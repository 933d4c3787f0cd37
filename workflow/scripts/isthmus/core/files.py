"""Files that are either complete or absent.

Content goes to a temporary file in the same folder, which is renamed at the end. POSIX `rename` is atomic, so a reader
never sees half a file, even if the writer is killed.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from isthmus.core.errors import ConfigurationError, UserError

ROOM = 10 * 2**20
"""Bytes that Snakemake needs for locks, logs and notes about jobs; without them it ends in a traceback."""


def write_whole(path: Path | str, write: Callable[[Path], object], first: bool = False) -> None:
    """Call `write` with a temporary path, then move the file it wrote to `path`.

    first: keep the file if another process has written it meanwhile.

    The data reach the disk before the rename. On any error, the temporary file is removed, and `path` keeps its old
    content. Raises UserError if the file cannot be written, because the disk is full, for example; any other error is
    raised again.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())  # some writers create files that only their owner can read
        if first:
            _link(temporary, path)
        else:
            temporary.replace(path)
    except FileNotFoundError:  # `write` wrote nothing
        raise
    except OSError as error:
        raise unwritable(path, os.strerror(error.errno) if error.errno else str(error)) from error
    finally:
        with suppress(OSError):  # it is not there, or cannot be removed for the reason that was just given
            temporary.unlink()


def unwritable(path: Path, reason: str) -> UserError:
    """The error to raise if a file or folder cannot be written."""
    return UserError(
        f"{path} cannot be written: {reason}. Free some space, or make the folder writable, and start again; "
        "what is finished is kept"
    )


def require_room(folder: Path, room: int = ROOM) -> None:
    """Raise UserError if nothing can be written in a folder, or less than `room` bytes."""
    if not os.access(folder, os.W_OK):
        raise unwritable(folder.resolve(), "it is read-only, or belongs to somebody else")
    free = shutil.disk_usage(folder).free
    if free < room:
        raise unwritable(
            folder.resolve(), f"its disk has {free} bytes left, and Snakemake needs about {room} for its records"
        )


def _link(written: Path, path: Path) -> None:
    """Give a file a second name, unless another file has it. File systems without links have the last writer win."""
    try:
        os.link(written, path)
    except FileExistsError:
        return
    except OSError:
        written.replace(path)


def expanded(path: str) -> Path:
    """A path with `~` and `~user` replaced by home folders. Raises ConfigurationError if there is no such user.

    >>> expanded("data/train.parquet")
    PosixPath('data/train.parquet')
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigurationError(f"{path}: there is no such home folder") from error


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
