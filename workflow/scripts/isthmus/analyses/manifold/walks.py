"""Walks within the zero set of the loss.

If the Jacobian J of the residuals has full rank, the zero set is a manifold whose tangent space is the kernel of J
(implicit function theorem; Cooper 2018). A step follows a tangent and is then corrected: Newton's method, within the
normal space where the step began (the row space of J there), brings the loss to rounding level. To keep its direction,
a walk projects it onto the next tangent space, which follows a geodesic as steps become small.

The points of a walk are zeros of the loss because they were corrected until they were. The segments between them are
not corrected, so they show whether the walk follows a curve in the zero set or jumps between pieces of it. A straight
segment of length h leaves a smooth curve by a distance of order h^2, so the loss on it, a square, falls like h^4. We
measure both the largest loss on the segments (`worst_between`) and its power of h (`between_order`). On the unit
sphere, r(w) = |w|^2 - 1, the loss halfway along a chord of length c is c^4 / 32, and at distance x along a tangent,
without corrections, it is x^4 / 2.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.analyses.manifold.theory import Problem

CORRECTIONS = 30  # iterations of Newton's method, after which a step counts as too long
LONGEST_CORRECTION = 0.5  # relative to the step
SHORTEST_STEP = 1e-4  # relative to the requested step; below it, a walk ends
ARRIVED = 1e-6  # relative to the initial distance from the goal
LEAST_HEADING = 1e-6  # if a unit vector's tangential part is smaller, the zero set has no dimension left
DETOUR = 0.3  # length of a detour, relative to the initial distance from the goal
BETWEEN = (0.25, 0.5, 0.75)  # fractions of a segment at which the loss between two points is measured
LEAST_TANGENT = 0.01  # if a smaller fraction of the remaining way is tangential, the walk is stuck

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
        """The part of `direction` `[n]` in the kernel of J; projected twice, because once leaves rounding errors."""
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
    """The zero of the loss near `here` + `step` `[n]`, and its loss; None if Newton's method finds none nearby.

    Below `tolerance`, corrections continue as long as each at least halves the loss.
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


def loss_between(problem: Problem, first: Tensor, second: Tensor) -> float:
    """The largest loss at the interior fractions `BETWEEN` of the straight segment from `first` to `second` `[n]`."""
    return max(problem.loss(torch.lerp(first, second, fraction)) for fraction in BETWEEN)


def between_order(problem: Problem, start: Tensor, heading: Tensor, step: float, tolerance: float) -> float | None:
    """The power of the step with which the loss between two points of a walk falls, at the zero `start` `[n]`.

    heading: unit tangent `[n]`. Compares the losses halfway along a full and a half step from `start`. The power is 4
    if the zero set is smooth and the step small. None if a step cannot be corrected, or if the loss is zero up to
    rounding, as along a straight line in the zero set.
    """
    here, losses = foot(problem, start), []
    for size in (step, step / 2):
        found = step_along(problem, here, size * heading, tolerance)
        if found is None:
            return None
        losses.append(problem.loss((start + found[0]) / 2))
    return math.log2(losses[0] / losses[1]) if min(losses) > tolerance else None


@dataclass(frozen=True, eq=False)
class Waypoint:
    """A point of a walk: weights `[n]`, arc length so far, and three maxima so far.

    worst_loss: loss at any point. worst_between: loss on the straight segments between successive points, where nothing
    is corrected. longest_step: length of a segment.
    """

    weights: Tensor
    arc_length: float
    worst_loss: float
    worst_between: float
    longest_step: float

    @classmethod
    def first(cls, weights: Tensor, loss: float) -> "Waypoint":
        """The start of a walk."""
        return cls(weights, 0.0, loss, loss, 0.0)

    def next(self, problem: Problem, weights: Tensor, loss: float) -> "Waypoint":
        """The point after this one: `weights` `[n]` with their loss."""
        length = float((weights - self.weights).norm())
        return Waypoint(
            weights,
            self.arc_length + length,
            max(self.worst_loss, loss),
            max(self.worst_between, loss_between(problem, self.weights, weights)),
            max(self.longest_step, length),
        )


