"""Curves of low loss between two networks: how their bends are trained.

The method follows Garipov et al. (2018): the ends are fixed, one bend is free, and every step of stochastic gradient
descent uses the loss at a new random point of the curve, t ~ U(0, 1). `torch.func.functional_call` turns any module
into a curve. The trained weights are the offset of the bend from the middle of the line (`isthmus.landscape.paths`),
which starts at 0. During the fit, batch normalization uses the statistics of the batch.

The curves of several pairs are fitted together, each as a member of the stack (`isthmus.models.stacked`), and never
mix. A pair's order of the data, points t and augmentation depend only on its two seeds and the step. They are the same
for every kind of curve, so that kinds are compared on equal draws.

A stack of curves is an `isthmus.training.checkpoint.State` whose members are numbered pairs (`isthmus.recipes.pairs`),
so it shares the checkpoints and stacks of training. `weights` are the offsets. A finished pair has its offset in
`snapshots[number]["offset"]` and its row in `results`.

    network = build(recipe.network, shape, classes, stack=len(pairs))
    path = curve("bezier", start, end)                       # by name [pairs, ...]
    state = fit(network, path, new_curves(path, pairs), labels, examples, training, settings, save, stop_signal)
    found = fitted(path, state).member(0).to(settings.device)
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.core import seeds
from isthmus.core.devices import Settings
from isthmus.core.tensors import Tensors
from isthmus.data.examples import Examples, picked
from isthmus.landscape.paths import Path, bump, column
from isthmus.models.evaluation import losses
from isthmus.recipes.pairs import Pair, pair_number, pair_of
from isthmus.recipes.recipe import TrainingRecipe
from isthmus.tables.rows import finite
from isthmus.training import optimizers
from isthmus.training.checkpoint import State
from isthmus.training.runner import Descent


def new_curves(path: Path, pairs: tuple[Pair, ...]) -> State:
    """The state, before the first step, of the P curves in `path` between the networks of P pairs.

    >>> from isthmus.landscape.paths import curve
    >>> start, end = {"weight": torch.tensor([[0.0]])}, {"weight": torch.tensor([[2.0]])}
    >>> state = new_curves(curve("bezier", start, end), ((0, 1),))
    >>> state.live, state.weights
    ((0,), {'weight': tensor([[0.]])})
    """
    numbers = tuple(pair_number(*pair) for pair in pairs)
    offsets = {name: value.cpu().clone() for name, value in path.offset.items()}
    return State(numbers, numbers, 0, offsets, history={number: [] for number in numbers})


def fitted(path: Path, state: State) -> Path:
    """`path` with the bends that `fit` found, including those of diverged pairs, on the CPU.

    >>> from isthmus.landscape.paths import curve
    >>> path = curve("bezier", {"weight": torch.tensor([[0.0]])}, {"weight": torch.tensor([[2.0]])})
    >>> state = new_curves(path, ((0, 1),))
    >>> state.snapshots[0] = {"offset": {"weight": torch.tensor([3.0])}}  # as `fit` leaves it
    >>> fitted(path, state).bend()
    {'weight': tensor([[4.]])}
    """
    found = [state.snapshots[number]["offset"] for number in state.seeds]
    offset = {name: torch.stack([each[name] for each in found]) for name in path.offset}
    return replace(path.to(torch.device("cpu")), offset=offset)


def fit(
    network: nn.Module,
    path: Path,
    state: State,
    labels: Tensor,
    examples: Examples,
    training: TrainingRecipe,
    settings: Settings,
    save: Callable[[State], None],
    stop_signal: Callable[[], int | None],
) -> State:
    """Train the bends of the P curves of `path` to the end of the recipe and return the finished state.

    network: a stack of P on the device; its own weights are not used. labels: `[K, P, N]` as `pair_labels` gives them.
    training: optimizer, schedule, epochs, batch size, loss and augmentation; its stopping rules do not apply. With
    every optimizer, its `weight_decay` g is a penalty g/2 |w(t)|^2 on the point of the curve, as in Garipov et al.

    A pair whose loss stops being finite is `diverged` in its result; the others are not affected. `save`, `stop_signal`
    and `Interrupted` are as in `isthmus.training.runner.Descent.run_to_end`. As in training, a fit that is interrupted
    and resumed ends bit for bit the same on a CPU. Raises ValueError for a `linear` path.
    """
    if not state.live:
        return state
    if not path.offset:
        raise ValueError(f"a {path.kind} path has no bend to fit")
    run = _Fit(network, path, state, labels, examples, training, settings)
    what = f"{path.kind} curves of pairs {', '.join(str(pair) for pair in run.pairs)}"
    run.run_to_end(what, save, stop_signal)
    run.finish()
    return state


class _Fit(Descent):
    """The bends of a stack of curves, on the device; `weights` are their offsets."""

    def __init__(
        self,
        network: nn.Module,
        path: Path,
        state: State,
        labels: Tensor,
        examples: Examples,
        training: TrainingRecipe,
        settings: Settings,
    ) -> None:
        # The penalty acts on the points of the curve, not on the offset, which the optimizer sees.
        super().__init__(replace(training, weight_decay=0.0), state, examples, settings)
        self.penalty, self.network, self.labels = training.weight_decay, network.train(), labels.to(settings.device)
        self.pairs = [pair_of(number) for number in state.live]
        # Keep the path's parameter order, not the checkpoint's: gradients come in that order.
        self.weights = {name: state.weights[name].to(settings.device, copy=True) for name in path.start}
        self.path = replace(path.to(settings.device), offset=self.weights)
        saved = {
            slot: {name: value.to(settings.device, copy=True) for name, value in content.items()}
            for slot, content in state.optimizer.items()
        }
        fresh = torch.zeros(len(self.pairs), dtype=torch.float64, device=settings.device)
        self.loss_sum = saved.pop("epoch", {"loss_sum": fresh})["loss_sum"]
        self.slots = optimizers.new_slots(self.training, self.weights) | saved

    @property
    def noise_seeds(self) -> list[int]:
        """The seed of each pair's augmentation."""
        return [seeds.integer(first, seeds.Stream.AUGMENTATION, second) for first, second in self.pairs]

    def going(self) -> bool:
        """Whether any steps are left."""
        return self.state.step < self.total_steps

    def advance(self) -> None:
        """One step of every bend, and a row of history after every epoch."""
        self.update()
        if self.state.step % self.steps_per_epoch == 0 or self.state.step == self.total_steps:
            self._end_epoch()

    def draw(self, epoch: int) -> Tensor:
        """The order of the data `[P, N]` in an epoch. Also stores the points t of its steps, `[steps, P]`.

        Each pair and epoch has one random stream: the order stream of the first seed, with the second as a counter.
        """
        orders, points = [], []
        for first, second in self.pairs:
            generator = seeds.generator(first, seeds.Stream.ORDER, second, epoch)
            points.append(generator.random(self.steps_per_epoch))
            orders.append(generator.permutation(len(self.examples.images)))
        self.points = torch.from_numpy(np.stack(points, axis=1)).to(self.settings.device)
        return torch.from_numpy(np.stack(orders)).to(self.settings.device)

    def inputs(self, chosen: Tensor) -> tuple[Tensor, ...]:
        """The chosen examples `[P, B]`, and the points t `[P]` of the coming step."""
        return chosen, self.points[self.state.step % self.steps_per_epoch]

    def gradients(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The gradients of the penalized mean losses by the offsets. Adds the losses without penalty to `loss_sum`."""
        chosen, t = inputs
        with torch.no_grad():
            weights = self.path.point(t)
        for value in weights.values():
            value.requires_grad_()
        loss = self._losses(weights, t, chosen)
        gradients = torch.autograd.grad(loss.sum(), tuple(weights.values()))
        with torch.no_grad():
            self.loss_sum += loss
            if self.penalty:
                pairs = zip(gradients, weights.values(), strict=True)
                gradients = tuple(torch.add(gradient, weight, alpha=self.penalty) for gradient, weight in pairs)
            # dw(t) / d offset is one number per pair, so the chain rule is a product.
            height = bump(self.path.kind, t)
            return tuple(gradient * column(height, gradient) for gradient in gradients)

    def _losses(self, weights: Tensors, t: Tensor, chosen: Tensor) -> Tensor:
        """The mean loss `[P]` of each pair on its chosen examples `[P, B]`, at the weights of its point t."""
        with torch.autocast(self.settings.device.type, torch.bfloat16, enabled=self.training.precision == "bfloat16"):
            outputs = torch.func.functional_call(self.network, weights, (self.images(chosen),)).float()
        each = [losses(outputs, picked(labels, chosen), self.training.loss) for labels in self.labels]
        return each[0] if len(each) == 1 else (1 - t) * each[0] + t * each[1]

    def _end_epoch(self) -> None:
        """Add the mean loss over the steps of the epoch to the history of each pair; None if it is not finite."""
        step = self.state.step
        means = self.loss_sum / ((step - 1) % self.steps_per_epoch + 1)
        for number, mean in zip(self.state.live, means.tolist(), strict=True):
            row = {"epoch": step / self.steps_per_epoch, "step": step, "train_loss": finite(mean)}
            self.state.history[number].append(row)
        self.loss_sum.zero_()

    def capture(self) -> None:
        """Update the state from the device, including the summed losses of an unfinished epoch."""
        super().capture()
        self.state.optimizer = self.slots | {"epoch": {"loss_sum": self.loss_sum}}

    def finish(self) -> None:
        """Turn the state into a finished one: offsets and results by pair."""
        self.capture()
        state = self.state
        for member, number in enumerate(state.live):
            offset = {name: value[member].cpu().clone() for name, value in self.weights.items()}
            sound = all(bool(value.isfinite().all()) for value in offset.values())
            sound = sound and all(row["train_loss"] is not None for row in state.history[number])
            state.snapshots[number] = {"offset": offset}
            state.results[number] = {
                "diverged": not sound,
                "steps": state.step,
                "epochs": state.step / self.steps_per_epoch,
                "seconds": state.seconds,
            }
        state.live, state.weights, state.optimizer = (), {}, {}
