"""Checks of what a configuration asks of its data sets: where they are, and what their inputs and targets allow.

Every function yields sentences that name the key, what was given and what is allowed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from isthmus.core.errors import UserError
from isthmus.core.messages import shown
from isthmus.data.facts import BUILTIN, Facts
from isthmus.study.grid import cells, sections_of

FILES = {"folder": ("train", "test"), "parquet": ("train", "test"), "arrays": ("file",)}
"""The keys that name the files or folders of a data set, by its source."""


def dataset_errors(described: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Mistakes in the section `datasets`."""
    for name, dataset in described.items():
        where, source = f"datasets.{name}", dataset["source"]
        for key in dict.fromkeys(key for keys in FILES.values() for key in keys):
            owners = [each for each, keys in FILES.items() if key in keys]
            if key in dataset and source not in owners:
                yield f"{where}: `{key}` is for sets of source {' or '.join(owners)}; set `source`, or leave it out"
            if key not in dataset and source in owners:
                yield f"{where}: the key `{key}` is missing; a set of source {source} needs it"
            if source == "folder" and isinstance(dataset.get(key), list):
                yield f"{where}.{key}: {shown(dataset[key])} was given; allowed is one folder"
        if ("mean" in dataset) != ("std" in dataset):
            yield f"{where}: inputs are normalized with `mean` and `std`; give both, or neither"
        if source == "builtin" and name not in BUILTIN:
            names = ", ".join(BUILTIN)
            yield f"{where}: no built-in data set has this name; there are {names}, or set another `source`"


def normalization_errors(described: Mapping[str, Mapping[str, Any]], known: Mapping[str, Facts]) -> Iterator[str]:
    """Constants in the section `datasets` that do not fit the inputs of a data set that studies use."""
    for name, facts in known.items():
        for key in ("mean", "std"):
            given = described[name].get(key)
            if given is not None and facts.inputs == "tokens":
                yield f"datasets.{name}.{key}: {shown(given)} was given; tokens are not normalized"
            fits = facts.inputs == "images" or len(facts.shape) == 1
            if isinstance(given, list) and not (fits and len(given) == facts.shape[0]):
                wanted = f"one number or a list of {facts.shape[0]}" if fits else "one number"
                yield f"datasets.{name}.{key}: {shown(given)} was given; inputs {list(facts.shape)} take {wanted}"


