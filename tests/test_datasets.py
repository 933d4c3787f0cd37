"""Data sets from their sources: the digits, torchvision's files (packed, absent, damaged), and Parquet."""

import gzip
import hashlib
import io
import pickle
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from isthmus import datasets
from isthmus.data import load_dataset
from isthmus.datasets import BUILTIN, Facts, channel_statistics, facts, prepare, write_prepared
from isthmus.errors import ConfigurationError, DataError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
MNIST = SHARED / "mnist"
CIFAR_PARQUET = SHARED / "cifar10-jpeg"
needs_mnist = pytest.mark.skipif(not (MNIST / "MNIST").is_dir(), reason=f"MNIST is not in {MNIST}")
needs_cifar = pytest.mark.skipif(
    not (CIFAR_PARQUET / "train.parquet").is_file(), reason=f"CIFAR-10 as Parquet is not in {CIFAR_PARQUET}"
)


def described(root: Path | str = "data", download: bool = False, **others: Any) -> dict[str, Any]:
    """An entry of `datasets` with all its defaults."""
    defaults = {"source": "builtin", "image_column": "img", "label_column": "label"}
    return defaults | {"root": str(root), "download": download} | others


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_parsing_a_workflow_imports_nothing_slow() -> None:
    check = (
        "import sys; from isthmus.datasets import facts; facts('MNIST', {'source': 'builtin'}); "
        "print({'torch', 'torchvision', 'pyarrow', 'sklearn', 'PIL'} & sys.modules.keys())"
    )
    library = Path(datasets.__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", check], cwd=library, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_unknown_name_is_answered_with_the_known_ones() -> None:
    for function in (facts, prepare):
        with pytest.raises(ConfigurationError, match=r"no data set `MINST`.* digits, MNIST, .*SVHN"):
            function("MINST", described())


# The digits


def test_digits_are_all_of_scikit_learns_in_proportion() -> None:
    from sklearn.datasets import load_digits

    prepared = prepare("digits", described())
    assert prepared.train_images.shape == (1437, 1, 8, 8)
    assert prepared.test_images.shape == (360, 1, 8, 8)
    assert prepared.train_images.dtype == np.uint8
    assert prepared.train_images.max() == 16
    rows = np.concatenate([prepared.train_images, prepared.test_images]).reshape(1797, 64)
    rows = np.column_stack([rows, np.concatenate([prepared.train_labels, prepared.test_labels])])
    original = load_digits()
    expected = np.column_stack([original.data, original.target]).astype(np.int64)
    np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(expected, axis=0))
    shares = [np.bincount(labels) / len(labels) for labels in (prepared.train_labels, prepared.test_labels)]
    np.testing.assert_allclose(shares[0], shares[1], atol=1 / 360)


def test_split_of_the_digits_never_changes() -> None:
    """The split is part of every result on the digits: its checksum, once published, stays."""
    prepared = prepare("digits", described())
    digest = hashlib.sha256(prepared.train_images.tobytes() + prepared.train_labels.tobytes()).hexdigest()
    assert digest[:16] == "97718f82d4f252d4"


def test_prepared_file_survives_the_round_trip(tmp_path: Path) -> None:
    prepared = prepare("digits", described())
    write_prepared(tmp_path / "folder" / "digits.safetensors", prepared)
    dataset = load_dataset(tmp_path / "folder" / "digits.safetensors")
    assert (dataset.name, dataset.classes) == ("digits", 10)
    np.testing.assert_array_equal(dataset.train_images.numpy(), prepared.train_images)
    np.testing.assert_array_equal(dataset.test_labels.numpy(), prepared.test_labels)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["digits.safetensors"]


def test_channel_statistics_are_numpys() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5000, 2, 4, 3), dtype=np.uint8)
    mean, std = channel_statistics(images)
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, images.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std, images.std(axis=(0, 2, 3)), rtol=1e-6)


def test_constant_channel_is_divided_by_one() -> None:
    images = np.full((300, 2, 4, 4), 255, dtype=np.uint8)
    images[0, 1, 0, 0] = 254
    mean, std = channel_statistics(images)
    assert (mean[0], std[0]) == (255, 1)
    assert 0 < std[1] < 0.02


# torchvision: files as its classes expect them, with few examples


