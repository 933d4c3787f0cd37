"""Paths between trained networks, from their weights to the rows of `connections`, `paths` and `planes`.

This module combines the pieces from `isthmus.landscape`: matching of hidden units, paths and their geometry, fitted
curves, barriers, sharpness, planes. `workflow/scripts/connect.py` reads and writes the files.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from isthmus.analyses.connect.curve_recipe import curve_training
from isthmus.analyses.connect.measure import KINDS, PathMeasures
from isthmus.data.examples import pair_labels
from isthmus.landscape.alignment.choice import METHODS, match
from isthmus.landscape.alignment.result import check_same_function
from isthmus.landscape.curves import fit, fitted, new_curves
from isthmus.landscape.evaluator import Evaluator, TrainedNetwork
from isthmus.landscape.paths import Path, curve, geometry, line
from isthmus.models.hidden_units import apply
from isthmus.models.networks import build
from isthmus.models.unit_groups import groups
from isthmus.recipes.pairs import Pair, pair_of
from isthmus.recipes.path_kinds import is_aligned
from isthmus.tables.rows import Row, Rows, finite
from isthmus.training.checkpoint import State

CHECK_IMAGES = 64  # an aligned network must reproduce its outputs on this many images


@dataclass(frozen=True)
class Matched:
    """The second network of a pair after alignment, and the columns of `connections` that describe the matching."""

    network: TrainedNetwork
    report: Row
    seconds: float


def align(
    evaluator: Evaluator, options: Mapping[str, Any], pair: Pair, first: TrainedNetwork, second: TrainedNetwork
) -> Matched:
    """Permute the second network's hidden units to match the first network's. options: `alignment`.

    Raises AlignmentError if the permuted network does not compute the same function.
    """
    started = time.monotonic()
    found = match(evaluator, options, pair, first, second)
    alignment, losses = found.alignment, found.midpoint_losses
    check = evaluator.examples.images[evaluator.examples.subset(CHECK_IMAGES)]
    check_same_function(evaluator.single, second.final, alignment.weights, check)
    moved = sum(int((p != torch.arange(len(p))).sum()) for p in alignment.permutations.values())
    units = sum(len(p) for p in alignment.permutations.values())
    report: Row = {
        "alignment_method": found.method,
        "alignment_objective": alignment.objective,
        "alignment_worst_restart": min(alignment.restarts),
        "permuted_fraction": moved / units if units else 0.0,
        "alignment_examples": found.matched_examples,
        "selection_examples": found.selected_examples,
    }
    report |= {f"midpoint_loss_{method}": finite(losses.get(method)) for method in METHODS}
    permutable = groups(evaluator.recipe.network, evaluator.shape, evaluator.classes, evaluator.examples.images.dtype)
    initial = second.initial and apply(alignment.permutations, second.initial, permutable)
    permuted = TrainedNetwork(initial, alignment.weights)
    return Matched(permuted, report, time.monotonic() - started)


@dataclass(frozen=True)
class Fit:
    """A fitted curve, a stack of one on the CPU, and the columns of `connections` that describe the fit."""

    path: Path
    diverged: bool
    report: Row
    seconds: float


@dataclass
class Session:
    """Connects the networks of a cell; what several paths share is computed once.

    options: of the analysis; networks: by seed.
    """

    evaluator: Evaluator
    options: Mapping[str, Any]
    networks: Mapping[int, TrainedNetwork]
    matched: dict[Pair, Matched] = field(default_factory=dict)
    fits: dict[tuple[Pair, str], Fit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.measures = PathMeasures(self.evaluator, self.options, self.networks)

    def match(self, pair: Pair) -> Matched:
        """The second network of a pair, aligned to the first."""
        if pair not in self.matched:
            first, second = (self.networks[seed] for seed in pair)
            self.matched[pair] = align(self.evaluator, self.options["alignment"], pair, first, second)
        return self.matched[pair]

    def ends(self, pair: Pair, kind: str) -> tuple[TrainedNetwork, TrainedNetwork]:
        """The two networks that a kind of path joins; for aligned kinds, the second one is permuted."""
        second = self.match(pair).network if is_aligned(kind) else self.networks[pair[1]]
        return self.networks[pair[0]], second

    def _curves(self, kind: str, numbers: tuple[int, ...]) -> Path:
        """The unfitted curves of the pairs with these numbers, as a stack on the CPU."""
        both = [self.ends(pair_of(number), kind) for number in numbers]
        start, end = (
            {name: torch.stack([networks[side].final[name] for networks in both]) for name in both[0][side].final}
            for side in (0, 1)
        )
        return curve(str(KINDS[kind]), start, end)

    def begin(self, kind: str, numbers: tuple[int, ...]) -> State:
        """The state, before the first step, of the curves of the pairs with these numbers."""
        return new_curves(self._curves(kind, numbers), tuple(pair_of(number) for number in numbers))

    def fit(
        self, kind: str, state: State, save: Callable[[State], None], stop_signal: Callable[[], int | None]
    ) -> State:
        """Fit the curves of a state to the end; for `save` and `stop_signal` see `isthmus.training.runner`."""
        evaluator, pairs = self.evaluator, tuple(pair_of(number) for number in state.seeds)
        recipe, settings, examples = evaluator.recipe, evaluator.settings, evaluator.examples
        path = self._curves(kind, state.seeds)
        network = build(recipe.network, evaluator.shape, evaluator.classes, len(pairs)).to(settings.device)
        labels = pair_labels(examples.labels, evaluator.seeds, pairs)
        training = curve_training(recipe.training, self.options["curve"], len(examples.images))
        state = fit(network, path, state, labels, examples, training, settings, save, stop_signal)
        found = fitted(path, state)
        for member, (number, pair) in enumerate(zip(state.seeds, pairs, strict=True)):
            result, last = state.results[number], state.history[number][-1]
            report = {
                "fit_steps": result["steps"],
                "fit_learning_rate": training.learning_rate,
                "fit_loss": last["train_loss"],
            }
            self.fits[pair, kind] = Fit(found.member(member), result["diverged"], report, result["seconds"])
        return state

    def measure(self, pair: Pair, kind: str) -> dict[str, Any]:
        """The measured columns of a path: `connection` of its row in `connections`, `paths` of its rows in `paths`."""
        started = time.monotonic()
        first, second = self.ends(pair, kind)
        path, spent, diverged = self._path(first, second), 0.0, False
        reports = self.measures.distances(pair, second)
        if is_aligned(kind):
            reports |= self.match(pair).report
            spent += self.match(pair).seconds
        if KINDS[kind]:
            found = self.fits[pair, kind]
            path, diverged = found.path, found.diverged
            reports |= found.report
            spent += found.seconds
        rows: Rows = []
        if diverged:
            reports["chord"] = float(geometry(path).chord[0])
        else:
            columns, rows = self.measures.along(pair, kind, path.to(self.evaluator.settings.device))
            reports |= columns
        reports["seconds"] = spent + time.monotonic() - started
        logging.info("pair %s: %s measured", pair, kind)
        return {"diverged": diverged, "connection": reports, "paths": rows}

    def measure_planes(self, pair: Pair, kind: str | None) -> dict[str, Any]:
        """The rows of `planes` for a pair: on the random plane and, unless `kind` is None, on its curve's plane."""
        found = None if kind is None else self.fits[pair, kind]
        diverged = found is not None and found.diverged
        path = None if found is None or diverged else found.path.to(self.evaluator.settings.device)
        rows = self.measures.planes(pair, kind, path)
        return {"diverged": diverged, "planes": rows}

    @staticmethod
    def _path(first: TrainedNetwork, second: TrainedNetwork) -> Path:
        start, end = ({name: value[None] for name, value in each.final.items()} for each in (first, second))
        return line(start, end)
