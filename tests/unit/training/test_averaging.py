"""Averages of weights against torch.optim.swa_utils and closed forms, and what a network is whose weights are one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import recipe
from rounding import assert_within, summation_error
from torch import Tensor
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn

from isthmus.analyses.connect.curve_recipe import curve_training
from isthmus.core import seeds
from isthmus.core.devices import Settings
from isthmus.core.errors import Interrupted
from isthmus.data.dataset import Dataset, normalized
from isthmus.data.examples import training_labels
from isthmus.landscape.moments import moments
from isthmus.models.evaluation import evaluate, evaluation_mode
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.recipes.schedules import learning_rate, run_length
from isthmus.training import averaging
from isthmus.training.checkpoint import State, load_state, save_state
from isthmus.training.rows import rows
from isthmus.training.trainer import Member, new_state, train

CPU = Settings(torch.device("cpu"))
SWA = {"averaging": "swa", "averaging_start": 0.5, "averaging_rate": 0.03}
EMA = {"averaging": "ema", "averaging_start": 0.5, "averaging_decay": 0.9}
kinds = pytest.mark.parametrize("options", [SWA, EMA], ids=["swa", "ema"])


def chosen(options: dict[str, Any], width: int = 8, depth: int = 1, batch_size: int = 100, **others: Any) -> Recipe:
    """Four epochs of ten steps."""
    data = {"train_size": 1000} | others.pop("data", {})
    training = {"epochs": 4, "learning_rate": 0.05} | options | others.pop("training", {})
    return recipe(width, depth, batch_size, data=data, training=training, **others)


def trained(cell: Recipe, dataset: Dataset, *network_seeds: int) -> State:
    return train(cell, new_state(cell, dataset, network_seeds), dataset, CPU, lambda _: None, lambda: None)


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


# The averages themselves


@kinds
def test_averages_follow_their_closed_forms(options: dict[str, Any]) -> None:
    """The mean, and w_0 d^n + (1 - d) sum_i d^(n - i) w_i."""
    training, slots = chosen(options).training, {"momentum_buffer": {}}
    torch.manual_seed(0)
    path = torch.randn(9, 3, 5, dtype=torch.float64)
    for number, point in enumerate(path):
        assert averaging.included(slots) == number
        averaging.include(training, {"w": point, "b": point[:, :1]}, slots)
        if number == 0:
            assert torch.equal(slots["average"]["w"], point), "the average of one is that one"
            assert slots["average"]["w"] is not point
    decay, last = 0.9, len(path) - 1
    shares = [decay**last] + [(1 - decay) * decay ** (last - i) for i in range(1, last + 1)]
    parts = torch.tensor([1 / 9] * 9 if options is SWA else shares, dtype=torch.float64)[:, None, None] * path
    # Each of nine steps rounds a difference, a product and a sum of average and weights; and the shares are rounded.
    error = summation_error(9 * 3 * 2 + 9, torch.float64) * parts.abs().sum(0)
    assert_within(slots["average"]["w"], parts.sum(0), error)
    assert_within(slots["average"]["b"], parts.sum(0)[:, :1], error[:, :1])
    assert set(slots) == {"momentum_buffer", "average", "averaged"}


def plain_loop(cell: Recipe, dataset: Dataset, seed: int) -> AveragedModel:
    """One network trained and averaged as the documentation of torch.optim.swa_utils does it."""
    training, width = cell.training, cell.network.width
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10)
    )
    start = new_state(cell, dataset, (seed,)).snapshots[seed]["initial"]
    for parameter, value in zip(network.parameters(), start.values(), strict=True):
        parameter.data.copy_(value)
    images, labels = normalized(dataset.train_images, dataset.mean, dataset.std)[:1000], dataset.train_labels[:1000]
    optimizer = torch.optim.SGD(network.parameters(), training.learning_rate, training.momentum)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    swa = training.averaging == "swa"
    averaged = AveragedModel(network, multi_avg_fn=None if swa else get_ema_multi_avg_fn(training.averaging_decay))
    for epoch in range(4):
        if swa and epoch == 2:
            SWALR(optimizer, training.averaging_rate, anneal_epochs=0).step()
        order = seeds.generator(seed, seeds.Stream.ORDER, epoch).permutation(len(images))
        for step, batch in enumerate(torch.from_numpy(order).split(training.batch_size), start=1 + 10 * epoch):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            if not swa or epoch < 2:
                scheduler.step()
            if step >= 20 and (not swa or step % 10 == 0):
                averaged.update_parameters(network)
    return averaged


@kinds
def test_every_network_of_a_stack_is_what_swa_utils_makes_of_a_plain_loop(
    digits: Dataset, options: dict[str, Any]
) -> None:
    cell = chosen(options, width=16, data={"selection": "first"})
    state = trained(cell, digits, 0, 3)
    for seed in (0, 3):
        theirs = plain_loop(cell, digits, seed)
        assert state.results[seed]["averaged"] == int(theirs.n_averaged) == (3 if options is SWA else 21)
        for ours, parameter in zip(state.snapshots[seed]["final"].values(), theirs.module.parameters(), strict=True):
            torch.testing.assert_close(ours, parameter.detach(), rtol=2e-3, atol=2e-4)


def test_swa_has_a_rate_of_its_own_from_its_start_on() -> None:
    options = {"averaging_start": 0.6, "schedule": "linear", "batch_scaling": "linear", "reference_batch_size": 50}
    with_rate, without = (chosen(SWA | options | {"averaging_rate": rate}).training for rate in (0.03, None))
    plain = chosen(options | {"averaging_start": 0.75}).training
    for step in range(40):
        expected = learning_rate(plain, step, 10, 40)
        assert learning_rate(without, step, 10, 40) == expected
        assert learning_rate(with_rate, step, 10, 40) == (expected if step < 20 else 0.06), "0.6 of 4 epochs: 2"


def test_curves_between_networks_are_fitted_without_ascent_and_average() -> None:
    """A bend is fitted to lower the loss along the path, whatever made the ends; its schedule is its own."""
    options = {"batch_size": None, "schedule": "linear", "weight_decay": None, "learning_rate": 0.2}
    options |= {"epochs": 2, "warmup_fraction": 0.1}
    plain, flat = (
        curve_training(chosen(each).training, options, 1000) for each in ({}, SWA | {"sharpness_radius": 0.1})
    )
    assert (flat.sharpness_radius, flat.averaging) == (0.0, "none")
    assert [learning_rate(flat, step, 10, 20) for step in range(20)] == [
        learning_rate(plain, step, 10, 20) for step in range(20)
    ]


# What a network is whose weights are averaged


@kinds
@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_the_final_network_is_the_average_and_training_goes_on_as_without(
    digits: Dataset, options: dict[str, Any], normalization: str
) -> None:
    network = {"normalization": normalization}
    cell = chosen(options | {"averaging_rate": None, "snapshots": [2, 3]}, network=network)
    state = trained(cell, digits, 0, 1)
    plain = trained(chosen({"snapshots": [2, 3]}, network=network), digits, 0, 1)
    assert list(state.snapshots[1]) == ["initial", "epoch-2", "epoch-3", "last", "final"]
    at = [moment.name for moment in moments(state.snapshots[1], 4.0, True)]
    assert at == ["initial", "epoch-2", "epoch-3", "final"]
    for label in ("initial", "epoch-2", "epoch-3", "last"):
        assert_same(state.snapshots[1][label], plain.snapshots[1]["final" if label == "last" else label])
    assert state.history[1][:-1] == plain.history[1][:-1]
    final, initial = state.snapshots[1]["final"], state.snapshots[1]["initial"]
    if options["averaging"] == "swa":
        for name, value in final.items():
            ends = torch.stack([state.snapshots[1][label][name] for label in ("epoch-2", "epoch-3", "last")])
            # Two steps from the first of three, each a difference, a product and a sum of average and weights.
            assert_within(value, ends.double().mean(0), summation_error(2 * 3 * 2) * ends.double().abs().mean(0))

    rebuilt = build(cell.network, (1, 8, 8), 10)
    rebuilt.load_state_dict({name: value[None] for name, value in final.items()})
    test = normalized(digits.test_images, digits.mean, digits.std)
    indices, labels = training_labels(cell.data, digits, (1,))
    images = normalized(digits.train_images[torch.from_numpy(indices)], digits.mean, digits.std)
    with evaluation_mode(rebuilt, images[None]):
        train_loss = evaluate(rebuilt, images, labels[None], "cross_entropy", 128)[0].item()
        test_loss = evaluate(rebuilt, test, digits.test_labels[None, None], "cross_entropy", 128)[0].item()
    movement = torch.cat([(final[name].double() - initial[name]).flatten() for name in final]).norm().item()
    for row in (state.results[1], state.history[1][-1]):
        assert row["train_loss"] == pytest.approx(train_loss, rel=summation_error(200))
        assert row["test_loss"] == pytest.approx(test_loss, rel=summation_error(200))
        assert row["movement"] == pytest.approx(movement, rel=1e-9)
    assert state.history[1][-1].keys() == plain.history[1][-1].keys()
    networks, _ = rows("study", "cell", cell, digits, [state], [1])
    assert (networks[0]["averaging"], networks[0]["sharpness_radius"]) == (options["averaging"], 0.0)


def test_the_average_of_one_snapshot_is_that_snapshot(digits: Dataset) -> None:
    cell = chosen(SWA | {"averaging_rate": None})
    late = replace(cell, training=replace(cell.training, averaging_start=0.99))
    state, plain = trained(late, digits, 0), trained(chosen({}), digits, 0)
    assert state.results[0]["averaged"] == 1
    assert_same(state.snapshots[0]["final"], plain.snapshots[0]["final"])
    assert_same(state.snapshots[0]["last"], plain.snapshots[0]["final"])
    assert state.history == plain.history


def test_networks_that_stop_earlier_have_the_average_so_far_or_none(digits: Dataset) -> None:
    options = EMA | {"epochs": 8, "until_train_accuracy": 0.95, "schedule": "constant", "averaging_start": 0.5625}
    cell = chosen(options, batch_size=50)
    state = trained(cell, digits, *range(6))
    begins = 90  # of 160 steps
    counts = {seed: row["averaged"] for seed, row in state.results.items()}
    assert len(set(counts.values())) > 2, "all networks stopped together: the test shows nothing"
    assert min(counts.values()) == 0, "no network stopped before averaging: the test shows nothing"
    for seed, row in state.results.items():
        assert row["averaged"] == max(row["steps"] - begins + 1, 0)
        assert ("last" in state.snapshots[seed]) == (row["averaged"] > 0)
        alone = trained(cell, digits, seed)
        assert alone.results[seed]["averaged"] == row["averaged"]
        for name, value in alone.snapshots[seed]["final"].items():
            torch.testing.assert_close(state.snapshots[seed]["final"][name], value, rtol=1e-3, atol=1e-4)


def test_a_diverged_network_is_not_averaged(digits: Dataset) -> None:
    options = {"averaging": "ema", "averaging_start": 0.0, "learning_rate": 1e6, "loss": "squared_error"}
    state = trained(chosen(options, depth=2), digits, 0)
    assert state.results[0]["diverged"]
    assert (state.results[0]["averaged"], list(state.snapshots[0])) == (0, ["initial", "final"])


@kinds
def test_pruned_weights_of_an_average_are_exactly_zero(digits: Dataset, options: dict[str, Any]) -> None:
    cell = chosen(options | {"sharpness_radius": 0.1})
    state = new_state(cell, digits, (0, 1))
    masks = {seed: {"1.weight": state.snapshots[seed]["initial"]["1.weight"] > 0} for seed in (0, 1)}
    members = {seed: Member(seed, seed, masks[seed]) for seed in (0, 1)}
    done = train(cell, state, digits, CPU, lambda _: None, lambda: None, members)
    for seed, mask in masks.items():
        for label in ("final", "last"):
            weight = done.snapshots[seed][label]["1.weight"]
            assert weight[~mask["1.weight"]].abs().max() == 0
            assert weight[mask["1.weight"]].abs().min() > 0


# Going on


def interrupted_every(steps: int, cell: Recipe, dataset: Dataset, path: Path, pause_at: int | None = None) -> State:
    """Train to the end, or to `pause_at`, from checkpoint to checkpoint of so many steps each."""

    def stop_after() -> Callable[[], int | None]:
        left = iter(range(steps - 1, -1, -1))
        return lambda: None if next(left) else 15

    while True:
        state = load_state(path, "x") or new_state(cell, dataset, (0, 1, 2))
        try:
            return train(
                cell, state, dataset, CPU, lambda state: save_state(path, state, "x"), stop_after(), pause_at=pause_at
            )
        except Interrupted:
            continue


@kinds
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_interrupted_while_averaging_ends_bit_for_bit_like_an_undisturbed_one(
    digits: Dataset, tmp_path: Path, options: dict[str, Any], optimizer: str
) -> None:
    more = {"optimizer": optimizer, "learning_rate": 0.01, "sharpness_radius": 0.05, "until_train_accuracy": 0.93}
    cell = chosen(options | more | {"epochs": 6, "averaging_start": 0.3}, width=16)
    assert run_length(cell.training, 1000) == (10, 60)
    whole = trained(cell, digits, 0, 1, 2)
    broken = interrupted_every(7, cell, digits, tmp_path / "state.safetensors")
    paused = interrupted_every(9, cell, digits, tmp_path / "paused.safetensors", pause_at=33)
    resumed = train(cell, paused, digits, CPU, lambda _: None, lambda: None)
    for other in (broken, resumed):
        assert whole.history == other.history
        for seed, labelled in whole.snapshots.items():
            assert labelled.keys() == other.snapshots[seed].keys()
            assert whole.results[seed]["averaged"] == other.results[seed]["averaged"] > 1
            for label, weights in labelled.items():
                assert_same(weights, other.snapshots[seed][label])
