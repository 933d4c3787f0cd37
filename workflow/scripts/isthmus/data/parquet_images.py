"""Image sets in Parquet files, in the layout of the Hugging Face hub.

Each row is one example: an encoded image (a struct with a field `bytes`, or the bytes themselves) and an integer label.
Files are read in batches of rows, and several threads decode large images.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from isthmus.core.errors import ConfigurationError, DataError
from isthmus.core.files import expanded
from isthmus.data.facts import MOST_CLASSES
from isthmus.data.images import Shape, decode_into, decoded, decoding_threads

ROWS_PER_BATCH = 2048  # rows with their encoded images in memory at once
ROWS_PER_TASK = 64  # images that a thread decodes per task


@dataclass(frozen=True)
class Split:
    """The training or test split of a Parquet image set: its files, in order, and its two columns."""

    files: tuple[Path, ...]
    image_column: str
    label_column: str


def split_of(name: str, description: Mapping[str, Any], split: str) -> Split:
    """The split `split` ("train" or "test") of the set `name`, as described by its entry in `datasets`.

    Raises ConfigurationError if the entry names no files.
    """
    files = description.get(split)
    if not files:
        raise ConfigurationError(
            f"`datasets.{name}.{split}` is missing: a data set of source `parquet` needs the path, or a list "
            f"of paths, of its {split} files."
        )
    files = [files] if isinstance(files, str) else files
    paths = tuple(expanded(file) for file in files)
    return Split(paths, description["image_column"], description["label_column"])


def read_labels(split: Split) -> np.ndarray:
    """The labels of a split, int64 [examples], all >= 0.

    Reads only the label column. Raises DataError, naming file and row, if a file is missing or damaged, if the column
    is missing, or if a label is not an integer >= 0.
    """
    parts = []
    for file in split.files:
        with _opened(file, split.label_column, "label_column") as parquet:
            column = parquet.read(columns=[split.label_column], use_threads=False).column(0)
            if not pa.types.is_integer(column.type):
                raise DataError(
                    f"The label column `{split.label_column}` of {file} holds {column.type}; labels must be "
                    "integers, 0 for the first class."
                )
            if column.null_count:
                row = pc.index(pc.is_null(column), True).as_py()
                raise DataError(f"{_row(file, row)} has no label. Remove the row or label it.")
            largest = pc.max(column).as_py() if len(column) else 0
            if largest >= MOST_CLASSES:
                raise DataError(
                    f"{_row(file, pc.index(column, largest).as_py())} has the label {largest}, too large for labels, "
                    "which count from 0."
                )
            labels = column.cast(pa.int64()).to_numpy()
        if labels.size and labels.min() < 0:
            row = int(np.argmax(labels < 0))
            raise DataError(
                f"{_row(file, row)} has the label {labels[row]}; labels must be integers >= 0. Remove rows "
                "without a class."
            )
        parts.append(labels)
    labels = np.concatenate(parts)
    if not labels.size:
        raise DataError(f"{', '.join(map(str, split.files))}: no rows, where images are expected.")
    return labels


def image_shape(split: Split) -> Shape:
    """Channels (1 for grayscale, otherwise 3), height and width of the first image of a split.

    Decodes no other image. Raises DataError like `read_images`.
    """
    for file in split.files:
        with _opened(file, split.image_column, "image_column") as parquet:
            for batch in parquet.iter_batches(batch_size=1, columns=[split.image_column], use_threads=False):
                (first,) = _encoded(batch.column(0), file, split)
                return decoded(_present(first, file, 0), _row(file, 0)).shape
    raise DataError(f"{', '.join(map(str, split.files))}: no rows, where images are expected.")


def read_images(split: Split, shape: Shape) -> np.ndarray:
    """All images of a split, uint8 [examples, channels, height, width], all of the given shape.

    In a set with 3 channels, grayscale images are repeated over the channels. Raises DataError, naming file and row, if
    a file is missing or damaged, the column is missing, a row has no bytes, its bytes are not an image, or the image
    has more than 8 bits per channel or another shape.
    """
    counts = []
    for file in split.files:
        with _opened(file, split.image_column, "image_column") as parquet:
            counts.append(parquet.metadata.num_rows)
    images = np.empty((sum(counts), *shape), np.uint8)
    parts = np.split(images, np.cumsum(counts)[:-1])  # views, one per file
    with decoding_threads(shape) as pool:
        for file, part in zip(split.files, parts, strict=True):
            _read_file(file, split, part, pool)
    return images


def _read_file(file: Path, split: Split, images: np.ndarray, pool: ThreadPoolExecutor) -> None:
    """Decode the images of one file into `images`, uint8 [rows, channels, height, width]."""

    def decode_rows(first: int, encoded: list[bytes | None]) -> None:
        for row, content in enumerate(encoded, start=first):
            decode_into(images[row], _present(content, file, row), _row(file, row))

    first = 0
    with _opened(file, split.image_column, "image_column") as parquet:
        for batch in parquet.iter_batches(batch_size=ROWS_PER_BATCH, columns=[split.image_column], use_threads=False):
            encoded = _encoded(batch.column(0), file, split)
            starts = range(0, len(encoded), ROWS_PER_TASK)
            tasks = [encoded[start : start + ROWS_PER_TASK] for start in starts]
            # list() waits for the batch and raises the error of its first bad row.
            list(pool.map(decode_rows, [first + start for start in starts], tasks))
            first += len(encoded)


@contextmanager
def _opened(file: Path, column: str, key: str) -> Iterator[pq.ParquetFile]:
    """Open the Parquet file and check that it has `column`, which the entry names under its key `key`."""
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            columns = parquet.schema_arrow.names
            if column not in columns:
                raise DataError(
                    f"{file} has no column `{column}`; its columns are {', '.join(columns)}. Set `{key}` of "
                    "the data set to the right one."
                )
            yield parquet
    except FileNotFoundError as error:
        raise DataError(f"{file} does not exist. Put it there, or correct `datasets`.") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file} cannot be read as Parquet ({_one_line(error)}): it is damaged, truncated or of another "
            "kind. Replace it with a whole copy."
        ) from error


def _encoded(column: pa.Array, file: Path, split: Split) -> list[bytes | None]:
    """The encoded images of a batch."""
    kind = column.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not (
        pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type) or pa.types.is_binary_view(column.type)
    ):
        raise DataError(
            f"The image column `{split.image_column}` of {file} holds {kind}; it must hold encoded images "
            "(PNG, JPEG, ...), as binary or as a struct with a binary field `bytes`."
        )
    return column.to_pylist()


def _present(encoded: bytes | None, file: Path, row: int) -> bytes:
    """The encoded image of a row. Raises DataError if there is none."""
    if encoded is None:
        raise DataError(
            f"{_row(file, row)} has no image bytes. Images must be inside the file; a path beside null bytes "
            "is not followed."
        )
    return encoded


def _row(file: Path, row: int) -> str:
    return f"Row {row} of {file} (counted from 0)"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
