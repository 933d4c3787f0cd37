"""Data from arrays in the real workflow: tokens in a module of the user's own, and regression with a loss of their own.

Tables are compared with the same networks and losses in plain PyTorch.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import own_losses
import own_models
import pytest
import torch
import torch.nn.functional as F
from running import ROOT, planned, read, run_once, succeed
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.data.subsets import subset
from isthmus.training.weights import load_weights

PRIME, WIDTH, IMAGES, KERNEL_IMAGES = 7, 4, 20, 8
ANALYSES: dict[str, Any] = {
    "connect": {
        "kinds": ["linear"],
        "line_points": 3,
        "sharpness": {"points": 2, "images": IMAGES, "trace_precision": None},
        "planes": {"points": 2},
    },
    "curvature": {
        "images": IMAGES,
        "eigenvalues": 1,
        "gauss_newton_eigenvalues": 1,
        "tolerance": 1e-4,
        "trace_precision": None,
        "spectrum": {"probes": 0},
        "noise": {"sigmas": [0.01], "relative_sigmas": [], "radii": [0.05], "adaptive_radii": [], "draws": 2},
    },
    "movement": {"kernel_images": KERNEL_IMAGES},
}
TRAINING = {"epochs": 3, "optimizer": "adam", "learning_rate": 0.01}
GRID = {"width": [WIDTH], "batch_size": [8], "seed": 2}
CONFIG: dict[str, Any] = {
    "datasets": {name: {"source": "arrays", "file": f"{name}.npz"} for name in ("sums", "real")},
    "studies": {
        "sums": {
            "data": {"name": "sums"},
            "network": {"module": "own_models.py:Reader", "arguments": {"tokens": PRIME}},
            "training": TRAINING,
            "grid": GRID,
            "analyses": ANALYSES,
        },
        "real": {
            "data": {"name": "real"},
            "training": TRAINING | {"loss": "own_losses.py:pseudo_huber"},
            "grid": GRID | {"depth": [1]},
            "analyses": ANALYSES,
        },
    },
    "jobs": {"seeds": 2},
}
CELLS = {"sums": f"width={WIDTH}+batch_size=8", "real": f"width={WIDTH}+depth=1+batch_size=8"}
STUDIES = tuple(CELLS)
FIGURES = [f"results/figures/real/{name}.png" for name in ("test-accuracy", "barriers", "loss-profiles", "planes")]
pytestmark = pytest.mark.exhaustive


def arrays() -> dict[str, dict[str, np.ndarray]]:
    """The sums of all pairs of numbers modulo a prime, and two real functions of four normal variables."""
    random = np.random.default_rng(0)
    pairs = random.permutation(np.stack(np.divmod(np.arange(PRIME**2), PRIME), 1))
    sums = {"inputs": pairs, "targets": pairs.sum(1) % PRIME}
    values = random.normal(2, 3, (60, 4))
    real = {"inputs": values, "targets": np.stack([np.sin(values[:, 0]), values[:, 1] * values[:, 2]], 1)}
    return {
        name: {f"{half}_{what}": part for what, all_ in given.items() for half, part in _halves(all_)}
        for name, given in (("sums", sums), ("real", real))
    }


def _halves(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [("train", values[:32]), ("test", values[32:])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the workflow ran both studies as far as the tables. Not to be changed."""

    def run(made: Path) -> None:
        for name in ("own_models", "own_losses"):
            shutil.copy(ROOT / "tests" / "support" / f"{name}.py", made)
        for name, given in arrays().items():
            np.savez(made / f"{name}.npz", **given)
        succeed(made, CONFIG, "tables", *FIGURES)

    return run_once(tmp_path_factory, "arrays", run)


