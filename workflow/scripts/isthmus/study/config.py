"""The configuration: checked as a whole before anything runs, with errors that a user can act on.

The schema (`workflow/schemas/config.schema.yaml`, and `options` in `workflow/schemas/stages/*.yaml`) gives types,
ranges, defaults and descriptions. `isthmus.study.checks` checks what a schema cannot express. All mistakes are reported
at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.core.defaults import typed, with_defaults
from isthmus.core.errors import ConfigurationError
from isthmus.core.messages import schema_errors
from isthmus.data.facts import BUILTIN, Facts
from isthmus.data.facts import facts as look_up_facts
from isthmus.models.description import describe as describe_modules
from isthmus.recipes.cells import cell_name
from isthmus.recipes.recipe import Recipe
from isthmus.study.checkpoints import checked_files, known_keys, located_checkpoints
from isthmus.study.checks import study_errors
from isthmus.study.data_checks import dataset_errors, normalization_errors, same_but_for_case
from isthmus.study.elsewhere import is_elsewhere, key_errors, study_of_tables
from isthmus.study.files import file_errors, folder_of
from isthmus.study.grid import SECTIONS, Cell, Checkpoints, Study, cells, is_own, is_trained_elsewhere, sections_of
from isthmus.study.idle import idle_notices
from isthmus.study.own_losses import checked_losses, located_loss
from isthmus.study.own_networks import Describe, describe_networks, located
from isthmus.study.schema import schema, study_schema
from isthmus.study.stage_checks import stage_errors


@dataclass(frozen=True)
class Configuration:
    """A checked configuration: studies, descriptions and facts of data sets, all by name, and settings of jobs.

    contents: digests of the files of networks trained elsewhere, by path. notices: what can be run but may not be
    meant, a sentence each.
    """

    studies: dict[str, Study]
    datasets: dict[str, dict[str, Any]]
    facts: dict[str, Facts]
    jobs: dict[str, Any]
    contents: dict[str, str]
    notices: tuple[str, ...] = ()


def load(
    config: dict[str, Any],
    look_up: Callable[[str, dict[str, Any]], Facts] = look_up_facts,
    files: Sequence[Path | str] = (),
    describe: Describe = describe_modules,
) -> Configuration:
    """Check a configuration, fill in its defaults and list its cells.

    look_up: returns the facts about a data set from its name and description. files: that the configuration was read
    from; the folder of the last one with studies is where the files of the user's own networks, losses and weights are.
    describe: returns the descriptions of these networks.
    Raises ConfigurationError that lists every mistake, one per line.
    """
    _refuse(stage_errors(), "the descriptions of stages cannot be used:")
    _refuse(file_errors(files))
    folder = folder_of(files)
    given = _plain(config)
    _refuse(schema_errors(given, schema(), ""))
    _refuse([each for name, study in given["studies"].items() for each in key_errors(f"studies.{name}", study)])
    _refuse([each for name, study in given["studies"].items() for each in _located(f"studies.{name}", study, folder)])
    complete = with_defaults(given, schema())
    order = list(complete["studies"])
    of_tables = {name: complete["studies"].pop(name) for name in order if is_elsewhere(given["studies"][name])}
    described = schema()["properties"]["datasets"]["additionalProperties"]
    datasets = {name: with_defaults({}, described) for name in BUILTIN} | complete["datasets"]
    errors = [*dataset_errors(complete["datasets"]), *same_but_for_case("datasets", datasets)]
    _refuse(errors)
    facts: dict[str, Facts] = {}
    for name, study in complete["studies"].items():
        errors += study_errors(f"studies.{name}", given["studies"][name], study, datasets, look_up, facts)
    errors += [*same_but_for_case("studies", order), *normalization_errors(datasets, facts)]
    taken = {name: study_of_tables(name, study, folder) for name, study in of_tables.items()}
    _refuse([*errors, *(each for _, mistakes, _ in taken.values() for each in mistakes)])
    networks, errors = describe_networks(complete["studies"], facts, describe)
    losses, wrong = checked_losses(complete["studies"], facts)
    _refuse([*errors, *wrong])
    studies = {
        name: _study(name, given["studies"][name], study, networks.get(name), losses.get(name, ""))
        for name, study in complete["studies"].items()
    }
    contents, errors = checked_files(studies.values(), facts)
    _refuse(errors)
    studies |= {name: study for name, (study, _, _) in taken.items() if study}
    studies = {name: studies[name] for name in order}
    notices = [each for name, study in complete["studies"].items() for each in idle_notices(f"studies.{name}", study)]
    notices += [each for _, _, unread in taken.values() for each in unread]
    return Configuration(studies, datasets, facts, complete["jobs"], contents, tuple(notices))


def _refuse(errors: Sequence[str], what: str = "the configuration cannot be used:") -> None:
    if errors:
        raise ConfigurationError("\n".join([what, *(f"  - {each}" for each in errors)]))


def _located(where: str, study: dict[str, Any], folder: Path) -> Iterator[str]:
    """Make the user's own files, relative to `folder`, relative to the working directory, in place. Yields mistakes."""
    try:
        if is_own({"network": {}} | study):
            study["network"]["module"] = located(study["network"]["module"], folder)
        located_loss(study, folder)
        located_checkpoints(study, folder)
    except ConfigurationError as error:
        yield f"{where}: {error}"


def _plain(value: Any) -> Any:
    """A copy with plain dictionaries and string keys: YAML may give integer keys, and Snakemake its own types."""
    if isinstance(value, dict):
        return {str(key): _plain(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(content) for content in value]
    return value


def _study(
    name: str,
    given: dict[str, Any],
    study: dict[str, Any],
    networks: list[dict[str, Any]] | None,
    loss_source: str,
) -> Study:
    """A study of the checked configuration, with all its cells.

    given: the study before its defaults were filled in. networks: of the cells, if they are the user's own.
    loss_source: of the loss, if it is the user's own.
    """
    spelled, checkpoints, known = {}, None, {}
    if is_trained_elsewhere(study):
        checkpoints = Checkpoints.of(study["networks"])
        known = {"known": known_keys(given)}
    for number, axes in enumerate(cells(study["grid"])):
        sections = sections_of(study, axes)
        for section in SECTIONS:
            described = study_schema()[section]["properties"]
            sections[section] = {key: typed(value, described.get(key, {})) for key, value in sections[section].items()}
        network = sections["network"]
        values = (network if networks is None else network["arguments"]) | sections["data"] | sections["training"]
        own = {axis: values[axis] for axis in axes}
        if networks is not None:
            sections["network"] = networks[number]
        sections["training"]["loss_source"] = loss_source
        cell = cell_name(own)
        spelled[cell] = Cell(name, cell, own, Recipe.from_dict(sections | known))
    seed = study["grid"]["seed"]
    seeds = tuple(range(seed)) if isinstance(seed, int) else tuple(sorted(seed))
    return Study(name, spelled, seeds, study["analyses"], checkpoints)
