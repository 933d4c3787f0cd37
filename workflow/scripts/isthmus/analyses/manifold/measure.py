"""The zero set of one theory network's loss: zeros found and constructed, eigenvalues counted, walks (Cooper 2018).

For n weights, d data points and q equations (d times the outputs), a smooth network's loss |r|^2 / 2 has, if n > q, a
zero set of dimension n - q, where the Hessian has q positive and n - q zero eigenvalues (C1). The set is not empty if
the last hidden layer is wider than d (C2), and is generically empty for n < q (C3). One can walk along it (C4).
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.analyses.manifold.coefficients import coefficient_rows
from isthmus.analyses.manifold.levenberg_marquardt import Solution, solve
from isthmus.analyses.manifold.problems import FEATURES, GOAL, START, TheorySpec
from isthmus.analyses.manifold.rank import Split, matrix_rank, split_at_gap
from isthmus.analyses.manifold.theory import SMOOTH, Problem, solution_expected
from isthmus.analyses.manifold.walks import Walk, Waypoint, between_order, walk_ahead, walk_around
from isthmus.analyses.manifold.written_down import can_be_written_down, construct, worst_memorized
from isthmus.core.seeds import Stream, generator
from isthmus.tables.rows import Row, Rows

WAYPOINTS = 40  # rows of a walk in its table
AHEAD, TOWARDS = "ahead", "towards"


@dataclass(frozen=True, eq=False)
class Spectra:
    """Eigenvalues of the Hessian `[n]`, in rising order, None if it is too large; singular values of J, falling."""

    hessian: np.ndarray | None
    singular: np.ndarray


def search(problem: Problem, seed: int, use: tuple[int, ...], options: Mapping[str, Any]) -> Solution:
    """A zero of the loss, or the best minimum found from a seed's starts. use: `(START,)` or `(GOAL, number)`."""
    starts = (
        problem.network.start(generator(seed, Stream.THEORY, *use, attempt)).to(problem.inputs)
        for attempt in range(1 + options["restarts"])
    )
    return solve(problem.residuals, problem.jacobian, starts, options["tolerance"], options["maximum_steps"])


def singular_values(matrix: Tensor) -> Tensor:
    """The singular values `[min(q, n)]` of a matrix `[q, n]` in falling order, from its triangular factor."""
    rows, columns = matrix.shape
    tall = matrix if rows > columns else matrix.T
    return torch.linalg.svdvals(torch.linalg.qr(tall, mode="r").R)


def spectra_of(problem: Problem, weights: Tensor, hessian_limit: int) -> Spectra:
    """The spectra at `weights` `[n]`; the Hessian's only if n is at most `hessian_limit`."""
    singular = singular_values(problem.jacobian(weights)).cpu().numpy()
    small = len(weights) <= hessian_limit
    hessian = torch.linalg.eigvalsh(problem.hessian(weights)).cpu().numpy() if small else None
    return Spectra(hessian, singular)


def count_row(problem: Problem, spectra: Spectra) -> Row:
    """The columns of `manifold` that count eigenvalues.

    Without the Hessian, they are the eigenvalues of J^T J, which equals it at a zero of the loss: squared singular
    values and n - q zeros.
    """
    count, singular = problem.network.parameters, spectra.singular
    squares = np.concatenate([singular**2, np.zeros(count - len(singular))])
    split: Split = split_at_gap(squares if spectra.hessian is None else spectra.hessian)
    return {
        "counted_from": "jacobian" if spectra.hessian is None else "hessian",
        "predicted_rank": min(count, problem.constraints),
        "jacobian_rank": matrix_rank(singular, problem.constraints, count),
        "positive": split.positive,
        "zero": split.zero,
        "negative": split.negative,
        "gap": split.gap,
        "smallest_positive": split.smallest,
        "largest_zero": split.largest_zero,
        "largest_eigenvalue": float(squares.max() if spectra.hessian is None else spectra.hessian[-1]),
        "most_negative": None if spectra.hessian is None else float(min(spectra.hessian[0], 0.0)),
        "smallest_squared_singular": float(singular[-1] ** 2),
        "largest_squared_singular": float(singular[0] ** 2),
    }


