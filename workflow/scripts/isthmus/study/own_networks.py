"""Networks of the user's own in the configuration: where their code is, what is known about them, what they allow.

A study names a function, `network: {module: "models.py:build", arguments: {...}}`. Axes of its grid that are no keys of
`data` or `training` are arguments of that function.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus.core.errors import ConfigurationError, UserError
from isthmus.core.files import expanded
from isthmus.core.messages import shown
from isthmus.data.facts import Facts
from isthmus.models.description import Description, Request, source_of
from isthmus.recipes.path_kinds import is_aligned, is_repaired
from isthmus.study.grid import cells, is_own, is_trained_elsewhere, sections_of
from isthmus.tables.descriptions import table
from isthmus.tables.quantities import quantities

Describe = Callable[[Sequence[Request]], Sequence[Description | UserError]]


def located(module: str, folder: Path) -> str:
    """The module, with a path relative to `folder` turned into one relative to the working directory.

    >>> located("models.py:build", Path("presets"))
    'presets/models.py:build'
    >>> located("torchvision.models:resnet18", Path("presets"))
    'torchvision.models:resnet18'
    """
    place, _, name = module.rpartition(":")
    return f"{os.path.relpath(folder / expanded(place))}:{name}" if place.endswith(".py") else module


def module_errors(where: str, given: Mapping[str, Any], study: dict[str, Any]) -> Iterator[str]:
    """Mistakes in the section `network` and in the axes of a study that can be seen without running its module."""
    network, grid = given.get("network", {}), study["grid"]
    arguments = network.get("arguments", {})
    if not is_own(study):
        if "arguments" in network:
            yield f"{where}.network.arguments: these belong to a `module`; a built-in architecture has keys of its own"
        for axis in ("width", "depth"):
            if axis not in grid:
                yield f"{where}.grid: the key `{axis}` is missing; the built-in architectures have it"
        return
    for key in sorted(network.keys() - {"module", "arguments"}):
        yield f"{where}.network.{key}: a `module` has no such key; what its function takes goes into `arguments`"
    try:
        source_of(network["module"])
    except ConfigurationError as error:
        yield f"{where}.network.module: {error}"
    for name in sorted(grid.keys() & arguments.keys()):
        yield f"{where}.grid.{name}: also given as network.arguments.{name}; keep one of the two"


def argument_errors(where: str, values: Sequence[Any]) -> Iterator[str]:
    """Mistakes in an axis, at `where` in the configuration, that is an argument of the user's own function."""
    axis = where.rpartition(".")[2]
    kinds = {float if type(value) is int else type(value) for value in values if value is not None}
    if axis in _columns() or not axis.isidentifier():
        yield f"{where}: an axis cannot have this name, which tables use for a column of their own; rename the argument"
    elif kinds & {dict, list}:
        yield f"{where}: {shown(values)} was given; an axis takes single values"
    elif len(kinds) > 1:
        yield f"{where}: {shown(values)} was given; an axis takes only numbers, or only texts, or true and false"


def _columns() -> set[str]:
    """The columns of tables that have a column for each axis."""
    described = {column.name for name in ("cells", "summaries") for column in table(name).columns}
    return described.union(*(quantity.by for quantity in quantities()), ["seed"])


def describe_networks(
    studies: Mapping[str, dict[str, Any]], facts: Mapping[str, Facts], describe: Describe
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """The section `network` of the recipe of every cell, by study, and what is wrong with the modules there.

    Studies of built-in architectures have none. A section has the keys of `isthmus.recipes.recipe.ModuleRecipe`.
    """
    own = {name: study for name, study in studies.items() if is_own(study)}
    sources = {name: source_of(study["network"]["module"]) for name, study in own.items()}
    uses = [(name, sections_of(study, axes)) for name, study in own.items() for axes in cells(study["grid"])]
    asked = [_request(sections, sources[name], facts) for name, sections in uses]
    found_in: dict[str, list[dict[str, Any]]] = {name: [] for name in own}
    errors: dict[str, None] = {}  # a dictionary keeps the order and drops repetitions
    for (name, sections), each, found in zip(uses, asked, describe(asked) if asked else [], strict=True):
        if isinstance(found, UserError):
            errors |= {f"studies.{name}.network.module: {each.module} with {shown(each.arguments)}: {found}": None}
        else:
            found_in[name].append(_section(each, found))
            errors |= dict.fromkeys(_use_errors(f"studies.{name}", own[name], sections, found, facts))
    return found_in, list(errors)


def _request(sections: Mapping[str, Mapping[str, Any]], source: str, facts: Mapping[str, Facts]) -> Request:
    """The module of one cell, to be described."""
    network, data = sections["network"], facts[sections["data"]["name"]]
    return Request(network["module"], network["arguments"], source, data.shape, data.classes, data.tokens)


def _use_errors(
    where: str,
    study: dict[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
    found: Description,
    facts: Mapping[str, Facts],
) -> Iterator[str]:
    """What a study asks of a module that it does not allow."""
    training, data = sections["training"], sections["data"]
    batch, examples = training["batch_size"], data["train_size"] or facts[data["name"]].train_size
    lonely = batch == 1 or (examples % batch == 1 and not training["drop_last"])
    if found.alone and lonely and not is_trained_elsewhere(study):
        yield (
            f"{where}.grid.batch_size: {batch} was given; with {examples} examples it leaves a batch of one, on which "
            f"the module cannot be trained ({found.alone}): choose another size or set training.drop_last"
        )
    for analysis, options in study["analyses"].items():
        place = f"{where}.analyses.{analysis}"
        for kind in options.get("kinds", []):
            if is_aligned(kind) and found.aligned:
                yield f"{place}.kinds: give kinds without {kind}; the module cannot be aligned ({found.aligned})"
            elif is_repaired(kind) and found.repaired:
                yield f"{place}.kinds: give kinds without {kind}; the module cannot be repaired ({found.repaired})"
        if "kinds" in options and not found.last_layer:
            yield f"{place}: it compares what networks compute before their last layer; the module has no such layer"
        if "kept_fractions" in options and not found.prunable:
            yield f"{place}: the module has no linear layer and no convolution whose weights could be pruned"
        curvature = options.get("curvature", {}).get("kinds") or options.get("sharpness", {}).get("points")
        if found.curved and (analysis == "curvature" or curvature):
            yield f"{place}: the module cannot be differentiated twice ({found.curved})"


def _section(asked: Request, found: Description) -> dict[str, Any]:
    """The section `network` of the recipe of a cell."""
    return {
        "module": asked.module,
        "arguments": dict(asked.arguments),
        "source": asked.source,
        "parameters": found.parameters,
        "activations": found.activations,
        "batch_norm": found.batch_norm,
        "convolutional": found.convolutional,
        "random": found.random,
        "stacks": not found.together,
        "last_layer": found.last_layer,
        "multiplications": found.multiplications,
        "matching": found.matching,
    }
