"""The tangent kernel against explicit Jacobians, the infinitely wide network, and what it says about training."""

import copy
import math

import pytest
import torch
from helpers import recipe
from rounding import assert_within, rounding_error
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.core.errors import UserError
from isthmus.landscape.tangent_kernel import kernel_distance, relative_change, tangent_kernel, target_alignment
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.networks import build
from isthmus.models.stacked import Flatten, Linear

CLASSES = 3
SHAPE = (2, 8, 8)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network_of(architecture: str, normalization: str, activation: str = "tanh", width: int = 3) -> nn.Module:
    keys = {"architecture": architecture, "normalization": normalization, "activation": activation}
    keys |= {"blocks": 2, "hidden_units": 4} if architecture == "cnn" else {}
    network = build(recipe(width, 8 if architecture == "resnet" else 2, network=keys).network, SHAPE, CLASSES)
    network.initialize([3])
    with torch.no_grad():  # away from weight 1 and bias 0 of the normalizations
        for value in network.parameters():
            value += 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    return network.double()


def explicit_jacobian(network: nn.Module, images: Tensor) -> Tensor:
    """`[outputs, N, parameters]`, a backward pass for each output of each image."""
    outputs = network(images[None])[0]
    rows = [
        torch.cat(
            [each.flatten() for each in torch.autograd.grad(value, list(network.parameters()), retain_graph=True)]
        )
        for value in outputs.mT.flatten()
    ]
    return torch.stack(rows).view(outputs.shape[1], len(images), -1)


def explicit_kernel(network: nn.Module, images: Tensor) -> Tensor:
    jacobian = explicit_jacobian(network, images)
    return jacobian @ jacobian.mT


# The kernel


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("architecture", ["mlp", "cnn", "resnet"])
def test_the_kernel_is_the_product_of_explicit_jacobians(
    architecture: str, normalization: str, activation: str
) -> None:
    network = network_of(architecture, normalization, activation)
    images = draw(5, *SHAPE)
    with evaluation_mode(network, draw(1, 20, *SHAPE, seed=1)):
        expected = explicit_kernel(network, images)
        for block_size in (1, 2**24):
            kernel = tangent_kernel(network, images, block_size=block_size)
            assert kernel.shape == (CLASSES, 5, 5)
            torch.testing.assert_close(kernel, expected, rtol=1e-10, atol=1e-12)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_weights_can_stand_in_for_those_of_the_network(architecture: str) -> None:
    network, images = network_of(architecture, "batch"), draw(5, *SHAPE)
    other = {name: value.detach() + 0.1 for name, value in network.named_parameters()}
    with evaluation_mode(network, images[None], other):
        kernel = tangent_kernel(network, images, other)
    network.load_state_dict(other)
    with evaluation_mode(network, images[None]):
        torch.testing.assert_close(kernel, explicit_kernel(network, images), rtol=1e-10, atol=1e-12)


def test_single_precision_agrees_with_double() -> None:
    network, images = network_of("cnn", "layer"), draw(5, *SHAPE)
    single = copy.deepcopy(network).float()
    with evaluation_mode(network, images[None]), evaluation_mode(single, images[None].float()):
        rounded = tangent_kernel(single, images)
        exact, error = rounding_error(lambda: tangent_kernel(network, images))
    assert rounded.dtype == torch.float64
    assert_within(rounded, exact, error)


def test_a_linear_model_has_the_gram_matrix_of_its_inputs_and_keeps_it() -> None:
    images = draw(6, *SHAPE)
    model = nn.Sequential(Flatten(), Linear(1, math.prod(SHAPE), CLASSES)).double().eval()
    gram = images.flatten(1) @ images.flatten(1).mT
    for seed in (1, 2):
        weights = {name: draw(*value.shape, seed=seed) for name, value in model.named_parameters()}
        kernel = tangent_kernel(model, images, weights)
        torch.testing.assert_close(kernel, (gram + 1).expand(CLASSES, 6, 6))  # 1 for the bias


def test_a_wide_network_has_the_kernel_of_the_infinitely_wide_one() -> None:
    """One hidden layer, ReLU, weights N(0, 1/inputs), N(0, 1/width): the arc-cosine kernels of Cho & Saul (2009)."""
    width, inputs = 20_000, math.prod(SHAPE)
    network = build(recipe(width, 1).network, SHAPE, 1).double()
    parameters = {
        "1.weight": draw(1, width, inputs) / math.sqrt(inputs),
        "1.bias": draw(1, width, seed=1) / math.sqrt(inputs),
        "3.weight": draw(1, 1, width, seed=2) / math.sqrt(width),
        "3.bias": torch.zeros(1, 1, dtype=torch.float64),
    }
    images = draw(6, *SHAPE) + draw(1, *SHAPE, seed=1)
    products = images.flatten(1) @ images.flatten(1).mT + 1
    norms = products.diagonal().sqrt()
    angle = (products / torch.outer(norms, norms)).clamp(-1, 1).acos()
    order_zero = (torch.pi - angle) / (2 * torch.pi)
    order_one = torch.outer(norms, norms) / inputs * (angle.sin() + (torch.pi - angle) * angle.cos()) / (2 * torch.pi)
    expected = products * order_zero + width * order_one + 1
    kernel = tangent_kernel(network.eval(), images, parameters)[0]
    assert relative_change(expected, kernel) < 0.02