def off_data_row(problem: Problem, weights: Tensor) -> Row:
    """The function off the data: its size, and its errors if there are targets there."""
    given = problem.network.function(weights, problem.off_inputs)
    row: Row = {
        "off_data_points": len(given),
        "off_data_rms": _rms(given),
        "off_data_loss": None,
        "off_data_error": None,
    }
    wanted = problem.off_targets
    if wanted is not None:
        row["off_data_loss"] = _rms(given - wanted) ** 2
        wrong = given.sign() != wanted.sign() if given.shape[1] == 1 else given.argmax(1) != wanted.argmax(1)
        row["off_data_error"] = float(wrong.double().mean())
    return row


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def memorization_row(problem: Problem, seed: int, labels: int) -> Row:
    """The columns of `manifold` about constructed weights; nulls if the last hidden layer is too narrow."""
    possible = can_be_written_down(problem.network, len(problem.inputs))
    row: Row = {
        "constructible": possible,
        "constructed_loss": None,
        "constructed_condition": None,
        "memorized_loss": None,
    }
    if possible:
        random = generator(seed, Stream.THEORY, FEATURES)
        constructed = construct(problem, random)
        row |= {"constructed_loss": constructed.loss, "constructed_condition": constructed.condition}
        row["memorized_loss"] = worst_memorized(problem, labels, random) if labels else None
    return row


def walk_rows(problem: Problem, walk: Walk, goal: Tensor | None, order: float | None = None, detours: int = 0) -> Rows:
    """The measured columns of `walks`: some forty points at evenly spaced indices, including the first and last.

    A walk without a step has a single row. order: `walks.between_order` at the start.
    """
    start = walk.points[0].weights
    before = problem.network.function(start, problem.off_inputs)
    last = len(walk.points) - 1
    rows = []
    for index in np.unique(np.linspace(0, last, min(WAYPOINTS, last) + 1).round().astype(int)):
        point = walk.points[index]
        distance = float((point.weights - start).norm())
        straight = start if walk.heading is None else start + distance * walk.heading
        rows.append(
            {
                "step": int(index),
                "final": bool(index == last),
                "outcome": walk.outcome,
                "detours": detours,
                "arc_length": point.arc_length,
                "distance": distance,
                "distance_left": None if goal is None else float((point.weights - goal).norm()),
                "start_norm": float(start.norm()),
                "worst_loss": point.worst_loss,
                "worst_between": point.worst_between,
                "between_order": order,
                "longest_step": point.longest_step,
                "straight_loss": problem.loss(straight),
                "function_change": _rms(problem.network.function(point.weights, problem.off_inputs) - before),
                "function_rms": _rms(before),
                "off_data_points": len(before),
            }
        )
    return rows


def direction_of(seed: int, weights: Tensor, *counters: int) -> Tensor:
    """A random direction `[n]` for a walk, or for a detour of it."""
    return torch.from_numpy(generator(seed, Stream.WALKS, *counters).standard_normal(len(weights))).to(weights)


