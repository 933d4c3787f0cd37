"""Data sets from their sources: the digits, torchvision's files (packed, absent, damaged)."""

import gzip
import hashlib
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import described
from running import SCRIPTS, SHARED

from isthmus.core.errors import ConfigurationError, DataError
from isthmus.data.dataset import load_dataset
from isthmus.data.facts import BUILTIN, Facts, facts
from isthmus.data.sources import channel_statistics, prepare, write_prepared

MNIST = SHARED / "mnist"
needs_mnist = pytest.mark.skipif(not (MNIST / "MNIST").is_dir(), reason=f"MNIST is not in {MNIST}")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_parsing_a_workflow_imports_nothing_slow() -> None:
    check = (
        "import sys; from isthmus.data.sources import facts; facts('MNIST', {'source': 'builtin'}); "
        "print({'torch', 'torchvision', 'pyarrow', 'sklearn', 'PIL'} & sys.modules.keys())"
    )
    found = subprocess.run([sys.executable, "-c", check], cwd=SCRIPTS, capture_output=True, text=True, check=True)
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
