"""Which networks of a job train together, given what an earlier try of the same job left behind."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.core.files import sha256_of
from isthmus.core.out_of_memory import attempt, halved
from isthmus.training.checkpoint import State, load_state, part, previous, save_state


def state_path(folder: Path, seeds: tuple[int, ...]) -> Path:
    """Where the checkpoints of a group are kept."""
    return folder / f"seeds-{'+'.join(map(str, seeds))}.safetensors"


NAME_LENGTH = 200  # of a file that lists the seeds of a group; file systems allow some 255 bytes

Group = tuple[tuple[int, ...], State | None]


def plan(
    wanted: tuple[int, ...], size: int, folder: Path, fingerprint: Callable[[tuple[int, ...]], str]
) -> list[Group]:
    """Split the seeds `wanted` into groups, each with the state to go on from, or None where it starts afresh.

    fingerprint: what the state of a group of seeds depends on, in one string
    (`isthmus.training.checkpoint.save_state`).

    Groups that an earlier try began are taken as they were, with seeds that are no longer wanted, so that they end as
    they would have; all other seeds form new groups of at most `size`, and of no more than the name of a file can list.
    """
    groups: list[Group] = []
    left = set(wanted)
    names = {path.name.split(".")[0] + ".safetensors" for path in folder.glob("seeds-*.safetensors*")}
    for name in sorted(names):
        members = tuple(map(int, name.removeprefix("seeds-").split(".")[0].split("+")))
        state = load_state(folder / name, fingerprint(members))
        if state is not None and left.intersection(state.seeds):
            groups.append((state.seeds, state))
            left.difference_update(state.seeds)
    rest = sorted(left)
    size = min(size, max(1, NAME_LENGTH // (1 + max((len(str(seed)) for seed in rest), default=1))))
    groups += [(tuple(rest[start : start + size]), None) for start in range(0, len(rest), size)]
    return groups


def run_groups(
    planned: list[Group],
    folder: Path,
    fingerprint: Callable[[tuple[int, ...]], str],
    begin: Callable[[tuple[int, ...]], State],
    finish: Callable[[State, Callable[[State], None]], State],
) -> list[State]:
    """The finished states of the planned groups, each saved in `folder`.

    `begin` makes the first state of a group, `finish` runs a state to its end and saves on the way. A group that does
    not fit into the device's memory goes on from its last checkpoint in two halves (`isthmus.core.out_of_memory`).
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


def _halves(members: tuple[int, ...], folder: Path, fingerprint: Callable[[tuple[int, ...]], str]) -> list[Group]:
    """The two halves of a group, each where the last checkpoint of the whole has it; that one is removed."""
    middle, whole = halved(len(members)), state_path(folder, members)
    state, groups = load_state(whole, fingerprint(members)), []
    for half in (members[:middle], members[middle:]):
        begun = None if state is None else part(state, half)
        if begun is not None:
            save_state(state_path(folder, half), begun, fingerprint(half))
        groups.append((half, begun))
    # Last, so that a job that is killed before finds the whole, and one that is killed after the halves.
    for path in (previous(whole), whole):
        path.unlink(missing_ok=True)
    return groups


def fingerprint(*parts: str) -> str:
    """One digest of everything besides the seeds that a state depends on: recipe, data, code."""
    return sha256_of(*(part.encode() + b"\0" for part in parts))