def take_walks(problem: Problem, weights: Tensor, seed: int, options: Mapping[str, Any]) -> Rows:
    """All walks that start at the zero `weights` `[n]`: in random tangent directions, and towards other minima.

    Every walk has rows, however it ends; the last one has `final`. The other minima come from searches with their own
    starts. If such a search finds none, the walk has the outcome `no goal` and one row.
    """
    wanted, tolerance, rows = options["walks"], options["tolerance"], []
    norm = float(weights.norm())
    step = wanted["step"] * norm

    def order_of(walk: Walk) -> float | None:
        return None if walk.heading is None else between_order(problem, weights, walk.heading, step, tolerance)

    for number in range(wanted["ahead"]):
        direction = direction_of(seed, weights, number)
        walk = walk_ahead(problem, weights, direction, wanted["length"] * norm, step, tolerance)
        rows += [{"kind": AHEAD, "walk": number} | row for row in walk_rows(problem, walk, None, order_of(walk))]
    for number in range(wanted["towards"]):
        goal = search(problem, seed, (GOAL, number), options)
        if goal.solved:
            aside = (direction_of(seed, weights, number, detour) for detour in range(wanted["detours"]))
            walk, tried = walk_around(problem, weights, goal.weights, step, tolerance, wanted["longest"], aside)
            found = walk_rows(problem, walk, goal.weights, order_of(walk), tried)
        else:
            found = walk_rows(problem, Walk((Waypoint.first(weights, problem.loss(weights)),), "no goal"), None)
        rows += [{"kind": TOWARDS, "walk": number} | row for row in found]
    return rows


def eigenvalue_rows(problem: Problem, spectra: Spectra) -> Rows:
    """The measured columns of `manifold_eigenvalues`, largest eigenvalues first."""
    squares = spectra.singular**2
    found = (
        [("jacobian", squares)]
        if spectra.hessian is None
        else [("hessian", spectra.hessian[::-1]), ("jacobian", squares)]
    )
    return [
        {"matrix": matrix, "index": index, "eigenvalue": float(value)}
        for matrix, values in found
        for index, value in enumerate(values)
    ]


def measure_theory(
    problem: Problem, spec: TheorySpec, seed: int, options: Mapping[str, Any], *, sampled: bool = False
) -> dict[str, Rows]:
    """The measured columns of one theory network: the rows of each table.

    sampled: whether to estimate the local learning coefficient, if the search finds a zero.
    """
    began = time.monotonic()
    network, points = problem.network, len(problem.inputs)
    solution = search(problem, seed, (START,), options)
    solving = time.monotonic() - began
    spectra = spectra_of(problem, solution.weights, options["hessian_limit"])
    walked = solution.solved and network.parameters <= options["walks"]["parameters"]
    walks = take_walks(problem, solution.weights, seed, options) if walked else []
    given = options["learning_coefficient"]
    wanted = sampled and solution.solved
    coefficients = coefficient_rows(problem, solution.weights, seed, spec.name, given) if wanted else []
    row = {
        "solved": solution.solved,
        "loss": solution.loss,
        "gradient": solution.gradient,
        "steps": solution.steps,
        "starts": solution.attempt + 1,
        "seconds_solving": solving,
        "start_norm": float(solution.start.norm()),
        "norm": float(solution.weights.norm()),
        "distance": float((solution.weights - solution.start).norm()),
        "solution_expected": solution_expected(network, points),
        **count_row(problem, spectra),
        **off_data_row(problem, solution.weights),
        **memorization_row(problem, seed, options["labels"]),
        "seconds": time.monotonic() - began,
    }
    logging.info(
        "seed %d, %s: n = %d, q = %d, loss %.1e after %d steps, %d positive, gap %.1f decades, %.2f s",
        *(
            seed,
            spec.name,
            network.parameters,
            problem.constraints,
            row["loss"],
            row["steps"],
            row["positive"],
            row["gap"],
        ),
        row["seconds"],
    )
    sizes = {"parameters": network.parameters, "constraints": problem.constraints}
    common = spec.as_dict() | sizes
    assumptions = {"smooth": spec.activation in SMOOTH, "generic": spec.data == "random" or spec.outputs == 1}
    whole = common | {"input_dimension": network.inputs} | assumptions | row
    return {
        "manifold": [whole],
        "manifold_eigenvalues": [common | each for each in eigenvalue_rows(problem, spectra)],
        "walks": [common | each for each in walks],
        "learning_coefficients": [common | assumptions | each for each in coefficients],
    }
