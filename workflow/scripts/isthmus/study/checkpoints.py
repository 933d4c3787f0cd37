"""Networks trained elsewhere in the configuration: where their files are, and what a study may say and ask of them.

A study names the files, `networks: {checkpoints: "runs/{width}/seed{seed}.pt"}`, instead of a recipe. Here, files are
checked without torch, except for their content, which a separate process examines (`isthmus.models.description`).
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from isthmus.core.files import expanded
from isthmus.core.messages import shown
from isthmus.core.resume import Record, read_record, write_record
from isthmus.data.facts import Facts
from isthmus.models.description import FOLDER, CheckpointRequest, mistakes
from isthmus.recipes.path_kinds import is_line
from isthmus.recipes.recipe import Recipe
from isthmus.study.grid import Study, is_trained_elsewhere
from isthmus.study.schema import study_schema
from isthmus.tables.descriptions import stages

MEASURED = ("loss", "statistics_size")
"""Keys of `training` that say how networks are measured."""

FACTS = (
    *("epochs", "optimizer", "learning_rate", "weight_decay", "sharpness_radius", "sharpness_adaptive", "averaging"),
    "precision",
)
"""Keys of `training` that tables hold as facts about a network."""

BENDS = (
    *("optimizer", "learning_rate", "schedule", "weight_decay", "momentum", "nesterov", "beta1", "beta2"),
    *("schedule_interval", "final_rate_fraction", "milestones", "decay_factor", "drop_last", "flip", "crop_padding"),
    *("precision", "divergence_factor"),
)
"""Keys of `training` that the bends of curves take over, those without which none is trained first."""

NEEDED_BY_BENDS = BENDS[:4]
MOST_FILES = 10  # named in one message
INDEX = FOLDER / "files.json"


def located_checkpoints(study: dict[str, Any], folder: Path) -> None:
    """Make the patterns of a study's files, relative to `folder`, relative to the working directory, in place."""
    for key in ("checkpoints", "initial"):
        if key in study.get("networks", {}):
            study["networks"][key] = os.path.relpath(folder / expanded(study["networks"][key]))


def known_keys(given: Mapping[str, Any]) -> list[str]:
    """The facts about training that a study gives, as values or as axes."""
    return [key for key in FACTS if key in given.get("training", {}) or key in given["grid"]]


def checkpoint_errors(where: str, given: Mapping[str, Any], study: dict[str, Any]) -> Iterator[str]:
    """Mistakes in a study of networks trained elsewhere that can be seen without their files.

    given: the study before its defaults were filled in.
    """
    if not is_trained_elsewhere(study):
        return
    networks, training = study["networks"], study_schema()["training"]["properties"]
    if "initial_state_dict" in networks and "initial" not in networks:
        yield f"{where}.networks.initial_state_dict: it is a place in the files of `initial`, which is missing"
    for key in ("checkpoints", "initial"):
        if key in networks:
            yield from _pattern_errors(
                f"{where}.networks.{key}", networks[key], study["grid"], every=key == "checkpoints"
            )
    curved = [name for name, options in study["analyses"].items() if _trains_bends(options)]
    allowed = {*MEASURED, *FACTS, *(BENDS if curved else ()), "batch_size"}
    for place, keys in (("training", given.get("training", {})), ("grid", given["grid"])):
        for key in keys:
            if key in training and key not in allowed:
                yield f"{where}.{place}.{key}: nothing uses it for networks trained elsewhere; leave it out"
    if "epochs" not in known_keys(given):
        yield f"{where}.training: the key `epochs` is missing; tables say after how many epochs a network was measured"
    noise = study["grid"].get("label_noise", [study["data"]["label_noise"]])
    if any(noise):
        told = "networks trained elsewhere did not learn the labels that would be drawn"
        yield f"{where}.data.label_noise: {shown(noise)} was given; {told}: give theirs as a data set (docs/data.md)"
    for name in curved:
        yield from _bend_errors(where, name, given, study["analyses"][name]["curve"])
    yield from _need_errors(where, study)


def _trains_bends(options: Mapping[str, Any]) -> bool:
    """Whether an analysis trains the bends of curves."""
    return "curve" in options and not all(map(is_line, options["kinds"]))


def _bend_errors(where: str, analysis: str, given: Mapping[str, Any], curve: Mapping[str, Any]) -> Iterator[str]:
    """What the recipe of bends lacks if networks lend them none. curve: the options of the bends."""
    told = {*given.get("training", {}), *given["grid"], *(key for key, value in curve.items() if value is not None)}
    for key in NEEDED_BY_BENDS:
        if key not in told:
            place = f"analyses.{analysis}.curve.{key}" if key in curve else f"training.{key}"
            yield f"{where}.{place}: the key is missing; networks trained elsewhere give no recipe for curves"


