"""Which networks of a job train together, as one stack, given what an earlier attempt at the same job left."""

import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.core.out_of_memory import attempt, halved
from isthmus.training.checkpoint import State, load_state, part, previous, save_state

STACK_NAME = re.compile(r"seeds-[0-9]+(\+[0-9]+)*", re.ASCII)
NAME_LENGTH = 200  # for a file name that lists the seeds of a stack; file systems allow some 255 bytes

Stack = tuple[tuple[int, ...], State | None]
"""The seeds of networks that train together, and the state to resume, or None if they start from the beginning."""


def state_path(folder: Path, seeds: tuple[int, ...]) -> Path:
    """Where the checkpoints of a stack are kept."""
    return folder / f"seeds-{'+'.join(map(str, seeds))}.safetensors"


def plan_stacks(
    wanted: tuple[int, ...], size: int, folder: Path, fingerprint: Callable[[tuple[int, ...]], str]
) -> list[Stack]:
    """Split the seeds `wanted` into stacks.

    fingerprint: gives, for the seeds of a stack, one string for all that its state depends on
    (`isthmus.training.checkpoint.save_state`).

    Stacks that an earlier attempt began stay as they were, even with seeds that are no longer wanted, so that they end
    as they would have. All other seeds form new stacks of at most `size`, and of no more than a file name can list.
    """
    stacks: list[Stack] = []
    left = set(wanted)
    left_behind = {path.name.partition(".")[0] for path in folder.glob("seeds-*.safetensors*")}
    for name in sorted(left_behind):
        if not STACK_NAME.fullmatch(name):
            logging.warning("%s is no name of a checkpoint: ignored", folder / name)
            continue
        members = tuple(map(int, name.removeprefix("seeds-").split("+")))
        state = load_state(state_path(folder, members), fingerprint(members))
        if state is not None and left.intersection(state.seeds):
            stacks.append((state.seeds, state))
            left.difference_update(state.seeds)
    rest = sorted(left)
    size = min(size, max(1, NAME_LENGTH // (1 + max((len(str(seed)) for seed in rest), default=1))))
    stacks += [(tuple(rest[start : start + size]), None) for start in range(0, len(rest), size)]
    return stacks


def train_stacks(
    planned: list[Stack],
    folder: Path,
    fingerprint: Callable[[tuple[int, ...]], str],
    begin: Callable[[tuple[int, ...]], State],
    finish: Callable[[State, Callable[[State], None]], State],
) -> list[State]:
    """The finished states of the planned stacks, each saved in `folder`.

    `begin` makes the first state of a stack; `finish` runs a state to its end and saves on the way. A stack that does
    not fit into the device's memory continues from its last checkpoint in two halves (`isthmus.core.out_of_memory`).
    """
    states, waiting = [], list(planned)
    while waiting:
        members, begun = waiting.pop(0)
        save = partial(save_state, state_path(folder, members), fingerprint=fingerprint(members))

        def run(members: tuple[int, ...] = members, begun: State | None = begun, save: Any = save) -> State:
            return finish(begun or begin(members), save)

        state = attempt(run, len(members), "networks together")
        if state is None:
            waiting[:0] = _halves(members, folder, fingerprint)
            continue
        states.append(state)
        save(state)
    return states


def _halves(members: tuple[int, ...], folder: Path, fingerprint: Callable[[tuple[int, ...]], str]) -> list[Stack]:
    """The two halves of a stack, each at the last checkpoint of the whole, which is then removed."""
    middle, whole = halved(len(members)), state_path(folder, members)
    state, halves = load_state(whole, fingerprint(members)), []
    for half in (members[:middle], members[middle:]):
        begun = None if state is None else part(state, half)
        if begun is not None:
            save_state(state_path(folder, half), begun, fingerprint(half))
        halves.append((half, begun))
    # Removed last: after a kill before this point, the whole is there; after a kill later on, the halves are.
    for path in (previous(whole), whole):
        path.unlink(missing_ok=True)
    return halves
