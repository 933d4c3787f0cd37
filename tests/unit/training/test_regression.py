"""Regression on real targets: training, losses and curvature, against PyTorch and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import CPU, recipe, trained
from torch import Tensor, nn

from isthmus.data.dataset import Dataset
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.landscape.paths import line
from isthmus.landscape.tangent_kernel import target_alignment
from isthmus.models.evaluation import evaluate
from isthmus.models.stacked import Linear

EXAMPLES, TESTS, INPUTS, OUTPUTS = 40, 12, 5, 2
GENERATOR = torch.Generator().manual_seed(0)
TRAINING = {"loss": "squared_error", "epochs": 1, "learning_rate": 0.2, "schedule": "constant", "momentum": 0.0}
RECIPE = recipe(width=6, depth=1, batch_size=EXAMPLES, training=TRAINING)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR)


@pytest.fixture(scope="module")
def data() -> Dataset:
    train, test = ((drawn(count, INPUTS), drawn(count, OUTPUTS)) for count in (EXAMPLES, TESTS))
    return Dataset("mine", OUTPUTS, "", *train, *test, torch.zeros(INPUTS), torch.ones(INPUTS))


def plain(weights: dict[str, Tensor]) -> nn.Module:
    """The same network in plain PyTorch."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(INPUTS, 6), nn.ReLU(), nn.Linear(6, OUTPUTS))
    network.load_state_dict(weights)
    return network


def test_a_step_is_that_of_plain_gradient_descent_on_the_squared_error(data: Dataset) -> None:
    state = trained(RECIPE, data, (0, 1))
    for seed in (0, 1):
        network = plain(state.snapshots[seed]["initial"])
        F.mse_loss(network(data.train_images), data.train_labels).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(state.snapshots[seed]["final"][name], parameter.detach() - 0.2 * parameter.grad)


def test_losses_are_those_of_pytorch_and_there_is_no_accuracy(data: Dataset) -> None:
    result = (state := trained(RECIPE, data, (3,))).results[3]
    network = plain(state.snapshots[3]["final"])
    with torch.no_grad():
        expected = F.mse_loss(network(data.test_images), data.test_labels).item()
    assert result["test_loss"] == pytest.approx(expected, rel=1e-6)
    assert (result["stopped"], result["diverged"]) == ("budget", False)
    assert [result[f"{name}_accuracy"] for name in ("train", "test")] == [None, None]


def test_a_target_that_no_float_can_be_squared_to_diverges(data: Dataset) -> None:
    huge = replace(data, train_labels=1e30 * data.train_labels)
    assert trained(RECIPE, huge, (0,)).results[0]["stopped"] == "diverged"


def test_a_path_has_the_losses_of_its_ends_and_no_errors(data: Dataset) -> None:
    state = trained(RECIPE, data, (0, 1))
    evaluator = Evaluator.of(RECIPE, data, (0, 1), CPU, stack=2)
    first, second = (evaluator.placed(state.snapshots[seed]["final"]) for seed in (0, 1))
    scores = evaluator.along(line(first, second), np.linspace(0, 1, 3), evaluator.pair_labels((0, 1)))
    for name in ("train", "test"):
        loss, accuracy = scores[name]
        assert loss[0].item() == pytest.approx(state.results[0][f"{name}_loss"], rel=1e-6)
        assert loss[2].item() == pytest.approx(state.results[1][f"{name}_loss"], rel=1e-6)
        assert accuracy.isnan().all()


def test_losses_do_not_depend_on_the_batches(data: Dataset) -> None:
    network = nn.Sequential(nn.Flatten(2), Linear(1, INPUTS, OUTPUTS))
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    scores = [
        evaluate(network, data.train_images, data.train_labels[None, None], "squared_error", size)[0]
        for size in (7, 40)
    ]
    torch.testing.assert_close(*scores, rtol=1e-6, atol=0)


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_the_curvature_of_a_linear_network_is_the_covariance_of_its_inputs(data: Dataset, matrix: str) -> None:
    """The Hessian of mean((W x - y)^2) by W is 2 / (N K) X^T X for each of the K outputs."""
    network = nn.Sequential(Linear(1, INPUTS, OUTPUTS, bias=False)).double().eval()
    nn.init.normal_(network[0].weight)
    inputs = data.train_images.double()
    found = dense(CurvatureOperator(network, inputs, data.train_labels, "squared_error", matrix))
    expected = torch.kron(torch.eye(OUTPUTS).double(), 2 / (EXAMPLES * OUTPUTS) * inputs.T @ inputs)
    torch.testing.assert_close(found, expected)


def test_the_kernel_of_the_targets_is_aligned_with_them_and_one_of_other_directions_is_not() -> None:
    centred = torch.linalg.qr(
        torch.cat([torch.ones(20, 1), drawn(20, 2)], 1)
    ).Q  # columns: constant, and two directions
    targets, across = centred[:, 1:2] + 5, centred[:, 2:]
    for values, expected in ((3 * targets, 1.0), (across, 0.0)):
        assert target_alignment(values @ values.T, targets, 1).item() == pytest.approx(expected, abs=1e-5)
