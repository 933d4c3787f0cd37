"""Keys without an effect: refused where no cell uses them, said where some do."""

from pathlib import Path
from typing import Any

import pytest
from running import configuration, small_study, succeed

from isthmus.core.errors import ConfigurationError
from isthmus.study.config import Configuration, load
from isthmus.study.idle import CONDITIONS

# Two values of each key; what else a study needs, without any cell that uses the key; an axis that lets half of them.
CASES: dict[str, tuple[list[Any], dict[str, Any], dict[str, list[Any]]]] = {
    "selection": (["balanced", "first"], {}, {"train_size": [None, 300]}),
    "selection_seed": ([0, 1], {}, {"train_size": [None, 300]}),
    "label_noise_draw": (["per_seed", "once"], {}, {"label_noise": [0.0, 0.1]}),
    "blocks": ([1, 2], {}, {"architecture": ["mlp", "cnn"]}),
    "hidden_units": ([0, 16], {}, {"architecture": ["mlp", "cnn"]}),
    "taper": ([1, 2], {"network": {"architecture": "cnn"}}, {"architecture": ["mlp", "cnn"]}),
    "reference_batch_size": ([32, 64], {}, {"batch_scaling": ["none", "sqrt"]}),
    "momentum": ([0.5, 0.9], {"training": {"optimizer": "adam"}}, {"optimizer": ["adam", "sgd"]}),
    "beta1": ([0.5, 0.9], {}, {"optimizer": ["sgd", "adamw"]}),
    "beta2": ([0.5, 0.9], {}, {"optimizer": ["sgd", "adam"]}),
    "sharpness_adaptive": ([False, True], {}, {"sharpness_radius": [0, 0.5]}),
    "sharpness_eta": ([0.1, 0.2], {"training": {"sharpness_radius": 0.5}}, {"sharpness_adaptive": [False, True]}),
    "averaging_start": ([0.1, 0.2], {}, {"averaging": ["none", "ema"]}),
    "averaging_rate": ([0.1, 0.2], {"training": {"averaging": "ema"}}, {"averaging": ["ema", "swa"]}),
    "averaging_decay": ([0.8, 0.9], {"training": {"averaging": "swa"}}, {"averaging": ["swa", "ema"]}),
    "final_rate_fraction": ([0.0, 0.1], {"training": {"schedule": "step"}}, {"schedule": ["step", "linear"]}),
    "decay_factor": ([0.1, 0.5], {}, {"schedule": ["cosine", "step"]}),
    "statistics_size": ([100, 200], {}, {"normalization": ["none", "batch"]}),
}


def loaded(sections: dict[str, Any], grid: dict[str, list[Any]]) -> Configuration:
    study = small_study(**grid)
    training = {"epochs": 40} | {key: value for key, value in sections.get("training", {}).items() if key not in grid}
    network = {key: value for key, value in sections.get("network", {}).items() if key not in grid}
    return load(configuration(small=study | {"training": training, "network": network}))


@pytest.mark.parametrize("key", CASES)
def test_an_axis_that_no_cell_uses_is_refused_and_one_that_some_use_is_said(key: str) -> None:
    values, sections, axis = CASES[key]
    with pytest.raises(ConfigurationError) as refused:
        loaded(sections, {key: values})
    (line,) = str(refused.value).splitlines()[1:]
    assert line.startswith(f"  - studies.small.grid.{key}: ")
    assert line.endswith(f"was given, but no network uses it; it needs {CONDITIONS[key].needed}")
    found = loaded(sections, {key: values} | axis)
    (notice,) = found.notices
    assert notice.startswith(f"studies.small.grid.{key}: 4 of 8 cells do not use it")


@pytest.mark.exhaustive
def test_the_workflow_says_it(tmp_path: Path) -> None:
    study = small_study(optimizer=["sgd", "adam"], momentum=[0.5, 0.9])
    printed = succeed(tmp_path, configuration(small=study), "all", "--dry-run")
    assert "studies.small.grid.momentum: 4 of 8 cells do not use it, since it needs the optimizer sgd" in printed


def test_every_condition_is_tried() -> None:
    assert CONDITIONS.keys() - CASES.keys() == {"milestones"}, "a list, which is no axis"


def test_a_key_that_no_network_uses_is_refused_and_its_default_is_not() -> None:
    with pytest.raises(ConfigurationError, match=r"training\.beta1: 0\.5 was given, but no network uses it"):
        load(configuration(small=small_study() | {"training": {"epochs": 2, "beta1": 0.5}}))
    with pytest.raises(ConfigurationError, match=r"training\.milestones: "):
        load(configuration(small=small_study() | {"training": {"epochs": 2, "milestones": [0.9]}}))
    found = load(configuration(small=small_study() | {"training": {"epochs": 2, "beta1": 0.9}}))
    assert found.notices == ()