def _pattern_errors(where: str, pattern: str, grid: Mapping[str, Any], every: bool) -> Iterator[str]:
    """Mistakes in a pattern of paths. every: whether each network needs a file of its own."""
    try:
        fields = {field for _, field, _, _ in Formatter().parse(pattern) if field is not None}
        first = {axis: values if isinstance(values, int) else values[0] for axis, values in grid.items()}
        pattern.format(**dict.fromkeys(fields, 0) | first)
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        yield f"{where}: {shown(pattern)} was given; braces hold axes of the grid, as in `seed{{seed}}.pt` ({error})"
        return
    for field in sorted(fields - grid.keys()):
        yield f"{where}: {shown(pattern)} was given; `{field}` is not an axis of the grid, which has {', '.join(grid)}"
    shared = {*study_schema()["data"]["properties"], *MEASURED}  # the same network on other data, or with another loss
    for axis, values in grid.items() if every else ():
        several = values > 1 if isinstance(values, int) else len(values) > 1
        if several and axis not in fields | shared:
            yield f"{where}: {shown(pattern)} was given; it lacks {{{axis}}}, of which the grid has several values"


def _need_errors(where: str, study: Mapping[str, Any]) -> Iterator[str]:
    """Analyses that need what is not known about networks trained elsewhere."""
    initial = "initial" in study["networks"]
    for analysis, options in study["analyses"].items():
        place, needs = f"{where}.analyses.{analysis}", stages()[analysis].needs
        if needs == "training":
            yield f"{place}: it trains networks again, and it is not known how these were trained; leave it out"
        elif needs == "initial" and not initial:
            yield f"{place}: it needs the weights before training; name their files as {where}.networks.initial"
        elif options.get("during_training") and not initial:
            wanted = f"{where}.networks.initial names no weights before training"
            yield f"{place}.during_training: true was given; networks trained elsewhere have no snapshots, and {wanted}"


def checked_files(studies: Iterable[Study], facts: Mapping[str, Facts]) -> tuple[dict[str, str], list[str]]:
    """A digest of every file of weights, by path, and what is wrong with these files."""
    uses = [use for study in studies for use in _uses(study, facts)]
    contents = _contents(use.file for use in uses)
    errors: dict[str, dict[str, None]] = {}  # the inner dictionaries keep the order and drop repetitions
    for use in uses:
        if use.file not in contents:
            errors.setdefault(use.place, {})[f"{use.file} does not exist"] = None
    there = [use for use in uses if use.file in contents]
    for use, wrong in zip(there, mistakes([use.request(contents[use.file]) for use in there]), strict=True):
        if wrong:
            errors.setdefault(use.place, {})[f"{use.file}: {wrong}"] = None
    return contents, [each for place, found in errors.items() for each in _listed(place, list(found))]


@dataclass(frozen=True)
class _Use:
    """A file that has to hold a network of a cell, and the key of the configuration that names it."""

    place: str
    file: str
    entry: str
    recipe: Recipe
    facts: Facts

    def request(self, content: str) -> CheckpointRequest:
        """What is asked about the file. content: its digest."""
        network = self.recipe.as_dict()["network"]
        return CheckpointRequest(self.file, content, self.entry, network, self.facts.shape, self.facts.classes)


def _uses(study: Study, facts: Mapping[str, Facts]) -> Iterator[_Use]:
    """The files of the networks of a study; none if these are trained here."""
    keys, checkpoints = {"final": "checkpoints", "initial": "initial"}, study.checkpoints
    if checkpoints is None:
        return
    for cell in study.cells.values():
        for name, files in checkpoints.files(cell.axes, study.seeds).items():
            place = f"studies.{study.name}.networks.{keys[name]}"
            for file in files:
                yield _Use(place, file, checkpoints.entries[name], cell.recipe, facts[cell.recipe.data.name])


def _listed(place: str, found: Sequence[str]) -> Iterator[str]:
    """The first of the mistakes found in files, and how many more there are."""
    yield from (f"{place}: {each}" for each in found[:MOST_FILES])
    if len(found) > MOST_FILES:
        yield f"{place}: {len(found) - MOST_FILES} more files cannot be used"


def _contents(files: Iterable[str]) -> dict[str, str]:
    """The digest of every file that exists, by path. A file is read again only if its size, times or place changed."""
    kept = read_record(INDEX)
    known = {} if kept is None else kept.content
    found = {}
    for file in dict.fromkeys(files):
        if Path(file).is_file():
            stat = Path(file).stat()
            mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
            found[file] = known[file] if file in known and known[file][:-1] == mark else [*mark, _digest(Path(file))]
    if not found.items() <= known.items():
        write_record(INDEX, Record(INDEX.stem, known | found))
    return {file: str(entry[-1]) for file, entry in found.items()}


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
