"""How large a network is, in closed form: layers, parameters, multiplications of a forward pass.

Nothing here imports torch, so that estimates of cost can be made while a Snakefile is parsed.
"""

from isthmus.recipes.recipe import NetworkRecipe


def layer_sizes(recipe: NetworkRecipe, shape: tuple[int, int, int], classes: int) -> list[tuple[int, int, int, int]]:
    """The layers of a network as (fan-in, outputs, output pixels, normalized outputs).

    The last entry is the number of outputs that a normalization with weight and bias follows, or 0.
    """
    norm = recipe.normalization != "none"
    if recipe.architecture == "mlp":
        inputs, layers = shape[0] * shape[1] * shape[2], []
        for units in recipe.hidden_widths():
            layers.append((inputs, units, 1, units * norm))
            inputs = units
        return [*layers, (inputs, classes, 1, 0)]
    if recipe.architecture == "cnn":
        return _cnn_layers(recipe, shape, classes, norm)
    return _resnet_layers(recipe, shape, classes, norm)


def _cnn_layers(
    recipe: NetworkRecipe, shape: tuple[int, int, int], classes: int, norm: bool
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
    recipe: NetworkRecipe, shape: tuple[int, int, int], classes: int, norm: bool
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


def parameters(recipe: NetworkRecipe, shape: tuple[int, int, int], classes: int) -> int:
    """Trainable scalars of one network."""
    total = 0
    for fan_in, outputs, _, normalized in layer_sizes(recipe, shape, classes):
        biased = not (normalized and recipe.normalization == "batch")
        total += fan_in * outputs + outputs * biased + 2 * normalized
    return total


def multiplications(recipe: NetworkRecipe, shape: tuple[int, int, int], classes: int) -> int:
    """Multiplications of one forward pass of one network on one example."""
    return sum(fan_in * outputs * pixels for fan_in, outputs, pixels, _ in layer_sizes(recipe, shape, classes))


def units(recipe: NetworkRecipe, shape: tuple[int, int, int], classes: int) -> int:
    """Outputs of all layers of one network, pixels of feature maps counted one by one."""
    return sum(outputs * pixels for _, outputs, pixels, _ in layer_sizes(recipe, shape, classes))