def same_but_for_case(where: str, names: Iterable[str]) -> Iterator[str]:
    """Names under `where` that would share a folder or a file on a file system that ignores case."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            yield f"{where}.{name}: there is also {seen[name.lower()]}; names must differ in more than case"
        seen.setdefault(name.lower(), name)


def task_errors(
    where: str, analyses: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]], known: Facts
) -> Iterator[str]:
    """What one cell asks of its data set that its inputs or targets do not allow."""
    data, network, training = (sections[section] for section in ("data", "network", "training"))
    inputs = f"the inputs of {data['name']} are {known.inputs} of shape {list(known.shape)}"
    if known.task == "regression":
        targets = f"the targets of {data['name']} are real numbers"
        if training["loss"] == "cross_entropy":
            yield f"{where}.training.loss: cross_entropy was given; {targets}: set squared_error or a loss of your own"
        if training["until_train_accuracy"] is not None:
            given = training["until_train_accuracy"]
            yield f"{where}.training.until_train_accuracy: {given} was given; {targets} and have no accuracy"
        if data["label_noise"]:
            yield f"{where}.data.label_noise: {data['label_noise']} was given; {targets} and no labels"
    elif known.classes == 1 and data["label_noise"]:
        given = f"{where}.data.label_noise: {data['label_noise']} was given"
        yield f"{given}; {data['name']} has one class, so no label can be replaced by another"
    if known.inputs != "images":
        for key in ("flip", "crop_padding"):
            if training[key]:
                yield f"{where}.training.{key}: {shown(training[key])} was given; it takes images, and {inputs}"
        architecture = network.get("architecture")
        if architecture in ("cnn", "resnet"):
            yield f"{where}.network.architecture: {architecture} was given; it takes images, and {inputs}"
        elif architecture and known.inputs == "tokens":
            yield f"{where}.network.architecture: {architecture} was given; {inputs}: give a `module` that takes tokens"
    if known.task == "classification" and known.corruptible:
        return
    for analysis, options in analyses.items():
        if options.get("corruption"):
            place = f"{where}.analyses.{analysis}.corruption"
            yield f"{place}: it corrupts 8-bit images in gray or colour with classes; {data['name']} has {_kind(known)}"
        if "corruptions" in options or options.get("robustness", {}).get("corruptions"):
            place = f"{where}.analyses.{analysis}" + ("" if "corruptions" in options else ".robustness.corruptions")
            yield f"{place}: it corrupts 8-bit images in gray or colour with classes; {data['name']} has {_kind(known)}"


def shifted_errors(
    where: str,
    study: dict[str, Any],
    datasets: dict[str, dict[str, Any]],
    look_up: Callable[[str, dict[str, Any]], Facts],
    known: dict[str, Facts],
) -> Iterator[str]:
    """Mistakes in the second data set on which networks are tested. `known` has the facts about training data."""
    for analysis, options in study["analyses"].items():
        other = options.get("shifted_data")
        if other is None:
            continue
        place = f"{where}.analyses.{analysis}.shifted_data"
        if other not in datasets:
            yield f"{place}: {shown(other)} was given; there are {', '.join(sorted(datasets))}"
            continue
        try:
            known[other] = known.get(other) or look_up(other, datasets[other])
        except UserError as error:
            yield f"{place}: {error}"
            continue
        chosen = [
            axes
            for axes in cells(study["grid"])
            if all(axes.get(k) in values for k, values in options["where"].items())
        ]
        for name in dict.fromkeys(sections_of(study, axes)["data"]["name"] for axes in chosen):
            if name in known and _kind(known[name]) != _kind(known[other]):
                yield (
                    f"{place}: {other} was given, which has {_kind(known[other])}; networks trained on {name} take "
                    f"{_kind(known[name])}"
                )


def _kind(known: Facts) -> str:
    """The kind of inputs and targets in a data set, in words."""
    targets = "real targets" if known.task == "regression" else f"{known.classes} classes"
    if known.inputs != "images":
        return f"{known.inputs} of shape {list(known.shape)} and {targets}"
    channels, height, width = known.shape
    depth = "" if known.corruptible else ", not in 8 bits,"
    return f"{channels} channel{'s' if channels > 1 else ''} of {height}x{width} pixels{depth} and {targets}"


def sweep_errors(where: str, study: dict[str, Any], known: dict[str, Facts]) -> Iterator[str]:
    """Mistakes in the sweeps of analyses that train their own networks on images of the study's data set."""
    for analysis, options in study["analyses"].items():
        yield from same_but_for_case(f"{where}.analyses.{analysis}.sweeps", options.get("sweeps", {}))
        for name, sweep in options.get("sweeps", {}).items():
            place, data = f"{where}.analyses.{analysis}.sweeps.{name}", study["data"].get("name")
            if "images" not in sweep["data"]:
                continue
            if "name" in study["grid"]:
                yield f"{place}.data: images was given; that takes one data set, and {where}.grid has several"
            elif data in known:
                facts = known[data]
                if facts.task == "regression" or facts.inputs == "tokens":
                    taken = f"it takes images or values with classes; {data} has {_kind(facts)}"
                    yield f"{place}.data: images was given; {taken}"
                    continue
                for number in sweep["outputs"]:
                    if number not in (1, facts.classes):
                        yield f"{place}.outputs: {number} was given; images of {data} take 1 output or {facts.classes}"
                if max(sweep["points"]) > facts.train_size:
                    most = f"{data} has {facts.train_size} training examples"
                    yield f"{place}.points: {max(sweep['points'])} was given; {most}"
