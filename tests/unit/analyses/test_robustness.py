"""Robustness: networks are tested on equal, rightly normalized images, whoever shares the job."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import recipe
from torch import Tensor

from isthmus.analyses.robustness.measure import measure, measured_sets, with_relative
from isthmus.core.devices import Settings
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.landscape import corrupted_images
from isthmus.landscape.corrupted_images import (
    CorruptedTest,
    corrupted_accuracy,
    placed_pixels,
    scoring,
    shifted_examples,
    white,
)
from isthmus.landscape.evaluator import Evaluator
from isthmus.models.evaluation import evaluate, evaluation_mode
from isthmus.models.networks import build

OPTIONS: dict[str, Any] = {
    "corruptions": ["contrast", "gaussian_noise", "translation"],
    "severities": [5, 1],
    "test_size": 100,
    "shifted_data": None,
    "seed": 0,
}
SETTINGS = Settings(torch.device("cpu"))
NETWORK = {"architecture": "cnn", "blocks": 2, "normalization": "batch"}


def evaluator_of(digits: Dataset, size: int | None = 100, stack: int = 1, settings: Settings = SETTINGS) -> Evaluator:
    cell = recipe(4, 1, network=NETWORK)
    return Evaluator.of(cell, digits, (0, 1, 2), settings, stack=stack, evaluation_examples=size)


def corrupted_test(evaluator: Evaluator, digits: Dataset, **options: Any) -> CorruptedTest:
    return CorruptedTest.of(evaluator, digits, OPTIONS | options)


@pytest.fixture(scope="module")
def weights(digits: Dataset) -> list[Tensors]:
    """Three networks with batch normalization, at initialization."""
    network = build(recipe(4, 1, network=NETWORK).network, (1, 8, 8), 10, 3)
    network.initialize([0, 1, 2])
    return [{name: value.detach()[member] for name, value in network.named_parameters()} for member in range(3)]


def all_rows(digits: Dataset, weights: list[Tensors], **changes: Any) -> list[list[dict[str, Any]]]:
    """The rows of each network under everything that `OPTIONS` ask for."""
    evaluator = evaluator_of(digits, **changes)
    test, found = corrupted_test(evaluator, digits), [[] for _ in weights]
    with scoring(evaluator, weights) as scores:
        for corruption in ("none", *OPTIONS["corruptions"]):
            for rows, new in zip(found, measure(evaluator, test, None, scores, corruption), strict=True):
                rows += new
    return found


def test_results_do_not_depend_on_the_packing(digits: Dataset, weights: list[Tensors]) -> None:
    alone = [all_rows(digits, [each])[0] for each in weights]
    packings = [{}, {"stack": 2}, {"stack": 3}, {"settings": Settings(torch.device("cpu"), True, 33)}]
    for packing in packings:
        for mine, together in zip(alone, all_rows(digits, weights, **packing), strict=True):
            frame, other = pd.DataFrame(mine), pd.DataFrame(together)
            pd.testing.assert_frame_equal(frame, other, rtol=1e-5)
            assert len(frame) == 1 + 2 * 3


def test_the_clean_row_is_the_accuracy_that_training_measures(digits: Dataset, weights: list[Tensors]) -> None:
    evaluator = evaluator_of(digits, None)
    network = evaluator.single
    network.load_state_dict({name: value[None] for name, value in weights[1].items()})
    examples = evaluator.examples
    with evaluation_mode(network, evaluator.statistics_images):
        loss, accuracy = evaluate(network, examples.test_images, examples.test_labels[None], "cross_entropy", 256)
    clean = all_rows(digits, weights, size=None)[1][0]
    assert clean == {
        "corruption": "none",
        "severity": 0,
        "images": 360,
        "loss": loss.item(),
        "accuracy": accuracy.item(),
    }


def test_what_is_tested_on_never_enters_the_batch_norm_statistics(digits: Dataset, weights: list[Tensors]) -> None:
    evaluator = evaluator_of(digits)
    images = corrupted_test(evaluator, digits).images("contrast", 5)
    labels = evaluator.examples.test_labels[:, evaluator.test_indices]
    with scoring(evaluator, weights) as scores:
        whole = scores(images, labels)[0]
        halves = [scores(images[part], labels[:, part])[0] for part in (slice(50), slice(50, 100))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole, rtol=1e-6, atol=0)


def test_pixels_are_normalized_by_the_training_set(digits: Dataset) -> None:
    evaluator = evaluator_of(digits, None)
    placed = placed_pixels(evaluator, digits, digits.test_images / 16)
    torch.testing.assert_close(placed, evaluator.examples.test_images, atol=1e-5, rtol=0)


def test_white_is_found_from_the_training_images(digits: Dataset) -> None:
    assert white(digits.train_images) == 16
    assert white(torch.tensor([0, 17, 200], dtype=torch.uint8)) == 255
    assert white(torch.tensor([0, 1], dtype=torch.uint8)) == 1


def test_a_second_data_set_is_seen_between_its_own_black_and_white(digits: Dataset) -> None:
    def brighter(images: Tensor) -> Tensor:
        return (images.float() * 255 / 16).round().to(torch.uint8)

    other = dataclasses.replace(
        digits, name="other", train_images=brighter(digits.train_images), test_images=brighter(digits.test_images)
    )
    evaluator = evaluator_of(digits, 50)
    images, labels = shifted_examples(evaluator, digits, other, 50)
    torch.testing.assert_close(images, evaluator.test_images, atol=0.51 / 255 / float(digits.std) * 16, rtol=0)
    assert torch.equal(labels, evaluator.examples.test_labels[:, evaluator.test_indices])
    with pytest.raises(ValueError, match="digits and other differ"):
        shifted_examples(evaluator, digits, dataclasses.replace(other, classes=11), 50)


def test_all_networks_and_all_cells_see_equal_images(digits: Dataset) -> None:
    first, second = (corrupted_test(evaluator_of(digits, stack=stack), digits) for stack in (1, 3))
    for (name, severity, images), again in zip(first, second, strict=True):
        assert (name, severity) == again[:2]
        assert torch.equal(images, again[2])
    assert not torch.equal(
        first.images("gaussian_noise", 1),
        corrupted_test(evaluator_of(digits), digits, seed=1).images("gaussian_noise", 1),
    )


def test_the_mean_is_over_all_corruptions_and_severities(digits: Dataset, weights: list[Tensors]) -> None:
    evaluator = evaluator_of(digits, stack=2)
    found = corrupted_accuracy(evaluator, corrupted_test(evaluator, digits), weights)
    expected = [np.mean([row["accuracy"] for row in rows[1:]]) for rows in all_rows(digits, weights)]
    np.testing.assert_allclose(found.numpy(), expected)
    with pytest.raises(ValueError, match="at least one corruption"):
        corrupted_accuracy(evaluator, corrupted_test(evaluator, digits, corruptions=[]), weights)


def test_images_are_kept_where_there_is_room(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    test = corrupted_test(evaluator_of(digits), digits)
    assert test.images("contrast", 1) is test.images("contrast", 1)
    monkeypatch.setattr(corrupted_images, "KEPT_BYTES", 6 * 100 * 64 * 4 - 1)
    test = corrupted_test(evaluator_of(digits), digits)
    assert torch.equal(test.images("contrast", 1), test.images("contrast", 1))
    assert not test.kept


def test_sets_come_in_one_order_whatever_the_order_of_the_options() -> None:
    sets = [("none", 0), ("gaussian_noise", 2), ("gaussian_noise", 4), ("jpeg", 2), ("jpeg", 4), ("shifted", 0)]
    assert measured_sets(["jpeg", "gaussian_noise"], [4, 2], True) == sets
    assert measured_sets([], [1], False) == [("none", 0)]


def test_relative_accuracy_needs_an_accuracy_above_zero() -> None:
    def relative(clean: float | None, corrupted: float | None) -> list[float | None]:
        rows = [{"corruption": "none", "accuracy": clean}, {"corruption": "jpeg", "accuracy": corrupted}]
        return [row["relative_accuracy"] for row in with_relative(rows)]

    assert relative(0.8, 0.4) == [1.0, 0.5]
    assert relative(0.8, None) == [1.0, None]
    assert relative(0.0, 0.4) == [None, None]
    assert relative(None, 0.4) == [None, None]


def test_outputs_that_are_no_numbers_have_no_accuracy(digits: Dataset, weights: list[Tensors]) -> None:
    broken = weights[0] | {name: value * float("nan") for name, value in weights[0].items() if name.endswith("bias")}
    clean = all_rows(digits, [broken, weights[1]])
    assert [row["accuracy"] for row in clean[0]] == [None] * 7
    assert [row["loss"] for row in clean[0]] == [None] * 7
    assert all(row["accuracy"] is not None for row in clean[1])
