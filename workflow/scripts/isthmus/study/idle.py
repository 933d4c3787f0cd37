"""Keys that have an effect only if another key has some value: a momentum without SGD changes nothing.

Such a key is refused if no cell of a study uses it: cells that differ only in it would be equal and would look
like a comparison. If some cells use it, the others are trained once for each of its values, and a note says so.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.core.messages import shown
from isthmus.recipes.path_kinds import is_repaired
from isthmus.study.grid import cells, is_own, sections_of
from isthmus.study.schema import study_schema

Sections = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Condition:
    """When a key of a section has an effect: a function of a cell's sections, and the same in words."""

    section: str
    met: Callable[[Sections], bool]
    needed: str


def _is(section: str, key: str, *values: Any) -> Callable[[Sections], bool]:
    return lambda sections: sections[section][key] in values


def _sharp(sections: Sections) -> bool:
    return bool(sections["training"]["sharpness_radius"] > 0)


def _noisy(sections: Sections) -> bool:
    return bool(sections["data"]["label_noise"] > 0)


def _selected(sections: Sections) -> bool:
    data = sections["data"]
    drawn = data["train_size"] is not None and data["selection"] == "balanced"
    return drawn or (_noisy(sections) and data["label_noise_draw"] == "once")


def _takes_statistics(sections: Sections) -> bool:
    normalized = sections["network"].get("normalization", "batch") == "batch"  # a module of the user's own may be
    return normalized or any(map(is_repaired, sections["analyses"].get("connect", {}).get("kinds", ())))


CONDITIONS = {
    "selection": Condition("data", lambda sections: sections["data"]["train_size"] is not None, "a train_size"),
    "selection_seed": Condition(
        "data", _selected, "a train_size with balanced selection, or label noise that is drawn once"
    ),
    "label_noise_draw": Condition("data", _noisy, "a label_noise above 0"),
    "blocks": Condition("network", _is("network", "architecture", "cnn"), "the architecture cnn"),
    "hidden_units": Condition("network", _is("network", "architecture", "cnn"), "the architecture cnn"),
    "taper": Condition("network", _is("network", "architecture", "mlp"), "the architecture mlp"),
    "reference_batch_size": Condition(
        "training", _is("training", "batch_scaling", "linear", "sqrt"), "batch_scaling linear or sqrt"
    ),
    "momentum": Condition("training", _is("training", "optimizer", "sgd"), "the optimizer sgd"),
    "beta1": Condition("training", _is("training", "optimizer", "adam", "adamw"), "the optimizer adam or adamw"),
    "beta2": Condition("training", _is("training", "optimizer", "adam", "adamw"), "the optimizer adam or adamw"),
    "sharpness_adaptive": Condition("training", _sharp, "a sharpness_radius above 0"),
    "sharpness_eta": Condition(
        "training",
        lambda sections: _sharp(sections) and bool(sections["training"]["sharpness_adaptive"]),
        "a sharpness_radius above 0 and sharpness_adaptive",
    ),
    "averaging_start": Condition("training", _is("training", "averaging", "swa", "ema"), "averaging swa or ema"),
    "averaging_rate": Condition("training", _is("training", "averaging", "swa"), "averaging swa"),
    "averaging_decay": Condition("training", _is("training", "averaging", "ema"), "averaging ema"),
    "final_rate_fraction": Condition(
        "training", _is("training", "schedule", "cosine", "linear"), "the schedule cosine or linear"
    ),
    "milestones": Condition("training", _is("training", "schedule", "step"), "the schedule step"),
    "decay_factor": Condition("training", _is("training", "schedule", "step"), "the schedule step"),
    "statistics_size": Condition(
        "training", _takes_statistics, "batch normalization, or paths of the kind linear-repaired"
    ),
}


def idle_errors(where: str, study: dict[str, Any]) -> Iterator[str]:
    """Keys that were set, or are axes, although no cell of the study uses them."""
    for key, condition, values, used in _uses(study):
        default = study_schema()[condition.section]["properties"][key]["default"]
        given = [value for value in values if value != default]
        if (given or key in study["grid"]) and not any(used):
            place = f"{where}.grid" if key in study["grid"] else f"{where}.{condition.section}"
            what = shown(study["grid"].get(key, values[0]))
            yield f"{place}.{key}: {what} was given, but no network uses it; it needs {condition.needed}"


def idle_notices(where: str, study: dict[str, Any]) -> Iterator[str]:
    """Axes that some cells of the study do not use, which are therefore trained more than once."""
    for key, condition, values, used in _uses(study):
        if key in study["grid"] and len(set(map(str, values))) > 1 and any(used) and not all(used):
            idle = used.count(False)
            yield (
                f"{where}.grid.{key}: {idle} of {len(used)} cells do not use it, since it needs {condition.needed}; "
                "those that differ in nothing else are equal"
            )


def _uses(study: dict[str, Any]) -> Iterator[tuple[str, Condition, list[Any], list[bool]]]:
    """The keys with their values in all cells, and whether each cell uses them."""
    recipes = [sections_of(study, axes) | {"analyses": study["analyses"]} for axes in cells(study["grid"])]
    for key, condition in CONDITIONS.items():
        if condition.section == "network" and is_own(study):
            continue
        values = [recipe[condition.section][key] for recipe in recipes]
        yield key, condition, values, [condition.met(recipe) for recipe in recipes]
