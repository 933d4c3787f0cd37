"""Parquet image sets: what is decoded, what is converted, what is refused."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import described
from PIL import Image
from running import SHARED

from isthmus.core.errors import ConfigurationError, DataError
from isthmus.data.facts import BUILTIN, Facts, facts
from isthmus.data.sources import prepare

CIFAR_PARQUET = SHARED / "cifar10-jpeg"
needs_cifar = pytest.mark.skipif(
    not (CIFAR_PARQUET / "train.parquet").is_file(), reason=f"CIFAR-10 as Parquet is not in {CIFAR_PARQUET}"
)


def encoded(values: np.ndarray, mode: str | None = None, form: str = "PNG", **options: Any) -> bytes:
    image = Image.fromarray(values)
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, form, **options)
    return stream.getvalue()


def write_parquet(
    path: Path, images: Sequence[bytes | None], labels: Sequence[Any], struct: bool = True, **options: Any
) -> Path:
    cells = [{"bytes": image, "path": None} for image in images] if struct else images
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if struct else pa.binary()
    table = pa.table({"img": pa.array(cells, kind), "label": pa.array(labels)})
    pq.write_table(table, path, **options)
    return path


def in_parquet(train: Path | list[Path], test: Path, **others: Any) -> dict[str, Any]:
    files = [str(path) for path in train] if isinstance(train, list) else str(train)
    return described(source="parquet", train=files, test=str(test), **others)


def random_images(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_images_come_back_bit_for_bit(tmp_path: Path, struct: bool) -> None:
    """Several files, several row groups, and images large enough for several threads."""
    images = random_images(300, 64, 70, 3)
    labels = np.arange(300) % 7
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "test.parquet"]
    for file, part in zip(files, (slice(0, 150), slice(150, 280), slice(280, 300)), strict=True):
        write_parquet(file, [encoded(image) for image in images[part]], labels[part], struct, row_group_size=40)
    description = in_parquet(files[:2], files[2])
    assert facts("own", description) == Facts(280, 20, (3, 64, 70), 7)
    prepared = prepare("own", description)
    np.testing.assert_array_equal(prepared.train_images, images[:280].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(prepared.test_images, images[280:].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(prepared.train_labels, labels[:280])
    np.testing.assert_array_equal(prepared.test_labels, labels[280:])
    assert (prepared.name, prepared.classes) == ("own", 7)


def test_grayscale_parquet_has_one_channel(tmp_path: Path) -> None:
    images = random_images(10, 9, 11)
    file = write_parquet(tmp_path / "a.parquet", [encoded(image) for image in images], [0, 1] * 5)
    assert facts("own", in_parquet(file, file)).shape == (1, 9, 11)
    prepared = prepare("own", in_parquet(file, file))
    np.testing.assert_array_equal(prepared.train_images[:, 0], images)


@pytest.mark.parametrize("mode", ["1", "LA"])
def test_bilevel_and_gray_with_transparency_have_one_channel(tmp_path: Path, mode: str) -> None:
    values = np.zeros((6, 5), np.uint8)
    values[:3] = 255
    file = write_parquet(tmp_path / "a.parquet", [encoded(values, mode)], [0])
    np.testing.assert_array_equal(prepare("own", in_parquet(file, file)).train_images[0, 0], values)


@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    values = np.zeros((6, 6, 3), np.uint8)
    values[:3] = (255, 0, 0)
    image = encoded(values, mode, "TIFF" if mode == "CMYK" else "PNG")
    file = write_parquet(tmp_path / "a.parquet", [image], [0])
    np.testing.assert_array_equal(prepare("own", in_parquet(file, file)).train_images[0], values.transpose(2, 0, 1))


def test_transparent_palettes_lose_their_transparency(tmp_path: Path) -> None:
    values = np.zeros((6, 6, 3), np.uint8)
    values[:3] = (255, 0, 0)
    image = encoded(values, "P", transparency=bytes([0, 128, 255]))
    file = write_parquet(tmp_path / "a.parquet", [image], [0])
    np.testing.assert_array_equal(prepare("own", in_parquet(file, file)).train_images[0], values.transpose(2, 0, 1))


def test_grayscale_among_colour_is_repeated_and_colour_among_grayscale_refused(tmp_path: Path) -> None:
    gray, colour = random_images(1, 8, 8)[0], random_images(1, 8, 8, 3)[0]
    file = write_parquet(tmp_path / "a.parquet", [encoded(colour), encoded(gray)], [0, 1])
    prepared = prepare("own", in_parquet(file, file))
    np.testing.assert_array_equal(prepared.train_images[1], np.stack([gray] * 3))
    file = write_parquet(tmp_path / "b.parquet", [encoded(gray), encoded(colour)], [0, 1])
    with pytest.raises(DataError, match=r"Row 1 of .*b\.parquet.*3 x 8 x 8.*1 x 8 x 8"):
        prepare("own", in_parquet(file, file))


def png_of_16_bits_and_three_channels() -> bytes:
    """Pillow cannot write one (and reads it as 8 bits): signature and chunks by the PNG specification."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    lines = (b"\0" + bytes(12)) * 2
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_refused(tmp_path: Path, channels: int) -> None:
    deep = encoded(np.full((2, 2), 40_000, np.uint16)) if channels == 1 else png_of_16_bits_and_three_channels()
    file = write_parquet(tmp_path / "a.parquet", [deep], [0])
    with pytest.raises(DataError, match=r"Row 0 of .*a\.parquet.*more than 8 bits per channel"):
        facts("own", in_parquet(file, file))


