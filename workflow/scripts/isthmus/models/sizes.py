"""The size of a network: its layers, parameters and the multiplications of a forward pass.

They are closed forms for the built-in architectures; the recipe of a network of the user's own has them. This module
does not import torch, so that Snakemake can estimate costs while it parses the Snakefile.
"""

from math import prod

from isthmus.recipes.recipe import AnyNetwork, ModuleRecipe, NetworkRecipe


def layer_sizes(recipe: AnyNetwork, shape: tuple[int, ...], classes: int) -> list[tuple[int, int, int, int]]:
    """The layers of a network as (fan-in, outputs, output pixels, normalized outputs).

    The last entry is the number of outputs if normalization with weight and bias follows the layer, otherwise 0.
    Raises TypeError for a network of the user's own.

    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> layer_sizes(recipe, (1, 8, 8), 10)
    [(64, 4, 1, 0), (4, 10, 1, 0)]
    """
    if isinstance(recipe, ModuleRecipe):
        raise TypeError(f"the layers of {recipe.module} have no closed form")
    norm = recipe.normalization != "none"
    if recipe.architecture == "mlp":
        inputs, layers = prod(shape), []
        for units in recipe.hidden_widths():
            layers.append((inputs, units, 1, units * norm))
            inputs = units
        return [*layers, (inputs, classes, 1, 0)]
    if recipe.architecture == "cnn":
        return _cnn_layers(recipe, shape, classes, norm)
    return _resnet_layers(recipe, shape, classes, norm)


def _cnn_layers(
    recipe: NetworkRecipe, shape: tuple[int, ...], classes: int, norm: bool
) -> list[tuple[int, int, int, int]]:
    inputs, height, width = shape
    layers = []
    for block in range(recipe.blocks):
        channels = recipe.width * 2**block
        for _ in range(recipe.depth):
            layers.append((9 * inputs, channels, height * width, channels * norm))
            inputs = channels
        height, width = height // 2, width // 2
    features = inputs * height * width
    if recipe.hidden_units:
        layers.append((features, recipe.hidden_units, 1, 0))
        features = recipe.hidden_units
    return [*layers, (features, classes, 1, 0)]


def _resnet_layers(
    recipe: NetworkRecipe, shape: tuple[int, ...], classes: int, norm: bool
) -> list[tuple[int, int, int, int]]:
    _, height, width = shape
    layers = [(9 * shape[0], recipe.width, height * width, recipe.width * norm)]
    inputs = recipe.width
    for stage in range(3):
        outputs = recipe.width * 2**stage
        if stage:
            height, width = -(-height // 2), -(-width // 2)
        for _ in range((recipe.depth - 2) // 6):
            layers.append((9 * inputs, outputs, height * width, outputs * norm))
            layers.append((9 * outputs, outputs, height * width, outputs * norm))
            if inputs != outputs:
                layers.append((inputs, outputs, height * width, outputs * norm))
            inputs = outputs
    return [*layers, (inputs, classes, 1, 0)]


def parameters(recipe: AnyNetwork, shape: tuple[int, ...], classes: int) -> int:
    """The number of trainable scalars of one network.

    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> parameters(recipe, (1, 8, 8), 10)  # (64 + 1) * 4 + (4 + 1) * 10
    310
    """
    if isinstance(recipe, ModuleRecipe):
        return recipe.parameters
    total = 0
    for fan_in, outputs, _, normalized in layer_sizes(recipe, shape, classes):
        biased = not (normalized and recipe.normalization == "batch")
        total += fan_in * outputs + outputs * biased + 2 * normalized
    return total


def multiplications(recipe: AnyNetwork, shape: tuple[int, ...], classes: int) -> int:
    """The number of multiplications in one forward pass of one network on one example.

    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> multiplications(recipe, (1, 8, 8), 10)  # 64 * 4 + 4 * 10
    296
    """
    if isinstance(recipe, ModuleRecipe):
        return recipe.multiplications
    return sum(fan_in * outputs * pixels for fan_in, outputs, pixels, _ in layer_sizes(recipe, shape, classes))


def matching(recipe: AnyNetwork, shape: tuple[int, ...], classes: int) -> int:
    """The number of multiplications that compare all pairs of hidden units of two networks by their weights.

    Each weight of a hidden layer has units on both axes. The first layer's contribution never changes.

    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> matching(recipe, (1, 8, 8), 10)  # 2 * 4 * 10 * 10
    800
    """
    if isinstance(recipe, ModuleRecipe):
        return recipe.matching
    return 2 * sum(fan_in * units**2 for fan_in, units, _, _ in layer_sizes(recipe, shape, classes)[1:])


def units(recipe: AnyNetwork, shape: tuple[int, ...], classes: int) -> int:
    """The number of outputs of all layers of one network; every pixel of a feature map counts.

    For a network of the user's own, the number of values that differentiation keeps.

    >>> recipe = NetworkRecipe("mlp", 4, 1, "none", "relu", blocks=1, hidden_units=0, taper=1)
    >>> units(recipe, (1, 8, 8), 10)
    14
    """
    if isinstance(recipe, ModuleRecipe):
        return recipe.activations
    return sum(outputs * pixels for _, outputs, pixels, _ in layer_sizes(recipe, shape, classes))
