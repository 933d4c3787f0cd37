"""Whatever a configuration says, it is loaded, or refused in sentences that name its keys: never a traceback.

Configurations are written by Hypothesis, from the schema.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.analyses.claims.statements import read_claims
from isthmus.core.errors import ConfigurationError, UserError
from isthmus.study.config import load
from isthmus.study.graph import Graph
from isthmus.study.schema import schema

Path = tuple[str, ...]
Strategy = st.SearchStrategy[Any]

ORDINARY = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
THOROUGH = settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.integers(2**1000, 2**1100),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
EVERYTHING: dict[str, Any] = {
    "studies": {
        "all": {
            "data": {"name": "MNIST", "train_size": 200},
            "network": {"architecture": "mlp"},
            "training": {"epochs": 3},
            "grid": {"width": [4, 8], "depth": [1], "batch_size": [16], "seed": 2},
            "analyses": {
                "connect": {"kinds": ["linear", "bezier"], "curve": {}, "planes": {}, "alignment": {}, "sharpness": {}},
                "curvature": {"noise": {}, "spectrum": {}},
                "movement": {},
                "tickets": {"curvature": {}, "robustness": {}},
                "robustness": {},
                "relations": {},
            },
        }
    },
    "jobs": {},
    "datasets": {},
}


def values(described: dict[str, Any]) -> Strategy:
    """What the schema allows for a key."""
    if "const" in described:
        return st.just(described["const"])
    if "enum" in described:
        return st.sampled_from(described["enum"])
    if alternatives := described.get("oneOf", described.get("anyOf")):
        return st.one_of([values(each) for each in alternatives])
    kinds = described.get("type", [])
    return st.one_of([_of_kind(kind, described) for kind in ([kinds] if isinstance(kinds, str) else kinds)])


def _of_kind(kind: str, described: dict[str, Any]) -> Strategy:
    low, high = described.get("minimum"), described.get("maximum")
    if kind == "integer":
        return st.integers(low, high)
    if kind == "number":
        above, below = described.get("exclusiveMinimum"), described.get("exclusiveMaximum")
        bounds = {"min_value": low if above is None else above, "max_value": high if below is None else below}
        inside = {"exclude_min": above is not None, "exclude_max": below is not None}
        return st.floats(**bounds, **inside, allow_nan=False, allow_infinity=False)
    if kind == "string":
        pattern = described.get("pattern")
        return st.from_regex(pattern, fullmatch=True) if pattern else st.text(min_size=described.get("minLength", 0))
    if kind == "array":
        sizes = {"min_size": described.get("minItems", 0), "max_size": min(described.get("maxItems", 3), 3)}
        return st.lists(values(described["items"]), unique_by=str, **sizes) if "items" in described else st.just([1])
    if kind == "object":
        named = {key: values(each) for key, each in described.get("properties", {}).items()}
        needed = {key: named[key] for key in described.get("required", [])}
        return st.fixed_dictionaries(needed, optional={key: each for key, each in named.items() if key not in needed})
    return {"boolean": st.booleans(), "null": st.none()}[kind]


def keys(described: dict[str, Any], path: Path = ()) -> list[tuple[Path, dict[str, Any]]]:
    """All keys of the configuration, of the study `all`, with what the schema says about them."""
    found = []
    for key, each in described.get("properties", {}).items():
        found.append(((*path, key), each))
        found += keys(each, (*path, key))
    return found


STUDY = schema()["properties"]["studies"]["additionalProperties"]
KEYS = keys(STUDY, ("studies", "all")) + keys(schema()["properties"]["jobs"], ("jobs",))
OWN = {"module", "arguments", "loss", "initial"}  # their files are run, in processes of their own


def changed(path: Path, value: Any) -> dict[str, Any]:
    """The configuration with another value of one key."""
    config = deepcopy(EVERYTHING)
    place = config
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = value
    return config


def not_run(requests: Sequence[Any]) -> list[Any]:
    return [UserError("files are not run here") for _ in requests]


def refusal(config: dict[str, Any]) -> str:
    """Why a configuration is refused; empty if its graph of jobs can be made."""
    try:
        graph = Graph(load(config, describe=not_run), read_claims())
    except ConfigurationError as error:
        return str(error)
    assert all(map(graph.parts, graph.collected()))
    assert graph.figures()
    return ""


def check(path: Path, value: Any) -> str:
    """Change one key; where that is refused, every line names a key, and one of them this one or what it touches."""
    reason = refusal(changed(path, value))
    if reason:
        lines = [line.removeprefix("  - ") for line in reason.splitlines()[1:]]
        assert lines
        assert all(line.startswith(("studies.", "jobs", "datasets", "the configuration")) for line in lines), reason
        assert path[-1] in reason or ".".join(path[:3]) in reason or str(value) in reason, reason
    return reason


def test_the_configuration_that_is_changed_here_is_valid() -> None:
    assert refusal(EVERYTHING) == ""


@st.composite
def valid_changes(draw: st.DrawFn) -> tuple[Path, Any]:
    path, described = draw(st.sampled_from([each for each in KEYS if each[0][-1] not in OWN]))
    return path, draw(values(described))


@st.composite
def arbitrary_changes(draw: st.DrawFn) -> tuple[Path, Any]:
    path, _ = draw(st.sampled_from([each for each in KEYS if each[0][-1] not in OWN]))
    return path, draw(ANYTHING)


@given(valid_changes())
@ORDINARY
def test_what_the_schema_allows_is_loaded_or_refused_by_name(change: tuple[Path, Any]) -> None:
    check(*change)


@given(arbitrary_changes())
@ORDINARY
def test_anything_else_is_refused_by_name(change: tuple[Path, Any]) -> None:
    check(*change)


@given(values(STUDY), values(schema()["properties"]["jobs"]))
@ORDINARY
def test_whole_studies_from_the_schema_are_loaded_or_refused_by_name(study: Any, jobs: Any) -> None:
    study.get("network", {}).pop("module", None)
    study.get("training", {}).pop("loss", None)
    reason = refusal({"studies": {"all": study}, "jobs": jobs})
    assert all(line.startswith("  - ") for line in reason.splitlines()[1:])


@given(ANYTHING)
@ORDINARY
def test_what_is_no_configuration_at_all_is_refused(config: Any) -> None:
    if isinstance(config, dict):
        assert refusal(config)


@pytest.mark.exhaustive
@given(arbitrary_changes() | valid_changes())
@THOROUGH
def test_thousands_of_changes_are_loaded_or_refused_by_name(change: tuple[Path, Any]) -> None:
    check(*change)
