"""Subsets of the examples: representative, nested, in proportion to the classes, and counted in the tables."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers import described, recipe
from running import SHARED
from scipy.stats import binom
from torch import Tensor

from isthmus.analyses.connect.session import align
from isthmus.analyses.curvature import noise
from isthmus.analyses.manifold.problems import TheorySpec, problem_of
from isthmus.analyses.movement import measure as movement
from isthmus.core.devices import Settings
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.data.sources import prepare
from isthmus.data.subsets import order, subset
from isthmus.landscape.alignment import choice as matching
from isthmus.landscape.corrupted_images import CorruptedTest, shifted_examples
from isthmus.landscape.evaluator import Evaluator, TrainedNetwork
from isthmus.landscape.sharpness import Setup
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.training.trainer import Member, TrainingRun, new_state

CPU = Settings(torch.device("cpu"))
MNIST = SHARED / "mnist"
BLACK, WHITE = 10, 240  # the two populations of a data set that alternates them
TRAIN, TEST = 1200, 600

LABELS = {
    "equal": torch.arange(10).repeat(60),
    "unequal": torch.from_numpy(np.random.default_rng(0).permutation(np.repeat(range(4), [400, 5, 91, 104]))),
    "one of many": torch.from_numpy(np.random.default_rng(1).permutation(np.repeat(range(41), [560] + [1] * 40))),
    "none": torch.zeros(600, dtype=torch.int64),
}


# The order


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_every_subset_holds_each_class_in_proportion_to_less_than_one_example(labels: Tensor) -> None:
    ordered = labels[order(labels)]
    assert order(labels).sort().values.tolist() == list(range(len(labels)))
    sizes = torch.arange(1, len(labels) + 1)
    for each in labels.unique():
        expected = sizes * (labels == each).sum() / len(labels)
        assert ((ordered == each).cumsum(0) - expected).abs().max() < 1


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_a_larger_subset_contains_every_smaller_one_and_what_comes_after_is_apart(labels: Tensor) -> None:
    chosen = [set(subset(labels, size).tolist()) for size in (1, 7, 50, 300, len(labels), 2 * len(labels))]
    assert [len(each) for each in chosen] == [1, 7, 50, 300, len(labels), len(labels)]
    assert all(few < many for few, many in pairwise(chosen[:5]))
    after = set(subset(labels, 100, after=50).tolist())
    assert len(after) == 100
    assert not after & chosen[2]
    assert after | chosen[2] == set(subset(labels, 150).tolist())


def test_indices_rise_and_all_examples_keep_their_order() -> None:
    chosen = subset(LABELS["equal"], 77)
    assert chosen.dtype == torch.int64
    assert (chosen.diff() > 0).all()
    assert torch.equal(subset(LABELS["equal"], 600), torch.arange(600))


@pytest.mark.parametrize(("size", "after"), [(0, 0), (-1, 0), (5, 600)])
def test_an_empty_subset_is_refused(size: int, after: int) -> None:
    with pytest.raises(ValueError, match="there are 600"):
        subset(LABELS["none"], size, after)


def test_each_example_of_a_class_is_as_likely_as_another() -> None:
    """Where in its class an example stands says nothing about whether it is chosen: halves are chosen alike."""
    labels = torch.zeros(20_000, dtype=torch.int64)
    for part in (slice(0, None, 2), slice(0, 10_000)):
        inside = torch.zeros(20_000, dtype=torch.bool)
        inside[part] = True
        low, high = binom.interval(0.999, 1000, 0.5)
        assert low <= int(inside[subset(labels, 1000)].sum()) <= high


# What is measured on the subsets


@pytest.fixture(scope="module")
def alternating() -> Dataset:
    """Ten classes at random places, and two populations, dark and bright images, that alternate."""
    generator = torch.Generator().manual_seed(0)

    def half(count: int) -> tuple[Tensor, Tensor]:
        images = torch.randint(-10, 11, (count, 1, 8, 8), generator=generator)
        images += torch.tensor([BLACK, WHITE])[torch.arange(count) % 2][:, None, None, None]
        labels = torch.arange(10).repeat(count // 10)[torch.randperm(count, generator=generator)]
        return images.to(torch.uint8), labels

    scale = torch.tensor([125.0]), torch.tensor([115.0])
    return Dataset("alternating", 10, "", *half(TRAIN), *half(TEST), *scale)


def cell(**data: Any) -> Recipe:
    return recipe(4, 1, data=data, network={"normalization": "batch"}, training={"statistics_size": 120, "epochs": 1})


ALIGNMENT = {"method": "activations", "restarts": 1, "images": 100}
NOISE = {"images": 150, "sigmas": [0.1], "relative_sigmas": [], "radii": [], "adaptive_radii": [], "draws": 2}
CORRUPTED = {"corruptions": ["contrast"], "severities": [1], "seed": 0}


def evaluator_of(dataset: Dataset, **data: Any) -> Evaluator:
    return Evaluator.of(cell(**data), dataset, (0, 1), CPU, evaluation_examples=200, hessian_examples=60)


def weights_of(evaluator: Evaluator) -> Tensors:
    network = build(evaluator.recipe.network, evaluator.shape, evaluator.classes)
    network.initialize((0,))
    return {name: value.detach()[0] for name, value in network.named_parameters()}


class Given(Exception):
    """Carries what a function that stands in for a measurement was given."""


def given_to(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, number: int, call: Callable[[], Any]) -> Any:
    """What `call` hands to a function of a module, as its argument of a number."""

    def stand_in(*arguments: Any, **_: Any) -> None:
        raise Given(arguments[number])

    with monkeypatch.context() as patch:
        patch.setattr(module, name, stand_in)
        with pytest.raises(Given) as caught:
            call()
    return caught.value.args[0]


def images_used(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int, Tensor]]:
    """What every kind of measurement looks at: its name, how many images were asked for, and the images."""
    evaluator = evaluator_of(dataset)
    weights = weights_of(evaluator)
    network = TrainedNetwork(weights, weights)
    train_images, train_labels = evaluator.sets(evaluator.examples.labels)["train"]
    assert torch.equal(train_images, evaluator.examples.images[evaluator.train_indices])
    assert train_labels.shape == (2, 200)
    yield "points, training", 200, train_images
    yield "points, test", 200, evaluator.sets(evaluator.examples.labels)["test"][0]
    yield "statistics", 120, evaluator.statistics_images[0]
    yield "Hessian", 60, Setup.of(evaluator, 0.1, None).images
    run = TrainingRun(evaluator.recipe, new_state(evaluator.recipe, dataset, (0,)), dataset, CPU, {0: Member(0, 0)})
    yield "statistics in training", 120, run.scoring.statistics_images[0]
    aligned = given_to(
        monkeypatch, matching, "match_activations", 4, lambda: align(evaluator, ALIGNMENT, (0, 1), network, network)
    )
    yield "alignment", 100, aligned
    surface = given_to(
        monkeypatch, noise, "noise_response", 0, lambda: noise.perturbation_rows(evaluator, NOISE, 0, weights)
    )
    yield "noise", 150, surface.images
    kernel = given_to(
        monkeypatch, movement, "tangent_kernel", 1, lambda: movement.tangent_kernels(evaluator, weights, 40)
    )
    yield "kernels", 40, kernel
    yield "corrupted test", 200, evaluator_of(dataset).test_images
    yield "corrupted pixels", 200, CorruptedTest.of(evaluator, dataset, CORRUPTED).pixels - 0.5
    yield "second data set", 120, shifted_examples(evaluator, dataset, dataset, 120)[0]
    problem = problem_of(TheorySpec(4, 1, 10, 10, "tanh", "images"), 0, 5, 150, dataset, torch.device("cpu"))
    yield "off the data", 150, problem.off_inputs


def test_both_of_two_alternating_populations_are_in_every_subset_in_equal_shares(
    alternating: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size, images in images_used(alternating, monkeypatch):
        bright = int((images.flatten(1).mean(1) > 0).sum())
        low, high = binom.interval(0.999, size, 0.5)
        assert len(images) == size, name
        assert low <= bright <= high, f"{name}: {bright} of {size} are of the second population"


def test_networks_with_other_labels_are_measured_on_the_same_examples(alternating: Dataset) -> None:
    clean, noisy = evaluator_of(alternating), evaluator_of(alternating, label_noise=0.5, label_noise_draw="per_seed")
    assert not torch.equal(noisy.examples.labels[0], noisy.examples.labels[1])
    for name in ("train_indices", "test_indices", "hessian_indices"):
        assert torch.equal(getattr(clean, name), getattr(noisy, name))
    assert torch.equal(clean.statistics_images, noisy.statistics_images)


def test_subsets_of_an_evaluator_are_nested_and_in_proportion(alternating: Dataset) -> None:
    evaluator = evaluator_of(alternating, train_size=1000, selection="first")
    inside = set(evaluator.train_indices.tolist())
    assert set(evaluator.hessian_indices.tolist()) < set(evaluator.examples.subset(120).tolist()) < inside
    labels = evaluator.examples.clean_labels[0]
    share = len(inside) / len(labels)
    for each in range(10):
        whole = int((labels == each).sum())
        assert abs(int((labels[evaluator.train_indices] == each).sum()) - share * whole) < 1


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"MNIST is not in {MNIST}")
def test_a_subset_of_mnist_has_as_much_ink_as_all_of_it() -> None:
    """MNIST's training file alternates two populations: mean ink 0.1227 at even and 0.1386 at odd places."""
    dataset = prepare("MNIST", described(MNIST))
    ink = dataset.train_images.reshape(60_000, -1).mean(1) / 255
    assert (round(ink[::2].mean(), 4), round(ink[1::2].mean(), 4)) == (0.1227, 0.1386)
    labels = torch.from_numpy(dataset.train_labels)
    for size in (1000, 5000, 10_000):
        error = ink.std() / np.sqrt(size)
        assert abs(ink[subset(labels, size)].mean() - ink.mean()) < 4 * error
    assert abs(ink[::12].mean() - ink.mean()) > 6 * ink.std() / np.sqrt(5000)  # what even spacing gives


def test_statistics_are_counted_as_they_are_made(digits: Dataset) -> None:
    for normalization, size, used in (("batch", 80, 80), ("batch", 2048, 300), ("none", 2048, 0), ("layer", 2048, 0)):
        given = {"statistics_size": size, "epochs": 1}
        chosen = recipe(4, 1, data={"train_size": 300}, network={"normalization": normalization}, training=given)
        run = TrainingRun(chosen, new_state(chosen, digits, (0,)), digits, CPU, {0: Member(0, 0)})
        assert chosen.statistics_examples(300) == used
        assert used in (0, run.scoring.statistics_images.shape[1])
