"""What a network costs, in closed form: parameters, multiplications, memory, time.

The numbers scale the resources that the workflow asks for, before torch is imported. Time and memory are generous
guesses for a slow core; a job that needs more gets more when it is retried.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

from isthmus.datasets import Facts
from isthmus.recipe import NetworkRecipe, Recipe

# A slow core: multiplications a second in training, seconds a step costs whatever its size.
MULTIPLICATIONS_PER_SECOND = 5e9
SECONDS_PER_STEP = 2e-3
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


def training_minutes(recipe: Recipe, known: Facts, networks: int) -> int:
    """A generous guess of the minutes that training `networks` networks takes on one slow core, 10 at least."""
    training = recipe.training
    shape, classes = known.shape, known.classes
    examples = recipe.data.train_size or known.train_size
    per_epoch = -(-examples // training.batch_size)
    steps = training.steps if training.steps is not None else training.epochs * per_epoch
    evaluated = (examples + known.test_size) * (steps / per_epoch / training.history_every + 2)
    gradients = steps * (2 if training.sharpness_radius else 1)  # sharpness-aware training takes two a step
    passes = 3 * gradients * training.batch_size + evaluated
    seconds = passes * multiplications(recipe.network, shape, classes) / MULTIPLICATIONS_PER_SECOND
    return 10 + round(networks * (seconds + gradients * SECONDS_PER_STEP) / 60)


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


def _examples(recipe: Recipe, known: Facts, options: Mapping[str, Any]) -> tuple[int, int, int]:
    """Training and test examples that points of a path are evaluated on, and training examples in all."""
    examples = recipe.data.train_size or known.train_size
    most = options["evaluation_examples"] or max(examples, known.test_size)
    return min(most, examples), min(most, known.test_size), examples


def connecting_minutes(recipe: Recipe, known: Facts, options: Mapping[str, Any], pairs: int) -> int:
    """A generous guess of the minutes that connecting `pairs` pairs takes on one slow core, 10 at least."""
    train, test, examples = _examples(recipe, known, options)
    lines = sum(kind.startswith("linear") for kind in options["kinds"])
    curves = len(options["kinds"]) - lines
    points = lines * options["line_points"] + curves * options["curve_points"]
    statistics = recipe.training.statistics_size if recipe.network.normalization == "batch" else 0
    evaluated = points * (train + test + statistics)
    batch_size = options["curve"]["batch_size"] or recipe.training.batch_size
    fitted = curves * options["curve"]["epochs"] * examples
    sharpness = options["sharpness"]
    # Some thirty products for an eigenvalue and forty for a trace, each worth some three gradients.
    products = 70 * 9 * sharpness["points"] * len(options["kinds"]) * min(sharpness["images"], examples)
    planes = 2 * options["planes"]["points"] ** 2 * (train + test + statistics)
    passes = pairs * (evaluated + 3 * fitted + products) + planes
    seconds = passes * multiplications(recipe.network, known.shape, known.classes) / MULTIPLICATIONS_PER_SECOND
    steps = pairs * fitted / batch_size + 100 * pairs * sharpness["points"] * len(options["kinds"])
    return 10 + round((seconds + steps * SECONDS_PER_STEP) / 60)


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


def curvature_minutes(recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int) -> int:
    """A generous guess of the minutes that measuring curvature takes on one slow core, 10 at least."""
    examples = recipe.data.train_size or known.train_size
    images, count = min(options["images"], examples), parameters(recipe.network, known.shape, known.classes)
    moments = 1 + (1 + len(recipe.training.snapshots)) * options["during_training"]
    # Some thirty products for the first eigenvalue, ten for each more, two hundred for a trace.
    wanted = options["eigenvalues"] * moments + options["smallest_eigenvalues"] + options["gauss_newton_eigenvalues"]
    products = 30 * (moments + 2) + 10 * wanted + 200 * (options["trace_precision"] is not None)
    products += options["spectrum"]["probes"] * options["spectrum"]["steps"]
    products += count if count <= options["dense_limit"] else 0
    noise = options["noise"]
    disturbed = noise["draws"] * (len(noise["sigmas"]) + len(noise["relative_sigmas"]))
    disturbed += 3 * noise["ascent_steps"] * (len(noise["radii"]) + len(noise["adaptive_radii"]))
    passes = 9 * products * images + disturbed * min(noise["images"], examples)
    seconds = passes * multiplications(recipe.network, known.shape, known.classes) / MULTIPLICATIONS_PER_SECOND
    return 10 + round(networks * (seconds + 10 * products * SECONDS_PER_STEP) / 60)


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


def manifold_minutes(options: Mapping[str, Any], sweep: Mapping[str, Any], networks: int) -> int:
    """A generous guess of the minutes that theory networks take on one slow core: a sweep, for `networks` seeds.

    Of the dense algebra that grows with a power of the sizes; the largest combination stands for all.
    """
    count, equations, combinations = _largest_theory(options, sweep)
    small, walks = min(equations, count), options["walks"]
    # Gram matrices and their factors for a search and a goal; a singular value decomposition; Hessian and eigenvalues.
    searches = (1 + options["restarts"]) * (1 + walks["towards"]) * options["maximum_steps"]
    work = searches * count * equations * small + 20 * count * small**2
    work += 20 * count**3 if count <= options["hessian_limit"] else 0
    if count <= walks["parameters"]:
        steps = walks["ahead"] * walks["length"] / walks["step"] + walks["towards"] * walks["longest"] * 100
        work += 4 * steps * count * small**2
    return 10 + round(networks * combinations * work / MULTIPLICATIONS_PER_SECOND / 60)


def manifold_mb(options: Mapping[str, Any], sweep: Mapping[str, Any], networks: int) -> int:
    """A generous guess of the memory of that, in MB: the largest Jacobian and, below the limit, the Hessian."""
    count, equations, _ = _largest_theory(options, sweep)
    whole = count**2 if count <= options["hessian_limit"] else 0
    return PROCESS_MB + round(8 * (6 * count * equations + 6 * whole) / 1e6)


def _largest_theory(options: Mapping[str, Any], sweep: Mapping[str, Any]) -> tuple[int, int, int]:
    """Parameters, on random data, and equations of the largest theory network of a sweep, and its combinations."""
    width, depth, outputs = (max(sweep[key]) for key in ("width", "depth", "outputs"))
    inputs = max(options["input_dimension"], 1000 * ("images" in sweep["data"]))
    count = width * (inputs + 1) + (depth - 1) * width * (width + 1) + outputs * (width + 1)
    axes = ("width", "depth", "points", "outputs", "activation", "data")
    return count, max(sweep["points"]) * outputs, prod(len(sweep[axis]) for axis in axes)


def movement_minutes(recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int) -> int:
    """A generous guess of the minutes that measuring movement and tangent kernels takes on one slow core."""
    moments = 2 + len(recipe.training.snapshots) * options["during_training"]
    count = parameters(recipe.network, known.shape, known.classes)
    # For convolutions the kernel costs a product of per-example gradients for each output.
    seconds = moments * known.classes * options["kernel_images"] ** 2 * count / MULTIPLICATIONS_PER_SECOND
    return 10 + round(networks * (seconds + moments) / 60)


def movement_mb(
    recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous guess of the memory that measuring movement needs, in MB."""
    kernels = 2 * 8 * known.classes * options["kernel_images"] ** 2
    return training_mb(recipe, known, networks, evaluation_batch_size) + round((kernels + 1e9) / 1e6)


