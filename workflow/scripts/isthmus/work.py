"""How much there is to compute: the work of a job, counted in closed form, before anything runs.

Work is a list of calls - gradients, evaluations, products with the Hessian, dense algebra, steps of a search - with
the number of multiplications in each. The resources of a job are those counts at the generous speeds below;
`isthmus.plan` takes the same counts at speeds that were measured (`isthmus.calibration`). Nothing here imports torch: a
Snakefile is parsed often.

An analysis that is to have its expected cost in `make plan` puts a function of its own into `COUNTS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from isthmus import costs
from isthmus.datasets import Facts
from isthmus.recipe import Recipe

# A slow core: multiplications a second in training, seconds a step costs whatever its size.
MULTIPLICATIONS_PER_SECOND = 5e9
SECONDS_PER_STEP = 2e-3
# By the kind of a call: its multiplications over those of a forward pass on its examples, and its steps.
GENEROUS = {"gradient": (3, 1), "evaluation": (1, 0), "product": (9, 10), "algebra": (1, 0), "search": (1, 1)}
# Measured on small MLPs: the shares of the products and of the steps of a search above that were taken.
LIKELY_PRODUCTS = 0.4
LIKELY_STEPS = 0.3
# Measured seconds to corrupt a value; the others take some 10 ns, JPEG 200 microseconds an image.
CORRUPTING = {"shot_noise": 6e-8, "gaussian_blur": 8e-8}
SWEEPS_A_SEARCH = 20  # of weight matching: 5 to 30 were measured on fully connected networks
EVALUATED_TOGETHER = 256  # examples in an evaluation call, the default of jobs.evaluation_batch_size


@dataclass(frozen=True)
class Calls:
    """`count` calls of a kind for each of `networks` networks (or points of a path), which may share a call.

    size: multiplications of a forward pass on the examples of one call, for one network; of `algebra`, its own.
    batch_size: decides how many networks are stacked in a call (`isthmus.devices.stack_size`); 0 where none ever are.
    likely: the share of `count` that is expected, where this is a limit of a search that ends when it has found.
    """

    kind: str
    count: float
    size: float
    networks: int = 1
    batch_size: int = 0
    likely: float = 1.0


@dataclass(frozen=True)
class Work:
    """The calls of a job, and seconds that were measured outright and hardly depend on networks or machines."""

    calls: tuple[Calls, ...]
    seconds: float = 0.0

    def minutes(self) -> int:
        """A generous guess of the minutes that takes on one slow core, 10 at least."""
        seconds = self.seconds
        for each in self.calls:
            passes, steps = GENEROUS[each.kind]
            once = passes * each.size / MULTIPLICATIONS_PER_SECOND + steps * SECONDS_PER_STEP
            seconds += each.count * each.networks * once
        return 10 + round(seconds / 60)


def _evaluations(examples: float, forward: int, networks: int, batch_size: int) -> Calls:
    """One evaluation of each of `networks` on `examples` examples."""
    return Calls("evaluation", examples / EVALUATED_TOGETHER, EVALUATED_TOGETHER * forward, networks, batch_size)


def _sizes(recipe: Recipe, known: Facts) -> tuple[int, int, int]:
    """Training examples, those that batch-norm statistics take, and multiplications of a forward pass on one."""
    examples = recipe.data.train_size or known.train_size
    forward = costs.multiplications(recipe.network, known.shape, known.classes)
    return examples, recipe.statistics_examples(examples), forward


def _on_points(recipe: Recipe, known: Facts, options: Mapping[str, Any]) -> float:
    """Examples that a point of a path is evaluated on, batch-norm statistics included."""
    examples, statistics, _ = _sizes(recipe, known)
    most = options["evaluation_examples"] or max(examples, known.test_size)
    return min(most, examples) + min(most, known.test_size) + statistics


def training(recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """Training `networks` networks to the end of their epochs. No options."""
    given, (examples, statistics, forward) = recipe.training, _sizes(recipe, known)
    per_epoch = ceil(examples / given.batch_size)
    steps = given.steps if given.steps is not None else given.epochs * per_epoch
    moments = steps / per_epoch / given.history_every + 2
    gradients = steps * (2 if given.sharpness_radius else 1)  # sharpness-aware training takes two a step
    evaluated = moments * (examples + known.test_size + statistics)
    step = Calls("gradient", gradients, given.batch_size * forward, networks, given.batch_size)
    return Work((step, _evaluations(evaluated, forward, networks, given.batch_size)))


def connecting(recipe: Recipe, known: Facts, options: Mapping[str, Any], pairs: int) -> Work:
    """Fitting and measuring the paths of `pairs` pairs."""
    examples, _, forward = _sizes(recipe, known)
    lines = sum(kind.startswith("linear") for kind in options["kinds"])
    curves, point = len(options["kinds"]) - lines, _on_points(recipe, known, options)
    batch_size = min(options["curve"]["batch_size"] or recipe.training.batch_size, examples)
    steps = curves * options["curve"]["epochs"] * ceil(examples / batch_size)
    sharpness = options["sharpness"]
    # Some thirty products for an eigenvalue and forty for a trace.
    products = 70 * pairs * sharpness["points"] * len(options["kinds"])
    on_line, on_curve, on_plane = options["line_points"], options["curve_points"], 2 * options["planes"]["points"] ** 2
    return Work(
        (
            Calls("gradient", steps, batch_size * forward, pairs, batch_size),
            _evaluations(pairs * lines * point, forward, on_line, EVALUATED_TOGETHER),
            _evaluations(pairs * curves * point, forward, on_curve, EVALUATED_TOGETHER),
            _evaluations(point, forward, on_plane, EVALUATED_TOGETHER),
            Calls("product", products, min(sharpness["images"], examples) * forward, likely=LIKELY_PRODUCTS),
            *_aligning(recipe, known, options, pairs),
        )
    )


def _aligning(recipe: Recipe, known: Facts, options: Mapping[str, Any], pairs: int) -> list[Calls]:
    """Matching the hidden units of `pairs` pairs, where a kind of path asks for it."""
    if not any(kind.endswith("-aligned") for kind in options["kinds"]):
        return []
    (examples, statistics, forward), given = _sizes(recipe, known), options["alignment"]
    searches = given["restarts"] * {"auto": 2, "weights": 1, "activations": 0, "combined": 1}[given["method"]]
    images = 0 if given["method"] == "weights" else 2 * (min(given["images"], examples) + statistics)
    images += 3 * (min(given["selection_images"], examples) + statistics) if given["method"] == "auto" else 0
    layers = costs.layer_sizes(recipe.network, known.shape, known.classes)
    # Inner products of all pairs of units, along both axes of a weight; the assignments take about as long. What the
    # first layer contributes never changes and is computed once.
    sweep = 4 * sum(fan_in * units**2 for fan_in, units, _, _ in layers[1:])
    return [
        Calls("algebra", pairs * searches * SWEEPS_A_SEARCH, sweep),
        _evaluations(pairs * images, forward, 1, EVALUATED_TOGETHER),
    ]


def curvature(recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """Measuring the curvature at `networks` networks."""
    examples, _, forward = _sizes(recipe, known)
    images, count = min(options["images"], examples), costs.parameters(recipe.network, known.shape, known.classes)
    moments = 1 + (1 + len(recipe.training.snapshots)) * options["during_training"]
    # Some thirty products for the first eigenvalue, ten for each more, two hundred for a trace.
    wanted = options["eigenvalues"] * moments + options["smallest_eigenvalues"] + options["gauss_newton_eigenvalues"]
    searched = 30 * (moments + 2) + 10 * wanted + 200 * (options["trace_precision"] is not None)
    fixed = options["spectrum"]["probes"] * options["spectrum"]["steps"]
    fixed += count if count <= options["dense_limit"] else 0
    noise = options["noise"]
    draws = noise["draws"] * (len(noise["sigmas"]) + len(noise["relative_sigmas"]))
    ascents = noise["ascent_steps"] * (len(noise["radii"]) + len(noise["adaptive_radii"]))
    disturbed = min(noise["images"], examples)
    return Work(
        (
            Calls("product", networks * searched, images * forward, likely=LIKELY_PRODUCTS),
            Calls("product", networks * fixed, images * forward),
            _evaluations(networks * disturbed, forward, draws, EVALUATED_TOGETHER),
            Calls("gradient", networks * ascents, disturbed * forward),
        )
    )


def movement(recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """Measuring movement and tangent kernels of `networks` networks."""
    moments = 2 + len(recipe.training.snapshots) * options["during_training"]
    layers = costs.layer_sizes(recipe.network, known.shape, known.classes)
    # Inner products of what goes into a linear layer; of the gradients of each example for a convolution.
    inner = sum(fan_in + units if places == 1 else fan_in * units for fan_in, units, places, _ in layers)
    kernel = known.classes * options["kernel_images"] ** 2 * inner
    return Work((Calls("algebra", networks * moments, kernel),), 0.1 * networks * moments)


def tickets(recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """Finding the tickets of `networks` networks."""
    (examples, _, forward), levels = _sizes(recipe, known), costs.ticket_levels(options)
    trained = levels * (1 + len(options["controls"])) + (levels + 1) * options["stability"]
    trained += options["rewind_step"] > 0
    lines = (levels + 1) * options["stability"]
    given = options["curvature"]
    products = 100 * levels * len(given["kinds"]) * (1 if given["trace_precision"] is None else 5)
    # What trains together are the networks of a kind, level after level.
    each = training(recipe, known, {}, networks).calls
    again = tuple(Calls(call.kind, trained * call.count, call.size, networks, call.batch_size) for call in each)
    line = _evaluations(networks * lines * _on_points(recipe, known, options), forward, options["line_points"], 256)
    images = min(given["images"], examples)
    differentiated = Calls("product", networks * products, images * forward, likely=LIKELY_PRODUCTS)
    return Work((*again, line, differentiated))


def robustness(recipe: Recipe, known: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """Testing `networks` networks on corrupted images."""
    _, statistics, forward = _sizes(recipe, known)
    images = min(options["test_size"] or known.test_size, known.test_size)
    sets = 2 + len(options["corruptions"]) * len(options["severities"])
    each = [CORRUPTING.get(name, 1e-8) * prod(known.shape) + 2e-4 * (name == "jpeg") for name in options["corruptions"]]
    corrupting = images * len(options["severities"]) * sum(each)
    evaluated = _evaluations(sets * images + statistics, forward, networks, EVALUATED_TOGETHER)
    return Work((evaluated,), corrupting)


def manifold(options: Mapping[str, Any], sweep: Mapping[str, Any], networks: int, image_inputs: int = 1000) -> Work:
    """Theory networks, for `networks` seeds of a sweep: the dense algebra that grows with a power of the sizes.

    image_inputs: values in an image of the study's data.
    """
    sizes = costs.theory_sizes(options, sweep, image_inputs)
    return Work(tuple(call for count, equations in sizes for call in _theory(options, count, equations, networks)))


def _theory(options: Mapping[str, Any], count: int, equations: int, networks: int) -> list[Calls]:
    """The algebra of one combination of a sweep: Gram matrices and their factors for a search and a goal; a singular
    value decomposition; Hessian and eigenvalues; walks."""
    small, walks = min(equations, count), options["walks"]
    searches = (1 + options["restarts"]) * (1 + walks["towards"]) * options["maximum_steps"]
    calls = [
        Calls("search", searches, count * equations * small, networks, likely=LIKELY_STEPS),
        Calls("algebra", 1, 20 * count * small**2, networks),
    ]
    if count <= options["hessian_limit"]:
        calls.append(Calls("algebra", 1, 20 * count**3, networks))
    if count <= walks["parameters"]:
        steps = walks["ahead"] * walks["length"] / walks["step"] + walks["towards"] * walks["longest"] * 100
        calls.append(Calls("search", 4 * steps, count * small**2, networks, likely=LIKELY_STEPS))
    return calls


COUNTS: dict[str, Callable[[Recipe, Facts, Mapping[str, Any], int], Work]] = {
    "train": training,
    "connect": connecting,
    "curvature": curvature,
    "movement": movement,
    "tickets": tickets,
    "robustness": robustness,
}
"""The work of a job of a stage, from its cell, the facts of its data, its options and its networks or pairs."""

SWEEPS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], int, int], Work]] = {"manifold": manifold}
"""The same for stages with sweeps, from the options, the sweep, the number of seeds and the values in an image."""
