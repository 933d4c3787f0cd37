"""Alignment: planted permutations are found, small problems are solved as by brute force, barriers fall."""

from collections.abc import Iterator
from itertools import permutations as orders
from itertools import product

import numpy as np
import pytest
import torch
from architectures import CLASSES, SHAPE, logits, network_recipe, random_weights, recipe_name, recipes, some_images
from helpers import recipe
from torch import Tensor

from isthmus.core import seeds
from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset, normalized
from isthmus.landscape.alignment.activations import match_activations
from isthmus.landscape.alignment.result import Alignment, AlignmentError, check_same_function
from isthmus.landscape.alignment.weights import match_weights
from isthmus.models.evaluation import evaluate, evaluation_mode
from isthmus.models.hidden_units import Group, apply, inverse, random_permutations
from isthmus.models.networks import build
from isthmus.models.unit_groups import groups
from isthmus.recipes.recipe import NetworkRecipe
from isthmus.training.trainer import new_state, train

every_recipe = pytest.mark.parametrize("chosen", recipes(8), ids=recipe_name)


def squared_distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return sum((first[name].double() - second[name].double()).square().sum().item() for name in first)


def fresh() -> np.random.Generator:
    return seeds.generator(0, seeds.Stream.PROBES, 1)


def planted(chosen: NetworkRecipe, noise: float) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """A network, the same one permuted and with noise of `noise` times each parameter's own size, the permutations."""
    weights, found = random_weights(chosen, 3), groups(chosen, SHAPE, CLASSES)
    permutations = random_permutations(found, np.random.default_rng(5))
    permuted = apply(permutations, weights, found)
    generator = torch.Generator().manual_seed(6)
    noisy = {
        name: value + noise * value.std() * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in permuted.items()
    }
    return weights, noisy, permutations


def assert_undone(alignment: Alignment, permutations: dict[str, Tensor]) -> None:
    for name, expected in inverse(permutations).items():
        assert torch.equal(alignment.permutations[name], expected), name


# Planted permutations


@every_recipe
def test_weight_matching_finds_a_planted_permutation(chosen: NetworkRecipe) -> None:
    reference, weights, permutations = planted(chosen, 0.05)
    found = groups(chosen, SHAPE, CLASSES)
    alignment = match_weights(reference, weights, found, fresh())
    assert_undone(alignment, permutations)
    for name, value in apply(inverse(permutations), weights, found).items():
        assert torch.equal(alignment.weights[name], value)
    assert squared_distance(reference, alignment.weights) < 0.1 * squared_distance(reference, weights)


@every_recipe
def test_activation_matching_finds_a_planted_permutation(chosen: NetworkRecipe) -> None:
    reference, weights, permutations = planted(chosen, 0.01)
    network = build(chosen, SHAPE, CLASSES)
    alignment = match_activations(network, reference, weights, groups(chosen, SHAPE, CLASSES), some_images(100))
    assert_undone(alignment, permutations)
    assert alignment.restarts == (alignment.objective,)
    assert alignment.sweeps == 0


# Against brute force


def every_permutation(group: Group) -> Iterator[Tensor]:
    return (torch.tensor(order) for order in orders(range(group.size)))


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
def test_with_one_group_the_distance_is_the_smallest_of_all_permutations(normalization: str) -> None:
    chosen = network_recipe("mlp", 5, 1, normalization)
    found = groups(chosen, SHAPE, CLASSES)
    ((name, group),) = found.items()
    first, second = random_weights(chosen, 0), random_weights(chosen, 1)
    every = [
        squared_distance(first, apply({name: permutation}, second, found)) for permutation in every_permutation(group)
    ]
    alignment = match_weights(first, second, found, fresh(), restarts=1)
    assert squared_distance(first, alignment.weights) == pytest.approx(min(every), rel=1e-12)
    assert min(every) < squared_distance(first, second)


def test_the_last_sweep_leaves_no_group_whose_permutation_could_bring_the_networks_closer() -> None:
    chosen = network_recipe("cnn", 4, 2, "layer", blocks=1, hidden_units=4)
    found = groups(chosen, SHAPE, CLASSES)
    first, second = random_weights(chosen, 0), random_weights(chosen, 1)
    for restarts in (1, 4):
        aligned = match_weights(first, second, found, fresh(), restarts).weights
        reached = squared_distance(first, aligned)
        for name, group in found.items():
            for permutation in every_permutation(group):
                assert squared_distance(first, apply({name: permutation}, aligned, found)) >= reached * (1 - 1e-12)


def test_restarts_find_the_best_of_all_joint_permutations_of_a_tiny_network() -> None:
    chosen = network_recipe("mlp", 4, 2, "none")
    found = groups(chosen, SHAPE, CLASSES)
    for seed in range(3):
        first, second = random_weights(chosen, seed), random_weights(chosen, seed + 10)
        every = product(*(every_permutation(group) for group in found.values()))
        smallest = min(
            squared_distance(first, apply(dict(zip(found, joint, strict=True)), second, found)) for joint in every
        )
        aligned = match_weights(first, second, found, fresh(), restarts=16).weights
        assert squared_distance(first, aligned) == pytest.approx(smallest, rel=1e-12)


