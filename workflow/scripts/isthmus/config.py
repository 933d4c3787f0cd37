"""The configuration: checked as a whole before anything runs, with errors a user can act on.

The schema (`workflow/schemas/config.schema.yaml`, and `options` in `workflow/schemas/stages/*.yaml`) gives types,
ranges, defaults and descriptions. What a schema cannot say - a batch larger than the training set, a depth no residual
network has - is checked here. All errors are reported at once, each with the key, what was given and what is allowed.
"""

import copy
import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema
import yaml

from isthmus.datasets import BUILTIN, Facts, facts
from isthmus.errors import ConfigurationError, UserError
from isthmus.recipe import Recipe
from isthmus.stages import SCHEMAS, stages
from isthmus.study import AXES, Cell, Study, cell_name, combinations

SECTIONS = ("data", "network", "training")


@dataclass(frozen=True)
class Configuration:
    """A checked configuration: studies by name, data set descriptions by name, and the packing of jobs."""

    studies: dict[str, Study]
    datasets: dict[str, dict[str, Any]]
    jobs: dict[str, Any]


@cache
def schema() -> dict[str, Any]:
    """The schema of the whole configuration, the options of every analysis included, references resolved."""
    described = yaml.safe_load((SCHEMAS / "config.schema.yaml").read_text(encoding="utf-8"))
    definitions = described.pop("$defs")
    analyses = definitions["study"]["properties"]["analyses"]
    analyses["additionalProperties"] = False
    analyses["properties"] = {
        stage.name: {"description": stage.description, **stage.options}
        for stage in stages().values()
        if stage.options is not None
    }

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        node = dict(node)
        reference = node.pop("$ref", None)
        if reference is not None:
            node = definitions[reference.removeprefix("#/$defs/")] | node
        return {key: resolve(value) for key, value in node.items()}

    return resolve(described)


def load(config: dict[str, Any], look_up: Callable[[str, dict[str, Any]], Facts] = facts) -> Configuration:
    """Check a configuration, fill in its defaults and spell out its cells.

    look_up: tells size and shape of a data set from its name and description.
    Raises ConfigurationError with every mistake found, one a line.
    """
    given = _plain(config)
    errors = list(_schema_errors(given, schema(), ""))
    if errors:
        raise ConfigurationError("\n".join(["the configuration cannot be used:", *(f"  - {each}" for each in errors)]))
    complete = _with_defaults(given, schema())
    datasets = {name: _with_defaults({}, schema()["properties"]["datasets"]["additionalProperties"]) for name in BUILTIN}
    datasets |= complete["datasets"]
    errors = list(_dataset_errors(complete["datasets"]))
    studies = {}
    for name, study in complete["studies"].items():
        found = list(_study_errors(f"studies.{name}", given["studies"][name], study, datasets, look_up))
        errors += found
        if not found:
            studies[name] = _study(name, study)
    if errors:
        raise ConfigurationError("\n".join(["the configuration cannot be used:", *(f"  - {each}" for each in errors)]))
    return Configuration(studies, datasets, complete["jobs"])


def _plain(value: Any) -> Any:
    """A copy with plain dictionaries and string keys (YAML may give integers, Snakemake its own types)."""
    if isinstance(value, dict):
        return {str(key): _plain(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(content) for content in value]
    return value


def _with_defaults(value: Any, described: dict[str, Any]) -> Any:
    """`value` with the defaults of its schema filled in, at every depth."""
    if not isinstance(value, dict) or described.get("type") != "object":
        return copy.deepcopy(value)
    properties = described.get("properties", {})
    other = described.get("additionalProperties")
    complete = {}
    for key, content in value.items():
        inner = properties.get(key, other if isinstance(other, dict) else {})
        complete[key] = _with_defaults(content, inner)
    for key, inner in properties.items():
        if key not in complete and "default" in inner:
            complete[key] = _with_defaults(inner["default"], inner)
    return complete


def _dotted(where: str, key: object) -> str:
    return f"{where}[{key}]" if isinstance(key, int) else f"{where}.{key}".removeprefix(".")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _schema_errors(value: Any, described: dict[str, Any], where: str) -> Iterator[str]:
    """What the schema holds against `value`, as sentences."""
    validator = jsonschema.Draft202012Validator(described)
    for error in sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path]):
        place = where
        for part in error.absolute_path:
            place = _dotted(place, part)
        yield from _sentences(error, place or "the configuration")


