"""The cost of measuring the noise of gradients."""

from collections.abc import Mapping
from typing import Any

from isthmus.data.facts import Facts
from isthmus.landscape.hessian.graph_memory import LIMIT_BYTES, graph_bytes
from isthmus.models.sizes import parameters
from isthmus.recipes.recipe import Recipe
from isthmus.training import cost as training
from isthmus.training.cost import LIKELY_PRODUCTS, Calls, Work, sizes_of

GROUPS_AND_BLOCKS = 8 * 20 * 3, 6 * 4 * 2**24
"""Bytes for each parameter, of sums over groups, and bytes of a block of gradients with its copies."""


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """The work of measuring `networks` networks: gradients at every moment, products with the Hessian at the end."""
    examples, _, forward = sizes_of(recipe, facts)
    images, aligned = min(options["images"], examples), min(options["alignment_images"], examples)
    moments = 1 + (1 + len(recipe.training.snapshots)) * options["during_training"]
    # A vectorized gradient of every example takes some three times as long as that of their mean.
    calls = [Calls("gradient", 3 * networks * moments, images * forward)]
    if aligned:
        calls.append(Calls("product", networks * (aligned + 1), aligned * forward))
        calls.append(Calls("product", networks * 100, aligned * forward, likely=LIKELY_PRODUCTS))
    return Work(tuple(calls))


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous estimate of the memory, in MB: graphs, Lanczos vectors, and the gradients of single examples."""
    count = parameters(recipe.network, facts.shape, facts.classes)
    kept = min(LIMIT_BYTES, graph_bytes(recipe.network, facts.shape, facts.classes, options["alignment_images"] or 1))
    for_each, block = GROUPS_AND_BLOCKS
    vectors = 4 * count * 60 * bool(options["alignment_images"])
    own = kept + vectors + for_each * count + block
    return training.memory_mb(recipe, facts, {}, networks, evaluation_batch_size) + round(own / 1e6)
