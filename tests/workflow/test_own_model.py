"""A network of the user's own in the real workflow: its tables against the same module in plain PyTorch."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from running import ROOT, SCRIPTS, configuration, planned, read, run_once, small_study, succeed
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.data.dataset import load_dataset, normalized
from isthmus.data.subsets import subset
from isthmus.training.weights import load_weights

WIDTH, IMAGES = 3, 60
CELL = f"width={WIDTH}+batch_size=128+kernel=3"
OWN: dict[str, Any] = {
    "network": {"module": "models.py:build", "arguments": {"depth": 1}},
    "training": {"epochs": 2, "optimizer": "adam", "learning_rate": 0.01},
    "grid": {"width": [WIDTH], "kernel": [3], "batch_size": [128], "seed": 2},
    "analyses": {
        "connect": {
            "kinds": ["linear", "linear-aligned", "bezier"],
            "line_points": 3,
            "curve_points": 3,
            "curve": {"epochs": 1},
            "sharpness": {"points": 2, "images": IMAGES, "trace_precision": None},
            "planes": {"points": 2},
        },
        "curvature": {
            "images": IMAGES,
            "eigenvalues": 1,
            "gauss_newton_eigenvalues": 0,
            "tolerance": 1e-4,
            "trace_precision": None,
            "spectrum": {"probes": 0},
            "noise": {"sigmas": [0.01], "relative_sigmas": [], "radii": [0.05], "adaptive_radii": [], "draws": 2},
        },
        "movement": {"kernel_images": 10},
    },
}
CONFIG = configuration(own=OWN, built=small_study(width=[4]))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the workflow ran both studies as far as the tables. Not to be changed."""

    def run(made: Path) -> None:
        shutil.copy(ROOT / "presets" / "models.py", made)
        succeed(made, CONFIG, "tables")

    return run_once(tmp_path_factory, "own", run)


@pytest.fixture(scope="module")
def data(folder: Path) -> dict[str, Tensor]:
    """Normalized images in float64, and labels."""
    dataset = load_dataset(folder / "results/data/digits.safetensors")
    images = {name: getattr(dataset, f"{name}_images") for name in ("train", "test")}
    found = {name: normalized(raw, dataset.mean, dataset.std).double() for name, raw in images.items()}
    return found | {"train_labels": dataset.train_labels, "test_labels": dataset.test_labels}


def module(folder: Path, weights: dict[str, Tensor], images: Tensor) -> nn.Module:
    """The user's module in evaluation mode, with these weights and the statistics of these images."""
    spec = importlib.util.spec_from_file_location("models_of_the_user", folder / "models.py")
    assert spec is not None
    assert spec.loader is not None
    source = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source)
    network: nn.Module = source.build(WIDTH, 1, (1, 8, 8), 10).double()
    absent = network.load_state_dict(weights, strict=False)
    assert not absent.unexpected_keys
    assert {name.rpartition(".")[2] for name in absent.missing_keys} <= {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    (norm,) = (each for each in network.modules() if isinstance(each, nn.BatchNorm2d))
    norm.momentum = None  # the mean over all passes, here one
    with torch.no_grad():
        network.train()(images)
        count = len(images) * 16  # pixels after the first convolution
        norm.running_var *= (count - 1) / count  # PyTorch keeps the unbiased variance but normalizes by the biased one
    return network.eval()


def weights_of(folder: Path, seed: int, snapshot: str = "final") -> dict[str, Tensor]:
    return load_weights(folder / f"results/own/train/{CELL}/0.safetensors", seed, snapshot)


def rows_of(folder: Path, table: str) -> Any:
    return read(folder, table, "own")


def test_stored_weights_give_the_losses_of_the_tables(folder: Path, data: dict[str, Tensor]) -> None:
    networks = rows_of(folder, "networks").set_index(["cell", "seed"])
    for seed in (0, 1):
        network, row = module(folder, weights_of(folder, seed), data["train"]), networks.loc[CELL, seed]
        for name in ("train", "test"):
            with torch.no_grad():
                outputs = network(data[name])
            labels = data[f"{name}_labels"]
            assert row[f"{name}_loss"] == pytest.approx(F.cross_entropy(outputs, labels).item(), rel=1e-5)
            assert row[f"{name}_accuracy"] == (outputs.argmax(1) == labels).double().mean().item()
        assert row["parameters"] == sum(value.numel() for value in network.parameters())
        assert (row["width"], row["depth"], row["architecture"]) == (WIDTH, 1, "models.py:build")
        assert row["statistics_examples"] == len(data["train"])


def test_the_top_eigenvalue_is_that_of_the_dense_hessian(folder: Path, data: dict[str, Tensor]) -> None:
    chosen = subset(data["train_labels"], IMAGES)
    images, labels = data["train"][chosen], data["train_labels"][chosen]
    curvature = rows_of(folder, "curvature").set_index(["cell", "seed"])
    network = module(folder, weights_of(folder, 0), data["train"])
    names, values = zip(*((name, value.detach()) for name, value in network.named_parameters()), strict=True)
    sizes = [value.numel() for value in values]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([value.numel() for value in values])
        weights = {n: part.view_as(value) for n, part, value in zip(names, parts, values, strict=True)}
        return F.cross_entropy(functional_call(network, weights, (images,)), labels)

    flat = torch.cat([value.flatten() for value in values])
    assert len(flat) == sum(sizes)
    top = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))[-1].item()
    row = curvature.loc[CELL, 0]
    assert row["top_eigenvalue_converged"]
    assert row["top_eigenvalue"] == pytest.approx(top, rel=1e-3)


