"""Networks trained by a plain loop, in the real workflow: its tables against plain PyTorch in float64."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from rounding import rounding_error
from running import ROOT, planned, read, run_once, succeed
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.func import functional_call

from isthmus.training.weights import load_weights

WIDTH, SEEDS, POINTS = 64, range(5), 11
CELL = f"width={WIDTH}+batch_size=64"
BLOCK = f"results/plain-loop/train/{CELL}/0.safetensors"
ANALYSES: dict[str, Any] = {
    "connect": {"kinds": ["linear"], "line_points": POINTS, "sharpness": {"points": 0}, "planes": {"points": 2}},
    "curvature": {
        "images": 1437,
        "eigenvalues": 1,
        "gauss_newton_eigenvalues": 0,
        "tolerance": 1e-4,
        "trace_precision": None,
        "spectrum": {"probes": 0},
        "noise": {"sigmas": [0.01], "relative_sigmas": [], "radii": [], "adaptive_radii": [], "draws": 2},
    },
    "movement": {"kernel_images": 0},
    "relations": {},
}
Weights = Mapping[str, Tensor]
TARGETS = ("tables", "results/overview.html")  # which draws a few figures only
pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


def config() -> dict[str, Any]:
    """The preset, with the networks of one width and less to measure."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "checkpoints.yaml").read_text())
    found["studies"]["plain-loop"] |= {"analyses": ANALYSES}
    found["studies"]["plain-loop"]["grid"]["width"] = [WIDTH]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the loop and then the workflow ran. Not to be changed."""

    def run(made: Path) -> None:
        shutil.copy(ROOT / "presets" / "plain_loop.py", made)
        subprocess.run(
            [sys.executable, "plain_loop.py"], cwd=made, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True
        )
        succeed(made, config(), *TARGETS)

    return run_once(tmp_path_factory, "checkpoints", run)


@pytest.fixture(scope="module")
def loop(folder: Path) -> ModuleType:
    """The user's file."""
    spec = importlib.util.spec_from_file_location("plain_loop", folder / "plain_loop.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


class Reference:
    """The loss and the weights as their owner knows them, in float64."""

    def __init__(self, folder: Path, loop: ModuleType) -> None:
        self.network, data = loop.build(WIDTH).double(), loop.digits()
        self.images, self.test_images = (part.double() for part in data[:2])
        self.labels, self.test_labels = data[2:]
        files = (torch.load(folder / f"runs/width{WIDTH}/seed{seed}.pt")["model"] for seed in SEEDS)
        self.weights = [{name: value.double() for name, value in state.items()} for state in files]

    def loss(self, weights: Weights) -> Tensor:
        return F.cross_entropy(functional_call(self.network, dict(weights), (self.images,)), self.labels)

    def barrier(self, first: Weights, second: Weights) -> Tensor:
        t = torch.linspace(0, 1, POINTS, dtype=torch.float64)
        points = ({name: torch.lerp(first[name], second[name], float(at)) for name in first} for at in t)
        losses = torch.stack([self.loss(point) for point in points])
        return (losses - torch.lerp(losses[0], losses[-1], t)).max()

    def product(self, weights: Weights, vector: Tensor) -> Tensor:
        """The Hessian times a vector."""
        leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
        first = torch.autograd.grad(self.loss(leaves), list(leaves.values()), create_graph=True)
        flat = torch.cat([each.flatten() for each in first])
        return torch.cat([each.flatten() for each in torch.autograd.grad(flat @ vector, list(leaves.values()))])

    def top_eigenvector(self, weights: Weights) -> Tensor:
        size = sum(value.numel() for value in weights.values())

        def times(v: np.ndarray) -> np.ndarray:
            return self.product(weights, torch.from_numpy(v).ravel()).numpy()

        operator = LinearOperator((size, size), times, dtype=np.float64)
        return torch.from_numpy(eigsh(operator, k=1, which="LA", tol=1e-10)[1][:, 0])


@pytest.fixture(scope="module")
def reference(folder: Path, loop: ModuleType) -> Reference:
    return Reference(folder, loop)


def test_losses_and_accuracies_are_those_of_the_loop(folder: Path, reference: Reference) -> None:
    networks = read(folder, "networks").set_index("seed")
    for seed in SEEDS:
        weights, row = reference.weights[seed], networks.loc[seed]
        exact, error = rounding_error(lambda weights=weights: reference.loss(weights))
        assert abs(row["train_loss"] - exact.item()) <= error.item()
        outputs = functional_call(reference.network, weights, (reference.test_images,))
        assert row["test_accuracy"] == (outputs.argmax(1) == reference.test_labels).double().mean().item()


def test_barriers_along_the_line_are_those_of_plain_pytorch(folder: Path, reference: Reference) -> None:
    found = read(folder, "connections").set_index(["seed_a", "seed_b"])["barrier_train_loss"]
    assert len(found) == 10
    for pair in combinations(SEEDS, 2):
        ends = [reference.weights[seed] for seed in pair]
        exact, error = rounding_error(lambda ends=ends: reference.barrier(*ends))
        assert abs(found[pair] - exact.item()) <= error.item() < 1e-3 * exact.item()


def test_top_eigenvalues_of_the_hessian_are_those_of_plain_pytorch(folder: Path, reference: Reference) -> None:
    curvature = read(folder, "curvature").query("final").set_index("seed")
    for seed in SEEDS:
        weights, row = reference.weights[seed], curvature.loc[seed]
        vector = reference.top_eigenvector(weights)
        exact, error = rounding_error(lambda w=weights, v=vector: v @ reference.product(w, v))
        # A symmetric matrix has an eigenvalue within the residual of a Ritz value.
        allowed = row["top_eigenvalue_residual"] + error.item()
        assert abs(row["top_eigenvalue"] - exact.item()) <= allowed < 1e-3 * exact.item()


def test_weights_are_kept_bit_for_bit_and_move_from_their_start(folder: Path) -> None:
    networks, runs = read(folder, "networks").set_index("seed"), folder / f"runs/width{WIDTH}"
    for seed in SEEDS:
        start, end = torch.load(runs / f"initial{seed}.pt"), torch.load(runs / f"seed{seed}.pt")["model"]
        for snapshot, state in (("initial", start), ("final", end)):
            kept = load_weights(folder / BLOCK, seed, snapshot)
            assert kept.keys() == state.keys()
            assert all(torch.equal(kept[name], state[name]) for name in state)
        moved = sum((end[name].double() - start[name]).square().sum() for name in start) ** 0.5
        assert networks.loc[seed, "movement"] == pytest.approx(moved.item(), rel=1e-12)


def test_what_is_not_known_about_training_is_null(folder: Path) -> None:
    networks = read(folder, "networks")
    assert networks["learning_rate"].eq(0.1).all()
    assert networks["epochs"].eq(20).all()
    unknown = ["weight_decay", "sharpness_radius", "averaged", "stopped", "steps", "seconds"]
    assert networks[unknown].isna().all(axis=None)
    assert read(folder, "history").empty
    assert read(folder, "curvature")["stability_threshold"].isna().all()


def test_the_overview_says_that_they_were_trained_elsewhere(folder: Path) -> None:
    page = (folder / "results/overview.html").read_text()
    assert "has 5 networks in 1 cell, which were trained elsewhere" in page
    assert "runs/width{width}/seed{seed}.pt" in page


def test_only_a_changed_file_is_imported_again_and_a_new_seed_alone(folder: Path, tmp_path: Path) -> None:
    copied, changed = shutil.copytree(folder, tmp_path / "run"), config()
    (copied / f"runs/width{WIDTH}/seed4.pt").touch()
    assert planned(copied, changed, *TARGETS) == set()
    changed["jobs"] = {"seeds": 5}
    changed["studies"]["plain-loop"]["grid"]["seed"] = 6
    for name in ("seed", "initial"):
        shutil.copy(copied / f"runs/width{WIDTH}/{name}4.pt", copied / f"runs/width{WIDTH}/{name}5.pt")
    jobs = {job for job in planned(copied, changed, "tables") if re.match("Importing|Training", job)}
    assert jobs == {f"Importing plain-loop: {CELL}, seeds 5"}
    state = torch.load(copied / f"runs/width{WIDTH}/seed4.pt")
    state["model"]["1.bias"] += 1
    torch.save(state, copied / f"runs/width{WIDTH}/seed4.pt")
    jobs = planned(copied, config(), "tables")
    assert f"Importing plain-loop: {CELL}, seeds 0 1 2 3 4" in jobs
    assert any(job.startswith("Connecting plain-loop") for job in jobs)
    assert not any(job.startswith("Preparing") for job in jobs)


def test_curves_can_be_fitted_between_them_once_their_recipe_is_given(folder: Path, tmp_path: Path) -> None:
    copied, curved = shutil.copytree(folder, tmp_path / "run"), config()
    curved["studies"]["plain-loop"]["analyses"] = {
        "connect": ANALYSES["connect"]
        | {"pairs": 1, "kinds": ["linear", "bezier"], "curve_points": 5}
        | {"curve": {"epochs": 3, "learning_rate": 0.1, "schedule": "linear", "weight_decay": 0.0}}
    }
    succeed(copied, curved, "results/tables/connections.parquet")
    barrier = read(copied, "connections").set_index("kind")["barrier_train_loss"]
    assert barrier["bezier"] < barrier["linear"]
    assert np.isfinite(barrier).all()