def test_a_small_step_of_gradient_descent_moves_the_outputs_by_the_kernel() -> None:
    """f(w - rate J^T r) = f(w) - rate K r + O(rate^2) for the residuals r of one output."""
    network, images, rate = network_of("mlp", "none", width=16), draw(7, *SHAPE), 1e-7
    residuals = draw(7, seed=4)
    with evaluation_mode(network, images[None]):
        before = network(images[None])[0, :, 1]
        kernel = tangent_kernel(network, images)[1]
        steps = torch.autograd.grad(before @ residuals, list(network.parameters()), allow_unused=True)
        pairs = zip(network.named_parameters(), steps, strict=True)
        after = {name: value if step is None else value - rate * step for (name, value), step in pairs}
        moved = functional_call(network, after, (images[None],))[0, :, 1] - before
    torch.testing.assert_close(moved / rate, -kernel @ residuals, rtol=1e-4, atol=1e-4)


class Unusual(nn.Module):
    """A layer called twice, one whose weight another one uses too, and parameters of a kind of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.entrance = nn.Sequential(Flatten(), Linear(1, math.prod(SHAPE), 4))
        self.twice, self.one, self.other, self.exit = (Linear(1, 4, outputs) for outputs in (4, 4, 4, CLASSES))
        self.other.weight = self.one.weight
        self.slope = nn.Parameter(torch.empty(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(torch.tanh(self.twice(self.entrance(x))))
        return self.exit(self.other(torch.tanh(self.one(self.slope[:, None] * x))))


def test_parameters_used_in_other_ways_count_as_much() -> None:
    network, images = Unusual().double().eval(), draw(5, *SHAPE)
    with torch.no_grad():
        for seed, parameter in enumerate(network.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=seed))
    torch.testing.assert_close(tangent_kernel(network, images), explicit_kernel(network, images))


def test_what_has_no_kernel_is_refused() -> None:
    network, images = network_of("mlp", "batch"), draw(5, *SHAPE)
    with pytest.raises(UserError, match="training mode"):
        tangent_kernel(network, images)
    with pytest.raises(RuntimeError, match="statistics"):
        tangent_kernel(network.eval(), images)
    with pytest.raises(ValueError, match="at least 1"):
        tangent_kernel(network, images[:0])
    with pytest.raises(ValueError, match="at least 1"):
        tangent_kernel(network, images, block_size=0)
    pair = build(recipe(3, 1).network, SHAPE, CLASSES, stack=2)
    pair.initialize([0, 1])
    with pytest.raises(ValueError, match="stack of one"):
        tangent_kernel(pair.eval(), images)
    with pytest.raises(UserError, match="not finite"):
        tangent_kernel(network_of("mlp", "none").eval(), images * torch.inf)


# Comparisons of kernels


def kernels(count: int, size: int, rank: int) -> Tensor:
    vectors = draw(count, size, rank)
    return vectors @ vectors.mT


def test_relative_change_is_zero_for_the_same_and_counts_scaling() -> None:
    start = kernels(4, 6, 9)
    assert relative_change(start, start).tolist() == [0] * 4
    torch.testing.assert_close(relative_change(start, 1.25 * start), torch.full((4,), 0.25, dtype=torch.float64))
    identity, ones = torch.eye(6), torch.ones(6, 6)
    assert relative_change(identity, ones).item() == pytest.approx(math.sqrt(30 / 6))
    assert relative_change(0 * ones, ones).isinf()


def test_kernel_distance_is_that_of_directions() -> None:
    start = kernels(4, 6, 9)
    torch.testing.assert_close(kernel_distance(start, 3 * start), torch.zeros(4, dtype=torch.float64))
    first, second = torch.diag(torch.tensor([1.0, 1, 0])), torch.diag(torch.tensor([0.0, 0, 1]))
    assert kernel_distance(first, second) == 1
    assert kernel_distance(torch.eye(5), torch.ones(5, 5)).item() == pytest.approx(1 - 1 / math.sqrt(5))
    assert kernel_distance(first, 0 * first).isnan()


def test_the_kernel_of_the_labels_is_aligned_with_them_at_any_scale_and_shift() -> None:
    labels = torch.tensor([0, 1, 1, 2, 0, 2, 2])
    targets = (labels[:, None] == labels).double()
    for kernel in (targets, 7 * targets, 7 * targets + 3):
        assert target_alignment(kernel, labels, 4).item() == pytest.approx(1)
    assert target_alignment(-targets, labels, 3).item() == pytest.approx(-1)
    assert target_alignment(torch.ones(7, 7), labels, 3).isnan()
    assert target_alignment(targets, torch.zeros(7, dtype=torch.int64), 3).isnan()


def test_the_alignment_of_the_identity_is_that_of_the_centering_matrix() -> None:
    """<H, H T H> / (|H| |H T H|): for k classes of size m, H T H has k - 1 eigenvalues m, and |H|^2 = k m - 1."""
    classes, size = 4, 5
    labels = torch.arange(classes).repeat(size)
    value = target_alignment(torch.eye(classes * size), labels, classes)
    expected = (classes - 1) * size / math.sqrt((classes * size - 1) * (classes - 1) * size**2)
    assert value.item() == pytest.approx(expected)


def test_alignment_agrees_with_centering_matrices_and_treats_each_kernel_alone() -> None:
    labels = torch.tensor([0, 1, 1, 2, 0, 2, 2])
    centering = torch.eye(7, dtype=torch.float64) - 1 / 7
    many = kernels(3, 7, 2)
    targets = centering @ (labels[:, None] == labels).double() @ centering
    for kernel, value in zip(many, target_alignment(many, labels, 3), strict=True):
        centered = centering @ kernel @ centering
        expected = (centered * targets).sum() / (centered.norm() * targets.norm())
        torch.testing.assert_close(value, expected)
