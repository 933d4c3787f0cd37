"""Paths, alignment, repair and curvature on the device and in float64 on the CPU."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from architectures import network_recipe
from helpers import descend
from torch import Tensor, nn

from isthmus import api
from isthmus.data.dataset import Dataset, normalized
from isthmus.landscape.hessian.density import density
from isthmus.landscape.hessian.lanczos import eigenvalues
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.landscape.hessian.trace import traces
from isthmus.landscape.paths import geometry, line
from isthmus.landscape.repair import Repair
from isthmus.models.architectures import architecture
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.networks import build

SHAPE, CLASSES, IMAGES, BOUND = (1, 8, 8), 10, 100, 1e-3
RECIPES = {
    "mlp": network_recipe("mlp", 8, 2, "none"),
    "cnn": network_recipe("cnn", 3, 1, "batch", blocks=2, hidden_units=8),
    "resnet": network_recipe("resnet", 2, 8, "layer"),
}
Weights = dict[str, Tensor]
Data = tuple[Tensor, Tensor]
Trained = Callable[[str, int], Weights]
every_network = pytest.mark.parametrize("name", RECIPES)


@pytest.fixture(scope="module")
def data(digits: Dataset) -> Data:
    """Digits in float64."""
    return normalized(digits.train_images[:IMAGES], digits.mean, digits.std).double(), digits.train_labels[:IMAGES]


def model(name: str) -> nn.Module:
    return architecture(RECIPES[name], SHAPE, CLASSES).double()


@pytest.fixture(scope="module")
def trained(data: Data) -> Trained:
    """From a network's name and seed to its weights in float64 after some steps on the CPU."""

    @cache
    def weights(name: str, seed: int) -> Weights:
        network = build(RECIPES[name], SHAPE, CLASSES)
        network.initialize([seed])
        descend(network.double(), *data, 20)
        return {key: value[0].detach() for key, value in network.named_parameters()}

    return weights


def on(device: torch.device, tensors: Weights) -> Weights:
    """In float32 on the device."""
    return {name: value.float().to(device) for name, value in tensors.items()}


def placed(device: torch.device, data: Data) -> Data:
    return data[0].float().to(device), data[1].to(device)


@every_network
@pytest.mark.parametrize("kind", ["linear", "bezier", "polychain"])
def test_losses_along_a_path_and_its_geometry_are_those_of_float64(
    name: str, kind: str, device: torch.device, data: Data, trained: Trained
) -> None:
    first, second, bend = (trained(name, seed) for seed in range(3))
    given = {} if kind == "linear" else {"bend": bend, "kind": kind}
    exact = api.barrier(model(name), first, second, data, points=7, **given)
    if given:
        given["bend"] = on(device, bend)
    found = api.barrier(
        model(name).float(), on(device, first), on(device, second), placed(device, data), points=7, **given
    )
    np.testing.assert_allclose(found.loss, exact.loss, rtol=BOUND)
    assert np.abs(found.accuracy - exact.accuracy).max() <= 2 / IMAGES  # an image or two lie on the border
    lengths = [
        geometry(line(*({key: value[None] for key, value in each.items()} for each in ends))).length
        for ends in ((first, second), (on(device, first), on(device, second)))
    ]
    np.testing.assert_allclose(lengths[1], lengths[0], rtol=1e-6)


@every_network
def test_a_fitted_curve_has_a_lower_loss_than_the_line(
    name: str, device: torch.device, data: Data, trained: Trained
) -> None:
    first, second, here = trained(name, 0), trained(name, 1), placed(device, data)
    ends, single = (on(device, first), on(device, second)), model(name).float()
    bend = api.fit_curve(single, *ends, here, epochs=20, learning_rate=0.05, batch_size=50)
    assert {value.device.type for value in bend.values()} == {device.type}
    curve = api.barrier(single, *ends, here, bend=bend, points=7)
    assert curve.loss.max() < api.barrier(single, *ends, here, points=7).loss.max()


@every_network
@pytest.mark.parametrize("method", ["weights", "activations", "combined"])
def test_an_aligned_network_computes_the_same_function(
    name: str, method: str, device: torch.device, data: Data, trained: Trained
) -> None:
    first, second = (on(device, trained(name, seed)) for seed in range(2))
    here = placed(device, data)
    aligned = api.align(model(name).float(), first, second, here, method=method, restarts=2)
    same = api.barrier(model(name).float(), second, aligned, here, points=2)
    assert same.loss[0] == pytest.approx(same.loss[1], rel=BOUND)


def test_a_repaired_line_is_that_of_float64(device: torch.device, data: Data, trained: Trained) -> None:
    ends = [trained("cnn", seed) for seed in range(2)]

    def middle(where: torch.device, precision: torch.dtype) -> Weights:
        network = build(RECIPES["cnn"], SHAPE, CLASSES).to(where)
        images = data[0][None].to(where)
        repair = Repair.of(RECIPES["cnn"], network, SHAPE, CLASSES, images.float())
        repair = replace(repair, images=images.to(precision))
        stacks = [{key: value[None].to(where, precision) for key, value in each.items()} for each in ends]
        return repair.along(line(*stacks))(torch.tensor([0.5], dtype=torch.float64, device=where))

    exact, found = middle(torch.device("cpu"), torch.float64), middle(device, torch.float32)
    for key, value in exact.items():
        torch.testing.assert_close(found[key].cpu().double(), value, rtol=BOUND, atol=BOUND)


def operator_of(name: str, matrix: str, weights: Weights, data: Data) -> CurvatureOperator:
    """The matrix at weights `[...]`, in their precision and on their device."""
    network, (images, labels) = build(RECIPES[name], SHAPE, CLASSES), data
    network.to(images)
    with torch.no_grad():
        for key, value in network.named_parameters():
            value.copy_(weights[key][None])
    with evaluation_mode(network, images[None]):
        return CurvatureOperator(network, images, labels, "cross_entropy", matrix)


@every_network
@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_products_with_the_matrix_are_those_of_float64(
    name: str, matrix: str, device: torch.device, data: Data, trained: Trained
) -> None:
    weights = trained(name, 0)
    exact = operator_of(name, matrix, weights, data)
    ours = operator_of(name, matrix, on(device, weights), placed(device, data))
    vector = torch.from_numpy(np.random.default_rng(0).standard_normal(exact.size))
    wanted = exact(vector)
    assert (ours(vector.float().to(device)).cpu().double() - wanted).norm() < BOUND * wanted.norm()


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_eigenvalues_density_and_trace_are_those_of_the_dense_matrix(
    matrix: str, device: torch.device, data: Data, trained: Trained
) -> None:
    weights = trained("mlp", 0)
    values = torch.linalg.eigvalsh(dense(operator_of("mlp", matrix, weights, data))).numpy()[::-1]
    ours = operator_of("mlp", matrix, on(device, weights), placed(device, data))
    top = eigenvalues(ours, 3, np.random.default_rng(0), tolerance=1e-3)
    np.testing.assert_allclose(top.values, values[:3], rtol=1e-2)
    estimate = traces(ours, top.space, np.random.default_rng(1), precision=0.1).trace
    assert abs(estimate.value - values.sum()) < 4 * estimate.error + BOUND * np.abs(values).sum()
    nodes = density(ours, np.random.default_rng(2), probes=2, steps=30).nodes
    assert nodes.max() == pytest.approx(values[0], rel=1e-2)
