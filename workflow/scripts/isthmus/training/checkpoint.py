"""The state of training, and its checkpoint: all that is needed to resume bit for bit.

A state belongs to a stack of networks that train together. Networks leave the stack one by one as they finish
(stopping rule reached, diverged, or out of steps); a state without live networks is finished. Random generators need
no saving, since every draw is a function of the seed and the step (`isthmus.core.seeds`).

A checkpoint is one file of tensors with a checksum over all of it. Two are kept, the newest and the one
before it, so that a file cut short by a crash or a full disk costs the last minute and not the run.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.core.errors import DataError
from isthmus.core.tensors import Tensors, flatten, load_tensors, save_tensors, unflatten
from isthmus.tables.rows import Row, Rows


@dataclass
class State:
    """Where a stack of networks stands after `step` steps.

    seeds: all networks of the stack, finished ones included; live: those still training, in the order of the stack.
    weights, optimizer: tensors `[len(live), ...]`, the optimizer's by slot (`momentum_buffer`, ...) and parameter; the
    average of the weights is a slot, too (`isthmus.training.averaging`).
    snapshots: by seed, then by name (`initial`, `epoch-10`, `last`, `final`), the tensors of one network.
    history, results: by seed, rows of the tables without the keys; results only for finished networks.
    seconds: wall time per live network so far.
    """

    seeds: tuple[int, ...]
    live: tuple[int, ...]
    step: int
    weights: Tensors
    optimizer: dict[str, Tensors] = field(default_factory=dict)
    snapshots: dict[int, dict[str, Tensors]] = field(default_factory=dict)
    history: dict[int, Rows] = field(default_factory=dict)
    results: dict[int, Row] = field(default_factory=dict)
    seconds: float = 0.0


def part(state: State, seeds: tuple[int, ...]) -> State:
    """The state of some of the networks of a stack, as if they had trained by themselves."""
    kept = [member for member, seed in enumerate(state.live) if seed in seeds]

    def rows(tensors: Tensors) -> Tensors:
        # Step counts have no dimensions and are shared by all networks; each part continues its own copy.
        parts = {name: value[kept] if value.dim() else value.clone() for name, value in tensors.items()}
        return parts if kept else {}

    return State(
        seeds,
        tuple(state.live[member] for member in kept),
        state.step,
        rows(state.weights),
        {slot: rows(content) for slot, content in state.optimizer.items()} if kept else {},
        {seed: state.snapshots[seed] for seed in seeds},
        {seed: state.history[seed] for seed in seeds},
        {seed: state.results[seed] for seed in seeds if seed in state.results},
        state.seconds,
    )


def save_state(path: Path, state: State, fingerprint: str) -> None:
    """Write a checkpoint to `path`; the one before it is renamed to `path` with `.previous` appended.

    fingerprint: what the run depends on besides the seeds; a checkpoint is only resumed under the same one.
    """
    tensors = flatten({"weights": state.weights, "optimizer": state.optimizer, "snapshots": state.snapshots})
    plain = {
        "seeds": state.seeds,
        "live": state.live,
        "step": state.step,
        "history": state.history,
        "results": state.results,
        "seconds": state.seconds,
    }
    if path.exists():
        path.replace(previous(path))
    save_tensors(path, tensors, {"fingerprint": fingerprint, "state": json.dumps(plain)})


def previous(path: Path) -> Path:
    """Where the checkpoint before the newest is kept."""
    return path.with_name(path.name + ".previous")


def load_state(path: Path, fingerprint: str) -> State | None:
    """The newest checkpoint at `path`, or the one before it; None if neither can be used.

    Files that are damaged, or belong to another recipe, data or code, are skipped and reported in the log.
    """
    for candidate in (path, previous(path)):
        if not candidate.exists():
            continue
        try:
            tensors, metadata = load_tensors(candidate)
        except DataError as error:
            logging.warning("checkpoint left aside: %s", error)
            # Under its own name, it would replace the good one when the next is written.
            candidate.replace(candidate.with_name(candidate.name + ".damaged"))
            continue
        if metadata.get("fingerprint") != fingerprint:
            logging.info("checkpoint %s belongs to another recipe, data or code: left aside", candidate)
            continue
        return _restore(tensors, json.loads(metadata["state"]))
    return None


def _restore(tensors: Tensors, plain: dict[str, Any]) -> State:
    nested = unflatten(tensors)
    return State(
        seeds=tuple(plain["seeds"]),
        live=tuple(plain["live"]),
        step=plain["step"],
        weights=nested.get("weights", {}),
        optimizer=nested.get("optimizer", {}),
        snapshots={int(seed): snapshots for seed, snapshots in nested.get("snapshots", {}).items()},
        history={int(seed): rows for seed, rows in plain["history"].items()},
        results={int(seed): row for seed, row in plain["results"].items()},
        seconds=plain["seconds"],
    )
