"""Paths, alignment, repair and curvature on the device and in float64 on the CPU."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from architectures import network_recipe
from helpers import descend
from rounding import assert_within, rounding_error, summation_error
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

SHAPE, CLASSES, IMAGES = (1, 8, 8), 10, 100
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
    """Digits in float64, which float32 holds exactly."""
    return normalized(digits.train_images[:IMAGES], digits.mean, digits.std).double(), digits.train_labels[:IMAGES]


def model(name: str) -> nn.Module:
    return architecture(RECIPES[name], SHAPE, CLASSES).double()


@pytest.fixture(scope="module")
def trained(data: Data) -> Trained:
    """From a network's name and seed to its weights after some steps on the CPU: in float64, exact in float32."""

    @cache
    def weights(name: str, seed: int) -> Weights:
        network = build(RECIPES[name], SHAPE, CLASSES)
        network.initialize([seed])
        descend(network.double(), *data, 20)
        return {key: value[0].detach().float().double() for key, value in network.named_parameters()}

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

    def profile() -> Tensor:
        exact = api.barrier(model(name), first, second, data, points=9, **given)  # float32 has these t
        return torch.from_numpy(np.stack([exact.loss, exact.accuracy]))

    here = given if kind == "linear" else given | {"bend": on(device, bend)}
    found = api.barrier(
        model(name).float(), on(device, first), on(device, second), placed(device, data), points=9, **here
    )
    exact, error = rounding_error(profile)  # of float32, in every operation
    assert_within(torch.from_numpy(found.loss), exact[0], error[0])
    # An image on the border between two classes may fall on either side: where it was seen to, or one besides.
    assert_within(torch.from_numpy(found.accuracy), exact[1], error[1] + 1.5 / IMAGES)
    lengths = [
        geometry(line(*({key: value[None] for key, value in each.items()} for each in ends))).length
        for ends in ((first, second), (on(device, first), on(device, second)))
    ]
    # Sums of positive terms in float64, of the same numbers, and two operations; a root halves the error of each.
    terms = sum(value.numel() for value in first.values()) + 2
    np.testing.assert_allclose(lengths[1], lengths[0], rtol=summation_error(terms, torch.float64))


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
    weights = trained(name, 1)
    # Both are within what float32 does to the loss: permuting units changes the order of sums alone.
    exact, error = rounding_error(
        lambda: torch.from_numpy(api.barrier(model(name), weights, weights, data, points=2).loss)
    )
    assert_within(torch.from_numpy(same.loss), exact, error)


def test_a_repaired_line_is_that_of_float64(device: torch.device, data: Data, trained: Trained) -> None:
    ends = [trained("cnn", seed) for seed in range(2)]

    def middle(where: torch.device, precision: torch.dtype) -> Tensor:
        network = build(RECIPES["cnn"], SHAPE, CLASSES).to(where)
        images = data[0][None].to(where)
        repair = Repair.of(RECIPES["cnn"], network, SHAPE, CLASSES, images.float())
        repair = replace(repair, images=images.to(precision))
        stacks = [{key: value[None].to(where, precision) for key, value in each.items()} for each in ends]
        weights = repair.along(line(*stacks))(torch.tensor([0.5], dtype=torch.float64, device=where))
        return torch.cat([value.flatten() for value in weights.values()]).cpu().double()

    exact, error = rounding_error(lambda: middle(torch.device("cpu"), torch.float64))  # of float32
    assert (middle(device, torch.float32) - exact).norm() <= error.norm()


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
    ours = operator_of(name, matrix, on(device, weights), placed(device, data))
    vector = torch.from_numpy(np.random.default_rng(0).standard_normal(ours.size)).float()
    # What float32 does to the gradient's graph and to the pass through it.
    exact, error = rounding_error(lambda: operator_of(name, matrix, weights, data)(vector.double()), repeats=4)
    assert (ours(vector.to(device)).cpu().double() - exact).norm() <= error.norm()


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_eigenvalues_density_and_trace_are_those_of_the_dense_matrix(
    matrix: str, device: torch.device, data: Data, trained: Trained
) -> None:
    weights = trained("mlp", 0)
    exact = operator_of("mlp", matrix, weights, data)
    values = torch.linalg.eigvalsh(dense(exact)).numpy()[::-1]
    ours = operator_of("mlp", matrix, on(device, weights), placed(device, data))
    top = eigenvalues(ours, 3, np.random.default_rng(0), tolerance=1e-3)
    vectors = top.vectors.cpu().double()
    # With Hv - cv = r for a unit vector v, an eigenvalue lies within |r| of c. Float32 knows r up to its error in Hv.
    _, error = rounding_error(lambda: operator_of("mlp", matrix, weights, data)(vectors), repeats=4)
    rounding = error.norm(dim=1).numpy()
    assert (np.abs(top.values - values[:3]) <= top.residuals + rounding).all()
    estimate = traces(ours, top.space, np.random.default_rng(1), precision=0.1).trace
    share = (rounding / values[:3]).max()  # of every eigenvalue, as of these
    assert abs(estimate.value - values.sum()) < 4 * estimate.error + share * np.abs(values).sum()
    ends = [density(each, np.random.default_rng(2), probes=2, steps=30).nodes.max() for each in (ours, exact)]
    assert abs(ends[0] - ends[1]) <= rounding[0]
