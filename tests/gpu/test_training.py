"""Training on the device: tickets, runs that are killed and resumed, repeatable runs, and too little memory."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import recipe, trained
from rounding import rounding_error
from torch import Tensor

from isthmus.core.devices import Settings
from isthmus.core.errors import Interrupted
from isthmus.data.dataset import Dataset
from isthmus.models.evaluation import evaluate
from isthmus.models.masks import Kept, magnitude_mask, pools, prunable
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.training.checkpoint import State, load_state, save_state
from isthmus.training.stacks import train_stacks
from isthmus.training.trainer import Member, new_state, train

SEEDS = (0, 1, 2)
CNN = {"architecture": "cnn", "normalization": "batch", "blocks": 2, "hidden_units": 8}
NETWORKS: dict[str, dict[str, Any]] = {"mlp": {}, "cnn": CNN}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"weight_decay": 1e-3},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.003},
    "sam": {"sharpness_radius": 0.05, "averaging": "ema", "averaging_start": 0.5},
    "augmented": {"flip": True, "crop_padding": 1},
}


def chosen(network: str = "mlp", optimizer: str = "sgd", **training: Any) -> Recipe:
    given = {"epochs": 2} | OPTIMIZERS[optimizer] | training
    return recipe(8, 2, 64, data={"train_size": 320}, network=NETWORKS[network], training=given)


def nothing(state: State) -> None:
    """Save no checkpoint."""


def ended(state: State) -> Tensor:
    """The weights of networks at their end, and last their training losses, `[seeds, ...]`, float64."""
    weights = [
        torch.cat([value.flatten() for value in state.snapshots[seed]["final"].values()]).double() for seed in SEEDS
    ]
    losses = torch.tensor([state.results[seed]["train_loss"] for seed in SEEDS], dtype=torch.float64)
    return torch.cat([torch.stack(weights), losses[:, None]], dim=1)


Machines = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def machines(digits: Dataset) -> Machines:
    """What the CPU makes of a recipe, and how far other machines get from it: rounding grows in every step."""

    @cache
    def apart(network: str = "mlp", optimizer: str = "sgd") -> tuple[Tensor, Tensor]:
        cell = chosen(network, optimizer)
        return rounding_error(lambda: ended(trained(cell, digits, SEEDS)), dtype=None, repeats=2)

    return apart


def assert_as_machines(ours: Tensor, theirs: Tensor, error: Tensor) -> None:
    """All weights, and all losses, are as near as those of two machines."""
    for part in (slice(-1), slice(-1, None)):
        assert (ours - theirs)[:, part].norm() <= error[:, part].norm()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_trained_weights_are_those_of_the_cpu(
    network: str, optimizer: str, digits: Dataset, settings: Settings, machines: Machines
) -> None:
    assert_as_machines(
        ended(trained(chosen(network, optimizer), digits, SEEDS, settings)), *machines(network, optimizer)
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_pruned_weights_stay_zero_and_a_ticket_of_every_weight_is_the_dense_network(
    network: str, digits: Dataset, settings: Settings, machines: Machines
) -> None:
    cell = chosen(network)
    dense = trained(cell, digits, SEEDS, settings)
    names = prunable(build(cell.network, digits.shape, digits.classes))
    for fraction in (1.0, 0.2):
        kept = Kept(fraction, fraction)
        ranked = pools(names, "global", 1.0)
        masks = {seed: magnitude_mask(dense.snapshots[seed]["final"], None, ranked, kept) for seed in SEEDS}
        members = {seed: Member(seed, seed, masks[seed]) for seed in SEEDS}
        ticket = train(cell, new_state(cell, digits, SEEDS), digits, settings, nothing, lambda: None, members)
        for seed in SEEDS:
            for name, mask in masks[seed].items():
                assert not ticket.snapshots[seed]["final"][name][mask == 0].any()
        if fraction == 1.0:
            assert_as_machines(ended(ticket), ended(dense), machines(network)[1])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "sam"])
def test_a_run_that_was_killed_and_resumed_ends_where_an_unbroken_one_does(
    optimizer: str, digits: Dataset, settings: Settings, tmp_path: Path, machines: Machines
) -> None:
    cell, path, counted = chosen("cnn", optimizer), tmp_path / "state.safetensors", [0]

    def killed() -> int | None:
        counted[0] += 1
        return 15 if counted[0] == 7 else None

    with pytest.raises(Interrupted):
        train(cell, new_state(cell, digits, SEEDS), digits, settings, lambda s: save_state(path, s, "x"), killed)
    found = load_state(path, "x")
    assert found is not None
    assert found.step == 7
    resumed = train(cell, found, digits, settings, nothing, lambda: None)
    whole = trained(cell, digits, SEEDS, settings)
    assert_as_machines(ended(resumed), ended(whole), machines("cnn", optimizer)[1])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "sam"])
@pytest.mark.parametrize("network", NETWORKS)
def test_captured_steps_are_those_that_python_makes(
    network: str, optimizer: str, digits: Dataset, settings: Settings, machines: Machines
) -> None:
    cell = chosen(network, optimizer)
    plain, captured = (trained(cell, digits, SEEDS, each) for each in (settings, replace(settings, capture=True)))
    assert_as_machines(ended(captured), ended(plain), machines(network, optimizer)[1])


REPEATED = """
import sys
import torch
from isthmus.core import devices
from isthmus.core.devices import Settings
devices.set_up(1, deterministic=True)
sys.path[:0] = sys.argv[2:]
from helpers import recipe, trained
from isthmus.data.dataset import load_dataset
from isthmus.data.sources import prepare, write_prepared
write_prepared("digits.safetensors", prepare("digits", {"source": "builtin"}))
digits = load_dataset("digits.safetensors")
network = {"architecture": "cnn", "normalization": "batch", "blocks": 2, "hidden_units": 8}
cell = recipe(8, 1, 64, data={"train_size": 320}, network=network, training={"epochs": 2})
runs = [trained(cell, digits, (0, 1), Settings(torch.device(sys.argv[1]))) for _ in range(2)]
for seed in (0, 1):
    first, second = (run.snapshots[seed]["final"] for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first), "two runs differ"
