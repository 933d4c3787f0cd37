"""Walks within the zero set of the loss.

Where the Jacobian J of the residuals has full rank, the zero set is a manifold whose tangent space is the kernel of J
(the implicit function theorem; Cooper 2018). A step goes along a tangent and then straight back: corrections of
Newton's method within the normal space of the point that was left, the row space of its J, until the loss is at
rounding level. A direction is kept by projecting it onto the next tangent space, which follows a geodesic as steps
become small. Points of a walk are zeros of the loss; the straight piece between two of them leaves the zero set by
the square of its length, and so a walk stands for the curve of the points that every smaller step would find.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.theory import Problem

CORRECTIONS = 30  # of Newton's method, after which a step counts as too long
LONGEST_CORRECTION = 0.5  # of the step it corrects
SHORTEST_STEP = 1e-4  # of the wanted one, where a walk ends
ARRIVED = 1e-6  # of the first distance from the goal
LEAST_HEADING = 1e-6  # of a direction that the tangent space keeps; the zero set has no dimension left below
DETOUR = 0.3  # of the first distance from the goal: how far a walk goes aside where it is stuck
LEAST_TANGENT = 0.01  # of the direction to the goal that the tangent space keeps; below, the walk is stuck

Tangent = Callable[["Foot"], Tensor | None]
Judgement = Callable[[Tensor, Tensor], bool]


@dataclass(frozen=True, eq=False)
class Foot:
    """A point of the zero set and its normal space.

    weights `[n]`; normal `[n, q]`: orthonormal columns that span the row space of J; triangle `[q, q]`: J^T = normal
    triangle.
    """

    weights: Tensor
    normal: Tensor
    triangle: Tensor

    def tangent(self, direction: Tensor) -> Tensor:
        """The part of `direction` `[n]` in the kernel of J; projected twice, as once leaves a part of rounding size."""
        for _ in range(2):
            direction = direction - self.normal @ (self.normal.T @ direction)
        return direction

    def correction(self, residuals: Tensor) -> Tensor:
        """The pseudo-inverse of J times -r `[q]`: the shortest step `[n]` that removes r to first order."""
        return -self.normal @ torch.linalg.solve_triangular(self.triangle.T, residuals[:, None], upper=False)[:, 0]


def foot(problem: Problem, weights: Tensor) -> Foot:
    """The point at `weights` `[n]` with its normal space."""
    return Foot(weights, *torch.linalg.qr(problem.jacobian(weights).T))


def step_along(problem: Problem, here: Foot, step: Tensor, tolerance: float) -> tuple[Tensor, float] | None:
    """The zero of the loss beside `here` + `step` `[n]`, and its loss; None where Newton's method finds none nearby.

    It goes on below `tolerance` for as long as a correction still halves the loss.
    """
    weights = here.weights + step
    farthest = LONGEST_CORRECTION * float(step.norm())
    residuals = problem.residuals(weights)
    loss = float(residuals.square().sum()) / 2
    for _ in range(CORRECTIONS):
        nearer = weights + here.correction(residuals)
        if not float((nearer - here.weights - step).norm()) <= farthest:
            return None
        after_residuals = problem.residuals(nearer)
        after = float(after_residuals.square().sum()) / 2
        if loss < tolerance and after > loss / 2:
            return (weights, loss) if loss <= after else (nearer, after)
        weights, residuals, loss = nearer, after_residuals, after
    return (weights, loss) if loss < tolerance else None


@dataclass(frozen=True, eq=False)
class Waypoint:
    """A point of a walk: weights `[n]`, arc length so far, and the greatest loss of any point so far."""

    weights: Tensor
    arc_length: float
    worst_loss: float


@dataclass(frozen=True, eq=False)
class Walk:
    """The points of a walk, the first among them, and how it ended: `length`, `arrived`, `stuck` or `lost`.

    `length`: the arc length asked for was walked. `arrived`: at the goal. `stuck`: no tangent leads nearer to it.
    `lost`: no step, however short, could be corrected.
    """

    points: tuple[Waypoint, ...]
    outcome: str

    @property
    def end(self) -> Tensor:
        """The weights `[n]` at the last point."""
        return self.points[-1].weights

    def then(self, other: "Walk") -> "Walk":
        """This walk and then another that starts where it ends."""
        arc, worst = self.points[-1].arc_length, self.points[-1].worst_loss
        onward = (Waypoint(p.weights, arc + p.arc_length, max(worst, p.worst_loss)) for p in other.points[1:])
        return Walk((*self.points, *onward), other.outcome)


def _walk(
    problem: Problem, start: Tensor, tolerance: float, step: float, length: float, tangent: Tangent, wanted: Judgement
) -> Walk:
    """Steps along what `tangent` says, no longer than that, until it says None or `length` is walked.

    A step to a point that is not `wanted` is shortened. Raises ValueError where the start is no zero of the loss.
    """
    loss = problem.loss(start)
    if not loss < tolerance:
        raise ValueError(f"a walk starts at a zero of the loss, and the loss is {loss:.1e} there")
    points, share, here = [Waypoint(start, 0.0, loss)], 1.0, foot(problem, start)
    while points[-1].arc_length < length * (1 - 1e-9):
        direction = tangent(here)
        if direction is None:
            return Walk(tuple(points), "stuck")
        whole = float(direction.norm())
        size = min(share * step, length - points[-1].arc_length, whole)
        found = step_along(problem, here, direction * (size / whole), tolerance)
        if found is None or not wanted(here.weights, found[0]):
            share /= 2
            if share < SHORTEST_STEP:
                return Walk(tuple(points), "lost" if found is None else "stuck")
            continue
        weights, loss = found
        walked = points[-1].arc_length + float((weights - here.weights).norm())
        points.append(Waypoint(weights, walked, max(points[-1].worst_loss, loss)))
        share, here = min(1.0, 1.5 * share), foot(problem, weights)
    return Walk(tuple(points), "length")


def walk_ahead(
    problem: Problem, start: Tensor, direction: Tensor, length: float, step: float, tolerance: float
) -> Walk:
    """Walk `length` from the zero `start` `[n]` in the tangent direction nearest to `direction` `[n]`, straight on.

    length, step: Euclidean, in the unit of the weights. Where the zero set is a point, the walk is `stuck`.
    """
    heading = [direction / direction.norm()]

    def onward(here: Foot) -> Tensor | None:
        tangent = here.tangent(heading[0])
        size = float(tangent.norm())
        if size < LEAST_HEADING:
            return None
        heading[0] = tangent / size
        return heading[0] * length

    return _walk(problem, start, tolerance, step, length, onward, lambda before, after: True)


def walk_towards(problem: Problem, start: Tensor, goal: Tensor, step: float, tolerance: float, longest: float) -> Walk:
    """Walk from the zero `start` towards the zero `goal`, both `[n]`, along the tangent part of the way that is left.

    This descends the distance from the goal within the zero set, with every step. It ends at the goal, near a point
    whose tangent space is perpendicular to the way left (`stuck`: a local minimum or a saddle of the distance), or
    after an arc length of `longest` times the first distance.
    """

    def distance(weights: Tensor) -> float:
        return float((goal - weights).norm())

    first = distance(start)

    def nearer(here: Foot) -> Tensor | None:
        left = distance(here.weights)
        tangent = here.tangent(goal - here.weights)
        near = left <= ARRIVED * first or float(tangent.norm()) < LEAST_TANGENT * left
        return None if near else tangent

    walk = _walk(
        problem,
        start,
        tolerance,
        step,
        longest * first,
        nearer,
        lambda before, after: distance(after) < distance(before),
    )
    last = walk.points[-1]
    rest = distance(last.weights)
    if rest > ARRIVED * first:
        return walk
    end = Waypoint(goal, last.arc_length + rest, max(last.worst_loss, problem.loss(goal)))
    return Walk((*walk.points, end), "arrived")


def walk_around(
    problem: Problem,
    start: Tensor,
    goal: Tensor,
    step: float,
    tolerance: float,
    longest: float,
    directions: Iterable[Tensor],
) -> tuple[Walk, int]:
    """`walk_towards`, with detours: where it does not arrive, ahead in a random direction and then towards the goal.

    directions: `[n]`, one for each detour that may be tried. A detour that ends no nearer to the goal is taken back, so
    that the walk remains one path from the start. Returns it and how many detours were tried.
    """

    def distance(weights: Tensor) -> float:
        return float((goal - weights).norm())

    walk, tried = walk_towards(problem, start, goal, step, tolerance, longest), 0
    for direction in directions:
        if walk.outcome == "arrived":
            break
        aside = walk_ahead(problem, walk.end, direction, DETOUR * distance(start), step, tolerance)
        again = aside.then(walk_towards(problem, aside.end, goal, step, tolerance, longest))
        tried += 1
        if distance(again.end) < distance(walk.end):
            walk = walk.then(again)
    return walk, tried