def test_row_of_another_size_is_named(tmp_path: Path) -> None:
    images = [encoded(image) for image in random_images(9, 8, 8)]
    good = write_parquet(tmp_path / "good.parquet", images, range(9))
    images[7] = encoded(random_images(1, 8, 9)[0])
    bad = write_parquet(tmp_path / "bad.parquet", images, range(9), row_group_size=4)
    for description in (in_parquet([good, bad], good), in_parquet(good, bad)):
        with pytest.raises(DataError, match=r"Row 7 of .*bad\.parquet.*1 x 8 x 9.*1 x 8 x 8"):
            prepare("own", description)


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (None, "has no image bytes"),
        (b"", "not an image that can be decoded"),
        (b"\x89PNG\r\n\x1a\n and then nothing", "not an image that can be decoded"),
        (encoded(random_images(1, 8, 8)[0], form="JPEG")[:-60], "not an image that can be decoded"),
    ],
)
def test_row_without_an_image_is_named(tmp_path: Path, image: bytes | None, complaint: str) -> None:
    images = [encoded(random_images(1, 8, 8)[0]), image]
    for struct in (True, False):
        file = write_parquet(tmp_path / "a.parquet", images, [0, 1], struct)
        with pytest.raises(DataError, match=rf"Row 1 of .*a\.parquet.*{complaint}"):
            prepare("own", in_parquet(file, file))


def test_null_struct_is_a_row_without_bytes(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": encoded(random_images(1, 8, 8)[0]), "path": None}, None]
    pq.write_table(pa.table({"img": pa.array(cells, kind), "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"Row 1 of .* has no image bytes"):
        prepare("own", in_parquet(tmp_path / "a.parquet", tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([0, 1, -1], "Row 2 of .* has the label -1"),
        ([0, 100_000, 1], "Row 1 of .* has the label 100000, too large for labels"),
        ([0, 1, 2**62], f"Row 2 of .* has the label {2**62}, too large for labels"),
        ([0, None, 1], "Row 1 of .* has no label"),
        ([0.0, 1.0, 2.0], "holds double; labels must be integers"),
        (["cat", "dog", "cat"], "holds string; labels must be integers"),
        (np.array([0, 1, 2**63], np.uint64), f"Row 2 of .* has the label {2**63}, too large for labels"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, labels: Sequence[Any], complaint: str) -> None:
    file = write_parquet(tmp_path / "a.parquet", [encoded(random_images(1, 8, 8)[0])] * 3, labels)
    for function in (facts, prepare):
        with pytest.raises(DataError, match=complaint):
            function("own", in_parquet(file, file))


def test_absent_columns_are_answered_with_those_there_are(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [encoded(random_images(1, 8, 8)[0])], [0])
    for key in ("image_column", "label_column"):
        with pytest.raises(DataError, match=rf"a\.parquet has no column `picture`.*img, label.*`{key}`"):
            facts("own", in_parquet(file, file, **{key: "picture"}))
    with pytest.raises(DataError, match=r"image column `label` of .* holds int64"):
        facts("own", in_parquet(file, file, image_column="label"))


def test_parquet_without_files_or_rows_is_refused(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [encoded(random_images(1, 8, 8)[0])], [0])
    without = in_parquet(file, file)
    del without["test"]
    with pytest.raises(ConfigurationError, match=r"`datasets\.own\.test` is missing"):
        facts("own", without)
    empty = write_parquet(tmp_path / "empty.parquet", [], np.array([], np.int64))
    with pytest.raises(DataError, match=r"empty\.parquet: no rows"):
        facts("own", in_parquet(empty, file))


def test_missing_and_damaged_parquet_files_are_named(tmp_path: Path) -> None:
    images = [encoded(image) for image in random_images(200, 16, 16)]
    good = write_parquet(tmp_path / "good.parquet", images, [0, 1] * 100)
    with pytest.raises(DataError, match=r"absent\.parquet does not exist"):
        facts("own", in_parquet(good, tmp_path / "absent.parquet"))
    whole = good.read_bytes()
    bad = tmp_path / "bad.parquet"
    zeroed = whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :]
    for content in (b"", b"PAR1", whole[: len(whole) // 2], b"<html>404</html>" * 20, zeroed):
        bad.write_bytes(content)
        with pytest.raises(DataError, match=r"bad\.parquet"):
            prepare("own", in_parquet(good, bad))


@needs_cifar
def test_facts_of_cifar10_in_parquet_are_those_of_cifar10() -> None:
    description = in_parquet(CIFAR_PARQUET / "train.parquet", CIFAR_PARQUET / "test.parquet")
    assert facts("cifar10-jpeg", description) == BUILTIN["CIFAR10"]


@needs_cifar
def test_cifar10_in_parquet_looks_like_cifar10(tmp_path: Path) -> None:
    """Means 0.491, 0.482, 0.447 and deviations 0.247, 0.243, 0.262 of 255: those of all 50,000 images."""
    for split in ("train", "test"):
        table = pq.ParquetFile(CIFAR_PARQUET / f"{split}.parquet").read_row_group(0).slice(0, 2500)
        pq.write_table(table, tmp_path / f"{split}.parquet", row_group_size=700)
    prepared = prepare("slice", in_parquet(tmp_path / "train.parquet", tmp_path / "test.parquet"))
    assert prepared.train_images.shape == prepared.test_images.shape == (2500, 3, 32, 32)
    assert prepared.classes == 10
    np.testing.assert_allclose(prepared.mean / 255, [0.491, 0.482, 0.447], atol=0.01)
    np.testing.assert_allclose(prepared.std / 255, [0.247, 0.243, 0.262], atol=0.01)
