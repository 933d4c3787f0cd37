"""Update rules against the optimizers of torch.optim, and against closed forms."""

import subprocess
import sys
from collections.abc import Iterable, Iterator

import pytest
import torch
from helpers import recipe
from rounding import assert_within, rounding_error
from running import ROOT, SCRIPTS
from torch import Tensor

from isthmus.recipes.recipe import TrainingRecipe
from isthmus.training import optimizers

STEPS, STACK = 12, 3
SHAPES = {"1.weight": (STACK, 7, 33), "1.bias": (STACK, 7), "3.weight": (STACK, 2, 7)}

KINDS = {
    "sgd": {"optimizer": "sgd", "momentum": 0.0},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "nesterov": {"optimizer": "sgd", "momentum": 0.8, "nesterov": True},
    "adam": {"optimizer": "adam", "beta1": 0.8, "beta2": 0.95},
    "adamw": {"optimizer": "adamw"},
}
kinds = pytest.mark.parametrize("kind", KINDS)


def training(kind: str, **options: object) -> TrainingRecipe:
    return recipe(training=KINDS[kind] | options).training


def reference(rule: TrainingRecipe, parameters: list[Tensor], fused: bool) -> torch.optim.Optimizer:
    options = {"lr": 0.1, "weight_decay": rule.weight_decay, "fused": fused, "foreach": False}
    if rule.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=rule.momentum, nesterov=rule.nesterov, **options)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[rule.optimizer]
    return kind(parameters, betas=(rule.beta1, rule.beta2), eps=optimizers.ADAM_EPSILON, **options)


def start(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn(shape, dtype=dtype) for name, shape in SHAPES.items()}


def gradients_of(weights: dict[str, Tensor]) -> Iterator[tuple[float, tuple[Tensor, ...]]]:
    """Rates that change from step to step, and random gradients of very different sizes."""
    torch.manual_seed(1)
    for step in range(STEPS):
        scale = 10.0 ** (step % 5 - 3)
        yield 0.1 / (1 + step), tuple(scale * torch.randn_like(weight) for weight in weights.values())


def flat(weights: Iterable[Tensor]) -> Tensor:
    """`[networks, weights of a network]`"""
    return torch.cat([weight.flatten(1) for weight in weights], 1)


def courses(rule: TrainingRecipe, weights: dict[str, Tensor], members: slice = slice(None)) -> Tensor:
    """The weights of some networks of the stack after every step, `[steps, networks, weights of a network]`."""
    weights = {name: weight[members].clone() for name, weight in weights.items()}
    slots, course = optimizers.new_slots(rule, weights), []
    for rate, gradients in gradients_of(start()):
        optimizers.step(rule, rate, weights, tuple(gradient[members].contiguous() for gradient in gradients), slots)
        course.append(flat(weights.values()))
    return torch.stack(course)


def courses_of_torch(rule: TrainingRecipe, fused: bool, dtype: torch.dtype = torch.float32) -> Tensor:
    """The same for the whole stack by torch.optim: its fused kernels, which are ours, or its plain loops."""
    parameters = [torch.nn.Parameter(weight.to(dtype)) for weight in start().values()]
    twin, course = reference(rule, parameters, fused), []
    for rate, gradients in gradients_of(start()):
        twin.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.to(dtype)
        twin.step()
        course.append(flat(parameter.detach() for parameter in parameters))
    return torch.stack(course)


def exact_courses(rule: TrainingRecipe) -> tuple[Tensor, Tensor]:
    """The courses without rounding, and how far off those in float32 may be.

    Twice as far as operations on tensors explain: rates, shares and decays are rounded as well, to numbers in float32,
    and a step has about as many of them as it has operations.
    """
    exact, error = rounding_error(lambda: courses_of_torch(rule, fused=False, dtype=torch.float64))
    return exact, 2 * error


@kinds
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_steps_are_those_of_torch(kind: str, weight_decay: float) -> None:
    """Bit for bit those of the fused kernels; and up to rounding those of the plain loops, which say what is meant."""
    rule = training(kind, weight_decay=weight_decay)
    found = courses(rule, start())
    assert torch.equal(found, courses_of_torch(rule, fused=True))
    assert_within(found, *exact_courses(rule))


@kinds
def test_a_stack_is_updated_as_its_members_alone(kind: str) -> None:
    """Up to rounding: where in an array a number stands decides which instructions its processor takes."""
    rule = training(kind, weight_decay=0.01)
    exact, error = exact_courses(rule)
    for member in range(STACK):
        assert_within(courses(rule, start(), slice(member, member + 1)), exact[:, [member]], error[:, [member]])


@kinds
def test_the_slots_are_the_whole_state(kind: str) -> None:
    """Going on from copies of weights and slots gives the same numbers as never having stopped."""
    rule = training(kind, weight_decay=0.01)
    weights = start()
    slots = optimizers.new_slots(rule, weights)
    for number, (rate, gradients) in enumerate(gradients_of(weights)):
        if number == STEPS // 2:
            resumed = {name: weight.clone() for name, weight in weights.items()}
            kept = {slot: {name: value.clone() for name, value in content.items()} for slot, content in slots.items()}
        if number >= STEPS // 2:
            optimizers.step(rule, rate, resumed, tuple(gradient.clone() for gradient in gradients), kept)
        optimizers.step(rule, rate, weights, gradients, slots)
    assert all(torch.equal(weights[name], resumed[name]) for name in SHAPES)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("sgd", set()),
        ("momentum", {"momentum_buffer"}),
        ("nesterov", {"momentum_buffer"}),
        ("adam", {"exp_avg", "exp_avg_sq", "step"}),
        ("adamw", {"exp_avg", "exp_avg_sq", "step"}),
    ],
)
def test_slots_are_zeros_in_the_shapes_of_the_weights(kind: str, expected: set[str]) -> None:
    slots = optimizers.new_slots(training(kind), start())
    assert slots.keys() == expected
    for slot, content in slots.items():
        shapes = {name: tuple(value.shape) for name, value in content.items()}
        assert shapes == (dict.fromkeys(SHAPES, ()) if slot == "step" else SHAPES)
        assert not any(bool(value.any()) for value in content.values())


