"""The results of a level of pruning: table rows, masks and weights, in one file per network.

A level is not repeated if its file is on disk.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.analyses.tickets.pruning import Found, Plan
from isthmus.core.errors import DataError
from isthmus.core.tensors import Tensors, flatten, load_tensors, save_tensors, unflatten
from isthmus.tables.rows import Row, Rows


@dataclass(frozen=True)
class Level:
    """A network's results at a level: rows of `tickets` and `ticket_layers` without keys, and `found` for the next.

    controls: those whose trained weights are kept, by kind.
    """

    tickets: Rows
    layers: Rows
    found: Found | None
    controls: Mapping[str, Found] = field(default_factory=dict)


@dataclass(frozen=True)
class LevelFiles:
    """The files of the levels of a block.

    fingerprint: from a seed to the digest of everything that its network's levels depend on.
    """

    folder: Path
    fingerprint: Callable[[int], str]

    def folder_of(self, level: int) -> Path:
        """The folder of a level: a file per network, and checkpoints while it trains."""
        return self.folder / f"level-{level:03}"

    def _path(self, level: int, seed: int) -> Path:
        return self.folder_of(level) / f"seed-{seed}.safetensors"

    def write(self, level: int, seed: int, reached: Level) -> None:
        """Write a network's level."""
        rows = json.dumps({"tickets": reached.tickets, "layers": reached.layers}, allow_nan=False)
        metadata = {"fingerprint": self.fingerprint(seed), "rows": rows}
        save_tensors(self._path(level, seed), flatten(_tensors(reached)), metadata)

    def read(self, level: int, seed: int) -> Level | None:
        """Read a network's level; None if there is no readable file, or it belongs to another recipe, data or code."""
        path = self._path(level, seed)
        if not path.exists():
            return None
        try:
            tensors, metadata = load_tensors(path)
        except DataError as error:
            logging.warning("level left aside: %s", error)
            return None
        if metadata["fingerprint"] != self.fingerprint(seed):
            logging.info("%s belongs to another recipe, data or code: done anew", path)
            return None
        rows, nested = json.loads(metadata["rows"]), unflatten(tensors)
        found = Found(nested["mask"], nested.get("weights")) if "mask" in nested else None
        controls = {kind: Found(each["mask"], each.get("weights")) for kind, each in nested.get("controls", {}).items()}
        return Level(rows["tickets"], rows["layers"], found, controls)


def _tensors(level: Level) -> dict[str, Any]:
    """The mask and the trained weights of a ticket, and of the controls that are kept, if there are any."""
    controls = {
        # Some controls have the ticket's mask, and a file holds no tensor twice.
        kind: {"mask": {name: kept.clone() for name, kept in each.mask.items()}, "weights": each.weights or {}}
        for kind, each in level.controls.items()
    }
    ticket = {} if level.found is None else {"mask": level.found.mask, "weights": level.found.weights or {}}
    return ticket | {"controls": controls}


def tensors_of(levels: Mapping[int, Mapping[int, Level]]) -> Tensors:
    """Masks and trained weights of the tickets of all levels, by `{seed}/{level}/{mask or weights}/{name}`.

    Those of controls that are kept have `controls/{kind}` after the level.
    """
    return flatten(
        {f"{seed}/{level}": _tensors(each) for level, reached in levels.items() for seed, each in reached.items()}
    )


def absent(plan: Plan, level: int) -> Level:
    """The rows, at one level, of a network that diverged before any pruning."""
    rows = [unmeasured(plan, level, kind) for kind in plan.kinds(level)]
    return Level([row for row, _ in rows], [part for _, parts in rows for part in parts], None)


def unmeasured(plan: Plan, level: int, kind: str) -> tuple[Row, Rows]:
    """A network's row in `tickets` and its rows in `ticket_layers`, before anything is measured."""
    fixed = {"kind": kind, "level": level, "kept_fraction": plan.kept[level - 1].fraction if level else 1.0}
    size = sum(plan.sizes.values())
    row = fixed | {"scope": plan.options["scope"], "prunable": size, "rewind_step": 0, "diverged": True}
    layers = [
        fixed
        | {"layer": name.removesuffix(".weight"), "layer_index": number, "prunable": weights}
        | {"kept": None, "density": None}
        for number, (name, weights) in enumerate(plan.sizes.items(), start=1)
    ]
    return row, layers
