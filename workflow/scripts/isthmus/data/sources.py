"""The sources of data sets, and how each data set becomes one prepared file.

A data set comes from scikit-learn (the handwritten digits, installed with it), from torchvision (the classical sets,
downloaded if allowed and possible) or from the user's own folders of images, Parquet files or NumPy arrays. All become
the same few tensors in one safetensors file, which `isthmus.data.dataset` reads.

Modules that are slow to import (torchvision, pyarrow, Pillow, scikit-learn) are imported where they are used.
"""

import gzip
import http.client
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.core.errors import DataError
from isthmus.core.files import expanded
from isthmus.data import arrays
from isthmus.data.facts import BUILTIN, facts

Arrays = tuple[np.ndarray, np.ndarray]
"""Images, uint8 [examples, channels, height, width], and labels, int64 [examples]; or other inputs and targets."""


DIGITS_SPLIT_SEED = 0
"""Seed of the split of the digits into training and test set. Every result depends on it: never change it."""

UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, KeyError, IndexError, AssertionError),
    *(zlib.error, tarfile.TarError, http.client.HTTPException),
)
"""Errors that torchvision and the standard library raise if files cannot be read or downloaded."""


@dataclass(frozen=True, eq=False)
class PreparedDataset:
    """A data set as arrays, with the fields of `isthmus.data.dataset.Dataset`.

    Raw values of images are as stored: 0 .. 255; 0 .. 16 for the digits.
    """

    name: str
    classes: int
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def prepare(name: str, description: Mapping[str, Any]) -> PreparedDataset:
    """The whole data set `name`; `description` is its entry in `datasets`, with defaults.

    Raises ConfigurationError for an unknown name. Raises DataError, saying which file or folder and what to do, if
    files are missing, damaged or of another kind, or if a download fails.
    """
    known = facts(name, description)
    if description["source"] == "parquet":
        from isthmus.data import parquet_images

        halves = (parquet_images.split_of(name, description, split) for split in ("train", "test"))
        train, test = (
            (parquet_images.read_images(half, known.shape), parquet_images.read_labels(half)) for half in halves
        )
    elif description["source"] == "folder":
        from isthmus.data import image_folders

        train, test = image_folders.read(description, known.shape)
    elif description["source"] == "arrays":
        train, test = arrays.read(name, description)
    elif name == "digits":
        train, test = _digits()
    else:
        train, test = _from_torchvision(name, expanded(description["root"]), description["download"])
    mean, std = channel_statistics(train[0]) if _is_pixels(train[0]) else arrays.value_statistics(train[0])
    if "mean" in description:
        mean, std = (np.full(mean.shape, description[key], np.float32) for key in ("mean", "std"))
    return PreparedDataset(name, known.classes, *train, *test, mean, std)


def write_prepared(path: Path | str, prepared: PreparedDataset) -> None:
    """Write a data set to one file, atomically. `isthmus.data.dataset.load_dataset` reads it."""
    import torch

    from isthmus.core.tensors import save_tensors
    from isthmus.data.dataset import FORMATS, TENSORS

    tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(prepared, name))) for name in TENSORS}
    plain = _is_pixels(prepared.train_images) and prepared.train_labels.dtype == np.int64
    kind = FORMATS["images" if plain else "others"]
    metadata = {"format": kind, "name": prepared.name, "classes": str(prepared.classes)}
    save_tensors(path, tensors, metadata)


def _is_pixels(inputs: np.ndarray) -> bool:
    """Whether these are 8-bit images."""
    return inputs.dtype == np.uint8 and inputs.ndim == 4


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every channel, each float32 [channels]; a constant channel gets deviation 1.

    `images`: uint8 [examples, channels, height, width]. The sums are exact because they are sums of integers.
    """
    axes = (0, 2, 3)
    pixels = images[:, 0].size
    parts = np.array_split(images, -(-len(images) // 4096))  # bounds the memory of the squares
    total = sum(part.sum(axis=axes, dtype=np.int64) for part in parts)
    squares = sum(np.square(part, dtype=np.uint16).sum(axis=axes, dtype=np.int64) for part in parts)
    mean = total / pixels
    std = np.sqrt(squares / pixels - mean**2)
    return mean.astype(np.float32), np.where(std == 0, 1, std).astype(np.float32)


def _digits() -> tuple[Arrays, Arrays]:
    """The digits of scikit-learn, with pixels in 0 .. 16, in one fixed stratified split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, np.newaxis]
    labels = digits.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=BUILTIN["digits"].test_size,
        stratify=labels,
        random_state=DIGITS_SPLIT_SEED,
    )
    return (images[train], labels[train]), (images[test], labels[test])


@dataclass(frozen=True)
class _Layout:
    """Where torchvision keeps a data set.

    `files`: the files it reads, relative to its root, with their MD5 if known. `archive`: the single file that contains
    them, relative to the root, or None. `origin`: where to get them.
    """

    files: dict[Path, str | None]
    archive: Path | None
    origin: str


