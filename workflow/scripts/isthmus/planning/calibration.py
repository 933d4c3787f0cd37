"""How fast this machine computes, measured in a few seconds with real calls of the library on random data.

We time calls of different sizes, that is, numbers of multiplications (`isthmus.training.cost`). Between two measured
sizes, seconds follow a power law. Below the smallest size, a call takes as long as the smallest; above the largest,
time is proportional to size. A larger call therefore never takes less time.
"""

import bisect
import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from isthmus.analyses.manifold.levenberg_marquardt import damped_step
from isthmus.core.devices import Settings, stack_size
from isthmus.data.dataset import Dataset, normalized
from isthmus.data.facts import Facts
from isthmus.landscape.hessian.graph_memory import keeps_graph
from isthmus.landscape.hessian.operator import CurvatureOperator
from isthmus.models.evaluation import evaluate, evaluation_mode
from isthmus.models.networks import build
from isthmus.models.sizes import multiplications, parameters
from isthmus.recipes.recipe import Recipe
from isthmus.training.cost import Calls, Work
from isthmus.training.timing import MOST_EXAMPLES, Call, timed, training_step

REPETITIONS = 5
SECONDS_A_POINT = 1.0  # after which a call is not repeated
MOST_SECONDS = 10.0  # a call that takes longer the first time is not repeated at all
POINTS = 5  # sizes that are timed for each kind of call and architecture
MATRICES = (16, 768)  # rows of the smallest and the largest matrix that is timed

Kind = tuple[str, str]  # kind of call, and architecture (empty if it does not matter)


@dataclass(frozen=True)
class Speed:
    """Seconds of a call by its size, as measured; sizes rise and seconds never fall."""

    sizes: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, measured: Sequence[tuple[float, float]]) -> "Speed":
        """From pairs of size and seconds in any order. ValueError without any, or if one is not positive and finite."""
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
class Task:
    """The work of a job, the recipe and data of its networks, and the number of its networks or pairs."""

    work: Work
    recipe: Recipe
    facts: Facts
    networks: int

    @property
    def calls(self) -> list[Calls]:
        """The calls that the job actually makes."""
        return [call for call in self.work.calls if call.count and call.networks]

    def kind_of(self, call: Calls) -> Kind:
        """The kind of a call; calls of one kind share one speed."""
        return call.kind, "" if call.kind in ALGEBRA else self.recipe.network.architecture

    def stack(self, call: Calls, wanted: int | str, settings: Settings) -> int:
        """How many networks share a call. wanted: `jobs.stack` of the configuration."""
        if not call.batch_size:
            return 1
        network = self.recipe.network
        size = parameters(network, self.facts.shape, self.facts.classes)
        wanted = wanted if network.stacks else 1
        return stack_size(wanted, network.convolutional, size, call.batch_size, settings.device, call.networks)

    def seconds(self, speeds: dict[Kind, Speed], wanted: int | str, settings: Settings) -> float:
        """Seconds for the work at these speeds."""
        total = self.work.seconds
        for call in self.calls:
            speed, stack = speeds[self.kind_of(call)], self.stack(call, wanted, settings)
            full, rest = divmod(call.networks, stack)
            once = full * speed(stack * call.size) + (speed(rest * call.size) if rest else 0.0)
            total += call.likely * call.count * once
        return total


def calibrate(tasks: Iterable[Task], wanted: int | str, settings: Settings, layout: str = "auto") -> dict[Kind, Speed]:
    """Time the calls that the tasks make: of each kind, the smallest, the largest and some in between.

    wanted, layout: `jobs.stack` and `jobs.layout` of the configuration; of two layouts, the faster one counts.
    """
    found: dict[Kind, dict[float, dict[bool, Callable[[], Call]]]] = {}
    last = {"auto": (False, True), "contiguous": (False,), "channels_last": (True,)}[layout]
    for task in tasks:
        for call in task.calls:
            for channels_last in last if task.recipe.network.convolutional else (False,):
                laid_out = replace(settings, channels_last=channels_last)
                size, prepare = _prepared(task, call, task.stack(call, wanted, settings), laid_out)
                found.setdefault(task.kind_of(call), {}).setdefault(size, {})[channels_last] = prepare
    speeds = {}
    for kind, sizes in found.items():
        ordered = sorted(sizes)
        places = sorted({round(place * (len(ordered) - 1) / (POINTS - 1)) for place in range(POINTS)})
        measured = [
            (ordered[place], min(_seconds(prepare(), settings.device) for prepare in sizes[ordered[place]].values()))
            for place in places
        ]
        speeds[kind] = Speed.of(measured)
    return speeds


