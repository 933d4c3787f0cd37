"""What is known about a data set before any job runs: its size, the shape of its inputs, its classes or targets.

Snakemake needs this while it parses the Snakefile, so this module imports neither torch nor torchvision, and pyarrow
and Pillow only for the user's own data sets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.core.errors import ConfigurationError


@dataclass(frozen=True)
class Facts:
    """What is known about a data set before any job runs.

    `train_size`, `test_size`: numbers of examples. `shape`: of an example; channels, height, width for images.
    `classes`: number of classes, or of real targets per example. `task`: `classification` or `regression`. `inputs`:
    `images`, `values` or `tokens`. `tokens`: how many there are. `corruptible`: whether the inputs are 8-bit images in
    gray or colour. `value_bytes`: how many bytes a value of an input takes in a prepared data set.
    """

    train_size: int
    test_size: int
    shape: tuple[int, ...]
    classes: int
    task: str = "classification"
    inputs: str = "images"
    tokens: int = 0
    corruptible: bool = True
    value_bytes: int = 1


MOST_CLASSES = 100_000  # larger labels are mistakes, such as numbers of examples

BUILTIN: dict[str, Facts] = {
    "digits": Facts(1_437, 360, (1, 8, 8), 10),
    "MNIST": Facts(60_000, 10_000, (1, 28, 28), 10),
    "FashionMNIST": Facts(60_000, 10_000, (1, 28, 28), 10),
    "KMNIST": Facts(60_000, 10_000, (1, 28, 28), 10),
    "CIFAR10": Facts(50_000, 10_000, (3, 32, 32), 10),
    "CIFAR100": Facts(50_000, 10_000, (3, 32, 32), 100),
    "SVHN": Facts(73_257, 26_032, (3, 32, 32), 10),
}
"""Data sets that need no entry in the configuration."""


def facts(name: str, description: Mapping[str, Any]) -> Facts:
    """The facts about the data set `name`; `description` is its entry in `datasets`, with defaults.

    This is cheap: built-in sets are looked up and need no files; from Parquet files, only the labels and the first
    image are read; from folders of images, the names of the files and the first image; a file of arrays is checked in
    parts. Raises ConfigurationError for an unknown name, and DataError
    for a file that is missing, damaged, malformed or lacks the requested columns.
    """
    if description["source"] == "arrays":
        from isthmus.data import arrays

        return arrays.facts_of(name, description)
    if description["source"] == "folder":
        from isthmus.data import image_folders

        return image_folders.facts_of(description)
    if description["source"] == "parquet":
        from isthmus.data import parquet_images

        train, test = (parquet_images.split_of(name, description, split) for split in ("train", "test"))
        train_labels, test_labels = parquet_images.read_labels(train), parquet_images.read_labels(test)
        classes = int(max(train_labels.max(), test_labels.max())) + 1
        return Facts(len(train_labels), len(test_labels), parquet_images.image_shape(train), classes)
    if name not in BUILTIN:
        raise ConfigurationError(
            f"There is no data set `{name}`. Built in are {', '.join(BUILTIN)}; any other needs an entry "
            "under `datasets` with its `source` and its files."
        )
    return BUILTIN[name]
