"""Training: one loop for every architecture, optimizer and number of networks at once.

The networks of a group train in one stacked computation (`isthmus.models.stacked`), each on its own order of the data,
its own labels and its own augmentation, and none sees the others. Data are tensors on the device; there is no loader.
Every draw is a function of the network's seed and the step, so the state (`isthmus.training.checkpoint`) is all it
takes to go on.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from isthmus.core import seeds
from isthmus.core.devices import Settings
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.data.examples import place_examples, stacked_images
from isthmus.models.architectures import build, initialize
from isthmus.models.evaluation import evaluate, evaluation_mode, losses
from isthmus.recipes.recipe import Recipe
from isthmus.recipes.schedules import learning_rate, run_length
from isthmus.training import averaging, optimizers
from isthmus.training.checkpoint import State
from isthmus.training.runner import run_to_end
from isthmus.training.sam import ascended


@dataclass(frozen=True)
class Member:
    """What sets a member of a group apart, where it is not simply the network of its number.

    seed: the network whose labels it learns; noise_seed: whose order of the data and augmentation it sees. mask: by
    name, `[...]`, 1 where a weight is trained and 0 where it is pruned; names that are absent are trained whole.
    """

    seed: int
    noise_seed: int
    mask: Mapping[str, Tensor] = field(default_factory=dict)


def new_state(recipe: Recipe, dataset: Dataset, network_seeds: tuple[int, ...]) -> State:
    """The state of a group at initialization, on the CPU."""
    network = build(recipe.network, dataset.shape, dataset.classes, len(network_seeds))
    initialize(network, network_seeds)
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    snapshots = {
        seed: {"initial": {name: tensor[member].clone() for name, tensor in weights.items()}}
        for member, seed in enumerate(network_seeds)
    }
    history: dict[int, list[dict[str, Any]]] = {seed: [] for seed in network_seeds}
    return State(network_seeds, network_seeds, 0, weights, {}, snapshots, history)


def train(
    recipe: Recipe,
    state: State,
    dataset: Dataset,
    settings: Settings,
    save: Callable[[State], None],
    stop_signal: Callable[[], int | None],
    members: Mapping[int, Member] | None = None,
    pause_at: int | None = None,
) -> State:
    """Train the live networks of `state` to their end, or to the step `pause_at`, and return the state.

    `save` is called with the state every `checkpoint_seconds` and before stopping on request; `stop_signal` is asked
    after every step and returns the number of a signal that asked to stop, or None. Raises `Interrupted` then.
    members: by number, where the members of the group are not the networks of these seeds (`Member`).
    """
    if not state.live:
        return state
    plain = {seed: Member(seed, seed) for seed in state.seeds}
    run = TrainingRun(recipe, state, dataset, settings, plain if members is None else members, pause_at)
    if not all(state.history[seed] for seed in state.live):  # at initialization, or from weights of another run
        run.measure()
    what = f"networks {', '.join(map(str, state.live))}"
    run_to_end(run, what, settings.checkpoint_seconds, save, stop_signal)
    run.capture()
    return state


class TrainingRun:
    """The tensors of a run on its device, in step with a `State` (`isthmus.training.runner.Run`)."""

    def __init__(
        self,
        recipe: Recipe,
        state: State,
        dataset: Dataset,
        settings: Settings,
        members: Mapping[int, Member],
        pause_at: int | None = None,
    ) -> None:
        self.recipe, self.training, self.settings, self.state = recipe, recipe.training, settings, state
        self.members, self.pause_at = members, pause_at
        self.shape, self.classes = dataset.shape, dataset.classes
        own_seeds = tuple(members[number].seed for number in state.live)
        self.examples = place_examples(recipe, dataset, own_seeds, settings)
        self.labels = self.examples.labels
        count = len(self.examples.images)
        self.steps_per_epoch, self.total_steps = run_length(self.training, count)
        self.statistics_images = self.examples.images[self.examples.subset(self.training.statistics_size)][None]
        self.order_epoch = -1
        self.clock = time.monotonic()
        self._assemble(state.weights, state.optimizer)

    def _assemble(self, weights: Tensors, optimizer: dict[str, Tensors]) -> None:
        """Network and optimizer for the live networks, holding the given values."""
        device, stack = self.settings.device, len(self.state.live)
        self.network = build(self.recipe.network, self.shape, self.classes, stack).to(device)
        self.weights: Tensors = dict(self.network.named_parameters())
        self.slots = optimizers.new_slots(self.training, self.weights)
        for slot, content in optimizer.items():
            # In the order of the network, whatever that of a checkpoint: sums over tensors round by it.
            self.slots[slot] = {name: content[name].to(device) for name in self.weights}
        self.initial = {}
        for name, parameter in self.weights.items():
            with torch.no_grad():
                parameter.copy_(weights[name])
            start = [self.state.snapshots[seed]["initial"][name] for seed in self.state.live]
            self.initial[name] = torch.stack(start).to(device)
        self.pruned = self._pruned()
        _clear(self.weights, self.pruned)
        for content in self.slots.values():
            _clear(content, self.pruned)

    def _pruned(self) -> Tensors:
        """What is pruned of the live networks, by name `[S, ...]` (bool), for all weights that one of them masks."""
        masks = [self.members[number].mask for number in self.state.live]
        names = {name: None for mask in masks for name in mask}
        whole = {name: torch.ones(self.weights[name].shape[1:]) for name in names}
        return {
            name: torch.stack([mask.get(name, whole[name]) == 0 for mask in masks]).to(self.settings.device)
            for name in names
        }

    @property
    def noise_seeds(self) -> tuple[int, ...]:
        """The seeds behind order and augmentation of the live networks."""
        return tuple(self.members[number].noise_seed for number in self.state.live)

    def going(self) -> bool:
        """Whether a network is left to train."""
        return bool(self.state.live) and (self.pause_at is None or self.state.step < self.pause_at)

    def advance(self) -> None:
        """One step of every live network, and the measurements that are due after it."""
        self.update()
        step = self.state.step
        if step == self.total_steps or step % (self.steps_per_epoch * self.training.history_every) == 0:
            self.measure()
        elif step % self.steps_per_epoch == 0:
            self.keep_snapshots()

    def update(self) -> None:
        """One step of every live network."""
        state, training = self.state, self.training
        epoch, position = divmod(state.step, self.steps_per_epoch)
        if epoch != self.order_epoch:
            self.order, self.order_epoch = self._draw_order(epoch), epoch
        chosen = self.order[:, position * training.batch_size : (position + 1) * training.batch_size]
        rate = learning_rate(training, state.step, self.steps_per_epoch, self.total_steps)
        optimizers.step(training, rate, self.weights, self.gradients(chosen), self.slots)
        state.step += 1
        if averaging.due(training, state.step, self.steps_per_epoch, self.total_steps):
            averaging.include(training, self.weights, self.slots)

    def gradients(self, chosen: Tensor) -> tuple[Tensor, ...]:
        """The gradients to descend along, zero where masked: of each network's mean loss over its examples `[S, B]`.

        Where the recipe has a `sharpness_radius` they are taken at the worst weights nearby (`isthmus.training.sam`).
        """
        training, images, labels = self.training, self._images(chosen), self.labels.gather(1, chosen)
        gradients = self._gradients_at(self.weights, images, labels)
        if not training.sharpness_radius:
            return gradients
        eta = training.sharpness_eta if training.sharpness_adaptive else None
        worst = ascended(self.weights, gradients, training.sharpness_radius, eta)
        return self._gradients_at(worst, images, labels)

    def _gradients_at(self, weights: Tensors, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """The gradient of each network's mean loss at the given weights, zero where it is masked."""
        training = self.training
        with torch.autocast(self.settings.device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
            outputs = self._function(weights)(images)
        loss = losses(outputs.float(), labels, training.loss).sum()
        gradients = torch.autograd.grad(loss, tuple(weights.values()))
        _clear(dict(zip(weights, gradients, strict=True)), self.pruned)
        return gradients

    def _function(self, weights: Tensors) -> Callable[[Tensor], Tensor]:
        """The network at the given weights; its own go without `functional_call`, a tenth of a small network's step."""
        return self.network if weights is self.weights else partial(functional_call, self.network, weights)

    def _draw_order(self, epoch: int) -> Tensor:
        """The order of the data in an epoch: a permutation per live network, `[S, N]`."""
        count = len(self.examples.images)
        rows = [seeds.generator(seed, seeds.Stream.ORDER, epoch).permutation(count) for seed in self.noise_seeds]
        return torch.from_numpy(np.stack(rows)).to(self.settings.device)

    def _images(self, chosen: Tensor) -> Tensor:
        """The (augmented) images `[S, B, C, H, W]` of the chosen examples `[S, B]`."""
        return stacked_images(
            self.examples, chosen, self.noise_seeds, self.state.step, self.training, self.settings.channels_last
        )

    def measure(self) -> None:
        """Evaluate the live networks, add a row of history to each, and let those go that have finished."""
        state, reasons = self.state, {}
        scores = self._scores(self.weights)
        for seed, row in zip(state.live, scores, strict=True):
            state.history[seed].append(self._place() | _without_clean(row))
            reasons[seed] = self._reason_to_stop(seed, row)
        average = averaging.average(self.slots)
        ending = any(reason not in (None, "diverged") for reason in reasons.values())
        averaged = self._scores(average) if average is not None and ending else None
        now = time.monotonic()
        state.seconds += (now - self.clock) / len(state.live)
        self.clock = now
        for member, seed in enumerate(state.live):
            reason = reasons[seed]
            if reason in (None, "diverged") or average is None or averaged is None:
                end, row = self.weights, scores[member]
            else:
                end, row = average, averaged[member]
                state.snapshots[seed]["last"] = _member(self.weights, member)
                state.history[seed][-1] = self._place() | _without_clean(row)
            if reason is not None:
                self._finish(seed, reason, row, _member(end, member))
        self.keep_snapshots()
        stay = [member for member, seed in enumerate(state.live) if reasons[seed] is None]
        if len(stay) < len(state.live):
            self._keep(stay)

    def _scores(self, weights: Tensors) -> list[dict[str, float | None]]:
        """Losses, accuracies and norms of the live networks at the given weights, None where not finite."""
        training, size = self.training, self.settings.evaluation_batch_size
        kinds = self.labels[None]
        if self.recipe.data.label_noise:
            kinds = torch.cat([kinds, self.examples.clean_labels.expand_as(self.labels)[None]])
        network = self._function(weights)
        with evaluation_mode(self.network, self.statistics_images, weights):
            train_loss, train_accuracy = evaluate(network, self.examples.images, kinds, training.loss, size)
            test = evaluate(network, self.examples.test_images, self.examples.test_labels[None], training.loss, size)
        norm, movement = self._norms(weights)
        values = {
            "train_loss": train_loss[0],
            "train_accuracy": train_accuracy[0],
            "train_accuracy_clean": train_accuracy[-1],
            "test_loss": test[0][0],
            "test_accuracy": test[1][0],
            "weight_norm": norm,
            "movement": movement,
        }
        return [{key: _finite(value[member]) for key, value in values.items()} for member in range(len(norm))]

    def _place(self) -> dict[str, Any]:
        """Where on its way the run is: the columns of `history` that are not measured."""
        step = self.state.step
        rate = learning_rate(self.training, min(step, self.total_steps - 1), self.steps_per_epoch, self.total_steps)
        return {"epoch": step / self.steps_per_epoch, "step": step, "learning_rate": rate}

    def _norms(self, weights: Tensors) -> tuple[Tensor, Tensor]:
        """Norm of the parameters and their distance from the start, `[S]` each, summed in float64."""
        with torch.no_grad():
            pairs = [(parameter.double(), self.initial[name]) for name, parameter in weights.items()]
            norm = torch.stack([now.flatten(1).square().sum(1) for now, _ in pairs]).sum(0).sqrt()
            movement = torch.stack([(now - start).flatten(1).square().sum(1) for now, start in pairs]).sum(0).sqrt()
        return norm.cpu(), movement.cpu()

    def _reason_to_stop(self, seed: int, row: dict[str, Any]) -> str | None:
        training = self.training
        if any(value is None for value in row.values()):
            return "diverged"
        if row["train_loss"] > training.divergence_factor * self.state.history[seed][0]["train_loss"]:
            return "diverged"
        if training.until_train_loss is not None and row["train_loss"] <= training.until_train_loss:
            return "train_loss"
        if training.until_train_accuracy is not None and row["train_accuracy"] >= training.until_train_accuracy:
            return "train_accuracy"
        return "budget" if self.state.step >= self.total_steps else None

    def _finish(self, seed: int, reason: str, row: dict[str, Any], weights: Tensors) -> None:
        """Note the result of a network that ends with these weights, the averaged ones or those it has."""
        state = self.state
        first = state.history[seed][0]
        state.snapshots[seed]["final"] = weights
        if any(value is None for value in row.values()):
            reason = "diverged"  # an average of finite weights may be too large to be evaluated
        if reason == "diverged":
            row = dict.fromkeys(row)
        state.results[seed] = row | {
            "stopped": reason,
            "diverged": reason == "diverged",
            "steps": state.step,
            "epochs": state.step / self.steps_per_epoch,
            "averaged": averaging.included(self.slots) if "last" in state.snapshots[seed] else 0,
            "seconds": state.seconds,
            "weight_norm_initial": first["weight_norm"],
        }
        logging.info("network %d: %s after %d steps, %s", seed, reason, state.step, row)

    def keep_snapshots(self) -> None:
        """Keep the weights of the live networks where the recipe asks for this epoch."""
        epoch, rest = divmod(self.state.step, self.steps_per_epoch)
        if rest == 0 and epoch in self.training.snapshots:
            for member, seed in enumerate(self.state.live):
                self.state.snapshots[seed][f"epoch-{epoch}"] = _member(self.weights, member)

    def _keep(self, members: list[int]) -> None:
        """Shrink the stack to the given members."""
        self.capture()
        state = self.state
        state.live = tuple(state.live[member] for member in members)

        def shrink(tensors: Tensors) -> Tensors:
            return {name: value if value.dim() == 0 else value[members] for name, value in tensors.items()}

        state.weights = shrink(state.weights)
        state.optimizer = {slot: shrink(content) for slot, content in state.optimizer.items()}
        self.labels = self.labels[members]
        self.order_epoch = -1
        if members:
            self._assemble(state.weights, state.optimizer)

    def capture(self) -> None:
        """Bring `state` up to date with what is on the device."""
        state = self.state
        now = time.monotonic()
        state.seconds += (now - self.clock) / max(len(state.live), 1)
        self.clock = now
        if not state.live:
            state.weights, state.optimizer = {}, {}
            return
        state.weights = {name: value.detach() for name, value in self.weights.items()}
        state.optimizer = self.slots

    def summary(self) -> str:
        """Mean training loss of the last evaluation, for the log."""
        values = [rows[-1]["train_loss"] for rows in self.state.history.values()]
        known = [value for value in values if value is not None]
        return (
            f"mean training loss {np.mean(known):.4g} at epoch {self.state.step / self.steps_per_epoch:.1f}"
            if known
            else ""
        )


def _clear(tensors: Mapping[str, Tensor], pruned: Mapping[str, Tensor]) -> None:
    """Set to zero, in place, what is pruned of the tensors, by name; step counts, which have no dimensions, stay."""
    with torch.no_grad():
        for name, gone in pruned.items():
            if tensors[name].dim():
                tensors[name].masked_fill_(gone, 0)


def _member(weights: Mapping[str, Tensor], member: int) -> Tensors:
    """A copy of the weights of one network of a stack, on the CPU."""
    return {name: value[member].detach().cpu().clone() for name, value in weights.items()}


def _without_clean(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of history: all that was measured but the accuracy on clean labels, which only results have."""
    return {key: value for key, value in row.items() if key != "train_accuracy_clean"}


def _finite(value: Tensor) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None
