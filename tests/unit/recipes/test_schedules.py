"""The course of the learning rate, against torch.optim.lr_scheduler."""

import math
from itertools import pairwise

import pytest
import torch
from helpers import recipe
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, LinearLR, LRScheduler, MultiStepLR

from isthmus.recipes.recipe import TrainingRecipe
from isthmus.recipes.schedules import learning_rate, peak_rate

EPOCHS, STEPS_PER_EPOCH = 20, 7
STEPS = EPOCHS * STEPS_PER_EPOCH


def training(batch_size: int = 32, **options: object) -> TrainingRecipe:
    return recipe(batch_size=batch_size, training={"learning_rate": 0.3, "epochs": EPOCHS} | options).training


def course(recipe: TrainingRecipe) -> list[float]:
    return [learning_rate(recipe, step, STEPS_PER_EPOCH, STEPS) for step in range(STEPS)]


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)


def stepped(scheduler: LRScheduler, interval: str = "step") -> list[float]:
    """The rates of all steps where the scheduler is stepped after every step, or after every epoch."""
    rates = []
    for step in range(1, STEPS + 1):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        if interval == "step" or step % STEPS_PER_EPOCH == 0:
            scheduler.step()
    return rates


@pytest.mark.parametrize("end", [0.0, 0.1])
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_cosine_is_torch_cosine_annealing(interval: str, end: float) -> None:
    period = STEPS if interval == "step" else EPOCHS
    expected = stepped(CosineAnnealingLR(optimizer(), T_max=period, eta_min=0.3 * end), interval)
    found = course(training(schedule="cosine", schedule_interval=interval, final_rate_fraction=end))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("end", [0.0, 0.1])
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_linear_is_torch_linear(interval: str, end: float) -> None:
    period = STEPS if interval == "step" else EPOCHS
    expected = stepped(LambdaLR(optimizer(), lambda k: 1 - (1 - end) * k / period), interval)
    found = course(training(schedule="linear", schedule_interval=interval, final_rate_fraction=end))
    assert found == pytest.approx(expected, rel=1e-12)
    if end:
        scheduler = LinearLR(optimizer(), start_factor=1.0, end_factor=end, total_iters=period)
        assert found == pytest.approx(stepped(scheduler, interval), rel=1e-9)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_step_is_torch_multi_step(interval: str) -> None:
    period = STEPS if interval == "step" else EPOCHS
    milestones = [0.3, 0.7, 0.9]  # 42, 98 and 126 of 140 steps; 6, 14 and 18 of 20 epochs
    counts = [round(milestone * period) for milestone in milestones]
    expected = stepped(MultiStepLR(optimizer(), counts, gamma=0.2), interval)
    options = {"schedule": "step", "schedule_interval": interval, "milestones": milestones, "decay_factor": 0.2}
    assert course(training(**options)) == pytest.approx(expected, rel=1e-12)


def test_constant_is_torch_exponential_with_factor_one() -> None:
    assert course(training(schedule="constant")) == stepped(ExponentialLR(optimizer(), gamma=1.0))


# Warm-up


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "step"])
def test_warm_up_is_torch_linear_and_ends_at_the_peak(schedule: str) -> None:
    epochs = 3
    steps = epochs * STEPS_PER_EPOCH
    found = course(training(schedule=schedule, warmup_epochs=epochs))
    scheduler = LinearLR(optimizer(), start_factor=1 / (steps + 1), end_factor=1.0, total_iters=steps)
    assert found[: steps + 1] == pytest.approx(stepped(scheduler)[: steps + 1], rel=1e-12)
    assert found[steps] == pytest.approx(0.3, rel=1e-12)
    assert max(found) == pytest.approx(0.3, rel=1e-12)
    assert min(found) > 0


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("epochs", [0.5, 1.0, 2.2, 7.0])
def test_the_rate_has_no_jump_at_the_end_of_the_warm_up(schedule: str, epochs: float) -> None:
    found = course(training(schedule=schedule, warmup_epochs=epochs))
    warmup = epochs * STEPS_PER_EPOCH
    rise = 0.3 / (math.floor(warmup) + 1)
    fall = 0.3 * math.pi / 2 / (STEPS - warmup)  # the steepest descent of the cosine
    for before, after in pairwise(found):
        assert -fall - 1e-12 <= after - before <= rise + 1e-12


def test_after_the_warm_up_the_cosine_takes_the_rest_of_the_run() -> None:
    found = course(training(schedule="cosine", warmup_epochs=5))
    start = 5 * STEPS_PER_EPOCH
    expected = stepped(CosineAnnealingLR(optimizer(), T_max=STEPS - start))[: STEPS - start]
    assert found[start:] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_warm_up_by_epochs_rises_once_an_epoch() -> None:
    found = course(training(schedule="constant", schedule_interval="epoch", warmup_epochs=4))
    by_epoch = found[::STEPS_PER_EPOCH]
    assert found == [rate for rate in by_epoch for _ in range(STEPS_PER_EPOCH)]
    assert by_epoch[:6] == pytest.approx([0.3 * factor for factor in (1 / 5, 2 / 5, 3 / 5, 4 / 5, 1, 1)])


# The two ends


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_the_rate_falls_from_the_peak_to_the_final_fraction(schedule: str, fraction: float) -> None:
    recipe, steps = training(schedule=schedule, final_rate_fraction=fraction), 10_000
    rates = [learning_rate(recipe, step, steps, steps) for step in range(steps)]
    assert rates[0] == pytest.approx(0.3)
    assert rates[-1] == pytest.approx(0.3 * fraction, abs=0.3 / steps)
    assert all(0 < after <= before for before, after in pairwise(rates))
    middle = 0.3 * (1 + fraction) / 2
    assert rates[steps // 2] == pytest.approx(middle)


def test_a_shorter_run_has_the_same_shape() -> None:
    recipe = training(schedule="cosine")
    for step in range(50):
        assert learning_rate(recipe, step, 10, 50) == pytest.approx(learning_rate(recipe, 10 * step, 10, 500))


# Batch size


@pytest.mark.parametrize(
    ("scaling", "factor"),
    [
        ("none", 1.0),
        ("linear", 256 / 64),  # Goyal et al. 2017
        ("sqrt", math.sqrt(256 / 64)),  # Krizhevsky 2014
    ],
)
def test_peak_rate_follows_the_batch_size(scaling: str, factor: float) -> None:
    reference = {} if scaling == "none" else {"reference_batch_size": 64}
    recipe = training(256, batch_scaling=scaling, **reference)
    assert peak_rate(recipe) == pytest.approx(0.3 * factor, rel=1e-15)
    assert course(recipe) == pytest.approx([factor * rate for rate in course(training(256))], rel=1e-12)


@pytest.mark.parametrize("scaling", ["linear", "sqrt"])
def test_at_the_reference_batch_size_scaling_changes_nothing(scaling: str) -> None:
    assert peak_rate(training(64, batch_scaling=scaling, reference_batch_size=64)) == 0.3