@dataclass(frozen=True, eq=False)
class Walk:
    """The points of a walk, including the first, and its outcome.

    `length`: it walked the requested arc length. `arrived`: it is at the goal. `stuck`: no tangent direction is left
    or, towards a goal, none leads closer to it. `lost`: no step, however short, could be corrected. `no goal`: there
    was none to walk to. heading: unit tangent `[n]` of the first step that was made or tried; None if there was no
    direction to go.
    """

    points: tuple[Waypoint, ...]
    outcome: str
    heading: Tensor | None = None

    @property
    def end(self) -> Tensor:
        """The weights `[n]` at the last point."""
        return self.points[-1].weights

    def then(self, other: "Walk") -> "Walk":
        """This walk, followed by another that starts where it ends."""
        last = self.points[-1]
        onward = (
            Waypoint(
                point.weights,
                last.arc_length + point.arc_length,
                max(last.worst_loss, point.worst_loss),
                max(last.worst_between, point.worst_between),
                max(last.longest_step, point.longest_step),
            )
            for point in other.points[1:]
        )
        return Walk((*self.points, *onward), other.outcome, other.heading if self.heading is None else self.heading)


def _walk(
    problem: Problem, start: Tensor, tolerance: float, step: float, length: float, tangent: Tangent, wanted: Judgement
) -> Walk:
    """Walk along the vectors that `tangent` returns, at most their length, until it returns None or for `length`.

    A step to a point that is not `wanted` is shortened. Raises ValueError if the start is not a zero of the loss.
    """
    loss = problem.loss(start)
    if not loss < tolerance:
        raise ValueError(f"a walk starts at a zero of the loss, and the loss is {loss:.1e} there")
    points, share, here = [Waypoint.first(start, loss)], 1.0, foot(problem, start)
    heading: Tensor | None = None
    while points[-1].arc_length < length * (1 - 1e-9):
        direction = tangent(here)
        if direction is None:
            return Walk(tuple(points), "stuck", heading)
        whole = float(direction.norm())
        heading = direction / whole if heading is None else heading
        size = min(share * step, length - points[-1].arc_length, whole)
        found = step_along(problem, here, direction * (size / whole), tolerance)
        if found is None or not wanted(here.weights, found[0]):
            share /= 2
            if share < SHORTEST_STEP:
                return Walk(tuple(points), "lost" if found is None else "stuck", heading)
            continue
        points.append(points[-1].next(problem, *found))
        share, here = min(1.0, 1.5 * share), foot(problem, found[0])
    return Walk(tuple(points), "length", heading)


def walk_ahead(
    problem: Problem, start: Tensor, direction: Tensor, length: float, step: float, tolerance: float
) -> Walk:
    """Walk straight on for `length` from the zero `start` `[n]`, in the tangent direction closest to `direction` `[n]`.

    length, step: Euclidean, in the unit of the weights. If the zero set is a point, the walk is `stuck`.
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
    """Walk from the zero `start` towards the zero `goal`, both `[n]`, along the tangential part of the remaining way.

    Every step stays in the zero set and reduces the distance to the goal. The walk ends at the goal, near a point whose
    tangent space is perpendicular to the remaining way (`stuck`: a local minimum or a saddle of the distance), or after
    an arc length of `longest` times the initial distance.
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
    if distance(last.weights) > ARRIVED * first:
        return walk
    return Walk((*walk.points, last.next(problem, goal, problem.loss(goal))), "arrived", walk.heading)


def walk_around(
    problem: Problem,
    start: Tensor,
    goal: Tensor,
    step: float,
    tolerance: float,
    longest: float,
    directions: Iterable[Tensor],
) -> tuple[Walk, int]:
    """`walk_towards` with detours: if it does not arrive, walk ahead in a random direction and then to the goal again.

    directions: `[n]`, one for each detour that may be tried. A detour that ends no closer to the goal is dropped, so
    that the walk remains one path from the start. Returns the walk and the number of detours tried.
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
