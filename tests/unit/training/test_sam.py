"""Sharpness-aware training: the ascent against its formulas, and whole runs against a plain PyTorch loop."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import recipe
from rounding import assert_within, rounding_error, summation_error
from torch import Tensor
from torch.func import functional_call

from isthmus.core import seeds
from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset, normalized
from isthmus.landscape.loss_surface import LossSurface
from isthmus.landscape.perturbations import worst_in_ball
from isthmus.models.evaluation import losses
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.training import optimizers
from isthmus.training.checkpoint import State
from isthmus.training.sam import ascended
from isthmus.training.trainer import Member, TrainingRun, new_state, train

CPU = Settings(torch.device("cpu"))
SAM = {"sharpness_radius": 0.1}
ASAM = {"sharpness_radius": 1.0, "sharpness_adaptive": True, "sharpness_eta": 0.02}
CURVATURES = torch.tensor([[0.1, 1.0, 3.0, 0.5], [2.0, 0.3, 0.0, 7.0]], dtype=torch.float64)
STACK = torch.tensor([[1.0, -2.0, 3.0, 4.0], [0.01, 0.5, -8.0, 1e-3]], dtype=torch.float64)


def trained(chosen: Recipe, dataset: Dataset, *network_seeds: int) -> State:
    return train(chosen, new_state(chosen, dataset, network_seeds), dataset, CPU, lambda _: None, lambda: None)


def norm(tensors: Mapping[str, Tensor], member: int) -> float:
    return math.sqrt(sum(float(value[member].double().square().sum()) for value in tensors.values()))


# The ascent


@pytest.mark.parametrize("eta", [None, 0.0, 0.3])
def test_a_step_on_a_quadratic_is_the_one_of_the_papers(eta: float | None) -> None:
    """On sum(h w^2) / 2 with its gradient h w: w <- w - rate h (w + e), e = rho g / |g| or rho T^2 g / |T g|."""
    rate, rho = 0.1, 0.7
    for member in (0, 1):
        h, w = CURVATURES[member], STACK[member]
        g, t = h * w, torch.ones(4).double() if eta is None else w.abs() + eta
        expected = w - rate * h * (w + rho * t**2 * g / (t * g).norm())
        weights = {"w": STACK.clone()}
        worst = ascended(weights, (CURVATURES * weights["w"],), rho, eta)
        assert torch.equal(weights["w"], STACK)
        rule = recipe(training={"momentum": 0.0}).training
        optimizers.step(rule, rate, weights, (CURVATURES * worst["w"].detach(),), {})
        torch.testing.assert_close(weights["w"][member], expected, rtol=1e-12, atol=1e-15)


def random_stack(dtype: torch.dtype = torch.float32) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """Weights of three networks, and gradients that differ by orders of magnitude from network to network."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"1.weight": (3, 7, 33), "1.bias": (3, 7), "3.weight": (3, 2, 7, 3, 3)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    size = torch.tensor([1e-6, 1.0, 1e3])
    gradients = (torch.randn(shape, generator=generator) for shape in shapes.values())
    sized = (each * size.view(-1, *[1] * (each.dim() - 1)) for each in gradients)
    return {name: value.to(dtype) for name, value in weights.items()}, tuple(each.to(dtype) for each in sized)


@pytest.mark.parametrize("eta", [None, 0.01])
def test_every_network_of_a_stack_goes_to_the_surface_of_its_own_ball(eta: float | None) -> None:
    """In float64: a step in float32 is a small difference of weights, of which rounding leaves few digits."""
    weights, gradients = random_stack(torch.float64)
    worst = ascended(weights, gradients, 0.3, eta)
    place = {name: worst[name].detach() - weights[name] for name in weights}
    if eta is not None:
        place = {name: value / (weights[name].abs() + eta) for name, value in place.items()}
    # The differences of weights of a size of one, and sums of the squares of some 360 of them, relative to 0.3.
    error = summation_error(400, torch.float64) / 0.3
    assert [norm(place, member) for member in range(3)] == pytest.approx([0.3] * 3, rel=error)


@pytest.mark.parametrize("eta", [None, 0.01])
def test_every_network_of_a_stack_ascends_as_it_does_alone(eta: float | None) -> None:
    def ascents(members: slice, dtype: torch.dtype) -> Tensor:
        weights, gradients = random_stack(dtype)
        own = {name: value[members] for name, value in weights.items()}
        worst = ascended(own, tuple(each[members] for each in gradients), 0.3, eta)
        return torch.cat([value.detach().flatten(1) for value in worst.values()], 1)

    exact, error = rounding_error(lambda: ascents(slice(None), torch.float64))
    assert_within(ascents(slice(None), torch.float32), exact, error)
    for member in range(3):
        alone = ascents(slice(member, member + 1), torch.float32)
        assert_within(alone, exact[[member]], error[[member]])


