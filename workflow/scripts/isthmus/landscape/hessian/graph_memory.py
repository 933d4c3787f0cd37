"""Whether a Hessian operator keeps the graph of its gradient: the memory for it, and how much may be used.

This module does not import torch, so that cost estimates can use the same numbers.
"""

from isthmus.models.sizes import units
from isthmus.recipes.recipe import AnyNetwork

# What Hessian products keep per unit and example: some ten float32 numbers, measured on convolutional networks.
BYTES_PER_UNIT = 40
LIMIT_BYTES = 4e9  # above this, every product rebuilds the graph


def graph_bytes(recipe: AnyNetwork, shape: tuple[int, ...], classes: int, examples: int) -> int:
    """The size in bytes of the gradient's graph on this number of examples.

    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> graph_bytes(NetworkRecipe("mlp", 8, 2, "none", "relu", 0, 0, 1), (1, 8, 8), 10, examples=100)
    104000
    """
    return BYTES_PER_UNIT * units(recipe, shape, classes) * examples


def keeps_graph(recipe: AnyNetwork, shape: tuple[int, ...], classes: int, examples: int) -> bool:
    """Whether the graph is within the limit. The choice changes products by rounding alone.

    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> keeps_graph(NetworkRecipe("mlp", 8, 2, "none", "relu", 0, 0, 1), (1, 8, 8), 10, examples=100)
    True
    """
    return graph_bytes(recipe, shape, classes, examples) <= LIMIT_BYTES
