"""Training: the numbers of a plain PyTorch loop, whatever shares the job, and every rule of stopping."""

import copy
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import CPU, interrupted_at, recipe, trained
from rounding import assert_within, rounding_error

from isthmus.core import seeds
from isthmus.core.devices import Settings
from isthmus.core.errors import Interrupted
from isthmus.data.dataset import Dataset, noisy_labels, normalized
from isthmus.data.examples import training_labels
from isthmus.data.facts import BUILTIN
from isthmus.models.evaluation import evaluate, evaluation_mode
from isthmus.models.networks import build
from isthmus.recipes.recipe import ModuleRecipe, Recipe
from isthmus.recipes.schedules import run_length
from isthmus.training import cost
from isthmus.training.checkpoint import State, load_state, save_state
from isthmus.training.trainer import new_state, train


def without_time(state: State) -> dict[int, dict[str, Any]]:
    return {seed: {key: value for key, value in row.items() if key != "seconds"} for seed, row in state.results.items()}


def assert_same_bits(first: State, second: State) -> None:
    assert first.snapshots.keys() == second.snapshots.keys()
    for seed, labelled in first.snapshots.items():
        assert labelled.keys() == second.snapshots[seed].keys()
        for label, weights in labelled.items():
            for name, value in weights.items():
                assert torch.equal(value, second.snapshots[seed][label][name]), (seed, label, name)
    assert first.history == second.history
    assert without_time(first) == without_time(second)


