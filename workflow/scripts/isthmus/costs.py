"""What a network costs, in closed form: parameters, multiplications, memory (its work is counted in `isthmus.work`).

The numbers scale the resources that the workflow asks for, before torch is imported. Memory is a generous guess; a job
that needs more gets more when it is retried.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from isthmus.datasets import Facts
from isthmus.recipe import NetworkRecipe, Recipe

PROCESS_MB = 1000
# What Hessian products keep for each unit and example: measured on convolutional networks, some ten float32 numbers.
HESSIAN_BYTES = 40
HESSIAN_KEPT_BYTES = 4e9  # what they may keep at most: above, everything is computed afresh for each product


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


def training_mb(recipe: Recipe, known: Facts, networks: int, evaluation_batch_size: int) -> int:
    """A generous guess of the memory that training needs, in MB: process, data, weights and activations."""
    training = recipe.training
    shape, classes = known.shape, known.classes
    pixels = shape[0] * shape[1] * shape[2]
    data = (known.train_size + known.test_size) * pixels * 6
    kept = 8 + len(training.snapshots) + 2 * (training.sharpness_radius > 0) + 2 * (training.averaging != "none")
    weights = networks * parameters(recipe.network, shape, classes) * 4 * kept
    units = sum(outputs * places for _, outputs, places, _ in layer_sizes(recipe.network, shape, classes))
    batch = max(3 * networks * training.batch_size, evaluation_batch_size, training.statistics_size)
    return PROCESS_MB + round((data + weights + 4 * 4 * batch * units) / 1e6)


def connecting_mb(
    recipe: Recipe, known: Facts, options: Mapping[str, Any], pairs: int, evaluation_batch_size: int
) -> int:
    """A generous guess of the memory that connecting needs, in MB: that of fitting the curves, and of Hessians."""
    shape, classes = known.shape, known.classes
    units = sum(outputs * places for _, outputs, places, _ in layer_sizes(recipe.network, shape, classes))
    kept = min(HESSIAN_KEPT_BYTES, HESSIAN_BYTES * units * options["sharpness"]["images"])
    points = options["line_points"] * evaluation_batch_size * units * 8
    weights = parameters(recipe.network, shape, classes) * 4 * (options["line_points"] + 60)
    return training_mb(recipe, known, pairs, evaluation_batch_size) + round((kept + points + weights) / 1e6)


def curvature_mb(
    recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous guess of the memory that measuring curvature needs, in MB: graphs and Lanczos vectors."""
    shape, classes = known.shape, known.classes
    count = parameters(recipe.network, shape, classes)
    units = sum(outputs * places for _, outputs, places, _ in layer_sizes(recipe.network, shape, classes))
    kept = min(HESSIAN_KEPT_BYTES, HESSIAN_BYTES * units * options["images"])
    spectrum = options["spectrum"]
    vectors = 4 * count * max(60 + 2 * options["eigenvalues"], spectrum["probes"] * spectrum["steps"] + 40)
    whole = 8 * count**2 * 4 if count <= options["dense_limit"] else 0
    return training_mb(recipe, known, networks, evaluation_batch_size) + round((kept + vectors + whole) / 1e6)


def manifold_mb(options: Mapping[str, Any], sweep: Mapping[str, Any], networks: int) -> int:
    """A generous guess of the memory of that, in MB: the largest Jacobian and, below the limit, the Hessian."""
    sizes = [
        count * equations + (count**2 if count <= options["hessian_limit"] else 0)
        for count, equations in theory_sizes(options, sweep)
    ]
    return PROCESS_MB + round(8 * 6 * max(sizes) / 1e6)


def theory_sizes(
    options: Mapping[str, Any], sweep: Mapping[str, Any], image_inputs: int = 1000
) -> list[tuple[int, int]]:
    """Parameters and equations of each theory network of a sweep. image_inputs: values in an image, where there are."""
    combinations = product(*(sweep[axis] for axis in ("width", "depth", "points", "outputs", "activation", "data")))
    sizes = []
    for width, depth, points, outputs, _, data in combinations:
        inputs = image_inputs if data == "images" else options["input_dimension"]
        count = width * (inputs + 1) + (depth - 1) * width * (width + 1) + outputs * (width + 1)
        sizes.append((count, points * outputs))
    return sizes


def movement_mb(
    recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous guess of the memory that measuring movement needs, in MB."""
    kernels = 2 * 8 * known.classes * options["kernel_images"] ** 2
    return training_mb(recipe, known, networks, evaluation_batch_size) + round((kernels + 1e9) / 1e6)


def ticket_levels(options: Mapping[str, Any]) -> int:
    """The number of levels of pruning, without the dense one."""
    return options["levels"] if options["kept_fractions"] is None else len(options["kept_fractions"])


def tickets_mb(
    recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous guess of the memory that finding tickets needs, in MB: that of training all of a level together."""
    shape, classes = known.shape, known.classes
    units = sum(outputs * places for _, outputs, places, _ in layer_sizes(recipe.network, shape, classes))
    kept = min(HESSIAN_KEPT_BYTES, HESSIAN_BYTES * units * options["curvature"]["images"])
    found = networks * parameters(recipe.network, shape, classes) * 5 * (ticket_levels(options) + 1)
    together = networks * (2 + len(options["controls"]))
    return training_mb(recipe, known, together, evaluation_batch_size) + round((kept + found) / 1e6)


def robustness_mb(
    recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous guess of the memory that testing on corrupted images needs, in MB: the images, and those kept."""
    images = min(options["test_size"] or known.test_size, known.test_size)
    values = images * known.shape[0] * known.shape[1] * known.shape[2]
    return training_mb(recipe, known, networks, evaluation_batch_size) + round((6 * 4 * values + 1e9) / 1e6)


def run_time(minutes: int, attempt: int, longest: int | None) -> int:
    """Minutes that a job asks for that should take `minutes`: in its next try more, never above `longest`.

    What a job has not finished when its time is up, its next try resumes.

    >>> run_time(60, 1, 100), run_time(60, 2, 100), run_time(60, 2, None)
    (60, 100, 120)
    """
    return attempt * minutes if longest is None else min(attempt * minutes, longest)