def test_the_middle_of_the_line_has_statistics_of_its_own(folder: Path, data: dict[str, Tensor]) -> None:
    paths = rows_of(folder, "paths").set_index(["cell", "kind", "t"])
    first, second = (weights_of(folder, seed) for seed in (0, 1))
    middle = {name: torch.lerp(value, second[name], 0.5) for name, value in first.items()}
    with torch.no_grad():
        outputs = module(folder, middle, data["train"])(data["test"])
    expected = F.cross_entropy(outputs, data["test_labels"]).item()
    assert paths.loc[(CELL, "linear", 0.5), "test_loss"] == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(paths.loc[(CELL, "bezier", 0.5), "test_loss"])


def test_the_aligned_line_ends_in_a_permutation_of_the_channels(folder: Path, data: dict[str, Tensor]) -> None:
    """All channels are of one residual stream, which the pointwise convolution reads and writes."""
    paths = rows_of(folder, "paths").set_index(["cell", "kind", "t"])
    connections = rows_of(folder, "connections").set_index(["cell", "kind"])
    first, second = (weights_of(folder, seed) for seed in (0, 1))
    found = {}
    for order in permutations(range(WIDTH)):
        moved = {name: value[:, list(order)] if name == "4.weight" else value for name, value in second.items()}
        moved = {name: value if name.startswith("4.") else value[list(order)] for name, value in moved.items()}
        moved["1.pointwise.weight"] = moved["1.pointwise.weight"][:, list(order)]
        distance = sum((moved[name].double() - first[name].double()).square().sum().item() for name in first) ** 0.5
        found[distance] = moved
    chord = connections.loc[(CELL, "linear-aligned"), "chord"]
    nearest = min(found, key=lambda distance: abs(distance - chord))
    assert chord == pytest.approx(nearest, rel=1e-9)
    for t in (0.5, 1):
        weights = {name: torch.lerp(value, found[nearest][name], t) for name, value in first.items()}
        with torch.no_grad():
            outputs = module(folder, weights, data["train"])(data["test"])
        expected = F.cross_entropy(outputs, data["test_labels"]).item()
        assert paths.loc[(CELL, "linear-aligned", t), "test_loss"] == pytest.approx(expected, rel=1e-4)
    ends = [paths.loc[(CELL, kind, 1.0), "test_loss"] for kind in ("linear", "linear-aligned")]
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)


def test_the_tangent_kernel_is_the_gram_matrix_of_the_gradients(folder: Path, data: dict[str, Tensor]) -> None:
    images = data["train"][subset(data["train_labels"], 10)]
    network = module(folder, weights_of(folder, 0), data["train"])
    gradients = []
    for image in images:
        outputs = network(image[None])[0]
        each = [torch.autograd.grad(output, list(network.parameters()), retain_graph=True) for output in outputs]
        gradients.append(torch.stack([torch.cat([part.flatten() for part in parts]) for parts in each]))
    stacked = torch.stack(gradients)
    kernel = torch.einsum("nop,mop->nm", stacked, stacked) / stacked.shape[1]
    rows = rows_of(folder, "kernels").set_index(["cell", "seed", "epoch"])
    assert rows.loc[(CELL, 0, 2.0), "norm"] == pytest.approx(kernel.norm().item(), rel=1e-4)


def test_the_page_on_own_models_reads_weights_as_it_says(folder: Path) -> None:
    page = (ROOT / "docs" / "own-models.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    path = f"results/own/train/{CELL}/0.safetensors"
    text = re.sub(r'"results/own-model/.*"', f'"{path}"', "\n".join(blocks)).replace("width=4", f"width={WIDTH}")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(SCRIPTS)])}
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    row = rows_of(folder, "networks").set_index(["cell", "seed"]).loc[CELL, 0]
    assert float(done.stdout) == row["test_accuracy"]


def test_movement_is_that_of_the_stored_weights(folder: Path) -> None:
    movement = rows_of(folder, "movement")
    whole = movement[(movement["layer"] == "all") & (movement["epoch"] == 2)].set_index(["cell", "seed"])
    start, end = (weights_of(folder, 1, snapshot) for snapshot in ("initial", "final"))
    distance = sum((end[name].double() - value.double()).square().sum().item() for name, value in start.items())
    assert whole.loc[(CELL, 1), "distance"] == pytest.approx(distance**0.5, rel=1e-9)


def test_the_axes_of_both_kinds_of_networks_are_columns(folder: Path) -> None:
    cells = read(folder, "cells").set_index("cell")
    assert cells.loc[CELL, "kernel"] == 3
    assert np.isnan(cells.loc["width=4+depth=1+batch_size=128", "kernel"])
    assert set(cells["depth"]) == {1}


def test_an_edit_of_the_file_runs_again_what_used_it(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "run")
    assert planned(copied, CONFIG, "tables") == set()
    file = copied / "models.py"
    file.write_text(file.read_text().replace("gelu", "silu"))
    jobs = planned(copied, CONFIG, "tables")
    assert {job for job in jobs if job.startswith("Training")} == {f"Training own: {CELL}, seeds 0 1"}
    assert any(job.startswith("Connecting own") for job in jobs)
