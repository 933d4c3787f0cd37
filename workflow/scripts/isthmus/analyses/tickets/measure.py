"""Measurements on a pruned network after training: density, speed, stability to SGD noise, curvature."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from isthmus.analyses.tickets.levels import Level, unmeasured
from isthmus.analyses.tickets.pruning import KINDS, Entry, Found, Origin, Plan
from isthmus.core import seeds
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.landscape.corrupted_images import CorruptedTest, corrupted_accuracy
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.sharpness import Setup, sharpness, trace_columns
from isthmus.landscape.stability import twin_barriers
from isthmus.models.masks import free
from isthmus.tables.rows import Row, Rows
from isthmus.training.starts import Start

# Columns of `tickets` that training reports, for the dense network and the pruned ones alike.
TRAINED = ("stopped", "steps", "seconds", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Outcome:
    """A trained network: its final weights, the row that training returned, and its history."""

    weights: Tensors
    result: Row
    history: Rows


@dataclass(frozen=True)
class TicketMeasures:
    """Turns the trained networks of a level into rows. dense: the unpruned networks, by seed."""

    plan: Plan
    evaluator: Evaluator
    dataset: Dataset
    dense: Mapping[int, Outcome]

    @cached_property
    def corrupted_test(self) -> CorruptedTest:
        """The test images for accuracy under corruption."""
        return CorruptedTest.of(self.evaluator, self.dataset, self.plan.options["robustness"])

    def level(self, seed: int, level: int, origin: Origin, trained: Sequence[tuple[Entry, Outcome]]) -> Level:
        """The rows of a seed at a level, from the networks trained for it."""
        own = {entry.kind: (entry, outcome) for entry, outcome in trained}
        twin = own.pop("twin", None)
        if level == 0:
            own["dense"] = Entry(seed, "dense", self.plan.whole(origin.dense), Start({}, {}, 0)), self.dense[seed]
        corrupted = self._corrupted({kind: outcome for kind, (_, outcome) in own.items()})
        kinds, tickets, layers = self.plan.kinds(level), [], []
        for kind in kinds:
            row, parts = unmeasured(self.plan, level, kind)
            if kind in own:
                again = twin[1] if twin and kind == kinds[0] else None
                measured, kept = self._columns(level, *own[kind], again)
                row |= measured | corrupted.get(kind, {})
                parts = [part | density for part, density in zip(parts, kept, strict=True)]
            tickets.append(row)
            layers += parts
        found = {
            kind: Found(entry.mask, None if outcome.result["diverged"] else outcome.weights)
            for kind, (entry, outcome) in own.items()
        }
        controls = {kind: found[kind] for kind in self.plan.options["kept_controls"] if kind in found}
        return Level(tickets, layers, found.get(kinds[0]), controls)

    def _corrupted(self, outcomes: Mapping[str, Outcome]) -> dict[str, Row]:
        """The columns for corrupted images, by kind, of the networks that did not diverge."""
        if not self.plan.options["robustness"]["corruptions"]:
            return {}
        good = {kind: outcome.weights for kind, outcome in outcomes.items() if not outcome.result["diverged"]}
        test = self.corrupted_test
        found = corrupted_accuracy(self.evaluator, test, list(good.values())).tolist() if good else []
        examples = {"corrupted_examples": len(test.pixels)}
        return {kind: {"corrupted_accuracy": value} | examples for kind, value in zip(good, found, strict=True)}

    def _columns(self, level: int, entry: Entry, outcome: Outcome, twin: Outcome | None) -> tuple[Row, Rows]:
        """The measured columns of a trained network and of its layers."""
        seed, options = entry.seed, self.plan.options
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
            ends = outcome.weights, twin.weights
            row |= twin_barriers(self.evaluator, options["line_points"], seed, *ends, named="stability")
            sets = self.evaluator.sets(self.evaluator.labels(seed)[None])
            row |= {f"stability_{name}_examples": len(images) for name, (images, _) in sets.items()}
        wanted = options["curvature"]["kinds"]
        if entry.kind in wanted or (wanted and entry.kind == "dense"):
            number = KINDS.index(entry.kind) if entry.kind in KINDS else len(KINDS)
            counters = (level, number)
            row |= curvature(self.evaluator, options["curvature"], seed, counters, outcome.weights, entry.mask)
        return row, layers


def densities(mask: Tensors, names: Sequence[str]) -> Rows:
    """How many weights each of the layers `names` keeps, as columns of `ticket_layers`."""
    return [{"kept": int(mask[name].sum()), "density": float(mask[name].double().mean())} for name in names]


def lowest(history: Sequence[Mapping[str, Any]]) -> tuple[int | None, float | None]:
    """The first step with the lowest test loss, and that loss; both None if no evaluation has a test loss."""
    losses = [(row["test_loss"], row["step"]) for row in history if row["test_loss"] is not None]
    if not losses:
        return None, None
    loss, step = min(losses)
    return step, loss


def first_at(history: Sequence[Mapping[str, Any]], loss: float | None) -> int | None:
    """The first evaluated step with a test loss of at most `loss`; None if there is none."""
    if loss is None:
        return None
    below = (row["step"] for row in history if row["test_loss"] is not None and row["test_loss"] <= loss)
    return next(below, None)


def curvature(
    evaluator: Evaluator,
    options: Mapping[str, Any],
    seed: int,
    counters: tuple[int, ...],
    weights: Tensors,
    mask: Tensors,
) -> Row:
    """The curvature of the training loss over the scalars that are not pruned: columns of `tickets`.

    options: `tolerance` and `trace_precision`. counters: level and kind of the network; with the seed, they determine
    the random vectors.
    """
    order = [name for name, _ in evaluator.single.named_parameters()]
    labels = evaluator.labels(seed)[evaluator.hessian_indices]
    found = sharpness(
        Setup.of(evaluator, options["tolerance"], options["trace_precision"]),
        evaluator.placed(weights),
        labels[None],
        [1.0],
        seeds.generator(seed, seeds.Stream.PRUNED, *counters),
        free({name: weights[name] for name in order}, mask),
    )
    return {
        "top_eigenvalue": found.top_eigenvalue,
        "top_eigenvalue_residual": found.residual,
        "top_eigenvalue_converged": found.converged,
        **trace_columns(found.traces),
        "curvature_loss": found.loss,
        "curvature_images": len(evaluator.hessian_indices),
    }
