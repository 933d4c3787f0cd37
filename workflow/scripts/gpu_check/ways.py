"""The ways of making a step of training that `gpu_check.steps` times, each a class.

A way has a stack of networks, or one, on the device, with a batch that lies ready: forward and backward pass and SGD
with momentum. All start from the same weights and data.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.core.devices import allow_tf32
from isthmus.models.architectures import architecture
from isthmus.models.evaluation import losses
from isthmus.models.networks import build
from isthmus.recipes.recipe import NetworkRecipe, TrainingRecipe
from isthmus.study.config import load
from isthmus.training import optimizers
from isthmus.training.replay import WARM_UP, Replay

SHAPES = {"mlp": (1, 28, 28), "cnn": (3, 32, 32), "resnet": (3, 32, 32)}
DEPTHS = {"mlp": 3, "cnn": 2, "resnet": 8}
STACK, BATCH, CLASSES, RATE, MOMENTUM = 8, 128, 10, 0.01, 0.9
CHECKED_STEPS = WARM_UP + 1  # that `Way.begin` makes: a captured step is replayed from then on


@dataclass(frozen=True)
class Setting:
    """One line of the table."""

    network: str
    width: int
    batch: int = BATCH
    stack: int = STACK
    precision: str = "float32"

    @property
    def name(self) -> str:
        return f"{self.network} {self.width}, batch {self.batch}, stack {self.stack}, {self.precision}"

    @property
    def shape(self) -> tuple[int, int, int]:
        return SHAPES[self.network]

    @property
    def recipe(self) -> NetworkRecipe:
        """The network: of the published architecture, if it is a CNN."""
        normalization = "none" if self.network == "mlp" else "batch"
        return NetworkRecipe(
            self.network, self.width, DEPTHS[self.network], normalization, "relu", blocks=3, hidden_units=256, taper=1
        )

    @property
    def training(self) -> TrainingRecipe:
        grid = {"width": [8], "depth": [1], "batch_size": [self.batch], "seed": 1}
        (cell,) = load({"studies": {"check": {"grid": grid}}}).studies["check"].cells.values()
        return replace(cell.recipe.training, momentum=MOMENTUM)


@contextmanager
def matrix_precision(precision: str) -> Iterator[None]:
    """With TF32 in matrix products and convolutions, or without it as in jobs and afterwards."""
    allow_tf32(precision == "tf32")
    try:
        yield
    finally:
        allow_tf32(False)


@lru_cache(maxsize=1)
def first_weights(recipe: NetworkRecipe, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """The weights of the network of seed 0 at initialization, by name, on the CPU."""
    network = build(recipe, shape, CLASSES)
    network.initialize((0,))
    return {name: value[0].detach() for name, value in network.named_parameters()}


class Way:
    """A way of making steps: `networks` at once, of which `first_loss` says how the first one fares."""

    networks = 1

    def __init__(self, setting: Setting, device: torch.device) -> None:
        self.setting, self.device, stack = setting, device, self.networks
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(1, setting.batch, *setting.shape, generator=generator)
        labels = torch.randint(CLASSES, (1, setting.batch), generator=generator)
        # Every network has a copy of the same batch: in training, each has a batch of its own.
        self.images = images.expand(stack, *images.shape[1:]).contiguous().to(device)
        self.labels = labels.expand(stack, -1).contiguous().to(device)
        self.prepare()

    def prepare(self) -> None:
        raise NotImplementedError

    def step(self) -> None:
        raise NotImplementedError

    def first_loss(self) -> Tensor:
        raise NotImplementedError

    def begin(self) -> None:
        """Make the steps after which losses are compared."""
        for _ in range(CHECKED_STEPS):
            self.step()

    def autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.setting.precision == "bfloat16")


class Loop(Way):
    """An ordinary module and PyTorch's optimizer."""

    def prepare(self) -> None:
        self.network = architecture(self.setting.recipe, self.setting.shape, CLASSES)
        drawn = first_weights(self.setting.recipe, self.setting.shape)
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                value.copy_(drawn[name])
        self.network.to(self.device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=RATE, momentum=MOMENTUM)

    def first_loss(self) -> Tensor:
        with self.autocast():
            outputs = self.network(self.images[0])
        return F.cross_entropy(outputs.float(), self.labels[0])

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.first_loss().backward()
        self.optimizer.step()


class One(Way):
    """The library's step of a stack, here of one network."""

    def prepare(self) -> None:
        self.training = self.setting.training
        self.network = build(self.setting.recipe, self.setting.shape, CLASSES, self.networks).to(self.device)
        drawn = first_weights(self.setting.recipe, self.setting.shape)
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                # All networks alike, copied on the device: to draw each takes far longer than to time them.
                value.copy_(drawn[name].to(self.device))
        self.weights = dict(self.network.named_parameters())
        self.slots = optimizers.new_slots(self.training, self.weights)

    def forward(self) -> Tensor:
        """The mean loss of each network, `[S]`."""
        with self.autocast():
            outputs = self.network(self.images)
        return losses(outputs.float(), self.labels, "cross_entropy")

    def first_loss(self) -> Tensor:
        return self.forward()[0]

    def take(self, rate: float | Tensor) -> None:
        """Make a step at this learning rate."""
        gradients = torch.autograd.grad(self.forward().sum(), tuple(self.weights.values()))
        optimizers.step(self.training, rate, self.weights, gradients, self.slots)

    def step(self) -> None:
        self.take(RATE)


class Stack(One):
    """The same of a whole stack."""

    def __init__(self, setting: Setting, device: torch.device) -> None:
        self.networks = setting.stack
        super().__init__(setting, device)


class Vmap(Stack):
    """The same by `torch.vmap` over a single network."""

    def prepare(self) -> None:
        super().prepare()
        single = build(self.setting.recipe, self.setting.shape, CLASSES).to(self.device)

        def one(weights: dict[str, Tensor], images: Tensor) -> Tensor:
            own = {name: value[None] for name, value in weights.items()}
            return torch.func.functional_call(single, own, (images[None],))[0]

        self.together = torch.vmap(one)

    def forward(self) -> Tensor:
        with self.autocast():
            outputs = self.together(self.weights, self.images)
        return losses(outputs.float(), self.labels, "cross_entropy")


class Captured(Stack):
    """The stacked step, captured once as a CUDA graph and replayed, as with `jobs.capture`."""

    def prepare(self) -> None:
        super().prepare()
        self.rate = torch.full((), RATE, device=self.device)
        self.replay = Replay()

    def step(self) -> None:
        self.replay(self.take, self.rate)


class Compiled(Stack):
    """The stacked step with forward and backward pass by `torch.compile`.

    On a CPU they are traced as for a GPU but not compiled: a CPU's compiler is another one, and reading PyTorch's C++
    headers alone takes it a minute.
    """

    mode: str | None = None

    def prepare(self) -> None:
        super().prepare()
        torch.compiler.reset()  # of another case's shapes, which would make this one's vary
        backend = "inductor" if self.device.type == "cuda" else "aot_eager"
        self.compiled = torch.compile(super().forward, mode=self.mode, backend=backend)

    def forward(self) -> Tensor:
        return self.compiled()


class LessOverhead(Compiled):
    """The same, replayed as CUDA graphs."""

    mode = "reduce-overhead"