def test_activations_come_as_close_as_any_permutation_brings_them() -> None:
    chosen = network_recipe("mlp", 5, 1, "none")
    found = groups(chosen, SHAPE, CLASSES)
    ((name, group),) = found.items()
    first, second, images = random_weights(chosen, 0), random_weights(chosen, 1), some_images(30)
    units = [
        torch.nn.functional.gelu(images.flatten(1) @ weights["1.weight"].T + weights["1.bias"])
        for weights in (first, second)
    ]
    best = min(every_permutation(group), key=lambda order: (units[0] - units[1][:, order]).square().sum().item())
    network = build(chosen, SHAPE, CLASSES)
    for batch_size in (7, 500):
        alignment = match_activations(network, first, second, found, images, batch_size)
        assert torch.equal(alignment.permutations[name], best)
        assert alignment.objective == pytest.approx((units[0] * units[1][:, best]).sum().item() / 30, rel=1e-12)


# What the result says


@every_recipe
def test_the_objective_is_the_inner_product_and_never_falls(chosen: NetworkRecipe) -> None:
    found = groups(chosen, SHAPE, CLASSES)
    first, second = random_weights(chosen, 0), random_weights(chosen, 1)
    norms = sum(squared_distance(each, {name: 0 * value for name, value in each.items()}) for each in (first, second))
    alignment = match_weights(first, second, found, fresh(), restarts=4)
    assert norms - 2 * alignment.objective == pytest.approx(squared_distance(first, alignment.weights), rel=1e-10)
    assert alignment.objective == max(alignment.restarts) == alignment.course[-1]
    assert 2 * alignment.objective > norms - squared_distance(first, second), "no better than the identity"
    assert list(alignment.course) == sorted(alignment.course)
    assert alignment.sweeps == len(alignment.course) - 1 >= 2
    fewer = match_weights(first, second, found, fresh(), restarts=2)
    assert alignment.restarts[:2] == fewer.restarts
    single = match_weights(first, second, found, fresh(), restarts=1)
    assert norms - 2 * single.course[0] == pytest.approx(squared_distance(first, second), rel=1e-10)


def test_all_restarts_begin_at_the_start_that_was_given_and_end_no_lower() -> None:
    chosen = network_recipe("cnn", 4, 2, "batch", blocks=1, hidden_units=4)
    found = groups(chosen, SHAPE, CLASSES)
    first, second = random_weights(chosen, 0), random_weights(chosen, 1)
    start = random_permutations(found, np.random.default_rng(8))
    begun = apply(start, second, found)
    objective = sum((first[name] * begun[name]).sum().item() for name in first)
    for restarts in (1, 4):
        alignment = match_weights(first, second, found, fresh(), restarts, start)
        assert alignment.course[0] == pytest.approx(objective, rel=1e-12)
        assert min(alignment.restarts) >= alignment.course[0]
    ended = match_weights(first, second, found, fresh(), 1, alignment.permutations)
    assert all(torch.equal(ended.permutations[name], order) for name, order in alignment.permutations.items())


def test_a_network_is_aligned_with_itself() -> None:
    chosen = network_recipe("resnet", 4, 8, "batch")
    found = groups(chosen, SHAPE, CLASSES)
    weights = random_weights(chosen, 0)
    alignment = match_weights(weights, weights, found, fresh(), restarts=1)
    assert all(torch.equal(order, torch.arange(len(order))) for order in alignment.permutations.values())
    assert alignment.sweeps == 1


def test_the_same_seed_gives_the_same_alignment_whatever_ran_before() -> None:
    chosen = network_recipe("resnet", 4, 8, "batch")
    found = groups(chosen, SHAPE, CLASSES)
    first, second = random_weights(chosen, 0), random_weights(chosen, 1)
    one = match_weights(first, second, found, fresh())
    torch.manual_seed(123)
    torch.rand(7)
    match_weights(second, first, found, np.random.default_rng(9))
    other = match_weights(first, second, found, fresh())
    assert one.restarts == other.restarts
    assert one.course == other.course
    assert all(torch.equal(order, other.permutations[name]) for name, order in one.permutations.items())


def test_weights_keep_their_type_and_the_network_its_own_weights() -> None:
    chosen = network_recipe("cnn", 4, 1, "batch", blocks=2, hidden_units=4)
    found = groups(chosen, SHAPE, CLASSES)
    first, second = ({n: v.float() for n, v in random_weights(chosen, seed).items()} for seed in (0, 1))
    network, images = build(chosen, SHAPE, CLASSES), some_images(20).float()
    network.load_state_dict({name: value[None] for name, value in first.items()})
    for alignment in (
        match_weights(first, second, found, fresh(), restarts=2),
        match_activations(network, second, second, found, images),
    ):
        assert all(value.dtype == torch.float32 for value in alignment.weights.values())
        check_same_function(network, second, alignment.weights, images)
    assert all(torch.equal(parameter[0], first[name]) for name, parameter in network.named_parameters())
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