def _layout(source: Any) -> _Layout:
    """The layout of a torchvision class like MNIST, CIFAR or SVHN."""
    if hasattr(source, "resources"):
        raw = Path(source.__name__, "raw")
        packed = [file for file, _ in source.resources]
        origin = f"{', '.join(packed)} from {source.mirrors[0]}"
        return _Layout({raw / Path(file).stem: None for file in packed}, None, origin)
    if hasattr(source, "base_folder"):
        files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
        batches = {Path(source.base_folder, file): md5 for file, md5 in files}
        return _Layout(batches, Path(source.filename), source.url)
    halves = [source.split_list[split] for split in ("train", "test")]
    origin = " and ".join(url for url, _, _ in halves)
    return _Layout({Path(file): md5 for _, file, md5 in halves}, None, origin)


def _from_torchvision(name: str, root: Path, download: bool) -> tuple[Arrays, Arrays]:
    """The training and test split of a torchvision set, from files under `root`, packed or not, or from a download.

    torchvision reads unpacked files only and would unpack them next to the packed ones. So that only a download writes
    to `root`, torchvision reads from a temporary folder with links and unpacked copies.
    """
    import torchvision.datasets

    source = getattr(torchvision.datasets, name)
    layout = _layout(source)
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        absent = _stage(name, layout, root, Path(folder))
        if not absent:
            train, test = (_read_split(name, source, root, folder, split) for split in ("train", "test"))
            return train, test
    reason = f"`datasets.{name}.download` is false"
    if download:
        try:
            for split in ("train", "test"):
                _open_split(source, root, split, download=True)
            return _from_torchvision(name, root, download=False)
        except UNREADABLE as error:
            reason = f"downloading failed ({_one_line(error)})"
    raise DataError(
        f"{name} is not in the folder {root}: {', '.join(map(str, absent))} not found, and {reason}. Get "
        f"{layout.origin} and put what is missing there, packed or not, or set `datasets.{name}.root` to the "
        "folder that holds it."
    )


def _stage(name: str, layout: _Layout, root: Path, folder: Path) -> list[Path]:
    """Link or unpack every file of a set from `root` to `folder`; return the files that were not found.

    Raises DataError if a file is damaged.
    """
    from torchvision.datasets.utils import check_integrity

    absent = []
    archive = root / layout.archive if layout.archive else None
    if archive and archive.is_file() and not all((root / file).is_file() for file in layout.files):
        with _damage_named(archive, name, "file "), tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    for file, md5 in layout.files.items():
        staged, original = folder / file, root / file
        packed_file = original.with_name(f"{file.name}.gz")
        staged.parent.mkdir(parents=True, exist_ok=True)
        if original.is_file():
            staged.unlink(missing_ok=True)
            staged.symlink_to(original.resolve())
        elif packed_file.is_file():
            with _damage_named(packed_file, name, "file "), gzip.open(packed_file) as packed:
                staged.write_bytes(packed.read())
        elif not staged.is_file():
            absent.append(file)
            continue
        with _damage_named(original, name, "file "):
            if not check_integrity(staged, md5):
                raise ValueError(f"its MD5 checksum is not {md5}")
    return absent


def _open_split(source: Any, root: Path | str, split: str, download: bool = False) -> Any:
    """A torchvision data set; SVHN names its splits, while the others have a flag."""
    if source.__name__ == "SVHN":
        return source(root, split=split, download=download)
    return source(root, train=split == "train", download=download)


def _read_split(name: str, source: Any, root: Path, folder: str, split: str) -> Arrays:
    """Images and labels from the staged files in `folder`; errors name `root`, where the user put the files."""
    known = BUILTIN[name]
    size = known.train_size if split == "train" else known.test_size
    with _damage_named(root, name, f"{split} files in the folder "):
        dataset = _open_split(source, folder, split)
        images = np.asarray(dataset.data)
        labels = np.asarray(dataset.labels if name == "SVHN" else dataset.targets, dtype=np.int64)
        if images.ndim == 3:
            images = images[:, np.newaxis]
        elif name != "SVHN":
            images = images.transpose(0, 3, 1, 2)  # torchvision keeps CIFAR with the channels last
        if images.shape != (size, *known.shape) or labels.shape != (size,):
            found = f"{len(labels)} labels and images {images.shape}"
            raise ValueError(f"{found}, where {(size, *known.shape)} is expected")
        if labels.min() < 0 or labels.max() >= known.classes:
            raise ValueError(f"labels {labels.min()} to {labels.max()}, of {known.classes} classes")
    return np.ascontiguousarray(images), labels


@contextmanager
def _damage_named(place: Path, name: str, what: str) -> Iterator[None]:
    """Turn errors about damaged files into a DataError that names the file or folder."""
    try:
        yield
    except UNREADABLE as error:
        raise DataError(
            f"The {what}{place} cannot be read as {name} ({_one_line(error)}): damaged, truncated or of "
            "another kind. Delete what is damaged and run again, with a whole copy in its place or with "
            f"`datasets.{name}.download: true`."
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
