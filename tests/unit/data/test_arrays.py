"""Data sets of NumPy arrays: what is read, how it is normalized, what is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import described

from isthmus.core.errors import DataError
from isthmus.data.dataset import Dataset, load_dataset, normalized
from isthmus.data.facts import Facts, facts
from isthmus.data.sources import prepare, write_prepared
from isthmus.data.subsets import order

DRAWN = np.random.default_rng(0)
VALUES = {
    "train_inputs": DRAWN.normal(3, 2, (30, 5)),
    "train_targets": DRAWN.normal(size=(30, 2)),
    "test_inputs": DRAWN.normal(3, 2, (10, 5)),
    "test_targets": DRAWN.normal(size=(10, 2)),
}
CLASSES = {"train_targets": np.arange(30) % 3, "test_targets": np.arange(10) % 3}


def written(folder: Path, compressed: bool = False, **arrays: Any) -> dict[str, Any]:
    """The description of a data set of `VALUES` with some arrays replaced; those that are None are left out."""
    file = folder / "mine.npz"
    given = {name: array for name, array in (VALUES | arrays).items() if array is not None}
    (np.savez_compressed if compressed else np.savez)(file, **given)
    return described(source="arrays", file=str(file))


def loaded(folder: Path, **arrays: Any) -> Dataset:
    write_prepared(folder / "mine.safetensors", prepare("mine", written(folder, **arrays)))
    return load_dataset(folder / "mine.safetensors")


@pytest.mark.parametrize("compressed", [True, False])
def test_real_targets_come_back_in_float32_and_facts_tell_their_number(tmp_path: Path, compressed: bool) -> None:
    description = written(tmp_path, compressed)
    assert facts("mine", description) == Facts(30, 10, (5,), 2, "regression", "values", 0, False, value_bytes=4)
    data = loaded(tmp_path)
    assert data.shape == (5,)
    assert data.classes == 2
    np.testing.assert_array_equal(data.train_labels, VALUES["train_targets"].astype(np.float32))
    np.testing.assert_array_equal(data.test_images, VALUES["test_inputs"].astype(np.float32))


def test_single_real_targets_are_one_output(tmp_path: Path) -> None:
    single = {"train_targets": np.arange(30.0), "test_targets": np.arange(10.0)}
    data = loaded(tmp_path, **single)
    assert data.classes == 1
    assert data.train_labels.tolist() == [[value] for value in single["train_targets"]]


def test_every_feature_is_standardized_and_a_constant_one_centred(tmp_path: Path) -> None:
    inputs = VALUES["train_inputs"].copy()
    inputs[:, 2] = 0.1
    data = loaded(tmp_path, train_inputs=inputs)
    found = normalized(data.train_images, data.mean, data.std).double()
    assert torch.allclose(found.mean(0), torch.zeros(5, dtype=torch.float64), atol=1e-6)
    expected = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    assert torch.allclose(found.std(0, correction=0), expected, atol=1e-6)


@pytest.mark.parametrize("pixels", [np.uint8, np.float64])
def test_images_are_normalized_by_channel_and_uint8_ones_as_from_other_sources(tmp_path: Path, pixels: Any) -> None:
    images = {f"{half}_inputs": DRAWN.integers(0, 256, (count, 3, 4, 6)).astype(pixels) for half, count in SIZES}
    description = written(tmp_path, **images, **CLASSES)
    found = facts("mine", description)
    data = loaded(tmp_path, **images, **CLASSES)
    size = data.train_images.element_size()
    assert found == Facts(30, 10, (3, 4, 6), 3, "classification", "images", 0, pixels is np.uint8, size)
    assert data.train_images.dtype == (torch.uint8 if pixels is np.uint8 else torch.float32)
    expected = images["train_inputs"].astype(np.float64)
    assert torch.allclose(data.mean.double(), torch.from_numpy(expected.mean((0, 2, 3))))
    assert torch.allclose(data.std.double(), torch.from_numpy(expected.std((0, 2, 3))))
    standardized = normalized(data.test_images, data.mean, data.std)
    by_hand = (images["test_inputs"] - expected.mean((0, 2, 3), keepdims=True)) / expected.std((0, 2, 3), keepdims=True)
    assert np.allclose(standardized, by_hand, atol=1e-5)


SIZES = (("train", 30), ("test", 10))


def test_tokens_are_passed_on_as_they_are(tmp_path: Path) -> None:
    tokens = {f"{half}_inputs": DRAWN.integers(0, 23, (count, 2)).astype(np.int16) for half, count in SIZES}
    tokens["test_inputs"][0] = 22
    found = facts("mine", written(tmp_path, **tokens, **CLASSES))
    data = loaded(tmp_path, **tokens, **CLASSES)
    size = data.train_images.element_size()
    assert found == Facts(30, 10, (2,), 3, "classification", "tokens", 23, False, size)
    assert torch.equal(
        normalized(data.train_images, data.mean, data.std), torch.from_numpy(tokens["train_inputs"]).long()
    )


def test_subsets_of_real_targets_are_random_and_nested() -> None:
    found = order(torch.randn(1000, 2))
    assert sorted(found.tolist()) == list(range(1000))
    assert found.tolist() != list(range(1000))
    assert torch.equal(found, order(torch.zeros(1000, dtype=torch.int64)))  # as of one class


def with_value(name: str, value: float) -> dict[str, Any]:
    array = VALUES[name].copy()
    array.flat[7] = value
    return {name: array}


@pytest.mark.parametrize(
    ("arrays", "array", "message"),
    [
        ({"test_targets": None}, "test_targets", "it has train_inputs, train_targets, test_inputs"),
        (with_value("train_inputs", np.nan), "train_inputs", "NaN"),
        (with_value("test_targets", -np.inf), "test_targets", "infinite"),
        (with_value("test_inputs", 1e300), "test_inputs", "infinite in float32"),
        ({"train_targets": np.ones(29)}, "train_targets", "29 targets for the 30 examples"),
        ({"test_inputs": np.ones((10, 4))}, "test_inputs", "shape (4,), and train_inputs of (5,)"),
        ({"test_targets": np.ones((10, 3))}, "test_targets", "shape (3,), and train_targets of (2,)"),
        ({"test_targets": np.ones(10, int)}, "test_targets", "int64"),
        ({"test_inputs": np.ones((10, 5), int)}, "test_inputs", "give both one type"),
        (CLASSES | {"train_targets": np.arange(30) - 1}, "train_targets", "the value -1"),
        (CLASSES | {"test_targets": np.full(10, 10**9)}, "test_targets", "too large"),
        (CLASSES | {"test_targets": np.ones((10, 3), int)}, "test_targets", "integers are classes"),
        ({"train_inputs": np.ones((0, 5))}, "train_inputs", "no examples"),
        ({"train_inputs": np.ones(30)}, "train_inputs", "[N, 1]"),
        ({"train_targets": np.ones((30, 2, 2))}, "train_targets", "[N, outputs]"),
        ({"train_inputs": np.array([{}] * 30)}, "train_inputs", "Python objects"),
        ({"train_inputs": np.array(["a"] * 30)}, "train_inputs", "<U1"),
        ({"train_inputs": np.ones((30, 5), complex)}, "train_inputs", "complex"),
    ],
)
def test_what_is_malformed_is_refused_by_file_and_array(
    tmp_path: Path, arrays: dict[str, Any], array: str, message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as error:
        facts("mine", written(tmp_path, **arrays))
    assert str(tmp_path / "mine.npz") in str(error.value)
    assert f"`{array}`" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_cut_off_or_of_another_kind_is_named(tmp_path: Path) -> None:
    description = written(tmp_path)
    file = tmp_path / "mine.npz"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"text", whole.replace(whole[200:300], bytes(100), 1)):
        file.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(str(file))):
            prepare("mine", description)
    file.unlink()
    with pytest.raises(DataError, match="does not exist"):
        facts("mine", description)


def test_a_file_is_checked_again_after_it_changed(tmp_path: Path) -> None:
    description = written(tmp_path)
    assert facts("mine", description).train_size == 30
    written(tmp_path, train_inputs=np.ones((20, 5)), train_targets=np.ones((20, 2)))
    assert facts("mine", description).train_size == 20