# What is refused


@every_recipe
def test_a_permuted_network_passes_the_check_and_one_with_a_forgotten_axis_does_not(chosen: NetworkRecipe) -> None:
    found, images = groups(chosen, SHAPE, CLASSES), some_images()
    weights = {name: value.float() for name, value in random_weights(chosen, 0).items()}
    network = build(chosen, SHAPE, CLASSES)
    permutations = random_permutations(found, np.random.default_rng(0))
    permuted = apply(permutations, weights, found)
    check_same_function(network, weights, permuted, images.float())
    for name, group in found.items():
        wrong = found | {name: Group(group.size, group.axes[:-1])}
        with pytest.raises(AlignmentError, match="computes another function"):
            check_same_function(network, weights, apply(permutations, weights, wrong), images.float())


def test_the_check_sees_a_change_in_a_hundred_thousandth_of_a_weight_and_what_is_no_number() -> None:
    chosen = network_recipe("mlp", 6, 2, "batch")
    weights, network, images = random_weights(chosen, 0), build(chosen, SHAPE, CLASSES), some_images()
    assert logits(chosen, weights, images).abs().max() > 0.1
    for factor in (1 + 1e-5, float("nan")):
        changed = weights["7.weight"].clone()
        changed[0, 0] *= factor
        with pytest.raises(AlignmentError, match="computes another function"):
            check_same_function(network, weights, weights | {"7.weight": changed}, images)


def test_networks_that_cannot_be_aligned_are_refused() -> None:
    chosen = network_recipe("mlp", 4, 2, "none")
    found, weights = groups(chosen, SHAPE, CLASSES), random_weights(chosen, 0)
    diverged = weights | {"3.bias": torch.full((4,), torch.nan)}
    wider = random_weights(network_recipe("mlp", 5, 2, "none"), 0)
    deeper = weights | {"7.weight": torch.zeros(7, 4)}
    for other, message in (
        (diverged, r"3\.bias is not finite"),
        (wider, r"1\.bias is \(4,\) and \(5,\)"),
        (deeper, r"7\.weight is missing and \(7, 4\)"),
    ):
        with pytest.raises(AlignmentError, match=message):
            match_weights(weights, other, found, fresh())
        with pytest.raises(AlignmentError, match=message):
            match_activations(build(chosen, SHAPE, CLASSES), weights, other, found, some_images())
    with pytest.raises(ValueError, match="at least one restart"):
        match_weights(weights, weights, found, fresh(), restarts=0)


# Trained networks


def straight_line_barrier(
    chosen: NetworkRecipe, dataset: Dataset, first: dict[str, Tensor], second: dict[str, Tensor]
) -> float:
    """max_t [ L(t) - ((1-t) L(0) + t L(1)) ] of the training loss at 11 points."""
    images = normalized(dataset.train_images, dataset.mean, dataset.std)
    network, losses = build(chosen, (1, 8, 8), 10), []
    times = np.linspace(0, 1, 11)
    for t in times:
        network.load_state_dict({name: torch.lerp(first[name], second[name], float(t))[None] for name in first})
        with evaluation_mode(network, images[None]):
            loss, _ = evaluate(network, images, dataset.train_labels[None, None], "cross_entropy", 2000)
        losses.append(loss.item())
    return float(np.max(losses - (1 - times) * losses[0] - times * losses[-1]))


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_alignment_all_but_removes_the_barrier_between_trained_networks(digits: Dataset, normalization: str) -> None:
    """Entezari et al. 2022, Ainsworth et al. 2023: wide networks are linearly connected up to permutation."""
    whole = recipe(width=128, depth=2, batch_size=32, network={"normalization": normalization}, training={"epochs": 20})
    state = train(
        whole, new_state(whole, digits, (0, 1)), digits, Settings(torch.device("cpu")), lambda state: None, lambda: None
    )
    first, second = (state.snapshots[seed]["final"] for seed in (0, 1))
    chosen, found = whole.network, groups(whole.network, (1, 8, 8), 10)
    images = normalized(digits.train_images, digits.mean, digits.std)[:500]
    network = build(chosen, (1, 8, 8), 10)
    before = straight_line_barrier(chosen, digits, first, second)
    assert before > 0.1
    for alignment in (
        match_weights(first, second, found, fresh()),
        match_activations(network, first, second, found, images),
    ):
        check_same_function(network, second, alignment.weights, images)
        assert straight_line_barrier(chosen, digits, first, alignment.weights) < 0.1 * before