class Reference:
    """A study's network, data and loss in plain PyTorch, in float64."""

    def __init__(self, folder: Path, study: str) -> None:
        given = arrays()[study]
        self.folder, self.study = folder, study
        self.network: nn.Module
        self.loss: Callable[[Tensor, Tensor], Tensor]
        if study == "sums":
            self.network = own_models.Reader((2,), PRIME, PRIME, WIDTH)
            self.loss = F.cross_entropy
            self.data = {name: torch.from_numpy(array) for name, array in given.items()}
        else:
            self.network = nn.Sequential(nn.Flatten(), nn.Linear(4, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
            self.loss = lambda outputs, targets: own_losses.pseudo_huber(outputs, targets).mean()
            mean, std = given["train_inputs"].mean(0), given["train_inputs"].std(0)
            self.data = {
                name: torch.from_numpy((array - mean) / std if name.endswith("inputs") else array)
                for name, array in given.items()
            }
        self.network = self.network.double().eval()

    def weights(self, seed: int, snapshot: str = "final") -> dict[str, Tensor]:
        path = self.folder / f"results/{self.study}/train/{CELLS[self.study]}/0.safetensors"
        return {name: value.double() for name, value in load_weights(path, seed, snapshot).items()}

    def outputs(self, weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            found: Tensor = functional_call(self.network, weights, (inputs,))
        return found

    def loss_on(self, half: str, weights: dict[str, Tensor]) -> float:
        outputs = self.outputs(weights, self.data[f"{half}_inputs"])
        return self.loss(outputs, self.data[f"{half}_targets"]).item()

    def chosen(self, count: int) -> tuple[Tensor, Tensor]:
        """The training examples that measurements on a subset use."""
        indices = subset(self.data["train_targets"], count)
        return self.data["train_inputs"][indices], self.data["train_targets"][indices]


def row_of(folder: Path, table: str, study: str) -> Any:
    """The rows of a study by seed, where a network has one row."""
    return read(folder, table, study).set_index("seed")


@pytest.mark.parametrize("study", STUDIES)
def test_stored_weights_give_the_losses_of_the_tables(folder: Path, study: str) -> None:
    reference, networks = Reference(folder, study), row_of(folder, "networks", study)
    for seed in (0, 1):
        weights, row = reference.weights(seed), networks.loc[seed]
        for half in ("train", "test"):
            assert row[f"{half}_loss"] == pytest.approx(reference.loss_on(half, weights), rel=1e-5)
            right = reference.outputs(weights, reference.data[f"{half}_inputs"]).argmax(1)
            if study == "sums":
                expected = (right == reference.data[f"{half}_targets"]).double().mean().item()
                assert row[f"{half}_accuracy"] == expected
            else:
                assert np.isnan(row[f"{half}_accuracy"])
        assert not row["diverged"]
        assert row["train_loss"] < read(folder, "history", study).query("seed == @seed").train_loss.iloc[0]


@pytest.mark.parametrize("study", STUDIES)
def test_the_top_eigenvalues_are_those_of_the_dense_matrices(folder: Path, study: str) -> None:
    reference, curvature = Reference(folder, study), row_of(folder, "curvature", study)
    inputs, targets = reference.chosen(IMAGES)
    weights = reference.weights(0)

    def outputs(flat: Tensor) -> Tensor:
        parts = flat.split([value.numel() for value in weights.values()])
        named = {name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}
        return reference.outputs(named, inputs)

    flat = torch.cat([value.flatten() for value in weights.values()])
    hessian = torch.autograd.functional.hessian(lambda at: reference.loss(outputs(at), targets), flat)
    jacobian, given = torch.autograd.functional.jacobian(outputs, flat).flatten(0, 1), outputs(flat).detach()
    inner = torch.autograd.functional.hessian(lambda at: reference.loss(at, targets), given)
    gauss_newton = jacobian.T @ inner.reshape(len(jacobian), len(jacobian)) @ jacobian
    for matrix, column in ((hessian, "top_eigenvalue"), (gauss_newton, "gauss_newton_top_eigenvalue")):
        top = torch.linalg.eigvalsh(matrix)[-1].item()
        assert curvature.loc[0, column] == pytest.approx(top, rel=1e-3)


@pytest.mark.parametrize("study", STUDIES)
def test_the_middle_of_the_line_has_the_loss_of_the_mean_weights(folder: Path, study: str) -> None:
    reference, paths = Reference(folder, study), read(folder, "paths", study).set_index("t")
    first, second = reference.weights(0), reference.weights(1)
    middle = {name: torch.lerp(value, second[name], 0.5) for name, value in first.items()}
    assert paths.loc[0.5, "test_loss"] == pytest.approx(reference.loss_on("test", middle), rel=1e-4)
    (connection,) = read(folder, "connections", study).to_dict("records")
    assert connection["barrier_test_loss"] >= 0
    assert np.isnan(connection["barrier_test_error"]) == (study == "real")
    assert np.isnan(connection["disagreement"]) == (study == "real")


@pytest.mark.parametrize("study", STUDIES)
def test_the_tangent_kernel_is_the_gram_matrix_of_the_gradients(folder: Path, study: str) -> None:
    reference, kernels = Reference(folder, study), read(folder, "kernels", study).query("final and seed == 0")
    weights = {name: value.requires_grad_() for name, value in reference.weights(0).items()}
    rows = []
    for example in reference.chosen(KERNEL_IMAGES)[0]:
        outputs = reference.outputs(weights, example[None])[0]
        each = [torch.autograd.grad(output, list(weights.values()), retain_graph=True) for output in outputs]
        rows.append(torch.stack([torch.cat([part.flatten() for part in parts]) for parts in each]))
    gradients = torch.stack(rows)
    kernel = torch.einsum("nop,mop->nm", gradients, gradients) / gradients.shape[1]
    assert kernels["norm"].item() == pytest.approx(kernel.norm().item(), rel=1e-4)


def test_figures_of_what_was_not_measured_are_drawn(folder: Path) -> None:
    assert all((folder / figure).stat().st_size for figure in FIGURES)


def test_claims_about_accuracy_say_that_it_was_not_measured(folder: Path) -> None:
    claims = read(folder, "claims")
    assert claims["reason"].str.contains("real: `test_accuracy` was not measured").any()
    judged = claims[claims["study"] == "real"]
    assert not judged["quantity"].str.contains("accuracy|error").any()


def test_an_edit_of_data_or_loss_runs_again_what_used_it_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "run")
    assert planned(copied, CONFIG, "tables") == set()
    file = copied / "own_losses.py"
    file.write_text(file.read_text().replace("(1 + (outputs", "(1.5 + (outputs"))
    jobs = planned(copied, CONFIG, "tables")
    assert f"Training real: {CELLS['real']}, seeds 0 1" in jobs
    assert not {job for job in jobs if CELLS["sums"] in job or job.startswith("Preparing")}
