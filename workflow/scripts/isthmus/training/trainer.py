"""Training: one loop for every architecture, optimizer and number of networks at once.

The networks of a stack train in one computation (`isthmus.models.stacked`), each with its own order of the data, labels
and augmentation, and none affects the others. Data are tensors on the device; there is no loader. Every random draw is
a function of the network's seed and the step, so the state (`isthmus.training.checkpoint`) suffices to resume.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from isthmus.core import seeds
from isthmus.core.devices import Settings
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.data.examples import picked, place_examples
from isthmus.models.evaluation import losses
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.recipes.schedules import learning_rate
from isthmus.tables.rows import Row, Rows
from isthmus.training import averaging, optimizers
from isthmus.training.checkpoint import State
from isthmus.training.replay import Replay
from isthmus.training.runner import Descent
from isthmus.training.sam import ascended
from isthmus.training.scores import Scoring, not_finite, reason_to_stop


@dataclass(frozen=True)
class Member:
    """How a member of a stack trains, if it is not simply the network of its number.

    seed: the network whose labels it learns; noise_seed: the network whose order of the data and augmentation it uses.
    mask: by name, `[...]`, 1 for trained weights and 0 for pruned ones; tensors without a mask are not pruned.
    """

    seed: int
    noise_seed: int
    mask: Mapping[str, Tensor] = field(default_factory=dict)


def new_state(recipe: Recipe, dataset: Dataset, network_seeds: tuple[int, ...]) -> State:
    """The state of a stack at initialization, on the CPU."""
    network = build(recipe.network, dataset.shape, dataset.classes, len(network_seeds))
    network.initialize(network_seeds)
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    snapshots = {
        seed: {"initial": {name: tensor[member].clone() for name, tensor in weights.items()}}
        for member, seed in enumerate(network_seeds)
    }
    history: dict[int, Rows] = {seed: [] for seed in network_seeds}
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

    `save`, `stop_signal` and `Interrupted` are as in `isthmus.training.runner.Descent.run_to_end`. members: by number,
    if the members of the stack are not simply the networks of these seeds (`Member`).
    """
    if not state.live:
        return state
    plain = {seed: Member(seed, seed) for seed in state.seeds}
    run = TrainingRun(recipe, state, dataset, settings, plain if members is None else members, pause_at)
    if not all(state.history[seed] for seed in state.live):  # at initialization, or from weights of another run
        run.measure()
    what = f"networks {', '.join(map(str, state.live))}"
    run.run_to_end(what, save, stop_signal)
    run.capture()
    return state