def _sentences(error: jsonschema.ValidationError, place: str) -> Iterator[str]:
    schema_here = error.schema if isinstance(error.schema, dict) else {}
    if error.validator == "additionalProperties":
        allowed = sorted(schema_here.get("properties", {}))
        for key in sorted(set(error.instance) - set(allowed)):
            yield _unknown(_dotted(place if place != "the configuration" else "", key), key, allowed)
    elif error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        for key in missing:
            yield f"{place}: the key `{key}` is missing"
    else:
        yield f"{place}: {_shown(error.instance)} was given; allowed is {_allowed(schema_here)}"


def _unknown(where: str, key: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(key, allowed, 1)
    hint = f" (did you mean `{near[0]}`?)" if near else ""
    return f"{where}: unknown key{hint}; allowed are: {', '.join(allowed) or 'none'}"


def _allowed(described: dict[str, Any]) -> str:
    """What a schema allows, in words."""
    if "enum" in described:
        return "one of " + ", ".join(str(value) for value in described["enum"])
    if "oneOf" in described:
        return " or ".join(_allowed(each) for each in described["oneOf"])
    types = described.get("type", "anything")
    names = {"null": "null", "object": "a mapping", "array": "a list", "integer": "an integer", "number": "a number"}
    names |= {"string": "a name", "boolean": "true or false"}
    words = " or ".join(names.get(each, each) for each in ([types] if isinstance(types, str) else types))
    bounds = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "minItems": "with at least {} entries",
        "minProperties": "with at least {} entries",
        "pattern": "of the form {}",
    }
    parts = [text.format(described[key]) for key, text in bounds.items() if key in described]
    if described.get("uniqueItems"):
        parts.append("without repetitions")
    if isinstance(described.get("items"), dict) and described.get("type") == "array":
        parts.append(f"each of them {_allowed(described['items'])}")
    return " ".join([words, *([", ".join(parts)] if parts else [])])


