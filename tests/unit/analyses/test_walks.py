"""Walks on zero sets that are known in closed form: what lies between their points, and how every one of them ends."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from isthmus.analyses.manifold.measure import take_walks, walk_rows
from isthmus.analyses.manifold.theory import Problem, TheoryNetwork
from isthmus.analyses.manifold.walks import Walk, Waypoint, between_order, loss_between, walk_ahead, walk_towards

Function = Callable[[Tensor], Tensor]


class Space(TheoryNetwork):
    """In the place of a network: what it gives off the data are its three weights."""

    def function(self, weights: Tensor, x: Tensor) -> Tensor:
        return weights[None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Equations(Problem):
    """A problem whose residuals are given functions of three weights, so that its zero set is a surface in space."""

    given: Function
    slope: Function

    def residuals(self, weights: Tensor) -> Tensor:
        return self.given(weights).reshape(-1)

    def jacobian(self, weights: Tensor) -> Tensor:
        return self.slope(weights).reshape(-1, 3)


def equations(given: Function, slope: Function) -> Equations:
    none = torch.zeros(1, 1, dtype=torch.float64)
    return Equations(
        network=Space(1, 1, 1, 1, "tanh"), inputs=none, targets=none, off_inputs=none, given=given, slope=slope
    )


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


SPHERE = equations(lambda w: w @ w - 1, lambda w: 2 * w)
POLE, EAST = vector(0, 0, 1), vector(1, 0, 0)


@pytest.mark.parametrize("step", [0.01, 0.05, 0.2])
def test_the_loss_halfway_along_a_chord_of_the_sphere_is_a_32nd_of_its_fourth_power(step: float) -> None:
    walk = walk_ahead(SPHERE, POLE, EAST, 1.0, step, 1e-24)
    assert walk.outcome == "length"
    chord = walk.points[-1].longest_step
    assert step < chord < 1.03 * step
    assert walk.points[-1].worst_between == pytest.approx(chord**4 / 32, rel=1e-6)
    assert walk.points[-1].worst_loss < 1e-24


def test_the_loss_on_a_segment_is_the_greatest_at_its_three_fractions() -> None:
    ends = POLE, math.sin(0.3) * EAST + math.cos(0.3) * POLE
    assert loss_between(SPHERE, *ends) == pytest.approx((2 * math.sin(0.15)) ** 4 / 32)
    dented = equations(lambda w: (w[0] - 0.25) * (w[0] - 0.5), lambda w: vector(0, 0, 0))
    assert loss_between(dented, vector(0, 0, 0), vector(1, 0, 0)) == pytest.approx((0.5 * 0.25) ** 2 / 2)


def test_the_loss_between_points_falls_like_the_fourth_power_of_the_step() -> None:
    found = between_order(SPHERE, POLE, EAST, 0.1, 1e-24)
    chords = [h**2 + (1 - math.sqrt(1 - h**2)) ** 2 for h in (0.1, 0.05)]  # squared; h ahead, then straight down
    assert found == pytest.approx(2 * math.log2(chords[0] / chords[1]), abs=1e-9)
    assert found == pytest.approx(4, abs=0.02)


def test_where_the_zero_set_is_bent_infinitely_the_order_is_lower() -> None:
    """z = |x|^1.5 has a tangent at the origin and no curvature: the loss above its chords is of order 2 x 1.5."""
    bent = equations(lambda w: w[2] - w[0].abs() ** 1.5, lambda w: vector(0, 0, 1))
    assert between_order(bent, vector(0, 0, 0), EAST, 0.1, 1e-24) == pytest.approx(3, abs=1e-9)


def test_along_a_straight_line_in_the_zero_set_there_is_no_order_and_no_loss() -> None:
    plane = equations(lambda w: w[2], lambda w: vector(0, 0, 1))
    start = vector(0, 0, 0)
    assert between_order(plane, start, EAST, 0.1, 1e-24) is None
    assert walk_ahead(plane, start, EAST, 1.0, 0.1, 1e-24).points[-1].worst_between == 0


def test_a_jump_between_two_pieces_of_the_zero_set_shows_between_the_points() -> None:
    sheets = equations(lambda w: w[2] ** 2 - 1, lambda w: vector(0, 0, 2 * float(w[2])))
    below, above = vector(0, 0, -1), vector(0, 0, 1)
    start = Waypoint.first(below, sheets.loss(below))
    jumped = start.next(sheets, above, sheets.loss(above))
    assert (jumped.worst_loss, jumped.worst_between, jumped.longest_step) == (0, 0.5, 2)


def test_the_straight_line_along_the_first_tangent_leaves_the_sphere_by_its_fourth_power() -> None:
    walk = walk_ahead(SPHERE, POLE, EAST, 1.0, 0.02, 1e-24)
    rows = walk_rows(SPHERE, walk, None)
    for row in rows:
        assert row["straight_loss"] == pytest.approx(row["distance"] ** 4 / 2, rel=1e-9, abs=1e-30)
    assert rows[-1]["distance"] == pytest.approx(2 * math.sin(0.5), abs=1e-3)
    assert rows[-1]["worst_between"] < 1e-5 * rows[-1]["straight_loss"]


def test_two_walks_in_a_row_keep_the_greatest_of_both() -> None:
    coarse = walk_ahead(SPHERE, POLE, EAST, 0.4, 0.2, 1e-24)
    fine = walk_ahead(SPHERE, coarse.end, EAST, 0.2, 0.01, 1e-24)
    both, other = coarse.then(fine), fine.then(walk_ahead(SPHERE, fine.end, EAST, 0.4, 0.2, 1e-24))
    assert both.points[-1].worst_between == coarse.points[-1].worst_between
    assert other.points[-1].worst_between > 1000 * fine.points[-1].worst_between
    assert other.points[-1].longest_step > 0.2
    assert both.heading is coarse.heading
    assert Walk(coarse.points[:1], "stuck").then(fine).heading is fine.heading


def test_the_last_piece_of_a_walk_that_arrives_is_looked_at_too() -> None:
    goal = math.sin(1.0) * EAST + math.cos(1.0) * POLE
    walk = walk_towards(SPHERE, POLE, goal, 0.05, 1e-24, 5)
    assert walk.outcome == "arrived"
    assert walk.points[-1].worst_between == pytest.approx(walk.points[-1].longest_step ** 4 / 32, rel=1e-3)


# Every walk that is begun is in the table


OPTIONS = {"tolerance": 1e-24, "walks": {"ahead": 2, "towards": 0, "length": 1.0, "step": 0.1}}


def ends(problem: Problem, start: Tensor) -> list[tuple[str, int, bool]]:
    """Outcome, steps and whether nothing follows, of each walk, its last row."""
    rows = take_walks(problem, start, 0, OPTIONS)
    assert [row["walk"] for row in rows if row["final"]] == [0, 1]
    return [(row["outcome"], row["step"], row["between_order"] is None) for row in rows if row["final"]]


def test_a_zero_set_that_is_a_point_leaves_a_walk_no_direction() -> None:
    start = vector(1, 2, 3)
    point = equations(lambda w: w - start, lambda w: torch.eye(3, dtype=torch.float64))
    assert ends(point, start) == [("stuck", 0, True)] * 2


def test_a_walk_that_cannot_take_its_first_step_is_lost_at_once() -> None:
    """Off the point the residual is 1 whatever is corrected: the zero set is no surface, though its slope says so."""
    start = vector(1, 0, 0)
    island = equations(lambda w: (w != start).any().double(), lambda w: vector(0, 0, 1))
    assert ends(island, start) == [("lost", 0, True)] * 2


def test_a_walk_that_comes_to_an_edge_is_lost_there() -> None:
    """The plane z = 0 ends at a distance of 0.25 from the axis: no direction leads on."""
    disc = equations(lambda w: w[2] if w[:2].norm() < 0.25 else vector(torch.nan), lambda w: vector(0, 0, 1))
    walk = walk_ahead(disc, vector(0, 0, 0), EAST, 1.0, 0.1, 1e-24)
    assert walk.outcome == "lost"
    assert walk.points[-1].arc_length == pytest.approx(0.25, abs=1e-4)
    (last,) = (row for row in walk_rows(disc, walk, None) if row["final"])
    assert (last["outcome"], last["step"]) == ("lost", len(walk.points) - 1)
