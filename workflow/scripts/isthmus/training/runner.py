"""The loop that trains both networks and curves: optimizer steps, checkpoints, and stopping on request.

A `Descent` takes steps with several members side by side, each with its own order of the data. Its two subclasses, for
networks (`isthmus.training.trainer`) and for the bends of curves (`isthmus.landscape.curves`), define what is trained,
along which gradients, and what is measured on the way.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.core.devices import Settings
from isthmus.core.errors import Interrupted
from isthmus.core.progress import Progress
from isthmus.core.tensors import Tensors
from isthmus.data.examples import Examples, stacked_images
from isthmus.models.functional import Stacked
from isthmus.recipes.recipe import TrainingRecipe
from isthmus.recipes.schedules import learning_rate, run_length
from isthmus.training import optimizers
from isthmus.training.checkpoint import State
from isthmus.training.replay import Replay


class Descent:
    """The tensors of a run on its device, in step with a `State`.

    A subclass sets `network`, a stack with a network per member, `weights`, the trained tensors by name `[S, ...]`, and
    the optimizer's `slots`, and implements the methods that raise NotImplementedError here.
    """

    network: nn.Module
    weights: Tensors
    slots: dict[str, Tensors]

    def __init__(self, training: TrainingRecipe, state: State, examples: Examples, settings: Settings) -> None:
        self.training, self.state, self.examples, self.settings = training, state, examples, settings
        self.steps_per_epoch, self.total_steps = run_length(training, len(examples.images))
        self.drawn_epoch = -1
        self.replay = Replay()
        self.clock = time.monotonic()

    @property
    def noise_seeds(self) -> Sequence[int]:
        """The seed of each member's augmentation."""
        raise NotImplementedError

    def draw(self, epoch: int) -> Tensor:
        """The order of the data in an epoch: a permutation per member, `[S, N]`."""
        raise NotImplementedError

    def inputs(self, chosen: Tensor) -> tuple[Tensor, ...]:
        """What the gradients of the coming step are taken on: the chosen examples `[S, B]`, and what else it needs."""
        return (chosen,)

    def gradients(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The gradients to descend along, in the order of the weights, on what `inputs` returned."""
        raise NotImplementedError

    def going(self) -> bool:
        """Whether there is anything left to do."""
        raise NotImplementedError

    def advance(self) -> None:
        """Take one step, and do whatever is due after it."""
        raise NotImplementedError

    def update(self) -> None:
        """Take one step with every member."""
        state, training = self.state, self.training
        epoch, position = divmod(state.step, self.steps_per_epoch)
        if epoch != self.drawn_epoch:
            self.order, self.drawn_epoch = self.draw(epoch), epoch
        chosen = self.order[:, position * training.batch_size : (position + 1) * training.batch_size]
        rate = learning_rate(training, state.step, self.steps_per_epoch, self.total_steps)
        if isinstance(self.network, Stacked) and self.network.random:
            self.network.draw_seeds(self.noise_seeds, state.step)
        if self.settings.capture and self.repeatable and chosen.shape[1] == training.batch_size:
            device = self.settings.device
            precision = torch.float64 if device.type == "cpu" else torch.float32  # as fused optimizers have it
            self.replay(self.take, torch.full((), rate, dtype=precision, device=device), *self.inputs(chosen))
        else:
            self.take(rate, *self.inputs(chosen))
        state.step += 1

    def take(self, rate: float | Tensor, *inputs: Tensor) -> None:
        """Move every member along its gradients."""
        optimizers.step(self.training, rate, self.weights, self.gradients(*inputs), self.slots)

    @property
    def repeatable(self) -> bool:
        """Whether steps differ in their inputs and rate alone: none draws random numbers."""
        random = isinstance(self.network, Stacked) and self.network.random
        return not (random or self.training.flip or self.training.crop_padding)

    def images(self, chosen: Tensor) -> Tensor:
        """The (augmented) images `[S, B, C, H, W]` of the chosen examples `[S, B]`."""
        return stacked_images(
            self.examples, chosen, self.noise_seeds, self.state.step, self.training, self.settings.channels_last
        )

    def tick(self) -> None:
        """Add the time since the last tick to the seconds of each live member."""
        now = time.monotonic()
        self.state.seconds += (now - self.clock) / max(len(self.state.live), 1)
        self.clock = now

    def capture(self) -> None:
        """Update the state from the device."""
        self.tick()
        self.state.weights = {name: value.detach() for name, value in self.weights.items()}
        self.state.optimizer = self.slots

    def summary(self) -> str:
        """Progress for the log: the mean of the latest training losses."""
        last = [rows[-1]["train_loss"] for rows in self.state.history.values() if rows]
        losses = [loss for loss in last if loss is not None]
        where = f"at epoch {self.state.step / self.steps_per_epoch:.1f}"
        return f"mean training loss {np.mean(losses):.4g} {where}" if losses else ""

    def run_to_end(self, what: str, save: Callable[[State], None], stop_signal: Callable[[], int | None]) -> None:
        """Advance until nothing is left to do. what: the members in a few words, for the log.

        `save` is called with the state every `checkpoint_seconds` and before stopping on request. `stop_signal` is
        called after every step and returns the number of the signal that requested a stop, or None. Raises
        `Interrupted` on such a request.
        """
        progress = Progress(what, self.total_steps, self.state.step)
        saved = time.monotonic()
        while self.going():
            self.advance()
            progress.report(self.state.step, self.summary())
            signal_number = stop_signal()
            if signal_number is not None or time.monotonic() - saved > self.settings.checkpoint_seconds:
                self.capture()
                save(self.state)
                saved = time.monotonic()
            if signal_number is not None:
                raise Interrupted(signal_number)
