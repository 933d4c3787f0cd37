"""The cost of measuring curvature."""

from collections.abc import Mapping
from typing import Any

from isthmus.data.facts import Facts
from isthmus.landscape.hessian.graph_memory import LIMIT_BYTES, graph_bytes
from isthmus.models.sizes import parameters
from isthmus.recipes.recipe import Recipe
from isthmus.training import cost as training
from isthmus.training.cost import EVALUATED_TOGETHER, LIKELY_PRODUCTS, Calls, Work, evaluations, sizes_of


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """The work of measuring the curvature at `networks` networks."""
    examples, _, forward = sizes_of(recipe, facts)
    images, count = min(options["images"], examples), parameters(recipe.network, facts.shape, facts.classes)
    moments = 1 + (1 + len(recipe.training.snapshots)) * options["during_training"]
    # About thirty products for the first eigenvalue, ten for every further one, forty for the rest of a trace.
    wanted = options["eigenvalues"] * moments + options["smallest_eigenvalues"] + options["gauss_newton_eigenvalues"]
    searched = 30 * (moments + 2) + 10 * wanted + 40 * (options["trace_precision"] is not None)
    fixed = options["spectrum"]["probes"] * options["spectrum"]["steps"]
    fixed += count if count <= options["dense_limit"] else 0
    noise = options["noise"]
    draws = noise["draws"] * (len(noise["sigmas"]) + len(noise["relative_sigmas"]))
    ascents = noise["ascent_steps"] * (len(noise["radii"]) + len(noise["adaptive_radii"]))
    perturbed = min(noise["images"], examples)
    return Work(
        (
            Calls("product", networks * searched, images * forward, likely=LIKELY_PRODUCTS),
            Calls("product", networks * fixed, images * forward),
            evaluations(networks * perturbed, forward, draws, EVALUATED_TOGETHER),
            Calls("gradient", networks * ascents, perturbed * forward),
        )
    )


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous estimate of the memory for measuring curvature, in MB: graphs and Lanczos vectors."""
    shape, classes = facts.shape, facts.classes
    count = parameters(recipe.network, shape, classes)
    kept = min(LIMIT_BYTES, graph_bytes(recipe.network, shape, classes, options["images"]))
    spectrum = options["spectrum"]
    vectors = 4 * count * max(60 + 2 * options["eigenvalues"], spectrum["probes"] * spectrum["steps"] + 40)
    whole = 8 * count**2 * 4 if count <= options["dense_limit"] else 0
    return training.memory_mb(recipe, facts, {}, networks, evaluation_batch_size) + round(
        (kept + vectors + whole) / 1e6
    )
