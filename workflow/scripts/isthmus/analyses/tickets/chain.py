"""The levels of pruning of one block of networks, one after the other.

A level on disk is not repeated, and an unfinished level resumes from its last checkpoint.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.analyses.tickets.levels import Level, LevelFiles
from isthmus.analyses.tickets.measure import Outcome, TicketMeasures
from isthmus.analyses.tickets.pruning import Entry, Found, Origin, Plan
from isthmus.core.logs import StopRequest
from isthmus.core.resume import fingerprint
from isthmus.core.tensors import checksum, flatten
from isthmus.training.checkpoint import State
from isthmus.training.stacks import plan_stacks, train_stacks
from isthmus.training.starts import begin
from isthmus.training.trainer import train


@dataclass
class Chain:
    """The networks of a block and the results of their last level, by seed.

    stack_size: from a number of networks to how many of them train at once.
    """

    plan: Plan
    measures: TicketMeasures
    origins: dict[int, Origin]
    files: LevelFiles
    stack_size: Callable[[int], int]
    stop: StopRequest
    found: dict[int, Found | None] = field(default_factory=dict)

    def advance(self, level: int) -> dict[int, Level]:
        """Train and measure a level, or read it if it is on disk. Raises Interrupted if the job was told to stop."""
        entries = {
            entry.number: entry
            for seed, origin in self.origins.items()
            for entry in self.plan.entries(seed, level, origin, self.found.get(seed))
        }
        reached = {seed: self.files.read(level, seed) for seed in self.origins}
        missing = [seed for seed, done in reached.items() if done is None]
        training = self.files.folder_of(level) / "training"
        outcomes = self._train(entries, missing, training)
        for seed in missing:
            own = [(entry, outcomes[number]) for number, entry in entries.items() if entry.seed == seed]
            with self.stop.at_once():
                measured = self.measures.level(seed, level, self.origins[seed], own)
            self.files.write(level, seed, measured)
            reached[seed] = self.files.read(level, seed)
        shutil.rmtree(training, ignore_errors=True)  # its networks have been measured
        levels = {seed: done for seed, done in reached.items() if done is not None}
        self.found = {seed: done.found for seed, done in levels.items()}
        return levels

    def _train(self, entries: dict[int, Entry], missing: list[int], folder: Path) -> dict[int, Outcome]:
        """Train the networks of the seeds `missing` at a level, and return them by number."""
        outcomes: dict[int, Outcome] = {}
        evaluator = self.measures.evaluator

        def mark(numbers: tuple[int, ...]) -> str:
            wanted = [entries[number] for number in numbers if number in entries]
            return fingerprint([(self.files.fingerprint(entry.seed), _digest(entry)) for entry in wanted])

        def first(stack: tuple[int, ...]) -> State:
            return begin({n: entries[n].start for n in stack}, {n: entries[n].mask for n in stack})

        def finish(state: State, save: Callable[[State], None]) -> State:
            members = {number: entries[number].member for number in state.seeds}
            settings, dataset = evaluator.settings, self.measures.dataset
            return train(self.plan.recipe, state, dataset, settings, save, lambda: self.stop.signal_number, members)

        # Tickets train in stacks of their own, like the dense networks, so that both round alike: a ticket of density 1
        # equals the dense network bit for bit. All other networks that start at the same step share stacks.
        apart: dict[tuple[int, bool], list[int]] = {}
        for number, entry in entries.items():
            if entry.seed in missing:
                apart.setdefault((entry.start.step, entry.kind == "ticket"), []).append(number)
        for wanted in apart.values():
            planned = plan_stacks(tuple(wanted), self.stack_size(len(wanted)), folder, mark)
            for state in train_stacks(planned, folder, mark, first, finish):
                for number in state.seeds:
                    weights = state.snapshots[number]["final"]
                    outcomes[number] = Outcome(weights, state.results[number], state.history[number])
        return outcomes


def _digest(entry: Entry) -> str:
    """A digest of everything that a network is trained from."""
    parts = flatten({"mask": entry.mask, **entry.start.optimizer, **entry.start.weights})
    return checksum(parts, {"kind": entry.kind, "step": str(entry.start.step)})
