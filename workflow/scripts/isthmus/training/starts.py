"""Starts of training other than initialization: with the weights and the optimizer state of another run."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from isthmus.core.tensors import Tensors
from isthmus.models.masks import masked
from isthmus.training.checkpoint import State


@dataclass(frozen=True)
class Start:
    """Where a network starts: its weights by name `[...]`, the optimizer's state by slot, and the step of the run."""

    weights: Tensors
    optimizer: dict[str, Tensors]
    step: int


def begin(starts: Mapping[int, Start], masks: Mapping[int, Tensors] | None = None) -> State:
    """The state of a stack before its first step, from the start of each of its networks, by number.

    masks: of the networks that are pruned. Raises ValueError if the networks start at different steps.
    """
    steps = {start.step for start in starts.values()}
    if len(steps) != 1:
        raise ValueError("networks of a stack start at the same step")
    numbers = tuple(starts)
    first = {number: masked(start.weights, (masks or {}).get(number, {})) for number, start in starts.items()}
    weights = {name: torch.stack([each[name] for each in first.values()]) for name in first[numbers[0]]}
    optimizer = {
        slot: {
            name: value if value.dim() == 0 else torch.stack([start.optimizer[slot][name] for start in starts.values()])
            for name, value in content.items()
        }
        for slot, content in starts[numbers[0]].optimizer.items()
    }
    snapshots = {number: {"initial": each} for number, each in first.items()}
    return State(numbers, numbers, steps.pop(), weights, optimizer, snapshots, {number: [] for number in numbers})


def start_of(state: State, seed: int) -> Start:
    """Where one of the networks that still train stands, as a start for others."""
    member = state.live.index(seed)

    def own(tensors: Tensors) -> Tensors:
        return {name: (value[member] if value.dim() else value).cpu().clone() for name, value in tensors.items()}

    return Start(own(state.weights), {slot: own(content) for slot, content in state.optimizer.items()}, state.step)
