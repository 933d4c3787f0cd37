"""The cost of connecting pairs."""

from collections.abc import Mapping
from typing import Any

from isthmus.analyses.connect.curve_recipe import curve_training
from isthmus.data.facts import Facts
from isthmus.landscape.hessian.graph_memory import LIMIT_BYTES, graph_bytes
from isthmus.models.sizes import matching, parameters, units
from isthmus.recipes.path_kinds import is_aligned, is_line, is_repaired
from isthmus.recipes.recipe import Recipe
from isthmus.recipes.schedules import run_length
from isthmus.training import cost as training
from isthmus.training.cost import (
    EVALUATED_TOGETHER,
    LIKELY_PRODUCTS,
    Calls,
    Work,
    evaluations,
    examples_at_a_point,
    sizes_of,
)

SWEEPS_A_SEARCH = 20  # sweeps of weight matching; 5 to 30 were measured on fully connected networks


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], pairs: int) -> Work:
    """The work of fitting and measuring the paths of `pairs` pairs."""
    examples, _, forward = sizes_of(recipe, facts)
    lines, repaired = (sum(map(which, options["kinds"])) for which in (is_line, is_repaired))
    curves, point = len(options["kinds"]) - lines, examples_at_a_point(recipe, facts, options)
    plane_point = examples_at_a_point(recipe, facts, options, options["planes"]["examples"])
    fitting = curve_training(recipe.training, options["curve"], examples)
    batch_size, steps = fitting.batch_size, curves * run_length(fitting, examples)[1]
    sharpness = options["sharpness"]
    # About thirty products for an eigenvalue and forty for a trace.
    products = 70 * pairs * sharpness["points"] * (len(options["kinds"]) - repaired)
    on_line, on_curve, on_plane = options["line_points"], options["curve_points"], 2 * options["planes"]["points"] ** 2
    restored = pairs * repaired * on_line * min(recipe.training.statistics_size, examples)
    return Work(
        (
            Calls("gradient", steps, batch_size * forward, pairs, batch_size),
            evaluations(pairs * lines * point, forward, on_line, EVALUATED_TOGETHER),
            evaluations(pairs * curves * point, forward, on_curve, EVALUATED_TOGETHER),
            evaluations(plane_point, forward, on_plane, EVALUATED_TOGETHER),
            evaluations(restored, forward, 1, EVALUATED_TOGETHER),
            evaluations(pairs * len(options["kinds"]) * facts.test_size, forward, 1, EVALUATED_TOGETHER),
            Calls("product", products, min(sharpness["images"], examples) * forward, likely=LIKELY_PRODUCTS),
            *_aligning(recipe, facts, options, pairs),
        )
    )


def _aligning(recipe: Recipe, facts: Facts, options: Mapping[str, Any], pairs: int) -> list[Calls]:
    """The work of matching the hidden units of `pairs` pairs; none unless a kind of path is aligned."""
    if not any(map(is_aligned, options["kinds"])):
        return []
    (examples, statistics, forward), given = sizes_of(recipe, facts), options["alignment"]
    searches = given["restarts"] * {"auto": 2, "weights": 1, "activations": 0, "combined": 1}[given["method"]]
    images = 0 if given["method"] == "weights" else 2 * (min(given["images"], examples) + statistics)
    images += 3 * (min(given["selection_images"], examples) + statistics) if given["method"] == "auto" else 0
    sweep = 2 * matching(recipe.network, facts.shape, facts.classes)  # assignments take as long as inner products
    return [
        Calls("algebra", pairs * searches * SWEEPS_A_SEARCH, sweep),
        evaluations(pairs * images, forward, 1, EVALUATED_TOGETHER),
    ]


def memory_mb(recipe: Recipe, facts: Facts, options: Mapping[str, Any], pairs: int, evaluation_batch_size: int) -> int:
    """A generous estimate of the memory, in MB, to fit curves, evaluate lines and compute Hessians."""
    shape, classes = facts.shape, facts.classes
    activations = units(recipe.network, shape, classes)
    images = options["sharpness"]["images"] if options["sharpness"]["points"] else 0
    kept = min(LIMIT_BYTES, graph_bytes(recipe.network, shape, classes, images))
    points = options["line_points"] * evaluation_batch_size * activations * 8
    weights = parameters(recipe.network, shape, classes) * 4 * (options["line_points"] + 60)
    return training.memory_mb(recipe, facts, {}, pairs, evaluation_batch_size) + round((kept + points + weights) / 1e6)