def write_idx(path: Path, values: np.ndarray) -> None:
    """The format of the MNIST files: two zero bytes, type 8 (a byte), rank, big-endian sizes, values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes())


def pack(path: Path) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


@pytest.fixture
def kmnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray, np.ndarray]:
    """The folder of a KMNIST of 30 + 10 examples, and all its images and labels."""
    monkeypatch.setitem(BUILTIN, "KMNIST", Facts(30, 10, (1, 28, 28), 10))
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 28, 28), dtype=np.uint8)
    labels = np.arange(40) % 10
    raw = tmp_path / "data" / "KMNIST" / "raw"
    for prefix, part in (("train", slice(0, 30)), ("t10k", slice(30, 40))):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images[part])
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels[part])
    return tmp_path / "data", images, labels


@pytest.mark.parametrize("packed", ["none", "all", "labels"])
def test_idx_files_are_read_packed_and_unpacked(kmnist: tuple[Path, np.ndarray, np.ndarray], packed: str) -> None:
    root, images, labels = kmnist
    for path in (root / "KMNIST" / "raw").iterdir():
        if packed == "all" or packed in path.name:
            pack(path)
    before = contents(root)
    prepared = prepare("KMNIST", described(root, download=True))
    np.testing.assert_array_equal(prepared.train_images, images[:30, np.newaxis])
    np.testing.assert_array_equal(prepared.test_images, images[30:, np.newaxis])
    np.testing.assert_array_equal(prepared.train_labels, labels[:30])
    np.testing.assert_array_equal(prepared.test_labels, labels[30:])
    assert prepared.train_labels.dtype == np.int64
    assert contents(root) == before


@pytest.mark.parametrize("damage", ["cut", "flipped", "no gzip"])
def test_damaged_packed_file_is_named(kmnist: tuple[Path, np.ndarray, np.ndarray], damage: str) -> None:
    root, _, _ = kmnist
    pack(root / "KMNIST" / "raw" / "train-images-idx3-ubyte")
    packed = root / "KMNIST" / "raw" / "train-images-idx3-ubyte.gz"
    whole = packed.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    packed.write_bytes({"cut": whole[:-1000], "flipped": bytes(flipped), "no gzip": b"<html>404</html>"}[damage])
    with pytest.raises(DataError, match=rf"file {packed} cannot be read as KMNIST .*Delete what is damaged"):
        prepare("KMNIST", described(root))


def test_truncated_and_foreign_idx_files_are_refused(kmnist: tuple[Path, np.ndarray, np.ndarray]) -> None:
    root, _, _ = kmnist
    raw = root / "KMNIST" / "raw"
    images = raw / "train-images-idx3-ubyte"
    whole = images.read_bytes()
    for content in (whole[:-1], whole[:3], b"", b"<html>not found</html>"):
        images.write_bytes(content)
        with pytest.raises(DataError, match=rf"train files in the folder {root} cannot be read as KMNIST"):
            prepare("KMNIST", described(root))
    images.write_bytes(whole)
    write_idx(raw / "t10k-labels-idx1-ubyte", np.arange(9))
    with pytest.raises(DataError, match=r"test files in .*9 labels and images \(10, 1, 28, 28\)"):
        prepare("KMNIST", described(root))
    write_idx(raw / "t10k-labels-idx1-ubyte", np.arange(10) + 1)
    with pytest.raises(DataError, match=r"test files in .*labels 1 to 10, of 10 classes"):
        prepare("KMNIST", described(root))


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
@pytest.mark.parametrize("packed", [False, True])
def test_cifar_batches_become_channels_first(
    name: str, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches as published: rows of 1024 red, 1024 green and 1024 blue bytes. Checksums are those of ours."""
    import torchvision.datasets

    source = getattr(torchvision.datasets, name)
    random = np.random.default_rng(0)
    folder = tmp_path / "data" / source.base_folder
    folder.mkdir(parents=True)

    def publish(file: str, content: dict[str, Any]) -> str:
        encoded = pickle.dumps(content, protocol=2)
        (folder / file).write_bytes(encoded)
        return hashlib.md5(encoded).hexdigest()

    rows, labels = [], []
    lists: dict[str, list[list[str]]] = {"train_list": [], "test_list": []}
    for key, checksums in lists.items():
        for file, _ in getattr(source, key):
            rows.append(random.integers(0, 256, (4, 3072), dtype=np.uint8))
            labels.append(random.integers(0, BUILTIN[name].classes, 4).tolist())
            field = "labels" if name == "CIFAR10" else "fine_labels"
            checksums.append([file, publish(file, {"data": rows[-1], field: labels[-1]})])
    meta = source.meta | {"md5": publish(source.meta["filename"], {source.meta["key"]: ["a", "b"]})}
    for key, value in (*lists.items(), ("meta", meta)):
        monkeypatch.setattr(source, key, value)
    train = 4 * len(source.train_list)
    monkeypatch.setitem(BUILTIN, name, Facts(train, 4, (3, 32, 32), BUILTIN[name].classes))
    if packed:
        with tarfile.open(tmp_path / "data" / source.filename, "w:gz") as archive:
            archive.add(folder, arcname=source.base_folder)
        shutil.rmtree(folder)

    before = contents(tmp_path / "data")
    prepared = prepare(name, described(tmp_path / "data"))
    expected = np.concatenate(rows).reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(prepared.train_images, expected[:train])
    np.testing.assert_array_equal(prepared.test_images, expected[train:])
    np.testing.assert_array_equal(np.r_[prepared.train_labels, prepared.test_labels], np.concatenate(labels))
    assert prepared.train_images.flags.c_contiguous
    assert contents(tmp_path / "data") == before


