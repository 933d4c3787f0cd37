"""Configurations of one study, and what is wrong with them, for the tests of the package `study`."""

from typing import Any

import pytest

from isthmus.core.errors import ConfigurationError
from isthmus.data.facts import Facts, facts
from isthmus.study.config import load
from isthmus.study.grid import Study

IMAGES = Facts(1_000, 100, (3, 32, 32), 10)
"""What the data set `images`, whose files do not exist, would be."""

DATASETS = {"images": {"source": "parquet", "train": "absent/train.parquet", "test": ["absent/test.parquet"]}}
GRID = {"width": [8], "depth": [2], "batch_size": [32], "seed": 2}


def look_up(name: str, description: dict[str, Any]) -> Facts:
    return IMAGES if name == "images" else facts(name, description)


def configuration(grid: dict[str, Any] | None = None, name: str = "s", **sections: Any) -> dict[str, Any]:
    """A configuration with one study; `grid` and `sections` add to the least that works, None takes away."""
    axes = {axis: values for axis, values in (GRID | (grid or {})).items() if values is not None}
    return {"datasets": DATASETS, "studies": {name: {"grid": axes} | sections}}


def study_of(grid: dict[str, Any] | None = None, **sections: Any) -> Study:
    return load(configuration(grid, **sections), look_up).studies["s"]


def mistakes(config: Any) -> list[str]:
    """The lines of the error that a configuration causes."""
    with pytest.raises(ConfigurationError) as error:
        load(config, look_up)
    first, *lines = str(error.value).splitlines()
    assert first == "the configuration cannot be used:"
    assert all(line.startswith("  - ") for line in lines)
    return [line.removeprefix("  - ") for line in lines]


def mistake(grid: dict[str, Any] | None = None, **sections: Any) -> str:
    """The one mistake in the study `s`."""
    (line,) = mistakes(configuration(grid, **sections))
    return line