class TrainingRun(Descent):
    """The networks of a stack that still train, on the device."""

    def __init__(
        self,
        recipe: Recipe,
        state: State,
        dataset: Dataset,
        settings: Settings,
        members: Mapping[int, Member],
        pause_at: int | None = None,
    ) -> None:
        examples = place_examples(recipe, dataset, tuple(members[number].seed for number in state.live), settings)
        super().__init__(recipe.training, state, examples, settings)
        self.recipe, self.members, self.pause_at = recipe, members, pause_at
        self.shape, self.classes = dataset.shape, dataset.classes
        self.labels = examples.labels
        how = self.training.loss, settings.evaluation_batch_size
        statistics = examples.subset(self.training.statistics_size)
        self.scoring = Scoring(examples, statistics, *how, noisy=bool(recipe.data.label_noise))
        self._assemble(state.weights, state.optimizer)

    def _assemble(self, weights: Tensors, optimizer: dict[str, Tensors]) -> None:
        """Build the network and the optimizer's slots for the live networks, with the given values."""
        device, stack = self.settings.device, len(self.state.live)
        self.network = build(self.recipe.network, self.shape, self.classes, stack).to(device)
        self.weights = dict(self.network.named_parameters())
        self.slots = optimizers.new_slots(self.training, self.weights)
        for slot, content in optimizer.items():
            # Keep the network's parameter order, not the checkpoint's; summation order affects rounding.
            self.slots[slot] = {name: content[name].to(device) for name in self.weights}
        self.initial: Tensors = {}
        for name, parameter in self.weights.items():
            with torch.no_grad():
                parameter.copy_(weights[name])
            start = [self.state.snapshots[seed]["initial"][name] for seed in self.state.live]
            self.initial[name] = torch.stack(start).to(device)
        self.replay = Replay()  # a captured step holds the tensors of the networks before
        self.pruned_masks = self._pruned_masks()
        _clear(self.weights, self.pruned_masks)
        for content in self.slots.values():
            _clear(content, self.pruned_masks)

    def _pruned_masks(self) -> Tensors:
        """Boolean masks `[S, ...]` of pruned weights, by name, for all weights that a live network masks."""
        masks = [self.members[number].mask for number in self.state.live]
        names = {name: None for mask in masks for name in mask}
        whole = {name: torch.ones(self.weights[name].shape[1:]) for name in names}
        return {
            name: torch.stack([mask.get(name, whole[name]) == 0 for mask in masks]).to(self.settings.device)
            for name in names
        }

    @property
    def noise_seeds(self) -> tuple[int, ...]:
        """The seeds for the data order and augmentation of the live networks."""
        return tuple(self.members[number].noise_seed for number in self.state.live)

    def going(self) -> bool:
        """Whether a network is left to train."""
        return bool(self.state.live) and (self.pause_at is None or self.state.step < self.pause_at)

    def advance(self) -> None:
        """Take one step with every live network, and make the measurements that are due after it."""
        self.update()
        step = self.state.step
        if step == self.total_steps or step % (self.steps_per_epoch * self.training.history_every) == 0:
            self.measure()
        elif step % self.steps_per_epoch == 0:
            self._keep_snapshots()

    def update(self) -> None:
        """Take one step with every live network, and add its weights to their average if that is due."""
        super().update()
        if averaging.due(self.training, self.state.step, self.steps_per_epoch, self.total_steps):
            averaging.include(self.training, self.weights, self.slots)

    def draw(self, epoch: int) -> Tensor:
        """The order of the data in an epoch: a permutation per live network, `[S, N]`."""
        count = len(self.examples.images)
        rows = [seeds.generator(seed, seeds.Stream.ORDER, epoch).permutation(count) for seed in self.noise_seeds]
        return torch.from_numpy(np.stack(rows)).to(self.settings.device)

    def gradients(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The gradients of each network's mean loss over its examples `[S, B]`, zero for pruned weights.

        If the recipe has a `sharpness_radius`, they are taken at the worst weights nearby (`isthmus.training.sam`).
        """
        (chosen,) = inputs
        training, images, labels = self.training, self.images(chosen), picked(self.labels, chosen)
        gradients = self._gradients_at(self.weights, images, labels)
        if not training.sharpness_radius:
            return gradients
        eta = training.sharpness_eta if training.sharpness_adaptive else None
        worst = ascended(self.weights, gradients, training.sharpness_radius, eta)
        return self._gradients_at(worst, images, labels)

    def _gradients_at(self, weights: Tensors, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """The gradient of each network's mean loss at the given weights, zero for pruned weights."""
        training = self.training
        with torch.autocast(self.settings.device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
            outputs = self._function(weights)(images)
        loss = losses(outputs.float(), labels, training.loss).sum()
        gradients = torch.autograd.grad(loss, tuple(weights.values()))
        _clear(dict(zip(weights, gradients, strict=True)), self.pruned_masks)
        return gradients

    def _function(self, weights: Tensors) -> Callable[[Tensor], Tensor]:
        """The network at the given weights; its own need no `functional_call`, a tenth of a small network's step."""
        return self.network if weights is self.weights else partial(functional_call, self.network, weights)

    def measure(self) -> None:
        """Score the live networks, add a row of history to each, and remove those that have finished."""
        state, scores = self.state, self._scores(self.weights)
        reasons = {}
        for member, (seed, row) in enumerate(zip(state.live, scores, strict=True)):
            state.history[seed].append(self._moment() | _without_clean(row))
            first, over = state.history[seed][0], state.step >= self.total_steps
            reason = reason_to_stop(self.training, row, first["train_loss"], over)
            if reason is not None:
                reasons[member] = reason
        if reasons:
            self._finish(reasons, scores)
        self._keep_snapshots()
        if reasons:
            self._shrink([member for member in range(len(state.live)) if member not in reasons])

    def _scores(self, weights: Tensors) -> Rows:
        """The measurements of the live networks at the given weights, one row each."""
        return self.scoring.rows(self.network, self._function(weights), weights, self.initial, self.labels)

    def _moment(self) -> Row:
        """How far the run is: the columns of `history` that are not measured."""
        step = self.state.step
        rate = learning_rate(self.training, min(step, self.total_steps - 1), self.steps_per_epoch, self.total_steps)
        return {"epoch": step / self.steps_per_epoch, "step": step, "learning_rate": rate}

    def _finish(self, reasons: Mapping[int, str], scores: Rows) -> None:
        """Record the results of members that stop, at their averaged weights if these exist and they did not diverge.

        reasons: why each of them stops, by member. scores: of all live networks, at their current weights.
        """
        state = self.state
        average = None if set(reasons.values()) == {"diverged"} else averaging.average(self.slots)
        averaged = scores if average is None else self._scores(average)
        self.tick()
        for member, reason in reasons.items():
            seed = state.live[member]
            weights, row = self.weights, scores[member]
            if average is not None and reason != "diverged":
                weights, row = average, averaged[member]
                state.snapshots[seed]["last"] = _member(self.weights, member)
                state.history[seed][-1] = self._moment() | _without_clean(row)
            state.snapshots[seed]["final"] = _member(weights, member)
            state.results[seed] = self._result(seed, reason, row)
            logging.info("network %d: %s after %d steps, %s", seed, reason, state.step, row)

    def _result(self, seed: int, reason: str, row: Row) -> Row:
        """The result of a network that stops with these scores."""
        state = self.state
        if not_finite(row):
            reason = "diverged"  # an average of finite weights may be too large to be evaluated
        return (dict.fromkeys(row) if reason == "diverged" else row) | {
            "stopped": reason,
            "diverged": reason == "diverged",
            "steps": state.step,
            "epochs": state.step / self.steps_per_epoch,
            "averaged": averaging.included(self.slots) if "last" in state.snapshots[seed] else 0,
            "seconds": state.seconds,
            "weight_norm_initial": state.history[seed][0]["weight_norm"],
        }

    def _keep_snapshots(self) -> None:
        """Keep the weights of the live networks if the recipe asks for a snapshot of this epoch."""
        epoch, rest = divmod(self.state.step, self.steps_per_epoch)
        if rest == 0 and epoch in self.training.snapshots:
            for member, seed in enumerate(self.state.live):
                self.state.snapshots[seed][f"epoch-{epoch}"] = _member(self.weights, member)

    def _shrink(self, members: list[int]) -> None:
        """Continue with only the given members of the stack."""
        self.capture()
        state = self.state
        state.live = tuple(state.live[member] for member in members)

        def kept(tensors: Tensors) -> Tensors:
            return {name: value if value.dim() == 0 else value[members] for name, value in tensors.items()}

        state.weights = kept(state.weights)
        state.optimizer = {slot: kept(content) for slot, content in state.optimizer.items()}
        self.labels = self.labels[members]
        self.drawn_epoch = -1
        if members:
            self._assemble(state.weights, state.optimizer)

    def capture(self) -> None:
        """Update `state` from the device; a finished state keeps no weights to continue from."""
        super().capture()
        if not self.state.live:
            self.state.weights, self.state.optimizer = {}, {}


def _clear(tensors: Mapping[str, Tensor], pruned_masks: Mapping[str, Tensor]) -> None:
    """Set pruned entries of the tensors to zero, in place, by name; step counts, which have no dimensions, are kept."""
    with torch.no_grad():
        for name, pruned in pruned_masks.items():
            if tensors[name].dim():
                tensors[name].masked_fill_(pruned, 0)


def _member(weights: Mapping[str, Tensor], member: int) -> Tensors:
    """A copy of the weights of one network of a stack, on the CPU."""
    return {name: value[member].detach().cpu().clone() for name, value in weights.items()}


def _without_clean(row: Row) -> Row:
    """A row of history: all measurements except the accuracy on clean labels, which only results have."""
    return {key: value for key, value in row.items() if key != "train_accuracy_clean"}
