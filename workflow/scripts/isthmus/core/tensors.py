"""Tensors on disk, as safetensors files with a checksum over tensors and metadata.

A file that is incomplete or altered raises an error that names it. Files are written atomically, and files of equal
content are equal byte for byte. Reading maps them into memory, so that processes on one machine share their pages.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from isthmus.core.errors import DataError
from isthmus.core.files import sha256_of, write_whole

Tensors = dict[str, Tensor]


def flatten(nested: Mapping[Any, Any]) -> Tensors:
    """The tensors in nested dictionaries as one dictionary, their keys joined by "/"; `unflatten` undoes it.

    >>> flatten({3: {"final": {"1.weight": torch.zeros(2)}}})
    {'3/final/1.weight': tensor([0., 0.])}
    """
    flat: Tensors = {}
    for key, value in nested.items():
        if isinstance(value, Tensor):
            flat[str(key)] = value
        else:
            flat |= {f"{key}/{name}": part for name, part in flatten(value).items()}
    return flat


def unflatten(flat: Mapping[str, Tensor]) -> dict[str, Any]:
    """Nested dictionaries from tensors whose names are keys joined by "/". All keys are text then.

    >>> unflatten({"3/final/1.weight": torch.zeros(2)})
    {'3': {'final': {'1.weight': tensor([0., 0.])}}}
    """
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *keys, name = path.split("/")
        inner = nested
        for key in keys:
            inner = inner.setdefault(key, {})
        inner[name] = value
    return nested


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256, in hexadecimal, of the metadata and of each CPU tensor's name, type, shape and content."""
    chunks: list[bytes | memoryview] = [json.dumps(dict(metadata), sort_keys=True).encode()]
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        chunks.append(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        chunks.append(tensor.flatten().view(torch.uint8).numpy().data)
    return sha256_of(*chunks)


def save_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata to one file, atomically. Equal content gives equal bytes."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    complete = dict(metadata) | {"checksum": checksum(on_cpu, metadata)}

    def write(temporary: Path) -> None:
        try:
            save_file(on_cpu, temporary, complete)
        except SafetensorError as error:  # of the operating system
            raise OSError(str(error)) from error
        _sort_metadata(temporary)

    write_whole(path, write)


def _sort_metadata(path: Path) -> None:
    """Sort the metadata in the header of a safetensors file, where they are in a random order."""
    with path.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size)
        if len(ordered) != size:
            raise ValueError(f"the header of {path} took {size} bytes and takes {len(ordered)} once it is sorted")
        stream.seek(8)
        stream.write(ordered)


def load_tensors(path: Path | str) -> tuple[Tensors, dict[str, str]]:
    """Read a file's tensors, onto the CPU, and its metadata, which includes `checksum`.

    Raises DataError, naming the file, if it is missing, truncated or altered.
    """
    if not Path(path).is_file():
        raise DataError(f"{path} does not exist; run the workflow again to make it")
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and run the workflow again") from error
    if "checksum" not in metadata:
        raise DataError(
            f"{path} was written by another program: it has no checksum; delete it and run the workflow again"
        )
    found = checksum(tensors, {key: value for key, value in metadata.items() if key != "checksum"})
    if metadata["checksum"] != found:
        raise DataError(f"{path} is damaged: its checksum does not match; delete it and run the workflow again")
    return tensors, metadata
