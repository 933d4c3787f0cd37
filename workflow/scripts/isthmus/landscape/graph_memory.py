"""Whether a Hessian operator keeps the graph of its gradient: memory that it needs then, and how much may be used.

Nothing here imports torch, so that estimates of cost can use the same numbers.
"""

from isthmus.models.sizes import units
from isthmus.recipes.recipe import NetworkRecipe

# What Hessian products keep for each unit and example: measured on convolutional networks, some ten float32 numbers.
BYTES_PER_UNIT = 40
LIMIT_BYTES = 4e9  # above, everything is computed afresh for each product


def graph_bytes(recipe: NetworkRecipe, shape: tuple[int, int, int], classes: int, examples: int) -> int:
    """Bytes that the graph of the gradient on so many examples takes.

    >>> graph_bytes(NetworkRecipe("mlp", 8, 2, "none", "relu", 0, 0, 1), (1, 8, 8), 10, examples=100)
    104000
    """
    return BYTES_PER_UNIT * units(recipe, shape, classes) * examples


def keeps_graph(recipe: NetworkRecipe, shape: tuple[int, int, int], classes: int, examples: int) -> bool:
    """Whether that is within the limit. The choice changes no product beyond rounding.

    >>> keeps_graph(NetworkRecipe("mlp", 8, 2, "none", "relu", 0, 0, 1), (1, 8, 8), 10, examples=100)
    True
    """
    return graph_bytes(recipe, shape, classes, examples) <= LIMIT_BYTES
