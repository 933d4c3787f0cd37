"""Calls are timed on made-up data of the kind that a study has: images, values with real targets, or tokens."""

import pytest
from helpers import CPU, recipe
from torch import Tensor

from isthmus.data.facts import Facts
from isthmus.planning.calibration import OF_NETWORKS, Task, calibrate
from isthmus.recipes.recipe import Recipe
from isthmus.training.cost import Calls, Work

READER = {
    "module": "own_models:Reader",
    "arguments": {"tokens": 9, "width": 4},
    "source": "",
    "parameters": 300,
    "activations": 100,
    "batch_norm": False,
    "convolutional": False,
    "random": False,
    "stacks": True,
    "last_layer": "head",
    "multiplications": 300,
}
TASKS = {
    "images": (recipe(width=4, depth=1), Facts(60, 20, (1, 4, 4), 3)),
    "values": (
        recipe(width=4, depth=1, training={"loss": "squared_error"}),
        Facts(60, 20, (5,), 2, "regression", "values", 0, False),
    ),
    "tokens": (
        Recipe.from_dict(recipe().as_dict() | {"network": READER}),
        Facts(60, 20, (3,), 4, "classification", "tokens", 9, False),
    ),
}


@pytest.mark.parametrize("call", OF_NETWORKS)
@pytest.mark.parametrize("kind", TASKS)
def test_every_call_can_be_timed_on_every_kind_of_data(kind: str, call: str) -> None:
    given, facts = TASKS[kind]
    result = OF_NETWORKS[call](Task(Work(()), given, facts, 2), 1, 16, CPU)()
    if call == "product":
        assert isinstance(result, Tensor)
        assert result.isfinite().all()


@pytest.mark.parametrize("layout", ["auto", "contiguous", "channels_last"])
def test_convolutions_are_timed_in_the_layouts_that_jobs_may_use(layout: str) -> None:
    given, facts = recipe(width=4, depth=1, network={"architecture": "cnn", "blocks": 1}), TASKS["images"][1]
    calls = tuple(Calls(kind, 1, 16 * 1e4) for kind in ("gradient", "evaluation"))
    speeds = calibrate([Task(Work(calls), given, facts, 1)], "auto", CPU, layout)
    assert speeds.keys() == {("gradient", "cnn"), ("evaluation", "cnn")}
    assert all(speed(1e6) > 0 for speed in speeds.values())
