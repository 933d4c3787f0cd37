"""Paths between networks without a workflow: repaired lines of deep networks, whose activations collapse otherwise."""

from typing import Any

import pytest
from helpers import CPU, recipe, trained

from isthmus.analyses.connect.session import Session
from isthmus.core.defaults import with_defaults
from isthmus.data.dataset import Dataset
from isthmus.landscape.evaluator import Evaluator, TrainedNetwork
from isthmus.study.schema import study_schema

PAIR = (0, 1)
KINDS = ("linear", "linear-aligned", "linear-repaired")
DEEP = recipe(64, 6, 32, training={"epochs": 12, "learning_rate": 0.1})


@pytest.fixture(scope="module")
def found(digits: Dataset) -> dict[str, dict[str, Any]]:
    """What is measured on lines between two networks of six hidden layers without normalization, by kind."""
    state = trained(DEEP, digits, PAIR)
    networks = {seed: TrainedNetwork(None, state.snapshots[seed]["final"]) for seed in PAIR}
    described = study_schema()["analyses"]["properties"]["connect"]
    given = {"line_points": 13, "alignment": {"restarts": 2}, "sharpness": {"points": 0}, "planes": {"points": 0}}
    evaluator = Evaluator.of(DEEP, digits, PAIR, CPU, stack=13)
    session = Session(evaluator, with_defaults(given, described), networks)
    assert min(state.results[seed]["test_accuracy"] for seed in PAIR) > 0.9
    return {kind: session.measure(PAIR, kind) for kind in KINDS}


def test_deep_networks_lose_their_activations_on_the_aligned_line_and_repair_brings_them_back(found: Any) -> None:
    left = {kind: each["connection"]["activation_variance_ratio"] for kind, each in found.items()}
    assert left["linear"] < left["linear-aligned"] < 0.5
    assert 0.7 < left["linear-repaired"] < 1.3


def test_aligned_and_repaired_lines_have_lower_barriers(found: Any) -> None:
    """Which of the two has the lower one depends on the pair of networks, and thus on the processor that trained it."""
    barriers = {kind: each["connection"]["barrier_test_error"] for kind, each in found.items()}
    assert max(barriers["linear-aligned"], barriers["linear-repaired"]) < 0.7 * barriers["linear"]


def test_repaired_and_aligned_lines_have_the_same_matching_and_the_same_ends(found: Any) -> None:
    aligned, repaired = (found[kind] for kind in KINDS[1:])
    for column in ("chord", "alignment_method", "alignment_objective", "midpoint_loss_combined", "disagreement"):
        assert aligned["connection"][column] == repaired["connection"][column]
    for end in (0, -1):
        for column in ("t", "train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            assert aligned["paths"][end][column] == repaired["paths"][end][column]
    assert {"length", "detour", "turning"}.isdisjoint(repaired["connection"]), "its points leave the line"