def plain_loop(recipe: Recipe, dataset: Dataset, seed: int) -> torch.nn.Module:
    """One network trained as a tutorial would: torch.nn layers, a torch.optim optimizer and scheduler."""
    training = recipe.training
    layers: list[torch.nn.Module] = [torch.nn.Flatten()]
    inputs = 64
    for _ in range(recipe.network.depth):
        layers += [torch.nn.Linear(inputs, recipe.network.width), torch.nn.ReLU()]
        inputs = recipe.network.width
    network = torch.nn.Sequential(*layers, torch.nn.Linear(inputs, 10))
    start = new_state(recipe, dataset, (seed,)).snapshots[seed]["initial"]
    for parameter, value in zip(network.parameters(), start.values(), strict=True):
        parameter.data.copy_(value)
    images, labels = normalized(dataset.train_images, dataset.mean, dataset.std), dataset.train_labels
    if training.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            network.parameters(), training.learning_rate, training.momentum, weight_decay=training.weight_decay
        )
    else:
        optimizer = torch.optim.AdamW(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    per_epoch = -(-len(images) // training.batch_size)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.epochs * per_epoch)
    for epoch in range(training.epochs):
        order = seeds.generator(seed, seeds.Stream.ORDER, epoch).permutation(len(images))
        for batch in torch.from_numpy(order).split(training.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            scheduler.step()
    return network


@pytest.mark.parametrize(
    "training",
    [
        {"learning_rate": 0.05, "weight_decay": 1e-3},
        {"optimizer": "adamw", "learning_rate": 0.003, "weight_decay": 0.01},
    ],
)
def test_every_network_of_a_stack_is_what_a_plain_loop_makes_of_it(digits: Dataset, training: dict[str, Any]) -> None:
    chosen = recipe(width=16, depth=2, batch_size=64, training={"epochs": 4, **training})
    state = trained(chosen, digits, (0, 3, 4))
    for seed in (0, 4):
        network = plain_loop(chosen, digits, seed)
        for ours, theirs in zip(state.snapshots[seed]["final"].values(), network.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs.detach(), rtol=2e-3, atol=2e-4)
        with torch.no_grad():
            test = normalized(digits.test_images, digits.mean, digits.std)
            loss = F.cross_entropy(network(test), digits.test_labels)
        assert state.results[seed]["test_loss"] == pytest.approx(loss.item(), rel=2e-3)
        correct = (network(test).argmax(1) == digits.test_labels).double().mean().item()
        assert state.results[seed]["test_accuracy"] == pytest.approx(correct, abs=1 / len(test))


@pytest.mark.parametrize(
    ("architecture", "normalization", "depth"),
    [("mlp", "none", 2), ("mlp", "batch", 1), ("cnn", "batch", 1), ("cnn", "layer", 1), ("resnet", "batch", 8)],
)
def test_results_do_not_depend_on_who_shares_the_job(
    digits: Dataset, architecture: str, normalization: str, depth: int
) -> None:
    chosen = recipe(
        width=4,
        depth=depth,
        batch_size=64,
        data={"train_size": 256, "label_noise": 0.1},
        network={"architecture": architecture, "normalization": normalization, "blocks": 2, "hidden_units": 8},
        training={"epochs": 2, "learning_rate": 0.02, "flip": True, "crop_padding": 1},
    )
    together = trained(chosen, digits, (0, 1, 2))
    alone = trained(chosen, digits, (1,))
    for name, value in alone.snapshots[1]["final"].items():
        torch.testing.assert_close(together.snapshots[1]["final"][name], value, rtol=1e-3, atol=1e-4)
    assert together.results[1]["stopped"] == alone.results[1]["stopped"]
    for key, value in without_time(alone)[1].items():
        if key != "stopped":
            assert together.results[1][key] == pytest.approx(value, rel=1e-2, abs=1e-2), key


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_interrupted_again_and_again_ends_bit_for_bit_like_an_undisturbed_one(
    digits: Dataset, tmp_path: Any, optimizer: str
) -> None:
    chosen = recipe(
        width=8,
        depth=1,
        batch_size=100,
        data={"train_size": 550},
        training={
            "epochs": 6,
            "learning_rate": 0.01,
            "optimizer": optimizer,
            "snapshots": [2, 5],
            "crop_padding": 1,
            "until_train_accuracy": 0.9,
        },
    )
    whole = trained(chosen, digits, (0, 1, 2))
    path, randomness, tries = tmp_path / "state.safetensors", random.Random(0), 0
    while True:
        state = load_state(path, "x") or new_state(chosen, digits, (0, 1, 2))
        try:
            broken = interrupted_at(
                chosen, digits, state, randomness.randint(1, 7), lambda state: save_state(path, state, "x")
            )
            break
        except Interrupted:
            tries += 1
    assert tries > 3
    assert_same_bits(whole, broken)


def test_dropout_depends_on_neither_the_stack_nor_an_interruption(digits: Dataset) -> None:
    known: Any = {"parameters": 1, "activations": 1, "batch_norm": False, "convolutional": True, "last_layer": "head"}
    arguments = {"shape": (1, 8, 8), "classes": 10, "dropout": 0.3}
    network = ModuleRecipe("own_models:ViT", arguments, source="", random=True, stacks=False, **known)
    options = {"epochs": 2, "sharpness_radius": 0.05}
    chosen = replace(recipe(batch_size=100, data={"train_size": 300}, training=options), network=network)
    whole, begun = trained(chosen, digits, (0, 1)), new_state(chosen, digits, (0, 1))
    saved: list[State] = []
    with pytest.raises(Interrupted):
        interrupted_at(chosen, digits, begun, 4, lambda state: saved.append(copy.deepcopy(state)))
    assert saved[-1].step == 4
    assert_same_bits(whole, interrupted_at(chosen, digits, saved[-1], 1000, lambda state: None))
    complete = replace(chosen, network=replace(network, arguments=arguments | {"dropout": 0.0}, random=False))
    assert trained(complete, digits, (1,)).results[1]["train_loss"] != whole.results[1]["train_loss"]
    scaled = replace(chosen, network=replace(network, module="own_models:Scaled", arguments={}, last_layer=""))
    together, alone = (trained(scaled, digits, stack).snapshots[1] for stack in ((0, 1), (1,)))
    # Six steps round by some 1e-7, by place in the stack; other units dropped would change weights as much as training.
    torch.testing.assert_close(together["final"], alone["final"], rtol=1e-5, atol=1e-5)
    assert (together["final"]["scales"] - together["initial"]["scales"]).abs().min() > 1e-4


def test_networks_leave_the_stack_when_they_reach_the_goal(digits: Dataset) -> None:
    chosen = recipe(
        width=16, batch_size=32, training={"epochs": 12, "until_train_accuracy": 0.97, "schedule": "constant"}
    )
    state = trained(chosen, digits, tuple(range(6)))
    steps = {row["steps"] for row in state.results.values()}
    assert len(steps) > 1, "all networks stopped together: the test shows nothing"
    for seed, row in state.results.items():
        assert row["stopped"] == "train_accuracy"
        assert row["train_accuracy"] >= 0.97
        assert all(earlier["train_accuracy"] < 0.97 for earlier in state.history[seed][:-1])
        alone = trained(chosen, digits, (seed,))
        assert alone.results[seed]["steps"] == row["steps"]
        assert alone.results[seed]["train_loss"] == pytest.approx(row["train_loss"], rel=1e-3)


def test_a_diverged_network_is_a_result_and_leaves_its_neighbours_alone(digits: Dataset) -> None:
    # At this rate, on squared error, some networks of the stack blow up and some do not.
    training = {"epochs": 4, "learning_rate": 10.0, "loss": "squared_error", "schedule": "constant"}
    chosen = recipe(width=8, depth=2, batch_size=32, training=training)
    chosen_seeds = tuple(range(8))
    state = trained(chosen, digits, chosen_seeds)
    diverged = {seed for seed, row in state.results.items() if row["diverged"]}
    assert 0 < len(diverged) < len(chosen_seeds), diverged
    for seed in chosen_seeds:
        row, last, first = state.results[seed], state.history[seed][-1], state.history[seed][0]
        assert (row["stopped"] == "diverged") == (seed in diverged)
        assert (row["train_loss"] is None) == (seed in diverged)
        if seed in diverged:
            assert row["steps"] < 4 * 45
            assert last["train_loss"] is None or last["train_loss"] > 10 * first["train_loss"]
        else:
            assert row["steps"] == 4 * 45
            assert trained(chosen, digits, (seed,)).results[seed]["stopped"] == "budget"
        assert np.isfinite([value for value in row.values() if isinstance(value, float)]).all()


def test_a_network_that_leaves_the_finite_range_counts_as_diverged(digits: Dataset) -> None:
    training = {"epochs": 3, "learning_rate": 1e6, "loss": "squared_error"}
    state = trained(recipe(width=8, depth=2, batch_size=32, training=training), digits, (0,))
    assert state.results[0]["stopped"] == "diverged"
    assert state.history[0][-1]["train_loss"] is None


def test_history_snapshots_and_movement_agree_with_the_weights(digits: Dataset) -> None:
    chosen = recipe(
        width=6,
        depth=1,
        batch_size=50,
        network={"architecture": "cnn", "normalization": "batch", "blocks": 1, "hidden_units": 0},
        data={"train_size": 300},
        training={"epochs": 4, "snapshots": [1, 3], "history_every": 2, "learning_rate": 0.02},
    )
    state = trained(chosen, digits, (5,))
    assert list(state.snapshots[5]) == ["initial", "epoch-1", "epoch-3", "final"]
    assert [row["epoch"] for row in state.history[5]] == [0, 2, 4]
    initial, final = state.snapshots[5]["initial"], state.snapshots[5]["final"]
    distance = torch.cat([(final[name].double() - initial[name]).flatten() for name in final]).norm().item()
    assert state.results[5]["movement"] == pytest.approx(distance, rel=1e-9)
    assert state.history[5][0]["movement"] == 0

    network = build(chosen.network, (1, 8, 8), 10)
    network.load_state_dict({name: value[None] for name, value in final.items()})
    indices, labels = training_labels(chosen.data, digits, (5,))
    images = normalized(digits.train_images[torch.from_numpy(indices)], digits.mean, digits.std)

    def evaluated(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        with evaluation_mode(network.to(dtype), images[None].to(dtype)):
            return evaluate(network, images.to(dtype), labels[None], "cross_entropy", 77)

    assert state.results[5]["train_accuracy"] == evaluated(torch.float32)[1].item()
    loss = torch.tensor([[state.results[5]["train_loss"]]])
    assert_within(loss, *rounding_error(lambda: evaluated(torch.float64)[0]))


def test_training_goes_on_from_any_step_with_the_order_and_rates_from_there(digits: Dataset) -> None:
    """Rewinding (Frankle et al. 2020): a run started from the weights of step k ends where the whole run ended."""
    chosen = recipe(width=8, batch_size=64, training={"epochs": 3, "momentum": 0.0, "snapshots": [1]})
    whole = trained(chosen, digits, (0, 1))
    state = new_state(chosen, digits, (0, 1))
    state.step = 23
    for member, seed in enumerate((0, 1)):
        for name, value in whole.snapshots[seed]["epoch-1"].items():
            state.weights[name][member] = value
    rewound = train(chosen, state, digits, CPU, lambda state: None, lambda: None)
    for name, value in whole.snapshots[1]["final"].items():
        assert torch.equal(rewound.snapshots[1]["final"][name], value)
    assert [row["epoch"] for row in rewound.history[0]] == [1, 2, 3]


def test_label_noise_is_drawn_per_network_or_once_and_the_clean_labels_are_kept(digits: Dataset) -> None:
    clean = digits.train_labels.numpy()
    own = recipe(data={"label_noise": 0.2}).data
    _, labels = training_labels(own, digits, (0, 1))
    assert ((labels.numpy() != clean).sum(1) == round(0.2 * len(clean))).all()
    assert not torch.equal(labels[0], labels[1])
    expected = noisy_labels(clean, 10, 0.2, seeds.generator(1, seeds.Stream.LABEL_NOISE))
    assert (labels[1].numpy() == expected).all()
    once = recipe(data={"label_noise": 0.2, "label_noise_draw": "once"}).data
    _, shared = training_labels(once, digits, (0, 1))
    assert torch.equal(shared[0], shared[1])

    chosen = recipe(width=64, batch_size=32, data={"label_noise": 0.2}, training={"epochs": 3})
    row = trained(chosen, digits, (0,)).results[0]
    assert row["train_accuracy_clean"] > row["train_accuracy"] + 0.1, "early in training the clean labels are learned"


def test_the_number_of_steps_follows_the_recipe(digits: Dataset) -> None:
    training = recipe(batch_size=32, training={"epochs": 3}).training
    assert run_length(training, 96) == (3, 9)
    assert run_length(training, 97) == (4, 12)
    assert run_length(recipe(batch_size=32, training={"epochs": 3, "drop_last": True}).training, 97) == (3, 9)
    for drop_last, steps in ((True, 9), (False, 12)):
        asked = recipe(batch_size=32, data={"train_size": 97}, training={"epochs": 3, "drop_last": drop_last})
        assert cost.work(asked, BUILTIN["digits"], {}, 1).calls[0].count == steps
    stepped = recipe(batch_size=32, training={"steps": 50})
    assert run_length(stepped.training, len(digits.train_labels)) == (45, 50)
    state = trained(stepped, digits, (0,))
    assert state.results[0]["steps"] == 50
    assert [row["step"] for row in state.history[0]] == [0, 45, 50]
    assert state.results[0]["epochs"] == pytest.approx(50 / 45)


def test_bfloat16_autocast_follows_float32_and_keeps_float32_weights(digits: Dataset) -> None:
    results = {}
    for precision in ("float32", "bfloat16"):
        state = trained(recipe(width=32, batch_size=64, training={"epochs": 8, "precision": precision}), digits, (0,))
        assert all(value.dtype == torch.float32 for value in state.snapshots[0]["final"].values())
        results[precision] = state.results[0]
    assert results["bfloat16"]["train_loss"] != results["float32"]["train_loss"]
    assert results["bfloat16"]["train_loss"] == pytest.approx(results["float32"]["train_loss"], rel=0.2)


def test_squared_error_is_learned_and_reported(digits: Dataset) -> None:
    chosen = recipe(width=32, batch_size=64, training={"epochs": 10, "loss": "squared_error", "learning_rate": 0.5})
    row = trained(chosen, digits, (0,)).results[0]
    assert row["train_loss"] < 0.02, "a constant guess of the class frequencies has 0.09"
    assert row["test_accuracy"] > 0.9


def test_channels_last_changes_nothing_but_rounding(digits: Dataset) -> None:
    chosen = recipe(
        width=4,
        depth=2,
        batch_size=64,
        network={"architecture": "cnn", "normalization": "batch", "blocks": 1, "hidden_units": 8},
        data={"train_size": 256},
        training={"epochs": 2, "learning_rate": 0.02},
    )
    plain, other = (trained(chosen, digits, (0,), Settings(CPU.device, flag)) for flag in (False, True))
    assert other.results[0]["train_loss"] == pytest.approx(plain.results[0]["train_loss"], rel=1e-2)