def _dataset_errors(described: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, dataset in described.items():
        where = f"datasets.{name}"
        if dataset["source"] == "parquet":
            for key in ("train", "test"):
                if key not in dataset:
                    yield f"{where}: the key `{key}` is missing; a Parquet set names its files"
        elif name not in BUILTIN:
            yield f"{where}: no built-in data set has this name; there are {', '.join(BUILTIN)}, or set `source: parquet`"


def _study_errors(
    where: str,
    given: dict[str, Any],
    study: dict[str, Any],
    datasets: dict[str, dict[str, Any]],
    look_up: Callable[[str, dict[str, Any]], Facts],
) -> Iterator[str]:
    """What is wrong with one study beyond the schema."""
    found = list(_axis_errors(f"{where}.grid", given, study["grid"]))
    yield from found
    if found:
        return
    known: dict[str, Facts] = {}
    reported: set[str] = set()
    for axes in _cells(study["grid"]):
        sections = _sections(study, axes)
        name = sections["data"]["name"]
        if name not in datasets:
            message = f"{where}.data.name: {_shown(name)} was given; there are {', '.join(sorted(datasets))}"
            if message not in reported:
                reported.add(message)
                yield message
            continue
        if name not in known:
            try:
                known[name] = look_up(name, datasets[name])
            except UserError as error:
                yield f"{where}.data.name: {error}"
                return
        for message in _cell_errors(where, sections, known[name], cell_name(axes)):
            if message not in reported:
                reported.add(message)
                yield message


def _axis_errors(where: str, given: dict[str, Any], grid: dict[str, list[Any]]) -> Iterator[str]:
    sections = schema()["properties"]["studies"]["additionalProperties"]["properties"]
    for axis, values in grid.items():
        if axis in (*AXES, "seed"):
            continue
        home = next((section for section in SECTIONS if axis in sections[section]["properties"]), None)
        scalars = [
            key
            for section in SECTIONS
            for key, described in sections[section]["properties"].items()
            if described.get("type") != "array"
        ]
        if home is None or axis not in scalars:
            yield _unknown(f"{where}.{axis}", axis, [*AXES, "seed", *sorted(scalars)])
            continue
        if axis in given.get(home, {}):
            yield f"{where}.{axis}: also given as {home}.{axis}; keep one of the two"
        for number, value in enumerate(values):
            if isinstance(value, dict | list):
                yield f"{where}.{axis}[{number}]: {_shown(value)} was given; an axis takes single values"
            else:
                yield from _schema_errors(value, sections[home]["properties"][axis], f"{where}.{axis}[{number}]")


def _cells(grid: dict[str, Any]) -> list[dict[str, Any]]:
    return combinations({axis: values for axis, values in grid.items() if axis != "seed"})


def _sections(study: dict[str, Any], axes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of one cell, its axes in place, the learning rate looked up by batch size."""
    sections = {section: dict(study[section]) for section in SECTIONS}
    for axis, value in axes.items():
        home = "network" if axis in ("width", "depth") else "training" if axis == "batch_size" else None
        home = home or next(section for section in SECTIONS if axis in study[section])
        sections[home][axis] = value
    rate = sections["training"]["learning_rate"]
    if isinstance(rate, dict):
        sections["training"]["learning_rate"] = rate.get(str(axes["batch_size"]))
    return sections


def _cell_errors(where: str, sections: dict[str, dict[str, Any]], known: Facts, cell: str) -> Iterator[str]:
    """What is wrong with one cell, the data being known."""
    data, network, training = (sections[section] for section in SECTIONS)
    examples = data["train_size"] or known.train_size
    batch = training["batch_size"]
    if examples > known.train_size:
        yield f"{where}.data.train_size: {examples} was given; {data['name']} has {known.train_size} training examples"
        return
    if batch > examples:
        yield f"{where}.grid.batch_size: {batch} was given; there are only {examples} training examples"
        return
    if training["learning_rate"] is None:
        yield f"{where}.training.learning_rate: no rate is given for batch size {batch}"
    if network["architecture"] == "resnet" and (network["depth"] < 8 or network["depth"] % 6 != 2):
        yield f"{where}.grid.depth: {network['depth']} was given; a resnet has 6n + 2 layers: 8, 14, 20, 26, 32, ..."
    if network["architecture"] == "cnn" and known.shape is not None and min(known.shape[1:]) < 2 ** network["blocks"]:
        size = "x".join(str(side) for side in known.shape[1:])
        yield f"{where}.network.blocks: {network['blocks']} was given; each block halves the image, and {size} pixels allow fewer"
    if training["nesterov"] and (training["optimizer"] != "sgd" or training["momentum"] == 0):
        yield f"{where}.training.nesterov: true was given; it needs the optimizer sgd with a momentum above 0"
    last = 0 if training["drop_last"] else examples % batch
    lonely = batch == 1 or last == 1
    if network["normalization"] == "batch" and network["architecture"] == "mlp" and lonely:
        yield (
            f"{where}.grid.batch_size: {batch} was given; with {examples} examples it leaves a batch of one, which cannot "
            "be batch-normalized: choose another size or set training.drop_last"
        )
    length = training["epochs"] if training["steps"] is None else training["steps"] / -(-examples // batch)
    if training["warmup_epochs"] >= length:
        yield f"{where}.training.warmup_epochs: {training['warmup_epochs']} was given; the run has {length:g} epochs"
    late = [epoch for epoch in training["snapshots"] if epoch > length]
    if late:
        yield f"{where}.training.snapshots: {late[0]} was given; the run has {length:g} epochs"


def _study(name: str, study: dict[str, Any]) -> Study:
    cells = {}
    for axes in _cells(study["grid"]):
        sections = _floats(_sections(study, axes))
        axes = {key: next(sections[home][key] for home in SECTIONS if key in sections[home]) for key in axes}
        cell = cell_name(axes)
        cells[cell] = Cell(name, cell, axes, Recipe.from_dict(sections))
    seed = study["grid"]["seed"]
    seeds = tuple(range(seed)) if isinstance(seed, int) else tuple(sorted(seed))
    return Study(name, cells, seeds, study["analyses"])


def _floats(sections: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Numbers that may be fractions as floats, so that `1` and `1.0` are one recipe and one name."""
    described = schema()["properties"]["studies"]["additionalProperties"]["properties"]
    for section, content in sections.items():
        for key, value in content.items():
            inner = described[section]["properties"].get(key, {})
            types = inner.get("type", "number" if key == "learning_rate" else "")
            if "number" in types and isinstance(value, int) and not isinstance(value, bool):
                content[key] = float(value)
    return sections
