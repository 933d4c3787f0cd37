"""Subsets of the examples: representative, nested, in proportion to the classes, and counted in the tables."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from helpers import described, recipe
from running import SHARED, configuration, succeed
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
from isthmus.landscape import matching
from isthmus.landscape.corrupted_images import CorruptedTest, shifted_examples
from isthmus.landscape.evaluator import Evaluator, TrainedNetwork
from isthmus.models.architectures import build, initialize
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
    initialize(network, (0,))
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
    yield "Hessian", 60, evaluator.sharpness_setup(0.1, None).images
    run = TrainingRun(evaluator.recipe, new_state(evaluator.recipe, dataset, (0,)), dataset, CPU, {0: Member(0, 0)})
    yield "statistics in training", 120, run.statistics_images[0]
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


# The sizes in the tables

ANALYSES: dict[str, Any] = {
    "connect": {
        "kinds": ["linear", "linear-aligned"],
        "line_points": 3,
        "evaluation_examples": 350,
        "alignment": {"method": "activations", "images": 70},
        "sharpness": {"points": 2, "images": 60, "trace_precision": None},
        "planes": {"points": 2},
    },
    "curvature": {
        "images": 50,
        "eigenvalues": 1,
        "gauss_newton_eigenvalues": 0,
        "trace_precision": None,
        "dense_limit": 0,
        "spectrum": {"probes": 1, "steps": 4, "points": 5},
        "noise": {"images": 1000, "sigmas": [0.01], "relative_sigmas": [], "radii": [0.05], "adaptive_radii": []},
    },
    "movement": {"kernel_images": 20},
    "tickets": {
        "kept_fractions": [0.5],
        "controls": ["random"],
        "line_points": 3,
        "evaluation_examples": 340,
        "curvature": {"images": 40},
        "robustness": {"corruptions": ["contrast"]},
    },
    "robustness": {"corruptions": ["contrast"], "severities": [1], "test_size": 90},
    "manifold": {
        "sweeps": {"one": {"width": [6], "points": [4], "data": ["images"], "seeds": 1}},
        "off_data_points": 1000,
        "labels": 0,
        "walks": {"towards": 0, "length": 0.1},
    },
}
STUDY = {
    "data": {"train_size": 300},
    "training": {"epochs": 2, "statistics_size": 80},
    "network": {"normalization": "batch"},
    "grid": {"width": [4], "depth": [1], "batch_size": [32], "seed": 2},
    "analyses": ANALYSES,
}
# Of 300 training and 360 test examples. What is asked for beyond these is not there to be used.
EXPECTED: dict[str, dict[str, int]] = {
    "networks": {"train_examples": 300, "test_examples": 360},
    "history": {},
    "connections": {"train_examples": 300, "test_examples": 350, "hessian_examples": 60},
    "paths": {"train_examples": 300, "test_examples": 350},
    "planes": {"train_examples": 300, "test_examples": 350},
    "curvature": {"images": 50},
    "eigenvalues": {"images": 50},
    "spectrum": {"images": 50},
    "perturbations": {"images": 300},
    "kernels": {"images": 20},
    "robustness": {"images": 90},
    "tickets": {"corrupted_examples": 340},
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """All tables of a study of two networks, without and with batch normalization."""
    folder = tmp_path_factory.mktemp("subsets")
    plain = {**STUDY, "network": {"normalization": "none"}, "analyses": {}}
    succeed(folder, configuration(tiny=STUDY, plain=plain), "tables")
    return {path.stem: pq.read_table(path).to_pandas() for path in (folder / "results/tables").glob("*.parquet")}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_tables_say_how_many_examples_were_used(tables: dict[str, pd.DataFrame], name: str) -> None:
    rows = tables[name][tables[name]["study"] == "tiny"]
    assert len(rows)
    for column, size in (EXPECTED[name] | {"statistics_examples": 80}).items():
        assert rows[column].tolist() == [size] * len(rows), column


def test_without_batch_normalization_there_are_no_statistics(tables: dict[str, pd.DataFrame]) -> None:
    for name in ("networks", "history"):
        rows = tables[name][tables[name]["study"] == "plain"]
        assert len(rows)
        assert (rows["statistics_examples"] == 0).all()


def test_what_is_measured_at_some_rows_only_is_counted_there(tables: dict[str, pd.DataFrame]) -> None:
    connections, paths, tickets = (tables[name] for name in ("connections", "paths", "tickets"))
    aligned = connections["kind"] == "linear-aligned"
    assert connections.loc[aligned, "alignment_examples"].tolist() == [70]
    assert connections.loc[~aligned, "alignment_examples"].isna().all()
    ends = paths["t"].isin([0.0, 1.0])
    assert paths.loc[ends, "hessian_examples"].tolist() == [60] * 4
    assert paths.loc[~ends, "hessian_examples"].isna().all()
    stable = tickets["stability_train_loss"].notna()
    assert stable.any()
    assert (~stable).any()
    for column, size in (("stability_train_examples", 300), ("stability_test_examples", 340)):
        assert (tickets.loc[stable, column] == size).all()
        assert tickets.loc[~stable, column].isna().all()
    measured = tickets["top_eigenvalue"].notna()
    assert (tickets.loc[measured, "curvature_images"] == 40).all()
    for name in ("manifold", "walks"):
        assert (tables[name]["off_data_points"] == 360).all()


def test_statistics_are_counted_as_they_are_made(digits: Dataset) -> None:
    for normalization, size, used in (("batch", 80, 80), ("batch", 4096, 300), ("none", 80, 0), ("layer", 80, 0)):
        given = {"statistics_size": size, "epochs": 1}
        chosen = recipe(4, 1, data={"train_size": 300}, network={"normalization": normalization}, training=given)
        run = TrainingRun(chosen, new_state(chosen, digits, (0,)), digits, CPU, {0: Member(0, 0)})
        assert chosen.statistics_examples(300) == used
        assert used in (0, run.statistics_images.shape[1])
