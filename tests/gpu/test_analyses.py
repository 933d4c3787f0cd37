"""What analyses measure on trained networks, on the device and on the CPU."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from helpers import CPU, recipe, trained
from rounding import DEVIATIONS, Disturbed

from isthmus.analyses.connect.measure import PathMeasures
from isthmus.analyses.curvature import measure as curvature
from isthmus.analyses.curvature.noise import perturbation_rows
from isthmus.analyses.fragility.measure import disturbances
from isthmus.analyses.gradient_noise.measure import measure as gradient_noise
from isthmus.analyses.layerwise.measure import measure as layerwise
from isthmus.analyses.local_learning_coefficient.measure import measure as learning_coefficients
from isthmus.analyses.movement.measure import measure as movement
from isthmus.analyses.robustness.measure import measure as robustness
from isthmus.analyses.stability.measure import compare
from isthmus.core.devices import Settings
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.landscape.corrupted_images import CorruptedTest, scoring
from isthmus.landscape.evaluator import Evaluator, TrainedNetwork
from isthmus.landscape.moments import Moment
from isthmus.landscape.paths import curve, line
from isthmus.study.config import load

NETWORK = {"architecture": "cnn", "normalization": "batch", "blocks": 1, "hidden_units": 2}
CELL = recipe(2, 1, 64, data={"train_size": 200}, network=NETWORK, training={"epochs": 2})
START, END = Moment("initial", 0.0, False), Moment("final", 2.0, True)
ANALYSES: dict[str, Any] = {
    "connect": {
        "kinds": ["linear", "linear-repaired", "bezier"],
        "line_points": 3,
        "curve_points": 3,
        "sharpness": {"points": 3, "images": 50},
        "planes": {"points": 2, "examples": 50},
    },
    "curvature": {
        "images": 50,
        "eigenvalues": 2,
        "smallest_eigenvalues": 1,
        "gauss_newton_eigenvalues": 1,
        "dense_limit": 2000,
        "spectrum": {"probes": 2, "steps": 10, "points": 5},
        "noise": {"images": 50, "draws": 2},
    },
    "fragility": {"images": 50, "draws": 2},
    "gradient_noise": {"images": 100, "alignment_images": 50},
    "local_learning_coefficient": {"images": 50, "chains": 2, "burn_in": 2, "draws": 4, "localizations": [100.0]},
    "robustness": {"corruptions": ["contrast"], "severities": [3]},
}
SOUGHT = ("trace", "frobenius", "products", "probes", "residual", "converged", "alignment", "seconds", "step_size")
"""Parts of names of columns that are estimated to a precision, or as fast as it goes: rounding may change how long."""
Weights = Mapping[str, Tensors]
Measured = list[tuple[str, float]]


@pytest.fixture(scope="module")
def options() -> Mapping[str, Any]:
    """The options of the analyses, with all their defaults."""
    grid = {"width": [2], "depth": [1], "batch_size": [64], "seed": 2}
    study = {"network": NETWORK, "training": {"snapshots": [1]}, "grid": grid, "analyses": ANALYSES}
    return load({"studies": {"test": study}}).studies["test"].analyses


@pytest.fixture(scope="module")
def snapshots(digits: Dataset) -> Mapping[int, Weights]:
    """Two networks trained on the CPU, by seed."""
    return trained(CELL, digits, (0, 1)).snapshots


def numbers(found: Any, name: str = "") -> Measured:
    """All numbers in rows, with the names of their columns, but for `SOUGHT`."""
    if isinstance(found, Mapping):
        return [pair for key, value in found.items() for pair in numbers(value, f"{name} {key}")]
    if isinstance(found, list | tuple):
        return [pair for index, value in enumerate(found) for pair in numbers(value, f"{name} {index}")]
    kept = isinstance(found, float | int) and not any(part in name for part in SOUGHT)
    return [(name, float(found))] if kept else []


def connect(evaluator: Evaluator, options: Mapping[str, Any], snapshots: Mapping[int, Weights], _: Dataset) -> Any:
    networks = {seed: TrainedNetwork(each["initial"], each["final"]) for seed, each in snapshots.items()}
    measures = PathMeasures(evaluator, options["connect"], networks)
    ends = [evaluator.placed(networks[seed].final) for seed in (0, 1)]
    curved = curve("bezier", *ends, evaluator.placed(networks[0].initial or {}))
    paths = {"linear": line(*ends), "linear-repaired": line(*ends), "bezier": curved}
    found = [measures.along((0, 1), kind, path) for kind, path in paths.items()]
    return found, measures.distances((0, 1), networks[1]), measures.planes((0, 1), "bezier", curved)


def of_weights(evaluator: Evaluator, options: Mapping[str, Any], snapshots: Mapping[int, Weights], _: Dataset) -> Any:
    first, second = (snapshots[seed]["final"] for seed in (0, 1))
    return {
        "curvature": curvature.measure(evaluator, options["curvature"], 0, first, END),
        "perturbations": perturbation_rows(evaluator, options["curvature"]["noise"], 0, first),
        "fragility": disturbances(evaluator, options["fragility"], 0, first),
        "gradient_noise": gradient_noise(evaluator, options["gradient_noise"], 0, first, END),
        "layerwise": layerwise(evaluator, (0, 1), first, second, 3),
        "movement": movement(evaluator, 10, 0, snapshots[0], [START, END]),
        "learning_coefficients": learning_coefficients(evaluator, 0, first, options["local_learning_coefficient"]),
        "stability": compare(evaluator, 3, 0, first, second),
    }


def corrupted(
    evaluator: Evaluator, options: Mapping[str, Any], snapshots: Mapping[int, Weights], digits: Dataset
) -> Any:
    test = CorruptedTest.of(evaluator, digits, options["robustness"])
    with scoring(evaluator, [each["final"] for each in snapshots.values()]) as scores:
        return [robustness(evaluator, test, None, scores, name) for name in ("none", "contrast")]


@pytest.mark.parametrize("measure", [connect, of_weights, corrupted])
def test_an_analysis_measures_what_it_does_on_the_cpu(
    measure: Callable[..., Any],
    options: Mapping[str, Any],
    snapshots: Mapping[int, Weights],
    digits: Dataset,
    settings: Settings,
) -> None:
    """As near as other machines are, of which `Disturbed` makes two, in all numbers together."""

    def measured(where: Settings) -> Measured:
        evaluator = Evaluator.of(CELL, digits, (0, 1), where, stack=2, evaluation_examples=100, hessian_examples=50)
        return numbers(measure(evaluator, options, snapshots, digits))

    there = measured(CPU)

    def apart(found: Measured) -> dict[str, float]:
        """How far each number is from that of the CPU, relative to it; what is less than 0.001 counts as that."""
        assert [name for name, _ in found] == [name for name, _ in there]
        pairs = zip(found, there, strict=True)
        return {name: (ours - theirs) / max(abs(theirs), 1e-3) for (name, ours), (_, theirs) in pairs}

    others = []
    for seed in range(2):
        with Disturbed(seed):
            others.append(math.hypot(*apart(measured(CPU)).values()))
    ours = apart(measured(settings))
    assert math.hypot(*ours.values()) <= DEVIATIONS * max(others), max(ours.items(), key=lambda each: abs(each[1]))
