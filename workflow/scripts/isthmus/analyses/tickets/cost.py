"""The cost of finding tickets."""

from collections.abc import Mapping
from typing import Any

from isthmus.data.facts import Facts
from isthmus.landscape.hessian.graph_memory import LIMIT_BYTES, graph_bytes
from isthmus.models.sizes import parameters
from isthmus.recipes.recipe import Recipe
from isthmus.training import cost as training
from isthmus.training.cost import LIKELY_PRODUCTS, Calls, Work, evaluations, examples_at_a_point, sizes_of


def levels_of(options: Mapping[str, Any]) -> int:
    """The number of levels of pruning, not counting the dense one."""
    return options["levels"] if options["kept_fractions"] is None else len(options["kept_fractions"])


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """The work of finding the tickets of `networks` networks."""
    (examples, _, forward), levels = sizes_of(recipe, facts), levels_of(options)
    trained = levels * (1 + len(options["controls"])) + (levels + 1) * options["stability"]
    trained += options["rewind_step"] > 0
    lines = (levels + 1) * options["stability"]
    given = options["curvature"]
    products = 100 * levels * len(given["kinds"]) * (1 if given["trace_precision"] is None else 5)
    # The networks of a kind train together, level by level.
    each = training.work(recipe, facts, {}, networks).calls
    again = tuple(Calls(call.kind, trained * call.count, call.size, networks, call.batch_size) for call in each)
    line = evaluations(
        networks * lines * examples_at_a_point(recipe, facts, options), forward, options["line_points"], 256
    )
    images = min(given["images"], examples)
    differentiated = Calls("product", networks * products, images * forward, likely=LIKELY_PRODUCTS)
    return Work((*again, line, differentiated))


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous estimate of the memory for finding tickets, in MB; all networks of a level train together."""
    shape, classes = facts.shape, facts.classes
    kept = min(LIMIT_BYTES, graph_bytes(recipe.network, shape, classes, options["curvature"]["images"]))
    found = networks * parameters(recipe.network, shape, classes) * 5 * (levels_of(options) + 1)
    together = networks * (2 + len(options["controls"]))
    return training.memory_mb(recipe, facts, {}, together, evaluation_batch_size) + round((kept + found) / 1e6)


def disk_bytes(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> float:
    """Bytes of the weights and masks of all levels that stay on disk."""
    one = 4 * parameters(recipe.network, facts.shape, facts.classes) * networks
    return 2.0 * (levels_of(options) * (1 + len(options["kept_controls"])) + 1) * one