def ticket_levels(options: Mapping[str, Any]) -> int:
    """The number of levels of pruning, without the dense one."""
    return options["levels"] if options["kept_fractions"] is None else len(options["kept_fractions"])


def tickets_minutes(recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int) -> int:
    """A generous guess of the minutes that finding the tickets of `networks` networks takes on one slow core."""
    examples, levels = recipe.data.train_size or known.train_size, ticket_levels(options)
    trained = levels * (1 + len(options["controls"])) + (levels + 1) * options["stability"] + 1
    most = options["evaluation_examples"] or max(examples, known.test_size)
    statistics = recipe.training.statistics_size if recipe.network.normalization == "batch" else 0
    lines = (levels + 1) * options["stability"] * options["line_points"]
    passes = lines * (min(most, examples) + min(most, known.test_size) + statistics)
    curvature = options["curvature"]
    products = 100 * levels * len(curvature["kinds"]) * (1 if curvature["trace_precision"] is None else 5)
    passes += 9 * products * min(curvature["images"], examples)
    seconds = passes * multiplications(recipe.network, known.shape, known.classes) / MULTIPLICATIONS_PER_SECOND
    return training_minutes(recipe, known, networks * trained) + round(networks * seconds / 60)


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


def robustness_minutes(recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int) -> int:
    """A generous guess of the minutes that testing on corrupted images takes on one slow core, 10 at least."""
    images = min(options["test_size"] or known.test_size, known.test_size)
    sets = 2 + len(options["corruptions"]) * len(options["severities"])
    statistics = recipe.training.statistics_size if recipe.network.normalization == "batch" else 0
    passes = networks * (sets * images + statistics)
    seconds = passes * multiplications(recipe.network, known.shape, known.classes) / MULTIPLICATIONS_PER_SECOND
    values = known.shape[0] * known.shape[1] * known.shape[2]
    # Measured: Poisson noise takes some 60 ns a value, JPEG 200 microseconds an image.
    return 10 + round((seconds + sets * images * (values * 1e-7 + 2e-4)) / 60)


def robustness_mb(
    recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous guess of the memory that testing on corrupted images needs, in MB: the images, and those kept."""
    images = min(options["test_size"] or known.test_size, known.test_size)
    values = images * known.shape[0] * known.shape[1] * known.shape[2]
    return training_mb(recipe, known, networks, evaluation_batch_size) + round((6 * 4 * values + 1e9) / 1e6)
