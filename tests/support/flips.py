"""Damage to files that jobs read back: a flipped bit, an end that is cut off, an end full of zeros.

What comes back from a damaged file is compared with what comes back from the whole one, read as a job reads it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from torch import Tensor

from isthmus.analyses.tickets.levels import LevelFiles
from isthmus.core.errors import UserError
from isthmus.core.resume import first_record, read_record
from isthmus.core.tensors import load_tensors
from isthmus.data.dataset import load_dataset
from isthmus.tables.parquet import read_table
from isthmus.training.checkpoint import load_state
from isthmus.training.weights import load_snapshots

Read = Callable[[Path], Any]
"""Reads a file as a job does: what comes back, or None if the file is set aside and what it held is made again."""

Damage = Callable[[bytes, random.Random], bytes]


def flipped_bit(content: bytes, randomness: random.Random) -> bytes:
    damaged, bit = bytearray(content), randomness.randrange(8 * len(content))
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def cut_off_end(content: bytes, randomness: random.Random) -> bytes:
    return content[: randomness.randrange(len(content))]


def zeroed_end(content: bytes, randomness: random.Random) -> bytes:
    """As some file systems leave a file after a power cut."""
    length = randomness.randrange(len(content))
    return content[:length] + bytes(len(content) - length)


@dataclass(frozen=True)
class Kind:
    """Files of one kind, each with what reads it."""

    name: str
    files: Sequence[tuple[Path, Read]]

    def attack(self, scratch: Path, randomness: random.Random, damage: Damage) -> str:
        """Damage a copy of one of the files and read it; return how that ended: survived, refused or wrong."""
        file, read = randomness.choice(self.files)
        content = file.read_bytes()
        expected = _plain(read(_copy(content, scratch, file)))
        damaged = _copy(damage(content, randomness), scratch, file)
        try:
            found = read(damaged)
        except UserError as error:
            return "refused" if file.name in str(error) else "wrong"
        return "survived" if found is None or _plain(found) == expected else "wrong"


def _copy(content: bytes, scratch: Path, file: Path) -> Path:
    """A file of this content by the name of `file`, in a folder by the name of its folder."""
    path = scratch / file.parent.name / file.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def _plain(value: Any) -> Any:
    """A value in terms of what Python compares bit for bit."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, pa.Table):
        return value.schema, value.to_pylist()
    if is_dataclass(value):
        return _plain(vars(value))
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return value


def _read_level(mark: str, path: Path) -> Any:
    level, seed = (int(name.split("-")[1]) for name in (path.parent.name, path.stem))
    return LevelFiles(path.parents[1], lambda _: mark).read(level, seed)


def _read_layout(path: Path) -> Any:
    return first_record(path, "mark", lambda: pytest.fail("measured again, although there is a record"))


def kinds(folder: Path, scratch: Path) -> list[Kind]:
    """Every kind of file that the workflow reads back, in the folder of a finished study that kept its checkpoints.

    A study of small networks without convolutions measures no memory layout, so `scratch` gets the record of one.
    """
    root, layout = folder / "results", scratch / "layouts" / "0.json"
    first_record(
        layout, "mark", lambda: {"channels_last": True, "together": False, "milliseconds": {"contiguous": 1.7}}
    )

    def every(pattern: str, read: Read) -> list[tuple[Path, Read]]:
        return [(path, read) for path in sorted(root.glob(pattern))]

    def marked(pattern: str, read: Callable[[str, Path], Any]) -> list[tuple[Path, Read]]:
        files = sorted(root.glob(pattern))
        return [(path, partial(read, load_tensors(path)[1]["fingerprint"])) for path in files]

    return [
        Kind("prepared data", every("data/*.safetensors", load_dataset)),
        Kind("weights and masks", every("small/*/*/*.safetensors", load_snapshots)),
        Kind("tables", every("**/*.parquet", read_table)),
        Kind(
            "checkpoints of training",
            marked("checkpoints/**/seeds-*.safetensors", lambda mark, path: load_state(path, mark)),
        ),
        Kind("checkpoints of tickets", marked("checkpoints/**/level-*/seed-*.safetensors", _read_level)),
        Kind(
            "records of measurements and of who works",
            [*every("checkpoints/**/*.json", read_record), (folder / ".snakemake/at_work.json", read_record)],
        ),
        Kind("memory layouts", [(layout, _read_layout)]),
    ]