def start_up(modules: str) -> float:
    """Core seconds that a process takes to import these modules and end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", f"import {modules}"], env=os.environ | {"PYTHONPATH": path}, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _seconds(call: Call, device: torch.device) -> float:
    """Median seconds of a call: core time on a CPU, wall-clock time on a GPU.

    The first call is not counted, because it may load libraries, unless it took long.
    """
    taken = [timed(call, device)]
    if taken[0] > MOST_SECONDS:
        return taken[0]
    taken = [timed(call, device)]
    # Several calls per reading, because clocks are too coarse for the smallest calls.
    many = max(1, round(0.02 / max(taken[0], 1e-6)))

    def repeat() -> None:
        for _ in range(many):
            call()

    while len(taken) < REPETITIONS and sum(taken) * many < SECONDS_A_POINT:
        taken.append(timed(repeat, device) / many)
    return max(sorted(taken)[len(taken) // 2], 1e-9)


def _prepared(task: Task, call: Calls, stack: int, settings: Settings) -> tuple[float, Callable[[], Call]]:
    """The multiplications in such a call, and a function that prepares one for timing."""
    if call.kind in ALGEBRA:
        rows = min(max(round(call.size ** (1 / 3)), MATRICES[0]), MATRICES[1])
        return float(rows**3), partial(ALGEBRA[call.kind], rows, settings.device)
    forward = multiplications(task.recipe.network, task.facts.shape, task.facts.classes)
    examples = max(1, round(call.size / forward))
    return stack * examples * forward, partial(OF_NETWORKS[call.kind], task, stack, examples, settings)


def _gradient(task: Task, stack: int, examples: int, settings: Settings) -> Call:
    """One step of training, including data and optimizer."""
    dataset = _dataset(task.facts, min(16 * examples, max(MOST_EXAMPLES, examples)))
    return training_step(task.recipe, dataset, stack, examples, settings)


def _evaluation(task: Task, stack: int, examples: int, settings: Settings) -> Call:
    """Loss and accuracy of a stack on one batch."""
    network, images, labels = _place(task, stack, examples, settings)
    network.eval()
    loss = task.recipe.training.loss

    def call() -> object:
        with evaluation_mode(network, images[None, :2]):
            return evaluate(network, images, labels[None, None], loss, examples)

    return call


def _product(task: Task, stack: int, examples: int, settings: Settings) -> Call:
    """One product of the Hessian with a vector."""
    network, images, labels = _place(task, stack, examples, settings)
    kept = keeps_graph(task.recipe.network, task.facts.shape, task.facts.classes, examples)
    with evaluation_mode(network, images[None]):
        operator = CurvatureOperator(network, images, labels, task.recipe.training.loss, keep=kept)
    vector = torch.randn(operator.size, device=settings.device)
    return lambda: operator(vector)


def _place(task: Task, stack: int, examples: int, settings: Settings) -> tuple[torch.nn.Module, Tensor, Tensor]:
    """Initialized networks, and images and labels, on the device."""
    network = build(task.recipe.network, task.facts.shape, task.facts.classes, stack)
    network.initialize(tuple(range(stack)))
    dataset = _dataset(task.facts, examples)
    images = normalized(dataset.train_images, dataset.mean, dataset.std).to(settings.device)
    if settings.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    return network.to(settings.device), images, dataset.train_labels.to(settings.device)


def _dataset(facts: Facts, examples: int) -> Dataset:
    """Random images, or other inputs, of the right shape, with targets."""
    generator, size = torch.Generator().manual_seed(0), (examples, *facts.shape)
    labels = torch.arange(examples) % facts.classes
    if facts.task == "regression":
        labels = torch.randn(examples, facts.classes, generator=generator)
    if facts.inputs == "tokens":
        images, scale = torch.randint(facts.tokens, size, generator=generator), torch.ones(1)
    else:
        images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        scale = torch.full(facts.shape[:1] if facts.inputs == "images" else facts.shape, 128.0)
    return Dataset("random", facts.classes, "", images, labels, images[:1], labels[:1], scale, scale)


def _algebra(rows: int, device: torch.device) -> Call:
    """A Gram matrix `[rows, rows]` and its factor, in float64."""
    jacobian = torch.randn(rows, rows, dtype=torch.float64, device=device)
    residuals = torch.randn(rows, dtype=torch.float64, device=device)
    return lambda: damped_step(jacobian, residuals, 1.0)


def _search(rows: int, device: torch.device) -> Call:
    """Like `_algebra`, with the overhead that a network's Jacobian has at any size."""
    step, inputs = _algebra(rows, device), torch.randn(8, 8, dtype=torch.float64, device=device)
    jacobian = torch.func.jacrev(lambda at: torch.tanh(inputs @ torch.tanh(inputs @ at)))
    return lambda: (jacobian(inputs[0]), step())


OF_NETWORKS = {"gradient": _gradient, "evaluation": _evaluation, "product": _product}
ALGEBRA = {"algebra": _algebra, "search": _search}
