"""The rows of `gradient_noise` of trained networks, against dense matrices in float64 and against each other."""

from typing import Any

import pytest
import torch
from helpers import CPU, recipe, trained
from torch import Tensor
from torch.func import functional_call

from isthmus.analyses.gradient_noise.measure import measure
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.moments import Moment
from isthmus.models.evaluation import losses

RECIPE = recipe(4, 1, 16, data={"train_size": 60}, training={"epochs": 3, "momentum": 0.0})
END, START = Moment("final", 3.0, True), Moment("initial", 0.0, False)
OPTIONS: dict[str, Any] = {"images": 60, "alignment_images": 60}


@pytest.fixture(scope="module")
def evaluator(digits: Dataset) -> Evaluator:
    return Evaluator.of(RECIPE, digits, (0, 1), CPU, hessian_examples=60)


@pytest.fixture(scope="module")
def weights(digits: Dataset) -> Tensors:
    state = trained(RECIPE, digits, (0, 1))
    return state.snapshots[1]["final"]


@pytest.fixture(scope="module")
def row(evaluator: Evaluator, weights: Tensors) -> dict[str, Any]:
    return measure(evaluator, OPTIONS, 1, weights, END)


def test_all_columns_are_those_of_dense_matrices(evaluator: Evaluator, weights: Tensors, row: dict[str, Any]) -> None:
    names = [name for name, _ in evaluator.single.named_parameters()]
    sizes = [weights[name].numel() for name in names]
    images, labels = evaluator.examples.images.double(), evaluator.labels(1)
    flat = torch.cat([weights[name].double().flatten() for name in names])

    def each(at: Tensor) -> Tensor:
        parts = {n: p.view(1, *weights[n].shape) for n, p in zip(names, at.split(sizes), strict=True)}
        outputs = functional_call(evaluator.single, parts, (images[None],))
        return torch.stack([losses(outputs[:, [k]], labels[None, [k]], "cross_entropy")[0] for k in range(60)])

    gradients = torch.autograd.functional.jacobian(each, flat, vectorize=True)
    hessian = torch.autograd.functional.hessian(lambda at: each(at).mean(), flat, vectorize=True)
    covariance, eigenvalues = gradients.T.cov(), torch.linalg.eigvalsh(hessian)
    along = float((hessian @ covariance).trace() / covariance.trace())
    assert row["images"] == row["alignment_images"] == 60
    assert row["loss"] == pytest.approx(float(each(flat).mean()), rel=1e-5)
    assert row["covariance_trace"] == pytest.approx(float(covariance.trace()), rel=1e-4)
    assert row["squared_gradient"] == pytest.approx(float(gradients.mean(0).square().sum()), rel=1e-3)
    assert row["noise_scale"] == pytest.approx(row["covariance_trace"] / row["squared_gradient"])
    assert row["curvature_along_noise"] == pytest.approx(along, rel=1e-3)
    assert row["top_eigenvalue"] == pytest.approx(float(eigenvalues[-1]), rel=2e-3)
    assert abs(row["trace"] - float(eigenvalues.sum())) < 4 * row["trace_error"]
    assert row["noise_alignment"] == pytest.approx(along / (row["trace"] / len(flat)), rel=1e-3)
    assert row["noise_alignment_to_top"] == pytest.approx(along / float(eigenvalues[-1]), rel=3e-3)
    assert 0 < row["noise_alignment_to_top"] < 1


def test_the_curvature_along_the_noise_is_measured_at_the_end_and_on_request_only(
    evaluator: Evaluator, weights: Tensors, row: dict[str, Any]
) -> None:
    before = measure(evaluator, OPTIONS, 1, weights, START)
    without = measure(evaluator, OPTIONS | {"alignment_images": 0}, 1, weights, END)
    assert before == without
    assert before.items() < row.items()
    assert "noise_alignment" not in before


def test_a_part_of_the_examples_gives_an_interval_about_the_whole(
    evaluator: Evaluator, weights: Tensors, row: dict[str, Any]
) -> None:
    part = measure(evaluator, {"images": 45, "alignment_images": 0}, 1, weights, END)
    assert part["images"] == 45
    assert part["noise_scale_low"] < part["noise_scale"] < part["noise_scale_high"]
    assert part["noise_scale_low"] < row["noise_scale"] < part["noise_scale_high"]


def test_labels_are_those_the_network_learned(digits: Dataset, weights: Tensors) -> None:
    noisy = recipe(4, 1, 16, data={"train_size": 60, "label_noise": 0.5}, training={"epochs": 3})
    evaluator = Evaluator.of(noisy, digits, (0, 1), CPU)
    options = {"images": 60, "alignment_images": 0}
    first, second = (measure(evaluator, options, seed, weights, END) for seed in (0, 1))
    assert first["loss"] != second["loss"]
