"""The cost of theory networks."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from isthmus.training.cost import LIKELY_STEPS, PROCESS_MB, Calls, Work


def work(options: Mapping[str, Any], sweep: Mapping[str, Any], networks: int, image_inputs: int = 1000) -> Work:
    """The work for `networks` seeds of a sweep: the dense linear algebra, which grows as a power of the sizes.

    image_inputs: number of values in an image of the study's data.
    """
    sizes = theory_sizes(options, sweep, image_inputs)
    sampled = sweep["learning_coefficient"]
    return Work(
        tuple(call for count, equations in sizes for call in _theory(options, count, equations, networks, sampled))
    )


def _theory(options: Mapping[str, Any], count: int, equations: int, networks: int, sampled: bool) -> list[Calls]:
    """The algebra of one combination of a sweep.

    These are Gram matrices and their factors (to search for the network and for the goals of its walks), a singular
    value decomposition, the Hessian and its eigenvalues, walks and, if `sampled`, Langevin chains.
    """
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
    if sampled:
        given = options["learning_coefficient"]
        steps = len(given["stiffnesses"]) * (given["burn_in"] + given["draws"])
        calls.append(Calls("search", steps, given["chains"] * count * (2 * count + 3 * equations), networks))
    return calls


def theory_sizes(
    options: Mapping[str, Any], sweep: Mapping[str, Any], image_inputs: int = 1000
) -> list[tuple[int, int]]:
    """The parameters and equations of each theory network of a sweep. image_inputs: number of values in an image."""
    combinations = product(*(sweep[axis] for axis in ("width", "depth", "points", "outputs", "activation", "data")))
    sizes = []
    for width, depth, points, outputs, _, data in combinations:
        inputs = image_inputs if data == "images" else options["input_dimension"]
        count = width * (inputs + 1) + (depth - 1) * width * (width + 1) + outputs * (width + 1)
        sizes.append((count, points * outputs))
    return sizes


def memory_mb(options: Mapping[str, Any], sweep: Mapping[str, Any], networks: int) -> int:
    """A generous estimate of the memory of a job, in MB: the largest Jacobian and, below the limit, the Hessian."""
    sizes = [
        count * equations + (count**2 if count <= options["hessian_limit"] else 0)
        for count, equations in theory_sizes(options, sweep)
    ]
    return PROCESS_MB + round(8 * 6 * max(sizes) / 1e6)