def test_a_radius_of_zero_and_a_gradient_of_zero_move_nothing() -> None:
    weights, gradients = random_stack()
    nothing = tuple(torch.zeros_like(each) for each in gradients)
    for worst in (
        ascended(weights, gradients, 0.0),
        ascended(weights, nothing, 0.3),
        ascended(weights, nothing, 1, 0.1),
    ):
        assert all(torch.equal(worst[name], weights[name]) for name in weights)


@pytest.mark.parametrize("eta", [None, 0.05])
def test_the_step_is_the_one_by_which_trained_networks_are_measured(digits: Dataset, eta: float | None) -> None:
    """`isthmus.landscape.perturbations` ascends in float64 over batches: the same point, by code of its own."""
    chosen = recipe(width=8, depth=1).network
    network = build(chosen, (1, 8, 8), 10).double()
    network.initialize((0,))
    weights = {name: value.detach().requires_grad_() for name, value in network.named_parameters()}
    images = normalized(digits.train_images[:90], digits.mean, digits.std).double()
    labels = digits.train_labels[:90]

    def loss(at: dict[str, Tensor]) -> Tensor:
        return losses(functional_call(network, at, (images[None],)), labels[None], "cross_entropy").sum()

    gradients = torch.autograd.grad(loss(weights), tuple(weights.values()))
    found = loss(ascended(weights, gradients, 0.2, eta)).item()
    adaptive = eta is not None
    surface = LossSurface(network, images, labels, "cross_entropy", images[None], 40)
    worst = worst_in_ball(surface, weights, rho=0.2, adaptive=adaptive, eta=eta or 0.01)
    assert found == pytest.approx(worst.worst_loss, rel=1e-10)


@pytest.mark.parametrize("by_unit", [False, True], ids=["layers", "filters"])
def test_the_adaptive_ascent_does_not_see_scalings_that_leave_the_function(digits: Dataset, by_unit: bool) -> None:
    """Kwon et al. (2021): max L over |T^-1 e| <= rho is the same at w and A w; units scaled up, and down behind."""
    network = build(recipe(width=8, depth=1).network, (1, 8, 8), 10).double()
    network.initialize((0,))
    weights = {name: value.detach().clone() for name, value in network.named_parameters()}
    factor = torch.logspace(-1, 1, 8).double() if by_unit else torch.full((8,), 5.0).double()
    scaled = {"1.weight": weights["1.weight"] * factor[:, None], "1.bias": weights["1.bias"] * factor}
    scaled |= {"3.weight": weights["3.weight"] / factor, "3.bias": weights["3.bias"]}
    images = normalized(digits.train_images[:90], digits.mean, digits.std).double()[None]

    def worst_loss(at: dict[str, Tensor], eta: float | None) -> float:
        def loss(leaves: dict[str, Tensor]) -> Tensor:
            return losses(functional_call(network, leaves, (images,)), digits.train_labels[None, :90], "cross_entropy")

        leaves = {name: value.requires_grad_() for name, value in at.items()}
        gradients = torch.autograd.grad(loss(leaves).sum(), tuple(leaves.values()))
        return loss(ascended(leaves, gradients, 0.3, eta)).item()

    assert worst_loss(scaled, 0.0) == pytest.approx(worst_loss(weights, 0.0), rel=1e-10)
    assert worst_loss(scaled, None) != pytest.approx(worst_loss(weights, None), rel=1e-2)


# Whole runs


def plain_loop(chosen: Recipe, dataset: Dataset, seed: int) -> Tensor:
    """One MLP trained by SAM or ASAM as published code does, in float64: perturb, take the gradient, go back, step.

    Returns its weights, flat.
    """
    training, layers, inputs = chosen.training, [torch.nn.Flatten()], 64
    batch_norm = chosen.network.normalization == "batch"
    for _ in range(chosen.network.depth):
        layers.append(torch.nn.Linear(inputs, chosen.network.width, bias=not batch_norm))
        layers += [torch.nn.BatchNorm1d(chosen.network.width)] if batch_norm else []
        layers.append(torch.nn.ReLU())
        inputs = chosen.network.width
    network = torch.nn.Sequential(*layers, torch.nn.Linear(inputs, 10)).double().train()
    start = new_state(chosen, dataset, (seed,)).snapshots[seed]["initial"]
    parameters = list(network.parameters())
    for parameter, value in zip(parameters, start.values(), strict=True):
        parameter.data.copy_(value)
    images, labels = normalized(dataset.train_images, dataset.mean, dataset.std).double(), dataset.train_labels
    optimizer = torch.optim.SGD(parameters, training.learning_rate, training.momentum)
    for epoch in range(training.epochs):
        order = seeds.generator(seed, seeds.Stream.ORDER, epoch).permutation(len(images))
        for batch in torch.from_numpy(order).split(training.batch_size):
            gradient = torch.autograd.grad(F.cross_entropy(network(images[batch]), labels[batch]), parameters)
            with torch.no_grad():
                scale = [w.abs() + training.sharpness_eta for w in parameters]
                scale = scale if training.sharpness_adaptive else [torch.ones_like(w) for w in parameters]
                length = torch.cat([(t * g).flatten() for t, g in zip(scale, gradient, strict=True)]).norm()
                before = [w.clone() for w in parameters]
                for w, t, g in zip(parameters, scale, gradient, strict=True):
                    w += training.sharpness_radius * t**2 * g / length
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            for w, value in zip(parameters, before, strict=True):
                w.data.copy_(value)
            optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