def test_svhn_becomes_examples_first_and_ten_becomes_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files as published: X [height, width, channels, examples], y [examples, 1] with 10 for a zero."""
    import torchvision.datasets
    from scipy.io import savemat

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    labels = np.tile(np.arange(1, 11), 2).astype(np.uint8)
    halves = {}
    for split, part in (("train", slice(0, 12)), ("test", slice(12, 20))):
        url, file, _ = torchvision.datasets.SVHN.split_list[split]
        savemat(tmp_path / file, {"X": images[..., part], "y": labels[part, np.newaxis]})
        halves[split] = [url, file, hashlib.md5((tmp_path / file).read_bytes()).hexdigest()]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", halves)
    monkeypatch.setitem(BUILTIN, "SVHN", Facts(12, 8, (3, 32, 32), 10))
    prepared = prepare("SVHN", described(tmp_path))
    np.testing.assert_array_equal(prepared.train_images[5, 2], images[:, :, 2, 5])
    np.testing.assert_array_equal(prepared.test_images[7, 0], images[:, :, 0, 19])
    np.testing.assert_array_equal(prepared.train_labels, labels[:12] % 10)
    np.testing.assert_array_equal(prepared.test_labels, labels[12:] % 10)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("CIFAR10", "cifar-10-batches-py/data_batch_1"),
        ("SVHN", "train_32x32.mat"),
        ("SVHN", "test_32x32.mat"),
    ],
)
def test_file_of_another_checksum_is_named(name: str, file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"half a download")
    with pytest.raises(DataError, match=rf"file {tmp_path / file} cannot be read as {name} \(its MD5 .*Delete"):
        prepare(name, described(tmp_path, download=True))


def test_damaged_archive_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-100-python.tar.gz"
    archive.write_bytes(gzip.compress(b"half a download"))
    with pytest.raises(DataError, match=rf"file {archive} cannot be read as CIFAR100"):
        prepare("CIFAR100", described(tmp_path, download=True))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("MNIST", "MNIST/raw/t10k-labels-idx1-ubyte"),
        ("FashionMNIST", "FashionMNIST/raw/train-images-idx3-ubyte"),
        ("CIFAR10", "cifar-10-batches-py/data_batch_3"),
        ("CIFAR100", "cifar-100-python/meta"),
        ("SVHN", "train_32x32.mat"),
    ],
)
def test_absent_files_are_named(name: str, file: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=rf"not in the folder {tmp_path}: .*{file}.*download` is false.*Get .*http.*{name}\.root",
    ):
        prepare(name, described(tmp_path))
    assert not contents(tmp_path)


@pytest.mark.parametrize("name", ["MNIST", "CIFAR10", "SVHN"])
def test_failed_download_says_why_and_where_files_belong(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is a proxy on a port where nothing listens: torchvision's own download fails at once."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
        monkeypatch.setenv(variable.upper(), "http://127.0.0.1:1")
    with pytest.raises(DataError, match=rf"{tmp_path}: .*downloading failed \(.*refused.*Get .*http"):
        prepare(name, described(tmp_path, download=True))


@needs_mnist
def test_mnist_has_its_published_mean_and_deviation() -> None:
    """0.1307 and 0.3081 of 255, as in PyTorch's own MNIST example; class counts as LeCun published them."""
    prepared = prepare("MNIST", described(MNIST))
    assert prepared.train_images.shape == (60_000, 1, 28, 28)
    assert prepared.test_images.shape == (10_000, 1, 28, 28)
    np.testing.assert_allclose(prepared.mean / 255, 0.1307, atol=5e-5)
    np.testing.assert_allclose(prepared.std / 255, 0.3081, atol=5e-5)
    assert np.bincount(prepared.train_labels).tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert prepared.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert prepared.test_labels[:5].tolist() == [7, 2, 1, 0, 4]


# Parquet


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
        ([0, None, 1], "Row 1 of .* has no label"),
        ([0.0, 1.0, 2.0], "holds double; labels must be integers"),
        (["cat", "dog", "cat"], "holds string; labels must be integers"),
        (np.array([0, 1, 2**63], np.uint64), "cannot be read as Parquet"),
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
