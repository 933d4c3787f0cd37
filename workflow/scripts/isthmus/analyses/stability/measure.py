"""The step from which the order of the data no longer decides in which valley a network ends (Frankle et al. 2020).

A twin shares the first steps of a network, weights and optimizer alike, and sees the data in another order from then
on. Training is stable from a step if no barrier separates the two at the end. The network itself is trained again only
once, up to the last of the steps, to find its state after each of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from isthmus.core import seeds
from isthmus.core.tensors import Tensors
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.stability import twin_barriers
from isthmus.tables.quantities import STABLE_BARRIER
from isthmus.tables.rows import Row, Rows
from isthmus.training.checkpoint import State
from isthmus.training.starts import Start, start_of
from isthmus.training.trainer import Member


def pass_by(state: State, steps: Sequence[int], train_to: Callable[[State, int], State]) -> State:
    """Train a stack up to the last of the rising `steps`; its snapshots keep the state of the networks after each.

    train_to: trains a state as far as a step. A state that was on its way continues.
    """
    for step in steps:
        if state.step > step:
            continue
        state = train_to(state, step)
        for seed in state.live:
            start = start_of(state, seed)
            parts = {"weights": start.weights, **start.optimizer}
            state.snapshots[seed] |= {f"step {step} {name}": tensors for name, tensors in parts.items()}
    return state


def start_after(snapshots: Mapping[str, Tensors], step: int) -> Start | None:
    """The state of a network after a step, from what `pass_by` kept; None if it had stopped by then."""
    if step == 0:
        return Start(snapshots["initial"], {}, 0)
    beginning = f"step {step} "
    parts = {name.removeprefix(beginning): each for name, each in snapshots.items() if name.startswith(beginning)}
    return Start(parts.pop("weights"), parts, step) if parts else None


def twin_of(seed: int) -> Member:
    """The twin of a network: its labels, and an order of the data and augmentation of its own, as among tickets."""
    return Member(seed, seeds.integer(seed, seeds.Stream.SGD_NOISE))


def compare(evaluator: Evaluator, points: int, seed: int, weights: Tensors, twin: Tensors) -> Row:
    """The measured columns of `stability` for a network and its twin, weights by name `[...]`."""
    apart = sum(float((weights[name].double() - twin[name].double()).square().sum()) for name in weights)
    found = twin_barriers(evaluator, points, seed, weights, twin, named="barrier")
    return found | {"distance": math.sqrt(apart)}


def judged(rows: Rows) -> Rows:
    """The rows of one network, one for each step, with `stable` and `stable_from`.

    Null is a barrier in test error that was not measured, because the network had stopped by then.

    >>> rows = [{"step": step, "barrier_test_error": error} for step, error in ((0, 0.3), (10, 0.01), (50, 0.0))]
    >>> [(row["stable"], row["stable_from"]) for row in judged(rows)]
    [(False, 10), (True, 10), (True, 10)]
    """
    first, going = None, True
    for row in sorted(rows, key=lambda row: -row["step"]):
        error = row["barrier_test_error"]
        row["stable"] = None if error is None else error < STABLE_BARRIER
        going = going and row["stable"] is not False and not row.get("diverged", False)
        if going and row["stable"]:
            first = row["step"]
    return [row | {"stable_from": first} for row in rows]
