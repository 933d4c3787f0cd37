"""Checks of the configuration beyond its JSON schema.

Examples are a batch larger than the training set, a depth that no residual network has, or an axis that is not a key.
Every function yields sentences that name the key, what was given and what is allowed.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from isthmus.core.errors import UserError
from isthmus.core.messages import schema_errors, shown, unknown_key
from isthmus.data.facts import Facts
from isthmus.recipes.cells import AXES
from isthmus.recipes.path_kinds import is_aligned
from isthmus.recipes.recipe import TrainingRecipe
from isthmus.recipes.schedules import averaging_begins, run_length
from isthmus.study.checkpoints import checkpoint_errors
from isthmus.study.data_checks import shifted_errors, sweep_errors, task_errors
from isthmus.study.grid import SECTIONS, cells, is_own, is_trained_elsewhere, sections_of
from isthmus.study.idle import idle_errors
from isthmus.study.own_losses import loss_errors
from isthmus.study.own_networks import argument_errors, module_errors
from isthmus.study.schema import study_schema
from isthmus.tables.descriptions import stages

MOST_CELLS, MOST_PAIRS = 20_000, 100_000  # of a study and of a cell: bounds on slips of the pen, far beyond the largest


def study_errors(
    where: str,
    given: dict[str, Any],
    study: dict[str, Any],
    datasets: dict[str, dict[str, Any]],
    look_up: Callable[[str, dict[str, Any]], Facts],
    known: dict[str, Facts],
) -> Iterator[str]:
    """Mistakes in one study that its schema does not catch.

    given: the study before its defaults were filled in; known: facts about data sets, to which new ones are added.
    """
    found = [
        *(*module_errors(where, given, study), *loss_errors(where, study)),
        *_axis_errors(f"{where}.grid", given, study),
        *checkpoint_errors(where, given, study),
    ]
    count = prod(len(values) for axis, values in study["grid"].items() if axis != "seed")
    if count > MOST_CELLS:
        found.append(f"{where}.grid: it has {count:,} cells; allowed are at most {MOST_CELLS:,}")
    yield from found
    if found:
        return
    yield from _where_errors(where, study)
    yield from _pair_errors(where, study)
    yield from _read_errors(where, study)
    yield from idle_errors(where, study)
    unusable, trained = set[str](), not is_trained_elsewhere(study)
    found_in_cells: dict[str, None] = {}  # a dictionary keeps the order and drops repetitions
    for axes in cells(study["grid"]):
        sections = sections_of(study, axes)
        name = sections["data"]["name"]
        if name not in datasets:
            unknown = f"{where}.data.name: {shown(name)} was given; there are {', '.join(sorted(datasets))}"
            found_in_cells |= {unknown: None}
            continue
        if name not in known and name not in unusable:
            try:
                known[name] = look_up(name, datasets[name])
            except UserError as error:
                unusable.add(name)
                yield f"{where}.data.name: {error}"
        if name in known:
            refused = list(task_errors(where, study["analyses"], sections, known[name]))
            found_in_cells |= dict.fromkeys(refused or _cell_errors(where, sections, known[name], trained))
            found_in_cells |= dict.fromkeys(_rewind_errors(where, study["analyses"], sections, known[name]))
            found_in_cells |= dict.fromkeys(_selection_errors(where, study["analyses"], sections, known[name]))
    yield from found_in_cells
    yield from shifted_errors(where, study, datasets, look_up, known)
    yield from sweep_errors(where, study, known)


def _axis_errors(where: str, given: dict[str, Any], study: dict[str, Any]) -> Iterator[str]:
    """Mistakes in axes other than width, depth, batch size and seed."""
    described = study_schema()
    sections = [section for section in SECTIONS if section != "network" or not is_own(study)]
    keys = {key: section for section in sections for key in described[section]["properties"]}
    lists = {key for key, section in keys.items() if described[section]["properties"][key].get("type") == "array"}
    others = keys.keys() - lists - {"module", "arguments"}
    for axis, values in study["grid"].items():
        if axis in (*AXES, "seed"):
            continue
        if axis in lists:
            yield f"{where}.{axis}: this key holds a list, and lists cannot be axes"
            continue
        if axis not in others:
            own = is_own(study)
            yield from (
                argument_errors(f"{where}.{axis}", values)
                if own
                else [unknown_key(f"{where}.{axis}", axis, [*AXES, "seed", *sorted(others)])]
            )
            continue
        home = keys[axis]
        if axis in given.get(home, {}):
            yield f"{where}.{axis}: also given as {home}.{axis}; keep one of the two"
        for number, value in enumerate(values):
            if isinstance(value, dict | list):
                yield f"{where}.{axis}[{number}]: {shown(value)} was given; an axis takes single values"
            else:
                yield from schema_errors(value, described[home]["properties"][axis], f"{where}.{axis}[{number}]")


def _where_errors(where: str, study: dict[str, Any]) -> Iterator[str]:
    """Mistakes in `where`, which limits an analysis to part of the grid."""
    for analysis, options in study["analyses"].items():
        for axis, values in options.get("where", {}).items():
            place = f"{where}.analyses.{analysis}.where.{axis}"
            if axis == "seed" or axis not in study["grid"]:
                yield unknown_key(place, axis, [key for key in study["grid"] if key != "seed"])
                continue
            absent = [value for value in values if value not in study["grid"][axis]]
            if absent:
                yield f"{place}: {shown(absent[0])} was given; the grid has {shown(study['grid'][axis])}"


def _read_errors(where: str, study: dict[str, Any]) -> Iterator[str]:
    """Analyses that start from what another one keeps, without it, or in cells where it is not asked for."""
    analyses = study["analyses"]
    for analysis, options in analyses.items():
        place, other = f"{where}.analyses.{analysis}", stages()[analysis].reads
        if other and other not in analyses:
            yield f"{place}: it starts from what the analysis {other} keeps; ask for that one, too"
        elif other and any(
            _chosen(options, axes) and not _chosen(analyses[other], axes) for axes in cells(study["grid"])
        ):
            yield f"{place}.where: it starts from what {other} keeps, which is not asked for in all these cells"
        unmade = [kind for kind in options.get("kept_controls", ()) if kind not in options["controls"]]
        if unmade:
            yield f"{place}.kept_controls: {unmade[0]} was given; controls has {shown(options['controls'])}"


def _chosen(options: dict[str, Any], axes: dict[str, Any]) -> bool:
    """Whether the `where` of an analysis selects a cell."""
    return all(axes[axis] in values for axis, values in options.get("where", {}).items() if axis in axes)


def _pair_errors(where: str, study: dict[str, Any]) -> Iterator[str]:
    """Mistakes in the number of pairs that an analysis requests."""
    seed = study["grid"]["seed"]
    networks = seed if isinstance(seed, int) else len(seed)
    possible = networks * (networks - 1) // 2
    for analysis, options in study["analyses"].items():
        if "pairs" not in options:  # an analysis of single networks
            continue
        place = f"{where}.analyses.{analysis}"
        if not possible:
            yield f"{place}: it works on pairs of networks, but {where}.grid.seed gives one network per cell"
        elif possible > MOST_PAIRS:
            yield f"{place}: {networks:,} seeds make {possible:,} pairs; allowed are at most {MOST_PAIRS:,}"
        elif options["pairs"] != "all" and options["pairs"] > possible:
            yield f"{place}.pairs: {options['pairs']} was given; {networks} seeds make {possible} pairs"


def _cell_errors(where: str, sections: dict[str, dict[str, Any]], known: Facts, trained: bool) -> Iterator[str]:
    """Mistakes in one cell whose data set is known. trained: whether its networks are trained here."""
    data, network, training = (sections[section] for section in SECTIONS)
    examples = data["train_size"] or known.train_size
    if examples > known.train_size:
        yield f"{where}.data.train_size: {examples} was given; {data['name']} has {known.train_size} training examples"
    elif not trained:
        yield from _optimizer_errors(where, training)
        yield from () if "module" in network else _network_errors(where, network, known)
    elif training["batch_size"] > examples:
        yield f"{where}.grid.batch_size: {training['batch_size']} was given; there are {examples} training examples"
    else:
        yield from _training_errors(where, training, examples)
        if "module" in network:
            return
        yield from _network_errors(where, network, known)
        single = {"mlp": True, "cnn": False, "resnet": max(known.shape[1:], default=1) <= 4}[network["architecture"]]
        if network["normalization"] == "batch" and single:  # some layer has one value per channel and example
            yield from _lonely_batch(where, training, examples)


def _network_errors(where: str, network: dict[str, Any], known: Facts) -> Iterator[str]:
    depth, blocks = network["depth"], network["blocks"]
    if network["architecture"] == "resnet" and (depth < 8 or depth % 6 != 2):
        yield f"{where}.grid.depth: {depth} was given; network.architecture resnet has 6n + 2 layers: 8, 14, 20, ..."
    if network["architecture"] == "cnn" and min(known.shape[1:]) < 2**blocks:
        size = "x".join(str(side) for side in known.shape[1:])
        yield f"{where}.network.blocks: {blocks} was given; each halves the image, and {size} pixels allow fewer"


def _optimizer_errors(where: str, training: dict[str, Any]) -> Iterator[str]:
    if training["learning_rate"] is None:
        yield f"{where}.training.learning_rate: no rate is given for batch size {training['batch_size']}"
    if training["nesterov"] and (training["optimizer"] != "sgd" or training["momentum"] == 0):
        yield f"{where}.training.nesterov: true was given; it needs the optimizer sgd with a momentum above 0"


def _training_errors(where: str, training: dict[str, Any], examples: int) -> Iterator[str]:
    yield from _optimizer_errors(where, training)
    per_epoch, steps = _run_length(training, examples)
    length = steps / per_epoch
    if training["warmup_epochs"] >= length:
        yield f"{where}.training.warmup_epochs: {training['warmup_epochs']} was given; the run has {length:g} epochs"
    late = [epoch for epoch in training["snapshots"] if epoch > length]
    if late:
        yield f"{where}.training.snapshots: {late[0]} was given; the run has {length:g} epochs"
    yield from _averaging_errors(where, training, examples)


def _averaging_errors(where: str, training: dict[str, Any], examples: int) -> Iterator[str]:
    kind, start, (per_epoch, steps) = (
        training["averaging"],
        training["averaging_start"],
        _run_length(training, examples),
    )
    if kind == "none":
        return
    every, moments = (per_epoch, "ends of epochs") if kind == "swa" else (1, "steps")
    count = steps // every - max(averaging_begins(kind, start, per_epoch, steps) // every, 1) + 1
    if count < 2:
        run = f"the run of {steps / per_epoch:g} epochs has {max(count, 0)} {moments} from there on"
        yield f"{where}.training.averaging_start: {start} was given; {run}, and {kind} needs at least 2"


def _run_length(training: dict[str, Any], examples: int) -> tuple[int, int]:
    """Steps per epoch, and of the whole run."""
    return run_length(TrainingRecipe(**training), examples)


def _rewind_errors(
    where: str, analyses: dict[str, Any], sections: dict[str, dict[str, Any]], known: Facts
) -> Iterator[str]:
    """Mistakes in the steps of training to which an analysis rewinds."""
    training, examples = sections["training"], sections["data"]["train_size"] or known.train_size
    if training["batch_size"] > examples:
        return  # this has an error of its own
    _, steps = _run_length(training, examples)
    for analysis, options in analyses.items():
        for key, given in (("rewind_step", [options.get("rewind_step", 0)]), ("steps", options.get("steps", []))):
            if max(given, default=0) >= steps:
                what = f"{max(given)} was given; at batch size {training['batch_size']} the run has {steps} steps"
                yield f"{where}.analyses.{analysis}.{key}: {what}"


def _selection_errors(
    where: str, analyses: dict[str, Any], sections: dict[str, dict[str, Any]], known: Facts
) -> Iterator[str]:
    """Alignment method `auto` with too few training examples, because it matches and selects on separate ones."""
    examples = sections["data"]["train_size"] or known.train_size
    fewest = 2 if known.task == "regression" else 2 * known.classes
    for analysis, options in analyses.items():
        chosen = options.get("alignment", {}).get("method") == "auto"
        if chosen and examples < fewest and any(map(is_aligned, options["kinds"])):
            yield (
                f"{where}.analyses.{analysis}.alignment.method: auto matches and selects on separate training examples "
                f"and takes at least {fewest}, two for each class; there are {examples}: add some or set another method"
            )


def _lonely_batch(where: str, training: dict[str, Any], examples: int) -> Iterator[str]:
    batch = training["batch_size"]
    if batch == 1 or (examples % batch == 1 and not training["drop_last"]):
        yield (
            f"{where}.grid.batch_size: {batch} was given; with {examples} examples it leaves a batch of one, which "
            "cannot be batch-normalized: choose another size or set training.drop_last"
        )
