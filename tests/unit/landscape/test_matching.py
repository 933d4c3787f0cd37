"""Matching the hidden units of pairs: deep networks with batch norm, the choice of a method, and what it looks at."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import recipe
from rounding import assert_within, rounding_error
from torch import Tensor

from isthmus.analyses.connect.session import align
from isthmus.core.defaults import with_defaults
from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset
from isthmus.data.subsets import order
from isthmus.landscape.alignment.activations import match_activations
from isthmus.landscape.alignment.choice import METHODS, Match, match, match_and_select, midpoint_loss
from isthmus.landscape.evaluator import Evaluator, TrainedNetwork
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.hidden_units import apply, random_permutations
from isthmus.models.networks import build
from isthmus.models.unit_groups import groups
from isthmus.recipes.recipe import Recipe
from isthmus.study.schema import study_schema
from isthmus.training.trainer import new_state, train

CPU = Settings(torch.device("cpu"))
SEEDS = (0, 1, 2)
PAIRS = ((0, 1), (0, 2), (1, 2))
DEEP = recipe(32, 11, 32, network={"normalization": "batch"}, training={"epochs": 10, "learning_rate": 0.2})


def evaluator_of(chosen: Recipe, dataset: Dataset, seeds: Sequence[int] = SEEDS, stack: int = 1) -> Evaluator:
    return Evaluator.of(chosen, dataset, tuple(seeds), CPU, stack=stack, hessian_examples=10)


def options(**given: Any) -> dict[str, Any]:
    """The options `alignment` of `connect`."""
    described = study_schema()["analyses"]["properties"]["connect"]
    return with_defaults({"alignment": given}, described)["alignment"]


@pytest.fixture(scope="module")
def deep(digits: Dataset) -> dict[int, TrainedNetwork]:
    """Three trained networks of eleven hidden layers with batch norm."""
    state = train(DEEP, new_state(DEEP, digits, SEEDS), digits, CPU, lambda state: None, lambda: None)
    return {seed: TrainedNetwork(state.snapshots[seed]["initial"], state.snapshots[seed]["final"]) for seed in SEEDS}


@pytest.fixture(scope="module")
def automatic(digits: Dataset, deep: dict[int, TrainedNetwork]) -> dict[tuple[int, int], Match]:
    """What `auto` makes of the three pairs."""
    evaluator = evaluator_of(DEEP, digits)
    return {pair: match(evaluator, options(), pair, deep[pair[0]], deep[pair[1]]) for pair in PAIRS}


def untrained(chosen: Recipe) -> dict[int, TrainedNetwork]:
    network = build(chosen.network, (1, 8, 8), 10, 3)
    network.initialize(SEEDS)
    weights = [{name: value.detach()[seed] for name, value in network.named_parameters()} for seed in SEEDS]
    return {seed: TrainedNetwork(weights[seed], weights[seed]) for seed in SEEDS}


def loss_halfway(
    evaluator: Evaluator, first: dict[str, Tensor], second: dict[str, Tensor], labels: Tensor, at: Tensor
) -> float:
    """The cross-entropy of the mean of two networks on some training examples, in float64."""
    network = build(evaluator.recipe.network, evaluator.shape, evaluator.classes).double()
    network.load_state_dict({name: (first[name].double() + second[name].double())[None] / 2 for name in first})
    with torch.no_grad(), evaluation_mode(network, evaluator.statistics_images.double()):
        outputs = network(evaluator.examples.images[at].double()[None])[0]
    return torch.nn.functional.cross_entropy(outputs, labels[at]).item()


def same(one: Match, other: Match) -> bool:
    permutations = one.alignment.permutations
    return (one.method, one.midpoint_losses) == (other.method, other.midpoint_losses) and all(
        torch.equal(permutations[name], value) for name, value in other.alignment.permutations.items()
    )


# What is kept


def test_auto_keeps_the_method_with_the_lowest_loss_halfway(
    digits: Dataset, deep: dict[int, TrainedNetwork], automatic: dict[tuple[int, int], Match]
) -> None:
    evaluator = evaluator_of(DEEP, digits)
    _, apart = match_and_select(evaluator.examples.clean_labels[0], 1000, 1000)
    for pair, found in automatic.items():
        first, second = (deep[seed] for seed in pair)
        losses = {}
        for method in METHODS:
            # Alone, a method matches on all 1,000 images; together with the others, on those that leave half to select.
            images = len(evaluator.examples.images) - len(apart)
            alone = match(evaluator_of(DEEP, digits), options(method=method, images=images), pair, first, second)
            assert (alone.method, alone.midpoint_losses) == (method, {})
            labels = evaluator.labels(pair[0])
            losses[method] = loss_halfway(evaluator, first.final, alone.alignment.weights, labels, apart)
            if method == found.method:
                assert all(torch.equal(found.alignment.weights[name], w) for name, w in alone.alignment.weights.items())
        assert found.midpoint_losses == pytest.approx(losses, rel=1e-4)
        assert found.midpoint_losses[found.method] == min(found.midpoint_losses.values())


def test_in_deep_networks_with_batch_norm_weight_matching_alone_fails_and_auto_does_not(
    digits: Dataset, deep: dict[int, TrainedNetwork], automatic: dict[tuple[int, int], Match]
) -> None:
    """On test data, which nothing was matched or selected on: a mean of three pairs."""
    evaluator = evaluator_of(DEEP, digits)
    images, labels = evaluator.examples.test_images, evaluator.examples.test_labels[0]
    right: dict[str, list[float]] = {"weights": [], "auto": []}
    for pair, found in automatic.items():
        alone = match(evaluator, options(method="weights"), pair, deep[pair[0]], deep[pair[1]])
        for name, each in (("weights", alone), ("auto", found)):
            network, first = build(DEEP.network, (1, 8, 8), 10), deep[pair[0]].final
            network.load_state_dict({n: (first[n] + w)[None] / 2 for n, w in each.alignment.weights.items()})
            with torch.no_grad(), evaluation_mode(network, evaluator.statistics_images):
                right[name].append((network(images[None])[0].argmax(1) == labels).double().mean().item())
    assert np.mean(right["weights"]) < 0.75
    assert np.mean(right["auto"]) > np.mean(right["weights"]) + 0.1


def test_weight_matching_ends_closer_on_average_where_it_starts_from_activations(
    digits: Dataset, deep: dict[int, TrainedNetwork]
) -> None:
    """From the identity and from random permutations it stops in worse local optima."""
    for pair in PAIRS:
        ends = deep[pair[0]], deep[pair[1]]
        alone = match(evaluator_of(DEEP, digits), options(method="weights"), pair, *ends).alignment
        combined = match(evaluator_of(DEEP, digits), options(method="combined"), pair, *ends).alignment
        assert np.mean(combined.restarts) > np.mean(alone.restarts)


@pytest.mark.parametrize("method", ["auto", "combined"])
def test_a_permuted_copy_of_a_network_is_recovered_exactly(
    digits: Dataset, deep: dict[int, TrainedNetwork], method: str
) -> None:
    """Activation matching alone does not: units that no image activates are interchangeable to it."""
    evaluator, original = evaluator_of(DEEP, digits), deep[0]
    found = groups(DEEP.network, (1, 8, 8), 10)
    permutations = random_permutations(found, np.random.default_rng(3))
    copied = TrainedNetwork(apply(permutations, original.initial, found), apply(permutations, original.final, found))
    aligned = align(evaluator, options(method=method), (0, 1), original, copied)
    for name, value in original.final.items():
        assert torch.equal(aligned.network.final[name], value)
        assert torch.equal(aligned.network.initial[name], original.initial[name])
    if method == "auto":
        _, apart = match_and_select(evaluator.examples.clean_labels[0], 1000, 1000)
        end = loss_halfway(evaluator, original.final, original.final, evaluator.labels(0), apart)
        kept = aligned.report[f"midpoint_loss_{aligned.report['alignment_method']}"]
        assert kept == pytest.approx(end, rel=1e-4)


def test_a_method_whose_midpoint_is_no_number_is_not_kept(
    digits: Dataset, deep: dict[int, TrainedNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([float("nan"), 2.0, float("inf")])
    monkeypatch.setattr("isthmus.landscape.alignment.choice.midpoint_loss", lambda *given: next(losses))
    aligned = align(evaluator_of(DEEP, digits), options(restarts=1), (0, 1), deep[0], deep[1])
    kept = [aligned.report[f"midpoint_loss_{each}"] for each in METHODS]
    assert (aligned.report["alignment_method"], kept) == ("activations", [None, 2.0, None])


# Which examples it looks at


@pytest.mark.parametrize(
    ("count", "images", "selection_images", "sizes"),
    [(5000, 1000, 700, (1000, 700)), (1700, 1000, 700, (1000, 700)), (170, 1000, 700, (100, 70)), (2, 1000, 1, (1, 1))],
)
def test_what_is_matched_on_and_what_is_selected_on_share_no_example(
    count: int, images: int, selection_images: int, sizes: tuple[int, int]
) -> None:
    labels = torch.arange(count) % 7
    matched_on, selected_on = match_and_select(labels, images, selection_images)
    assert (len(matched_on), len(selected_on)) == sizes
    both = torch.cat([matched_on, selected_on])
    assert torch.equal(both.sort().values, order(labels)[: sum(sizes)].sort().values)


def test_one_example_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="no subset of"):
        match_and_select(torch.zeros(1), 1000, 1000)


def test_neither_test_data_nor_the_labels_of_the_examples_matched_on_play_a_part(
    digits: Dataset, deep: dict[int, TrainedNetwork], automatic: dict[tuple[int, int], Match]
) -> None:
    evaluator = evaluator_of(DEEP, digits)
    matched_on, selected_on = match_and_select(evaluator.examples.clean_labels[0], 1000, 1000)
    examples, wrong = evaluator.examples, (evaluator.examples.labels + 1) % 10
    blind = replace(
        examples,
        labels=examples.labels.index_copy(1, matched_on, wrong[:, matched_on]),
        test_images=torch.zeros_like(examples.test_images),
        test_labels=torch.zeros_like(examples.test_labels),
    )
    found = match(replace(evaluator, examples=blind), options(), (0, 1), deep[0], deep[1])
    assert same(found, automatic[0, 1])
    misled = replace(examples, labels=examples.labels.index_copy(1, selected_on, wrong[:, selected_on]))
    found = match(replace(evaluator, examples=misled), options(), (0, 1), deep[0], deep[1])
    assert all(found.midpoint_losses[method] > automatic[0, 1].midpoint_losses[method] + 1 for method in METHODS)


def test_activations_are_matched_on_the_first_part_alone(
    digits: Dataset, deep: dict[int, TrainedNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def watched(*given: Any) -> Any:
        seen.append(given[4])
        return match_activations(*given)

    monkeypatch.setattr("isthmus.landscape.alignment.choice.match_activations", watched)
    evaluator = evaluator_of(DEEP, digits)
    match(evaluator, options(restarts=1, images=200, selection_images=50), (0, 1), deep[0], deep[1])
    matched_on, _ = match_and_select(evaluator.examples.clean_labels[0], 200, 50)
    (images,) = seen
    assert torch.equal(images, evaluator.examples.images[matched_on])


@pytest.mark.parametrize("draw", ["per_seed", "once"])
def test_the_own_labels_of_each_network_count_for_half(digits: Dataset, draw: str) -> None:
    noise = {"label_noise": 0.5, "label_noise_draw": draw}
    chosen = recipe(8, 2, data=noise, network={"normalization": "batch"})
    evaluator, networks, at = evaluator_of(chosen, digits), untrained(chosen), torch.arange(300, 500)
    first, second = networks[0], networks[2]

    def both() -> Tensor:
        labels = (evaluator.labels(seed) for seed in (0, 2))
        losses = [loss_halfway(evaluator, first.final, second.final, each, at) for each in labels]
        return torch.tensor(losses, dtype=torch.float64)

    exact, error = rounding_error(both)
    assert (exact[0] == exact[1]) == (draw == "once")
    found = torch.tensor(midpoint_loss(evaluator, (0, 2), first, second.final, at))
    assert_within(found, exact.mean(), error.mean())


def test_the_same_pair_is_matched_alike_whatever_shares_the_job(
    digits: Dataset, deep: dict[int, TrainedNetwork], automatic: dict[tuple[int, int], Match]
) -> None:
    torch.manual_seed(5)
    alone = match(evaluator_of(DEEP, digits, (1, 2), stack=7), options(), (1, 2), deep[1], deep[2])
    assert same(alone, automatic[1, 2])
