"""The prepared data set as the jobs see it: reading it back, selecting examples, making labels noisy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from isthmus.core.errors import ConfigurationError, DataError
from isthmus.core.seeds import Stream, generator
from isthmus.core.tensors import checksum, load_tensors
from isthmus.data.dataset import TENSORS, Dataset, load_dataset, noisy_labels, normalized, select
from isthmus.data.sources import PreparedDataset, channel_statistics, prepare, write_prepared


@pytest.fixture
def prepared() -> PreparedDataset:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (50, 3, 6, 5), dtype=np.uint8)
    labels = random.integers(0, 4, 50)
    mean, std = channel_statistics(images[:40])
    return PreparedDataset("noise", 4, images[:40], labels[:40], images[40:], labels[40:], mean, std)


@pytest.fixture
def file(prepared: PreparedDataset, tmp_path: Path) -> Path:
    path = tmp_path / "noise.safetensors"
    write_prepared(path, prepared)
    return path


def test_what_is_read_is_what_was_written(prepared: PreparedDataset, file: Path) -> None:
    dataset = load_dataset(file)
    assert isinstance(dataset, Dataset)
    assert (dataset.name, dataset.classes) == ("noise", 4)
    for key in TENSORS:
        written, read = getattr(prepared, key), getattr(dataset, key).numpy()
        assert read.dtype == written.dtype
        np.testing.assert_array_equal(read, written)


def test_checksum_changes_with_every_part_of_a_data_set(file: Path) -> None:
    tensors, metadata = load_tensors(file)
    del metadata["checksum"]
    original = checksum(tensors, metadata)
    assert load_dataset(file).checksum == original
    changed = [checksum(tensors, metadata | {"name": "other"}), checksum(tensors, metadata | {"classes": "5"})]
    for key in TENSORS:
        altered = tensors[key].clone()
        altered.view(-1)[-1] += 1
        changed.append(checksum(tensors | {key: altered}, metadata))
    reshaped = tensors["train_images"].reshape(40, 3, 5, 6)
    changed.append(checksum(tensors | {"train_images": reshaped}, metadata))
    assert len({original, *changed}) == 1 + len(changed)


def test_any_flipped_bit_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    random = np.random.default_rng(1)
    for position in (3, 20, *random.integers(8 + header, len(whole), 20)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{file}.*delete it and run the workflow again"):
            load_dataset(file)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_file_is_named(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match=rf"{file}.*delete it"):
        load_dataset(file)


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.safetensors does not exist"):
        load_dataset(tmp_path / "absent.safetensors")
    foreign = tmp_path / "weights.safetensors"
    save_file({"weight": np.zeros(3)}, foreign)
    with pytest.raises(DataError, match=r"weights\.safetensors was written by another program"):
        load_dataset(foreign)
    foreign.write_text("not safetensors at all, but long enough to hold a header", encoding="utf-8")
    with pytest.raises(DataError, match=r"weights\.safetensors is damaged"):
        load_dataset(foreign)


def test_normalized_training_images_have_mean_zero_and_deviation_one(file: Path) -> None:
    dataset = load_dataset(file)
    images = normalized(dataset.train_images, dataset.mean, dataset.std)
    assert images.dtype == torch.float32
    assert images.shape == dataset.train_images.shape
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std(dim=(0, 2, 3), correction=0), torch.ones(3))


def test_normalized_takes_any_leading_dimensions_and_changes_nothing(file: Path) -> None:
    dataset = load_dataset(file)
    before = dataset.train_images.clone()
    stacked = normalized(dataset.train_images.view(5, 8, 3, 6, 5), dataset.mean, dataset.std)
    single = normalized(dataset.train_images[11], dataset.mean, dataset.std)
    torch.testing.assert_close(stacked[1, 3], single, rtol=0, atol=0)
    torch.testing.assert_close(dataset.train_images, before, rtol=0, atol=0)


def uneven_labels() -> np.ndarray:
    """400 labels: 5 of class 0, 15 of class 1, 180 of class 2 and 200 of class 3, shuffled."""
    return np.random.default_rng(2).permutation(np.repeat([0, 1, 2, 3], [5, 15, 180, 200]))


def test_select_keeps_all_or_the_first() -> None:
    labels = uneven_labels()
    np.testing.assert_array_equal(select(labels, None, "balanced", 0), np.arange(400))
    np.testing.assert_array_equal(select(labels, 400, "balanced", 0), np.arange(400))
    np.testing.assert_array_equal(select(labels, 17, "first", 0), np.arange(17))


@pytest.mark.parametrize("train_size", [1, 3, 4, 20, 21, 22, 50, 61, 399])
def test_balanced_selection_is_as_even_as_the_classes_allow(train_size: int) -> None:
    labels = uneven_labels()
    chosen = select(labels, train_size, "balanced", 7)
    assert len(chosen) == train_size
    assert (np.diff(chosen) > 0).all()
    available = np.bincount(labels)
    counts = np.bincount(labels[chosen], minlength=4)
    unexhausted = counts[counts < available]
    if unexhausted.size:
        assert np.ptp(unexhausted) <= 1
        assert (counts[counts == available] <= unexhausted.max()).all()


def test_balanced_selections_of_one_seed_are_nested() -> None:
    labels = uneven_labels()
    smaller: set[int] = set()
    for train_size in (1, 2, 10, 60, 200, 400):
        chosen = set(select(labels, train_size, "balanced", 3).tolist())
        assert smaller <= chosen
        smaller = chosen


def test_balanced_selection_is_a_function_of_its_seed() -> None:
    labels = uneven_labels()
    np.testing.assert_array_equal(select(labels, 40, "balanced", 5), select(labels, 40, "balanced", 5))
    assert (select(labels, 40, "balanced", 5) != select(labels, 40, "balanced", 6)).any()


def test_balanced_selection_prefers_no_example_and_no_class() -> None:
    """All examples, and in the incomplete round all classes, are equally frequent, to 4 standard errors."""
    labels = np.repeat([0, 1, 2], 10)
    draws = 2000
    chosen = np.concatenate([select(labels, 4, "balanced", seed) for seed in range(draws)])
    per_example = np.bincount(chosen, minlength=30) / draws
    probability = 4 / 30
    assert np.abs(per_example - probability).max() < 4 * np.sqrt(probability * (1 - probability) / draws)
    per_class = np.bincount(labels[chosen]) / draws - 1  # one of each, and the fourth goes to each in turn
    assert np.abs(per_class - 1 / 3).max() < 4 * np.sqrt(2 / 9 / draws)


@pytest.mark.parametrize("train_size", [0, -1, 401])
def test_impossible_train_size_is_refused(train_size: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"`train_size` is {train_size}, but .* has 400 examples"):
        select(uneven_labels(), train_size, "balanced", 0)


def test_unknown_selection_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="`best`; allowed are `balanced` and `first`"):
        select(uneven_labels(), 10, "best", 0)


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.1, 0.25, 0.5, 1.0])
def test_noise_changes_exactly_the_stated_fraction(fraction: float) -> None:
    labels = np.random.default_rng(3).integers(0, 10, 997)
    before = labels.copy()
    noisy = noisy_labels(labels, 10, fraction, generator(0, Stream.LABEL_NOISE))
    assert (noisy != labels).sum() == round(fraction * 997)
    assert noisy.dtype == np.int64
    assert noisy.min() >= 0
    assert noisy.max() < 10
    np.testing.assert_array_equal(labels, before)


def test_noise_is_uniform_over_the_other_classes() -> None:
    """All examples of class 1 of 4 become 0, 2 or 3: each a third of the time, within 4 standard errors."""
    examples = 30_000
    noisy = noisy_labels(np.ones(examples, np.int64), 4, 1.0, generator(0, Stream.LABEL_NOISE))
    frequencies = np.bincount(noisy, minlength=4) / examples
    assert frequencies[1] == 0
    assert np.abs(frequencies[[0, 2, 3]] - 1 / 3).max() < 4 * np.sqrt(2 / 9 / examples)


def test_noise_of_two_classes_swaps_them() -> None:
    labels = np.array([0, 1, 1, 0])
    np.testing.assert_array_equal(noisy_labels(labels, 2, 1.0, np.random.default_rng(0)), 1 - labels)


def test_noise_is_a_function_of_its_generator() -> None:
    labels = np.arange(100) % 10
    first, again, other = (noisy_labels(labels, 10, 0.3, generator(seed, Stream.LABEL_NOISE)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_impossible_noise_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigurationError, match="`label_noise`"):
        noisy_labels(np.zeros(3, np.int64), 2, fraction, np.random.default_rng(0))


def test_noise_needs_another_class() -> None:
    with pytest.raises(ConfigurationError, match="two classes"):
        noisy_labels(np.zeros(3, np.int64), 1, 0.5, np.random.default_rng(0))
    assert (noisy_labels(np.zeros(3, np.int64), 1, 0.0, np.random.default_rng(0)) == 0).all()


@pytest.mark.parametrize("mean", [4, [4.0]])
def test_constants_of_the_configuration_take_the_place_of_those_of_the_training_set(mean: Any) -> None:
    given = prepare("digits", {"source": "builtin", "mean": mean, "std": 16})
    own = prepare("digits", {"source": "builtin"})
    assert (given.mean.tolist(), given.std.tolist()) == ([4.0], [16.0])
    assert given.mean.dtype == given.std.dtype == np.float32
    np.testing.assert_array_equal(given.train_images, own.train_images)
