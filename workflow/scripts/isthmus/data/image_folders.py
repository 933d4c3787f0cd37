"""Image sets in folders, one for each class, in the layout of torchvision's `ImageFolder`.

`train/cat/1.png` is a training image of the class `cat`. Classes are numbered in the order of their names; images are
in the order of theirs, class by class. Hidden files and folders are skipped. torchvision also skips whatever does not
look like an image; here it is refused, so that no image is left out by mistake.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.core.errors import DataError
from isthmus.core.files import expanded, sha256_of
from isthmus.data.facts import Facts
from isthmus.data.images import Shape, decode_into, decoded, decoding_threads

ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""The names of images end like this, in lower or upper case; torchvision's `ImageFolder` takes the same ones."""

MOST_CLASSES_NAMED = 5  # in one message

Classes = dict[str, list[Path]]
"""The images of the training or the test set by class, both in the order of their names."""


def facts_of(description: Mapping[str, Any]) -> Facts:
    """The facts about a data set; `description` is its entry in `datasets`. Only the first training image is decoded.

    Raises DataError, naming the file or folder, if the folders are not as this module describes them.
    """
    train, test = _classes(description)
    first = next(iter(train.values()))[0]
    shape = decoded(_content(first), str(first)).shape
    return Facts(sum(map(len, train.values())), sum(map(len, test.values())), shape, len(train))


def read(description: Mapping[str, Any], shape: Shape) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The images, uint8 [examples, channels, height, width], and labels, int64 [examples], for training and testing.

    Raises DataError like `facts_of`, and naming the file, if one is no image of this shape or has more than 8 bits per
    channel. In a set with 3 channels, grayscale images are repeated over the channels.
    """
    return tuple(_read(classes, shape) for classes in _classes(description))


def digest(folder: str) -> str:
    """A digest, 16 hexadecimal digits, of the names, sizes and modification times of the images in `folder`.

    It changes if an image is added, removed or replaced, but not if the folder is moved. Raises DataError like
    `facts_of`.
    """
    states = [
        (f"{name}/{file.name}", file.stat()) for name, files in _classes_in(expanded(folder)).items() for file in files
    ]
    listing = "".join(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\0" for name, state in states)
    return sha256_of(listing.encode("utf-8", "surrogateescape"))[:16]


def _read(classes: Classes, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    files = [file for each in classes.values() for file in each]
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(each) for each in classes.values()])
    images = np.empty((len(files), *shape), np.uint8)
    with decoding_threads(shape) as pool:
        list(pool.map(_read_file, images, files))  # list() raises the error of the first bad file
    return images, labels


def _read_file(pixels: np.ndarray, file: Path) -> None:
    decode_into(pixels, _content(file), str(file))


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}). Make it readable, or remove it.") from error


def _classes(description: Mapping[str, Any]) -> tuple[Classes, Classes]:
    """The images for training and for testing, by class. Both must have the same classes."""
    halves = [(folder, _classes_in(folder)) for folder in (expanded(description[half]) for half in ("train", "test"))]
    for (lacking, there), (folder, classes) in (halves, halves[::-1]):
        absent = [name for name in classes if name not in there]
        if absent:
            more = f" and {len(absent) - MOST_CLASSES_NAMED} more" if len(absent) > MOST_CLASSES_NAMED else ""
            raise DataError(
                f"{lacking} lacks classes that {folder} has: {', '.join(absent[:MOST_CLASSES_NAMED])}{more}. "
                "Training and test images must have the same classes: add these folders, or remove them from the other."
            )
    return halves[0][1], halves[1][1]


def _classes_in(folder: Path) -> Classes:
    """The images in the folders of the classes."""
    classes = {}
    for entry in _entries(folder):
        if not entry.is_dir():
            raise DataError(
                f"{entry.path} lies beside the folders of the classes. Move images to the folder of their class "
                f"({folder / 'CLASS'}), and all other files out of {folder}."
            )
        classes[entry.name] = _images_in(Path(entry.path))
    if not classes:
        raise DataError(
            f"{folder} has no folders of classes. Put the images of each class into a folder of its own, such as "
            f"{folder / 'cat' / '1.png'}."
        )
    return classes


def _images_in(folder: Path) -> list[Path]:
    """The images of one class, at least one."""
    images = []
    for entry in _entries(folder):
        if not entry.is_file():
            raise DataError(
                f"{entry.path} is a folder or a broken link, where an image is expected. Put all images of the class "
                f"directly into {folder}."
            )
        if not entry.name.lower().endswith(ENDINGS):
            raise DataError(
                f"{entry.path} is not an image by its name: known are {', '.join(ENDINGS)}. Convert it, or move it out "
                "of the folder."
            )
        images.append(folder / entry.name)
    if not images:
        raise DataError(f"{folder} has no images. Put some there, or remove the class from training and test images.")
    return images


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder and not hidden, by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((each for each in entries if not each.name.startswith(".")), key=lambda each: each.name)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be read as a folder of images ({error.strerror}). Put it there, or correct `datasets`."
        ) from error