@pytest.mark.parametrize("options", [SAM, ASAM], ids=["sam", "asam"])
@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_every_network_of_a_stack_is_what_a_plain_loop_makes_of_it(
    digits: Dataset, options: dict[str, Any], normalization: str
) -> None:
    few = replace(digits, train_images=digits.train_images[:300], train_labels=digits.train_labels[:300])
    training = {"epochs": 2, "learning_rate": 0.02, "schedule": "constant", **options}
    chosen = recipe(16, 2, 100, network={"normalization": normalization}, training=training)
    state = trained(chosen, few, 0, 3)
    for seed in (0, 3):
        ours = torch.cat([value.flatten() for value in state.snapshots[seed]["final"].values()])
        assert_within(ours, *rounding_error(partial(plain_loop, chosen, few, seed)))


def test_at_radius_zero_it_is_plain_training_bit_for_bit(digits: Dataset) -> None:
    """Once by the path without an ascent, once by the ascent with a radius that float32 rounds to zero."""
    network = {"architecture": "cnn", "normalization": "batch", "blocks": 1, "hidden_units": 8}
    options = {"epochs": 2, "learning_rate": 0.02, "flip": True, "crop_padding": 1}
    found = []
    for radius in (None, 0.0, 1e-100):
        training = options if radius is None else options | {"sharpness_radius": radius}
        found.append(trained(recipe(4, 1, 64, {"train_size": 256}, network, training), digits, 0, 1))
    for other in found[1:]:
        assert other.history == found[0].history
        for seed in (0, 1):
            for name, value in found[0].snapshots[seed]["final"].items():
                assert torch.equal(other.snapshots[seed]["final"][name], value)
    away = trained(recipe(4, 1, 64, {"train_size": 256}, network, options | SAM), digits, 0, 1)
    assert away.history[0][-1]["train_loss"] != found[0].history[0][-1]["train_loss"]


@pytest.mark.parametrize(
    ("architecture", "normalization", "depth"), [("mlp", "layer", 2), ("cnn", "batch", 1), ("resnet", "batch", 8)]
)
def test_a_stack_is_trained_as_its_members_alone(
    digits: Dataset, architecture: str, normalization: str, depth: int
) -> None:
    network = {"architecture": architecture, "normalization": normalization, "blocks": 2, "hidden_units": 8}
    training = {"epochs": 1, "learning_rate": 0.02, **ASAM}
    chosen = recipe(4, depth, 64, {"train_size": 256, "label_noise": 0.1}, network, training)
    together, alone = trained(chosen, digits, 0, 1, 2), trained(chosen, digits, 1)
    for name, value in alone.snapshots[1]["final"].items():
        torch.testing.assert_close(together.snapshots[1]["final"][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [SAM, ASAM], ids=["sam", "asam"])
def test_a_network_without_a_unit_learns_what_a_smaller_network_learns(
    digits: Dataset, options: dict[str, Any]
) -> None:
    """Pruned weights are exactly zero at the worst point, too, and take no part in the length of the ascent."""
    training = {"epochs": 2, "learning_rate": 0.05, **options}
    large, small = recipe(8, 1, 64, training=training), recipe(3, 1, 64, training=training)
    state = new_state(large, digits, (0,))
    first = state.snapshots[0]["initial"]
    mask = {name: torch.ones_like(first[name], dtype=torch.bool) for name in ("1.weight", "3.weight")}
    mask["1.weight"][3:], mask["3.weight"][:, 3:] = False, False
    run = TrainingRun(large, state, digits, CPU, {0: Member(0, 0, mask)})
    for _ in range(run.total_steps):
        run.update()
    assert all((run.weights[name][0][~kept] == 0).all() for name, kept in mask.items())
    cut = {"1.weight": first["1.weight"][:3], "1.bias": first["1.bias"][:3]}
    cut |= {"3.weight": first["3.weight"][:, :3], "3.bias": first["3.bias"]}
    other = State((0,), (0,), 0, {name: value[None].clone() for name, value in cut.items()})
    other.snapshots, other.history = {0: {"initial": cut}}, {0: []}
    smaller = train(small, other, digits, CPU, lambda _: None, lambda: None).snapshots[0]["final"]
    torch.testing.assert_close(run.weights["1.weight"][0, :3], smaller["1.weight"], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(run.weights["3.weight"][0, :, :3], smaller["3.weight"], rtol=1e-3, atol=1e-5)
