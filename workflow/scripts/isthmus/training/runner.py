"""The outer loop of everything that takes many small steps: progress, checkpoints, and stopping when asked to."""

import time
from collections.abc import Callable
from typing import Protocol

from isthmus.core.errors import Interrupted
from isthmus.core.progress import Progress
from isthmus.training.checkpoint import State


class Run(Protocol):
    """The tensors of a run on its device, in step with a `State`."""

    state: State
    total_steps: int

    def going(self) -> bool:
        """Whether there is anything left to do."""

    def advance(self) -> None:
        """Make one step, and whatever is due after it."""

    def capture(self) -> None:
        """Bring the state up to date with what is on the device."""

    def summary(self) -> str:
        """How it stands, for the log."""


def run_to_end(
    run: Run,
    what: str,
    checkpoint_seconds: float,
    save: Callable[[State], None],
    stop_signal: Callable[[], int | None],
) -> None:
    """Advance `run` until nothing is left to do.

    `save` is called with the state every `checkpoint_seconds` and before stopping on request; `stop_signal` is asked
    after every step and returns the number of a signal that asked to stop, or None. Raises `Interrupted` then.
    """
    progress = Progress(what, run.total_steps, run.state.step)
    saved = time.monotonic()
    while run.going():
        run.advance()
        progress.report(run.state.step, run.summary())
        signal_number = stop_signal()
        if signal_number is not None or time.monotonic() - saved > checkpoint_seconds:
            run.capture()
            save(run.state)
            saved = time.monotonic()
        if signal_number is not None:
            raise Interrupted(signal_number)
