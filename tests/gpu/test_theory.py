"""Theory networks on the device: the same zeros, ranks and counts of eigenvalues as on the CPU."""

import pytest
import torch

from isthmus.analyses.manifold.levenberg_marquardt import PATIENCE, STALLED
from isthmus.analyses.manifold.measure import measure_theory
from isthmus.analyses.manifold.problems import TheorySpec, problem_of
from isthmus.study.config import load

SPECS = [
    TheorySpec(6, 1, 10, 1, "tanh", "random"),
    TheorySpec(5, 2, 8, 2, "gelu", "random"),
    TheorySpec(2, 1, 20, 1, "tanh", "random"),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_theory_network_is_measured_as_on_the_cpu(spec: TheorySpec, device: torch.device) -> None:
    sweep = {"width": [spec.width], "points": [spec.points], "seeds": 1}
    grid = {"width": [8], "depth": [1], "batch_size": [32], "seed": 1}
    study = {"grid": grid, "analyses": {"manifold": {"sweeps": {"s": sweep}}}}
    options = load({"studies": {"test": study}}).studies["test"].analyses["manifold"]
    here, there = (
        measure_theory(problem_of(spec, 0, 3, 50, None, each), spec, 0, options)["manifold"][0]
        for each in (device, torch.device("cpu"))
    )
    for column in ("solved", "solution_expected", "parameters", "constraints", "jacobian_rank", "positive", "zero"):
        assert here[column] == there[column], column
    if not there["solved"]:
        # A search ends after PATIENCE steps that lower the loss by less than a fraction STALLED each.
        assert here["loss"] == pytest.approx(there["loss"], rel=PATIENCE * STALLED)
