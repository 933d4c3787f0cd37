"""The levels of pruning of one block of networks, one after another, each kept on disk as soon as it is done.

A level that is on disk is not done again, and one that was begun goes on from its last checkpoint.
"""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.analyses.tickets.measure import curvature, densities, first_at, lowest, stability
from isthmus.analyses.tickets.pruning import KINDS, Entry, Found, Origin, Plan, Start, begin
from isthmus.core.errors import DataError, Interrupted
from isthmus.core.tensors import Tensors, checksum, load_tensors, save_tensors
from isthmus.data.dataset import Dataset
from isthmus.landscape.corrupted_images import CorruptedTest, corrupted_accuracy
from isthmus.landscape.evaluator import Ground
from isthmus.training import stacks
from isthmus.training.checkpoint import State
from isthmus.training.trainer import train

Row = dict[str, Any]
# Columns of `tickets` that training reports, for the dense network and the pruned ones alike.
TRAINED = ("stopped", "steps", "seconds", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Outcome:
    """A trained network: its final weights, the row that training left, and its history."""

    weights: Tensors
    result: Row
    history: list[Row]


@dataclass(frozen=True)
class Level:
    """What a network has at a level: rows of `tickets` and `ticket_layers` less the keys, and what the next needs."""

    tickets: list[Row]
    layers: list[Row]
    found: Found | None


@dataclass
class Chain:
    """The networks of a block, by seed, and the level each has reached.

    folder: where levels and checkpoints are kept. stack: how many of a number of networks are trained at once. mark:
    from a seed to the fingerprint of all that its levels depend on. stop_signal: the number of a signal that asked to
    stop, or None.
    """

    plan: Plan
    ground: Ground
    dataset: Dataset
    origins: dict[int, Origin]
    dense: dict[int, Outcome]
    folder: Path
    stack: Callable[[int], int]
    mark: Callable[[int], str]
    stop_signal: Callable[[], int | None]
    found: dict[int, Found | None] = field(default_factory=dict)
    test: CorruptedTest | None = None

    def folder_of(self, level: int) -> Path:
        """Where a level is kept: a file per network, and checkpoints while it is trained."""
        return self.folder / f"level-{level:03}"

    def advance(self, level: int) -> dict[int, Level]:
        """Do a level, or read it where it is on disk. Raises Interrupted where the job was told to stop."""
        folder = self.folder_of(level)
        entries = {
            entry.number: entry
            for seed, origin in self.origins.items()
            for entry in self.plan.entries(seed, level, origin, self.found.get(seed))
        }
        reached = {seed: self._recall(folder / f"seed-{seed}.safetensors", seed) for seed in self.origins}
        missing = [seed for seed, found in reached.items() if found is None]
        outcomes = self._train(entries, missing, folder / "training")
        for seed in missing:
            self._keep(folder / f"seed-{seed}.safetensors", seed, self._measure(seed, level, entries, outcomes))
            reached[seed] = self._recall(folder / f"seed-{seed}.safetensors", seed)
            number = self.stop_signal()
            if number is not None:
                raise Interrupted(number)
        shutil.rmtree(folder / "training", ignore_errors=True)  # its networks are measured
        levels = {seed: found for seed, found in reached.items() if found is not None}
        self.found = {seed: found.found for seed, found in levels.items()}
        return levels

    def _train(self, entries: dict[int, Entry], missing: list[int], folder: Path) -> dict[int, Outcome]:
        """The networks of these seeds at a level, trained, by number."""
        outcomes: dict[int, Outcome] = {}

        def mark(numbers: tuple[int, ...]) -> str:
            known = [entries[number] for number in numbers if number in entries]
            return stacks.fingerprint(*(part for entry in known for part in (self.mark(entry.seed), _digest(entry))))

        def finish(state: State, save: Callable[[State], None]) -> State:
            members = {number: entries[number].member for number in state.seeds}
            settings, recipe = self.ground.settings, self.plan.recipe
            return train(recipe, state, self.dataset, settings, save, self.stop_signal, members)

        # Tickets train together as the dense networks did, so that they round alike: one of density 1 ends where the
        # dense network does, to the last bit. All others that start at one step share a stack.
        apart: dict[tuple[int, bool], list[int]] = {}
        for number, entry in entries.items():
            if entry.seed in missing:
                apart.setdefault((entry.start.step, entry.kind == "ticket"), []).append(number)
        for wanted in apart.values():
            planned = stacks.plan(tuple(wanted), self.stack(len(wanted)), folder, mark)
            states = stacks.run_groups(planned, folder, mark, lambda group: begin([entries[n] for n in group]), finish)
            for state in states:
                for number in state.seeds:
                    weights = state.snapshots[number]["final"]
                    outcomes[number] = Outcome(weights, state.results[number], state.history[number])
        return outcomes

    def _measure(self, seed: int, level: int, entries: dict[int, Entry], outcomes: dict[int, Outcome]) -> Level:
        """The rows of a network at a level, from its trained networks."""
        own = {entry.kind: (entry, outcomes[number]) for number, entry in entries.items() if entry.seed == seed}
        twin = own.pop("twin", None)
        if level == 0:
            whole = self.plan.whole(self.origins[seed].dense)
            own["dense"] = Entry(seed, "dense", whole, Start({}, {}, 0)), self.dense[seed]
        corrupted = self._corrupted({kind: outcome for kind, (_, outcome) in own.items()})
        kinds, tickets, layers = self.plan.kinds(level), [], []
        for kind in kinds:
            row, parts = _unmeasured(self.plan, level, kind)
            if kind in own:
                again = twin[1] if twin and kind == kinds[0] else None
                measured, kept = self._columns(level, *own[kind], again)
                row |= measured | corrupted.get(kind, {})
                parts = [part | density for part, density in zip(parts, kept, strict=True)]
            tickets.append(row)
            layers += parts
        if kinds[0] not in own:
            return Level(tickets, layers, None)
        entry, outcome = own[kinds[0]]
        found = Found(entry.mask, None if outcome.result["diverged"] else outcome.weights)
        return Level(tickets, layers, found)

    def _corrupted(self, outcomes: dict[str, Outcome]) -> dict[str, Row]:
        """The columns on corrupted images of networks by kind, of those that did not diverge."""
        if not self.plan.options["robustness"]["corruptions"]:
            return {}
        if self.test is None:
            self.test = CorruptedTest.of(self.ground, self.dataset, self.plan.options["robustness"])
        good = {kind: outcome.weights for kind, outcome in outcomes.items() if not outcome.result["diverged"]}
        found = corrupted_accuracy(self.ground, self.test, list(good.values())).tolist() if good else []
        examples = {"corrupted_examples": len(self.test.pixels)}
        return {kind: {"corrupted_accuracy": value} | examples for kind, value in zip(good, found, strict=True)}

    def _columns(self, level: int, entry: Entry, outcome: Outcome, twin: Outcome | None) -> tuple[Row, list[Row]]:
        """The measured columns of a trained network, and those of its layers."""
        seed, options = entry.seed, self.plan.options["curvature"]
        layers = densities(entry.mask, tuple(self.plan.sizes))
        for name, layer in zip(self.plan.sizes, layers, strict=True):
            if layer["kept"] == 0:
                logging.warning("network %d, level %d, %s: no weight is left in %s", seed, level, entry.kind, name)
        kept = sum(layer["kept"] for layer in layers)
        row = {
            "kept": kept,
            "density": kept / sum(self.plan.sizes.values()),
            "emptied_layers": sum(layer["kept"] == 0 for layer in layers),
            "rewind_step": entry.start.step,
            "diverged": outcome.result["diverged"],
        }
        row |= {key: outcome.result[key] for key in TRAINED}
        if outcome.result["diverged"]:
            return row, layers
        row["early_stopping_step"] = lowest(outcome.history)[0]
        row["steps_to_dense"] = first_at(outcome.history, lowest(self.dense[seed].history)[1])
        if twin is not None and not twin.result["diverged"]:
            row |= stability(self.ground, seed, outcome.weights, twin.weights)
        if entry.kind in options["kinds"] or (options["kinds"] and entry.kind == "dense"):
            number = KINDS.index(entry.kind) if entry.kind in KINDS else len(KINDS)
            row |= curvature(self.ground, seed, (level, number), outcome.weights, entry.mask)
        return row, layers

    def _keep(self, path: Path, seed: int, level: Level) -> None:
        tensors: Tensors = {}
        if level.found is not None:
            tensors |= {f"mask/{name}": value for name, value in level.found.mask.items()}
            tensors |= {f"weights/{name}": value for name, value in (level.found.weights or {}).items()}
        rows = json.dumps({"tickets": level.tickets, "layers": level.layers}, allow_nan=False)
        save_tensors(path, tensors, {"fingerprint": self.mark(seed), "rows": rows})

    def _recall(self, path: Path, seed: int) -> Level | None:
        """The level in a file; None where there is none, or one of another recipe, data or code."""
        if not path.exists():
            return None
        try:
            tensors, metadata = load_tensors(path)
        except DataError as error:
            logging.warning("level left aside: %s", error)
            return None
        if metadata["fingerprint"] != self.mark(seed):
            logging.info("%s belongs to another recipe, data or code: done anew", path)
            return None
        mask, weights = (
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            for prefix in ("mask/", "weights/")
        )
        rows = json.loads(metadata["rows"])
        return Level(rows["tickets"], rows["layers"], Found(mask, weights or None) if mask else None)


def absent(plan: Plan, level: int) -> Level:
    """The rows of a level of a network that diverged before any pruning."""
    rows = [_unmeasured(plan, level, kind) for kind in plan.kinds(level)]
    return Level([row for row, _ in rows], [part for _, parts in rows for part in parts], None)


def _unmeasured(plan: Plan, level: int, kind: str) -> tuple[Row, list[Row]]:
    """The row of a network in `tickets` and those in `ticket_layers`, before anything is measured."""
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


def _digest(entry: Entry) -> str:
    """A digest of what a network is trained from."""
    slots = {f"{slot}/{name}": value for slot, each in entry.start.optimizer.items() for name, value in each.items()}
    named = {f"mask/{name}": value for name, value in entry.mask.items()} | slots | entry.start.weights
    return checksum(named, {"kind": entry.kind, "step": str(entry.start.step)})


def tensors_of(levels: dict[int, dict[int, Level]]) -> Tensors:
    """Masks and trained weights of the tickets of all levels, by `{seed}/{level}/{mask or weights}/{name}`."""
    found: Tensors = {}
    for level, reached in levels.items():
        for seed, content in reached.items():
            if content.found is not None:
                found |= {f"{seed}/{level}/mask/{name}": value for name, value in content.found.mask.items()}
                weights = content.found.weights or {}
                found |= {f"{seed}/{level}/weights/{name}": value for name, value in weights.items()}
    return found