# Closed forms

CURVATURES = torch.tensor([0.1, 0.5, 1.0, 1.9], dtype=torch.float64)


def descend(rule: TrainingRecipe, rate: float, weights: Tensor, steps: int) -> Tensor:
    """`steps` steps on the quadratic sum(curvature * w^2) / 2."""
    named = {"w": weights.clone()}
    slots = optimizers.new_slots(rule, named)
    for _ in range(steps):
        optimizers.step(rule, rate, named, (CURVATURES * named["w"],), slots)
    return named["w"]


def test_gradient_descent_on_a_quadratic_contracts_by_one_minus_rate_times_curvature() -> None:
    weights = torch.tensor([1.0, -2.0, 3.0, 4.0], dtype=torch.float64)
    for rate in (0.1, 1.0):
        expected = (1 - rate * CURVATURES) ** 25 * weights
        torch.testing.assert_close(descend(training("sgd"), rate, weights, 25), expected, rtol=1e-12, atol=1e-15)


def test_weight_decay_of_sgd_adds_to_the_curvature() -> None:
    weights = torch.tensor([1.0, -2.0, 3.0, 4.0], dtype=torch.float64)
    expected = (1 - 0.1 * (CURVATURES + 0.3)) ** 25 * weights
    found = descend(training("sgd", weight_decay=0.3), 0.1, weights, 25)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_momentum_on_a_quadratic_is_a_linear_map_of_position_and_velocity() -> None:
    """(v, w) -> (mu v + h w, w - rate (mu v + h w)): Polyak's heavy ball as a 2 x 2 matrix to the power k."""
    rate, momentum, steps = 0.3, 0.9, 30
    weights = torch.ones(4, dtype=torch.float64)
    expected = []
    for curvature in CURVATURES.tolist():
        matrix = torch.tensor([[momentum, curvature], [-rate * momentum, 1 - rate * curvature]], dtype=torch.float64)
        expected.append((torch.linalg.matrix_power(matrix, steps) @ torch.tensor([0.0, 1.0], dtype=torch.float64))[1])
    found = descend(training("momentum"), rate, weights, steps)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_the_first_step_of_adam_is_the_rate_in_the_direction_of_the_sign(kind: str) -> None:
    weights, gradient = torch.zeros(4, dtype=torch.float64), torch.tensor([1e-3, -5.0, 40.0, -1.0]).double()
    rule, named = training(kind), {"w": weights}
    optimizers.step(rule, 0.01, named, (gradient.clone(),), optimizers.new_slots(rule, named))
    expected = -0.01 * gradient / (gradient.abs() + optimizers.ADAM_EPSILON)
    torch.testing.assert_close(named["w"], expected, rtol=1e-6, atol=0)


def test_weight_decay_of_adamw_is_decoupled_from_the_gradient() -> None:
    """Without a gradient the weights shrink by 1 - rate * decay a step; those of Adam move by the rate instead."""
    decayed = {}
    for kind in ("adam", "adamw"):
        rule, named = training(kind, weight_decay=0.5), {"w": torch.tensor([1.0, 100.0], dtype=torch.float64)}
        slots = optimizers.new_slots(rule, named)
        for _ in range(3):
            optimizers.step(rule, 0.01, named, (torch.zeros(2, dtype=torch.float64),), slots)
        decayed[kind] = named["w"]
    expected = (1 - 0.01 * 0.5) ** 3 * torch.tensor([1.0, 100.0], dtype=torch.float64)
    torch.testing.assert_close(decayed["adamw"], expected, rtol=1e-12, atol=0)
    assert torch.allclose(decayed["adam"], torch.tensor([0.97, 99.97], dtype=torch.float64), rtol=0, atol=1e-3)


TRAIN_ONE_STEP = """
import sys
import torch
from helpers import recipe
from isthmus.core import devices
from isthmus.data.dataset import Dataset
from isthmus.core.devices import Settings
from isthmus.training.trainer import new_state, train
devices.set_up(1, deterministic=False)
images = torch.arange(40 * 64, dtype=torch.uint8).view(40, 1, 8, 8)
labels = torch.arange(40) % 10
dataset = Dataset("ramps", 10, "", images, labels, images, labels, torch.tensor([128.0]), torch.tensor([70.0]))
flat = {"sharpness_radius": 0.1, "averaging": "swa", "averaging_start": 0.0}
for options in ({"optimizer": "sgd"}, {"optimizer": "adamw"}, flat, flat | {"averaging": "ema"}):
    chosen = recipe(network={"normalization": "batch"}, training={"epochs": 2} | options)
    state = new_state(chosen, dataset, (0, 1))
    done = train(chosen, state, dataset, Settings(torch.device("cpu")), lambda state: None, lambda: None)
    print(sorted(done.results), done.results[0]["steps"])
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""


def test_training_does_not_import_the_compiler() -> None:
    found = subprocess.run(
        [sys.executable, "-c", TRAIN_ONE_STEP],
        env={"PYTHONPATH": f"{SCRIPTS}:{ROOT / 'tests/support'}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == ["[0, 1] 6"] * 4 + ["[]"]
