"""How fast this machine computes: real calls of the library on random data, a few seconds in all.

What was measured is seconds a call against its size (multiplications of a forward pass, `isthmus.work`); between
two sizes they are interpolated on a logarithmic scale, below the smallest a call takes as long as that one, above the
largest it takes longer in proportion. So a larger call never takes less time.
"""

import bisect
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isthmus.analyses.manifold.levenberg_marquardt import damped_step
from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset
from isthmus.data.facts import Facts
from isthmus.landscape.graph_memory import keeps_graph
from isthmus.landscape.hessian import CurvatureOperator
from isthmus.models.architectures import build, initialize
from isthmus.models.evaluation import evaluate, evaluation_mode
from isthmus.models.sizes import multiplications
from isthmus.recipes.recipe import Recipe
from isthmus.training.trainer import Member, TrainingRun, new_state

REPETITIONS = 5
SECONDS_A_POINT = 1.0  # after which a call is not repeated
MOST_SECONDS = 10.0  # a call that takes longer the first time is not repeated at all
MOST_EXAMPLES = 20_000  # of random data


@dataclass(frozen=True)
class Speed:
    """Seconds of a call by its size: those measured, sizes rising, seconds never falling."""

    sizes: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, measured: Sequence[tuple[float, float]]) -> "Speed":
        """From pairs of size and seconds in any order. ValueError where there is none, or one is not positive."""
        if not measured or not all(0 < value < math.inf for pair in measured for value in pair):
            raise ValueError(f"sizes and seconds must be positive and finite, at least one pair of them: {measured}")
        ordered = sorted(measured)
        seconds = [max(taken for _, taken in ordered[: place + 1]) for place in range(len(ordered))]
        return cls(tuple(size for size, _ in ordered), tuple(seconds))

    def __call__(self, size: float) -> float:
        """Seconds of one call."""
        if size <= self.sizes[0]:
            return self.seconds[0]
        if size >= self.sizes[-1]:
            return self.seconds[-1] * size / self.sizes[-1]
        right = bisect.bisect_right(self.sizes, size)
        (low, high), (first, last) = self.sizes[right - 1 : right + 1], self.seconds[right - 1 : right + 1]
        share = math.log(size / low) / math.log(high / low)
        return first * (last / first) ** share


@dataclass(frozen=True)
class Probe:
    """A call to be timed: of a kind, for a stack of `stack` networks, on `examples` examples."""

    kind: str
    recipe: Recipe
    known: Facts
    stack: int
    examples: int

    @property
    def size(self) -> float:
        """Multiplications of a forward pass on its examples."""
        forward = multiplications(self.recipe.network, self.known.shape, self.known.classes)
        return self.stack * self.examples * forward


def measure(probe: Probe, settings: Settings) -> float:
    """Seconds of one such call on the device: of a core on a CPU, of the clock on a GPU."""
    call = {"gradient": _gradient, "evaluation": _evaluation, "product": _product}[probe.kind](probe, settings)
    return _seconds(call, settings.device)


def measure_algebra(device: torch.device, size: int) -> tuple[float, float]:
    """Multiplications and seconds of a Gram matrix `[size, size]` and its factor, in float64."""
    jacobian = torch.randn(size, size, dtype=torch.float64, device=device)
    residuals = torch.randn(size, dtype=torch.float64, device=device)
    return float(size**3), _seconds(lambda: damped_step(jacobian, residuals, 1.0), device)


def measure_jacobian(device: torch.device) -> float:
    """Seconds that the Jacobian of a network takes whatever its size."""
    inputs = torch.randn(8, 8, dtype=torch.float64, device=device)
    jacobian = torch.func.jacrev(lambda at: torch.tanh(inputs @ torch.tanh(inputs @ at)))
    return _seconds(lambda: jacobian(inputs[0]), device)


def start_up(modules: str) -> float:
    """Seconds of a core that a process takes to import these modules and end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", f"import {modules}"], env=os.environ | {"PYTHONPATH": path}, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Median seconds of a call, after one that is not counted since it may load libraries, unless that took long."""
    taken = [_timed(call, device)]
    if taken[0] > MOST_SECONDS:
        return taken[0]
    taken = [_timed(call, device)]
    # Several to a reading, since clocks are coarse beside the smallest calls.
    many = max(1, round(0.02 / max(taken[0], 1e-6)))

    def repeat() -> None:
        for _ in range(many):
            call()

    while len(taken) < REPETITIONS and sum(taken) * many < SECONDS_A_POINT:
        taken.append(_timed(repeat, device) / many)
    return max(sorted(taken)[len(taken) // 2], 1e-9)


def _timed(call: Callable[[], object], device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    _wait(device)
    started = clock()
    call()
    _wait(device)
    return clock() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _dataset(known: Facts, examples: int) -> Dataset:
    """Random images of the right shape."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (examples, *known.shape), dtype=torch.uint8, generator=generator)
    labels = torch.arange(examples) % known.classes
    scale = torch.full((known.shape[0],), 128.0)
    return Dataset("random", known.classes, "", images, labels, images[:1], labels[:1], scale, scale)


def _gradient(probe: Probe, settings: Settings) -> Callable[[], object]:
    """One step of training, data and optimizer included."""
    dataset = _dataset(probe.known, min(16 * probe.examples, max(MOST_EXAMPLES, probe.examples)))
    training = replace(
        probe.recipe.training, batch_size=probe.examples, epochs=10**6, steps=None, snapshots=(), sharpness_radius=0.0
    )
    chosen = replace(probe.recipe.data, train_size=None, selection="first", label_noise=0.0)
    recipe = replace(probe.recipe, data=chosen, training=training)
    seeds = tuple(range(probe.stack))
    state = new_state(recipe, dataset, seeds)
    return TrainingRun(recipe, state, dataset, settings, {seed: Member(seed, seed) for seed in seeds}).update


def _evaluation(probe: Probe, settings: Settings) -> Callable[[], object]:
    """Loss and accuracy of a stack on one batch."""
    network, images, labels = _place(probe, settings)
    network.eval()
    loss = probe.recipe.training.loss

    def call() -> object:
        with evaluation_mode(network, images[None, :2]):
            return evaluate(network, images, labels[None, None], loss, probe.examples)

    return call


def _product(probe: Probe, settings: Settings) -> Callable[[], object]:
    """One product of the Hessian with a vector."""
    network, images, labels = _place(probe, settings)
    kept = keeps_graph(probe.recipe.network, probe.known.shape, probe.known.classes, probe.examples)
    with evaluation_mode(network, images[None]):
        operator = CurvatureOperator(network, images, labels, probe.recipe.training.loss, keep=kept)
    vector = torch.randn(operator.size, device=settings.device)
    return lambda: operator(vector)


def _place(probe: Probe, settings: Settings) -> tuple[torch.nn.Module, Tensor, Tensor]:
    """Initialized networks, and images and labels, on the device."""
    network = build(probe.recipe.network, probe.known.shape, probe.known.classes, probe.stack)
    initialize(network, tuple(range(probe.stack)))
    dataset = _dataset(probe.known, probe.examples)
    images = dataset.train_images.to(settings.device).float() / 128 - 1
    return network.to(settings.device), images, dataset.train_labels.to(settings.device)