"""


def test_deterministic_runs_are_the_same_bit_for_bit(device: torch.device, tmp_path: Path) -> None:
    """In a process of its own, as PyTorch's deterministic algorithms hold for a whole process."""
    folders = [str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2] / "workflow" / "scripts")]
    environment = os.environ | {"PYTHONPATH": ":".join(folders)}
    command = [sys.executable, "-c", REPEATED, device.type, *folders]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


WIDE, MEMORY = 2048, 0.4e9
"""Eight networks with 4.3 million weights each take 0.42 GB with momentum and initial weights, before any gradient; one
takes some 0.15 GB when its norms are summed in float64."""


def test_a_stack_that_does_not_fit_goes_on_in_halves(device: torch.device, digits: Dataset, tmp_path: Path) -> None:
    if device.type != "cuda":
        pytest.skip("the CPU's memory cannot be limited so")
    cell = recipe(WIDE, 2, 64, data={"train_size": 128}, training={"epochs": 1})
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + MEMORY) / whole)
    try:
        seeds = tuple(range(8))

        def finish(state: State, save: Callable[[State], None]) -> State:
            return train(cell, state, digits, Settings(device), save, lambda: None)

        states = train_stacks(
            [(seeds, None)], tmp_path, lambda _: "x", lambda some: new_state(cell, digits, some), finish
        )
        assert len(states) > 1
        assert sorted(seed for state in states for seed in state.results) == list(seeds)
        images = torch.randn(25_000, 1000, device=device)  # 0.1 GB, and its outputs 0.3 GB in one batch
        network: Callable[[Tensor], Tensor] = lambda batch: batch.repeat(1, 1, 3)  # noqa: E731
        labels = torch.zeros(1, 1, len(images), dtype=torch.int64, device=device)
        loss, _ = evaluate(network, images, labels, "squared_error", len(images))
        assert np.isfinite(float(loss))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
