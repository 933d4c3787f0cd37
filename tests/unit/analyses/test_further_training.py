"""Further training: a plain loop that goes on, zeros that stay zeros, and data that change only if they are to."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import CPU, recipe, trained

from isthmus.analyses.further_training.measure import (
    Trained,
    member_of,
    on_first_data,
    rows_of,
    second_data,
    start_state,
)
from isthmus.analyses.further_training.recipe import further_recipe
from isthmus.core import seeds
from isthmus.data.corruptions import corrupt
from isthmus.data.dataset import Dataset, normalized, select
from isthmus.landscape.corrupted_images import CorruptedTest
from isthmus.landscape.evaluator import Evaluator
from isthmus.models.masks import Kept, magnitude_mask, masked, pools, prunable
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.training.checkpoint import State
from isthmus.training.scores import reason_to_stop
from isthmus.training.trainer import train

SAME: dict[str, Any] = {"corruption": None, "severity": 3, "seed": 0, "epochs": 2, "learning_rate": 0.02}
CONTRAST = SAME | {"corruption": "contrast"}
RECIPE = {"epochs": 2, "learning_rate": 0.05, "schedule": "constant", "warmup_epochs": 1}


def chosen(**training: Any) -> Recipe:
    return recipe(8, 1, 64, data={"train_size": 320}, training=RECIPE | training)


def networks_of(cell: Recipe, digits: Dataset) -> dict[int, Trained]:
    """A dense network, and the same with most weights pruned, as if it had been trained so."""
    weights = trained(cell, digits, (3,)).snapshots[3]["final"]
    names = prunable(build(cell.network, digits.shape, 10))
    mask = magnitude_mask(weights, None, pools(names, "global", 1.0), Kept(0.2, 0.2))
    return {0: Trained(3, "dense", 0, weights, {}), 1: Trained(3, "ticket", 1, masked(weights, mask), mask)}


def trained_on(
    cell: Recipe, second: Dataset, networks: dict[int, Trained], options: dict[str, Any], pause_at: int | None = None
) -> State:
    further = further_recipe(cell, options, len(second.train_labels))
    members = {number: member_of(network) for number, network in networks.items()}
    state = start_state(networks)
    return train(further, state, second, CPU, lambda _: None, lambda: None, members, pause_at)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_dense_network_goes_on_bit_for_bit_as_in_a_plain_loop(digits: Dataset, optimizer: str) -> None:
    cell = chosen(optimizer=optimizer)
    dense = {0: networks_of(cell, digits)[0]}
    state = trained_on(cell, digits, dense, SAME)
    network = build(cell.network, digits.shape, 10)  # a stack of one
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(dense[0].weights[name][None])
    update = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9, fused=True)
    loop = update if optimizer == "sgd" else torch.optim.Adam(network.parameters(), 0.02, fused=True)
    indices = further_indices(cell, digits)
    images = normalized(digits.train_images, digits.mean, digits.std)[indices]
    labels = digits.train_labels[indices]
    noise = seeds.integer(3, "further training")
    for epoch in range(2):
        order = torch.from_numpy(seeds.generator(noise, seeds.Stream.ORDER, epoch).permutation(320))
        for batch in order.split(64):
            loop.zero_grad()
            F.cross_entropy(network(images[batch][None])[0], labels[batch]).backward()
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter.grad = parameter.grad.contiguous()
            loop.step()
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter.detach()[0], state.snapshots[0]["final"][name]), name


def further_indices(cell: Recipe, digits: Dataset) -> torch.Tensor:
    """The training examples that the networks learned."""
    data = cell.data
    return torch.from_numpy(select(digits.train_labels.numpy(), data.train_size, data.selection, data.selection_seed))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_pruned_weights_and_their_momentum_stay_zero_and_the_others_move(digits: Dataset, optimizer: str) -> None:
    cell = chosen(optimizer=optimizer, weight_decay=0.01)
    networks = networks_of(cell, digits)
    state = trained_on(cell, second_data(digits, None, CONTRAST), networks, CONTRAST, pause_at=7)
    for name, mask in networks[1].mask.items():
        for held in (state.weights, *(slot for key, slot in state.optimizer.items() if key != "step")):
            assert held[name][1][~mask].abs().max() == 0
            assert held[name][1][mask].abs().max() > 0
            assert held[name][0][~mask].abs().max() > 0  # the dense network's in the same stack
        assert not torch.equal(state.weights[name][1], networks[1].weights[name])


def test_a_second_data_set_equal_to_the_first_changes_nothing(digits: Dataset) -> None:
    cell, other = chosen(), replace(digits, name="copy", checksum="another")
    networks = networks_of(cell, digits)
    first, second = (
        trained_on(cell, second_data(digits, each, SAME), networks, SAME).snapshots for each in (None, other)
    )
    for number in networks:
        for name, value in first[number]["final"].items():
            assert torch.equal(value, second[number]["final"][name])


def test_corrupted_test_images_are_those_of_robustness_and_training_images_have_draws_of_their_own(
    digits: Dataset,
) -> None:
    cell = chosen()
    evaluator = Evaluator.of(cell, digits, (3,), CPU)
    for corruption in ("contrast", "gaussian_noise"):
        second = second_data(digits, None, SAME | {"corruption": corruption})
        test = CorruptedTest.of(evaluator, digits, {"corruptions": [corruption], "severities": [3], "seed": 0})
        made = normalized(second.test_images, second.mean, second.std)
        torch.testing.assert_close(made, test.images(corruption, 3), rtol=1e-5, atol=1e-5)
    drawn_alike = corrupt(digits.train_images / 16, "gaussian_noise", 3, seed=0) * 16
    assert (second.train_images - drawn_alike).abs().mean() > 0.5


def test_another_data_set_is_taken_in_the_units_of_the_first(digits: Dataset) -> None:
    """Digits with 16 for white, and the same with 255."""
    brighter = replace(digits, train_images=digits.train_images * 15, test_images=digits.test_images * 15)
    second = second_data(digits, brighter, SAME)
    torch.testing.assert_close(second.train_images, digits.train_images * (15 * 16 / 255))
    assert torch.equal(second.mean, digits.mean)
    with pytest.raises(ValueError, match="differ in the shape of images or in classes"):
        second_data(digits, replace(digits, classes=9), SAME)


def test_what_is_forgotten_is_the_accuracy_lost_on_the_first_data(digits: Dataset) -> None:
    cell = chosen(epochs=20)
    networks = {0: networks_of(cell, digits)[0]}
    state, evaluator = trained_on(cell, digits, networks, SAME), Evaluator.of(cell, digits, (3,), CPU, stack=2)
    before, after = on_first_data(evaluator, 3, [networks[0].weights, state.snapshots[0]["final"]])
    rows = rows_of(state.history[0], before, after)
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert [row["final"] for row in rows] == [False, False, True]
    for row in (rows[0], rows[-1]):  # the second data are the first
        for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            assert row[f"first_{name}"] == pytest.approx(row[name], rel=1e-5)
    assert rows[-1]["forgotten"] == before["first_test_accuracy"] - after["first_test_accuracy"]
    assert rows[0]["movement"] == 0 < rows[-1]["movement"]
    lost = rows_of(state.history[0], before, None)
    assert all(row["diverged"] for row in lost)
    assert "forgotten" not in lost[-1]


def test_a_rise_of_the_loss_on_data_that_were_fitted_is_no_divergence() -> None:
    row = {"train_loss": 0.5, "train_accuracy": 0.9, "test_loss": 0.6, "weight_norm": 3.0, "movement": 1.0}
    further = further_recipe(chosen(), SAME, 320).training
    assert reason_to_stop(chosen().training, row, first_loss=1e-3, over=False) == "diverged"
    assert reason_to_stop(further, row, first_loss=1e-3, over=False) is None
    assert reason_to_stop(further, row | {"train_loss": None}, first_loss=1e-3, over=False) == "diverged"
