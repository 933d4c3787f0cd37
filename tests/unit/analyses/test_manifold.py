"""Cooper's theorem, counted: dimension of the zero set, zeros that are written down, walks that stay."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus.analyses.manifold.coefficients import coefficient_rows
from isthmus.analyses.manifold.measure import measure_theory, search, singular_values, spectra_of
from isthmus.analyses.manifold.problems import TheorySpec, problem_of
from isthmus.analyses.manifold.rank import matrix_rank, split_at_gap
from isthmus.analyses.manifold.theory import Problem
from isthmus.analyses.manifold.walks import foot, step_along, walk_ahead, walk_around, walk_towards
from isthmus.analyses.manifold.written_down import can_be_written_down, construct, worst_memorized
from isthmus.core.defaults import with_defaults
from isthmus.core.errors import DataError
from isthmus.data.dataset import Dataset
from isthmus.study.schema import schema
from isthmus.tables.descriptions import table
from isthmus.tables.parquet import ACCEPTED

ANALYSES = schema()["properties"]["studies"]["additionalProperties"]["properties"]["analyses"]["properties"]
OPTIONS = with_defaults({}, ANALYSES["manifold"])
KEYS = {"study": "s", "sweep": "w", "seed": 0}


def random_problem(width: int, points: int, depth: int = 1, outputs: int = 1, activation: str = "tanh") -> Problem:
    spec = TheorySpec(width, depth, points, outputs, activation, "random")
    return problem_of(spec, 0, 3, 50, None, torch.device("cpu"))


@cache
def zero_of(problem: Problem, use: int = 3) -> Tensor:
    found = search(problem, 0, (use,), OPTIONS)
    assert found.solved
    return found.weights


@pytest.mark.parametrize(
    ("width", "points", "parameters"), [(8, 10, 41), (20, 15, 101), (40, 30, 201), (60, 50, 301), (5, 10, 26)]
)
def test_the_hessian_at_a_zero_has_d_positive_and_n_minus_d_zero_eigenvalues(
    width: int, points: int, parameters: int
) -> None:
    problem = random_problem(width, points)
    spectra = spectra_of(problem, zero_of(problem), 1000)
    assert spectra.hessian is not None
    split = split_at_gap(spectra.hessian)
    assert (split.positive, split.zero, split.negative) == (points, parameters - points, 0)
    assert split.gap > 9
    assert split.largest_zero is not None
    assert split.largest_zero < 1e-11
    assert matrix_rank(spectra.singular, points, parameters) == points
    np.testing.assert_allclose(spectra.hessian[-points:][::-1], spectra.singular**2, rtol=1e-6)


@pytest.mark.parametrize("activation", ["softplus", "gelu"])
def test_the_same_with_two_layers_three_outputs_and_other_activations(activation: str) -> None:
    problem = random_problem(10, 12, 2, 3, activation)
    spectra = spectra_of(problem, zero_of(problem), 1000)
    assert spectra.hessian is not None
    split = split_at_gap(spectra.hessian)
    assert (split.positive, split.negative) == (36, 0)


def test_one_hot_targets_make_equations_redundant_where_the_last_layer_sums_to_zero(digits: Dataset) -> None:
    spec = TheorySpec(12, 1, 20, 10, "tanh", "images")
    problem = problem_of(spec, 0, 5, 50, digits, torch.device("cpu"))
    weights = zero_of(problem)
    *_, (matrix, _) = problem.network.layers(weights)
    assert float(matrix.sum(0).abs().max()) < 1e-6  # so the sum of the outputs is one and does not see the hidden layer
    singular = singular_values(problem.jacobian(weights)).numpy()
    assert problem.network.parameters > 200
    assert matrix_rank(singular, 200, problem.network.parameters) == 200 - (20 - (12 + 1))


def test_a_gap_is_found_wherever_it_is() -> None:
    split = split_at_gap(np.array([1e-14, -3e-15, 5.0, 1e-3, 0.0]))
    assert (split.positive, split.zero, split.negative) == (2, 3, 0)
    assert split.gap == pytest.approx(11)
    assert (split.smallest, split.largest_zero) == (1e-3, 1e-14)


def test_a_matrix_without_zero_eigenvalues_has_none_counted() -> None:
    split = split_at_gap(np.array([3.0, -2.0, 1e-2]))
    assert (split.positive, split.zero, split.negative, split.largest_zero) == (2, 0, 1, None)


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [1.0, np.nan]])
def test_what_cannot_be_counted_is_refused(values: list[float]) -> None:
    with pytest.raises(DataError, match="finite eigenvalues that are not all zero"):
        split_at_gap(np.array(values))


def test_singular_values_by_way_of_the_triangular_factor() -> None:
    matrix = torch.from_numpy(np.random.default_rng(0).standard_normal((7, 30)))
    for each in (matrix, matrix.T):
        torch.testing.assert_close(singular_values(each), torch.linalg.svdvals(each))


@pytest.mark.parametrize(("depth", "outputs", "activation"), [(1, 1, "tanh"), (2, 3, "gelu"), (1, 1, "relu")])
def test_written_down_weights_interpolate_arbitrary_labels(depth: int, outputs: int, activation: str) -> None:
    problem = random_problem(50, 20, depth, outputs, activation)
    found = construct(problem, np.random.default_rng(0))
    assert problem.loss(found.weights) == found.loss < 1e-24
    for _ in range(2):
        labels = torch.from_numpy(np.random.default_rng(1).standard_normal((20, outputs)))
        assert construct(replace(problem, targets=labels), np.random.default_rng(0)).loss < 1e-24
    assert worst_memorized(problem, 3, np.random.default_rng(2)) < 1e-24


def test_a_narrow_layer_is_refused() -> None:
    problem = random_problem(20, 20)
    assert not can_be_written_down(problem.network, 20)
    with pytest.raises(ValueError, match="20 is not wider than 20 data points"):
        construct(problem, np.random.default_rng(0))


def test_a_tangent_lies_in_the_kernel_of_the_jacobian() -> None:
    problem = random_problem(20, 15)
    here = foot(problem, zero_of(problem))
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(101))
    assert float((problem.jacobian(here.weights) @ here.tangent(direction)).abs().max()) < 1e-13
    torch.testing.assert_close(here.tangent(here.tangent(direction)), here.tangent(direction))
    residuals = torch.from_numpy(np.random.default_rng(1).standard_normal(15))
    expected = -torch.linalg.pinv(problem.jacobian(here.weights)) @ residuals
    torch.testing.assert_close(here.correction(residuals), expected)


def test_a_step_leaves_the_tangent_space_by_its_square() -> None:
    problem = random_problem(20, 15)
    here = foot(problem, zero_of(problem))
    tangent = here.tangent(torch.from_numpy(np.random.default_rng(0).standard_normal(101)))
    tangent = tangent / tangent.norm()
    heights = []
    for size in (0.01, 0.02):
        found = step_along(problem, here, size * tangent, 1e-20)
        assert found is not None
        heights.append(float((found[0] - here.weights - size * tangent).norm()))
    assert heights[1] / heights[0] == pytest.approx(4, rel=0.1)


def test_a_walk_keeps_the_loss_and_changes_the_function() -> None:
    problem = random_problem(20, 15)
    start = zero_of(problem)
    norm = float(start.norm())
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(101))
    walk = walk_ahead(problem, start, direction, norm, 0.02 * norm, 1e-20)
    assert walk.outcome == "length"
    assert walk.points[-1].arc_length == pytest.approx(norm, rel=1e-3)
    assert max(problem.loss(point.weights) for point in walk.points) == walk.points[-1].worst_loss < 1e-26
    assert 0.5 * norm < float((walk.points[-1].weights - start).norm()) <= norm * 1.001
    change = problem.network.function(walk.points[-1].weights, problem.off_inputs)
    assert float((change - problem.network.function(start, problem.off_inputs)).abs().max()) > 0.1


def test_two_minima_of_a_wide_network_are_joined_at_zero_loss() -> None:
    problem = random_problem(40, 10)
    start, goal = zero_of(problem), zero_of(problem, 4)
    assert problem.loss((start + goal) / 2) > 1e-3  # though not on a straight line
    walk = walk_towards(problem, start, goal, 0.02 * float(start.norm()), 1e-20, 5)
    assert walk.outcome == "arrived"
    assert torch.equal(walk.points[-1].weights, goal)
    assert walk.points[-1].worst_loss < 1e-20
    lengths = [float((b.weights - a.weights).norm()) for a, b in zip(walk.points, walk.points[1:], strict=False)]
    assert max(lengths) < 0.03 * float(start.norm())
    assert sum(lengths) == pytest.approx(walk.points[-1].arc_length)


def test_detours_lead_on_where_the_direct_walk_is_stuck() -> None:
    problem = problem_of(TheorySpec(10, 1, 50, 1, "tanh", "random"), 1, 5, 50, None, torch.device("cpu"))
    start, goal = zero_of(problem), zero_of(problem, 4)
    step = 0.02 * float(start.norm())
    direct = walk_towards(problem, start, goal, step, 1e-20, 5)
    directions = torch.from_numpy(np.random.default_rng(0).standard_normal((4, len(start))))
    walk, tried = walk_around(problem, start, goal, step, 1e-20, 5, directions)
    assert direct.outcome == "stuck"
    assert tried
    assert float((walk.end - goal).norm()) < float((direct.end - goal).norm())
    assert walk.points[-1].worst_loss < 1e-20
    lengths = [float((b.weights - a.weights).norm()) for a, b in zip(walk.points, walk.points[1:], strict=False)]
    assert max(lengths) < 1.2 * step
    assert sum(lengths) == pytest.approx(walk.points[-1].arc_length)


def test_a_walk_that_starts_elsewhere_is_refused() -> None:
    problem = random_problem(20, 15)
    with pytest.raises(ValueError, match="starts at a zero of the loss"):
        walk_ahead(problem, zero_of(problem) + 0.1, zero_of(problem), 1.0, 0.1, 1e-20)


@pytest.mark.parametrize(("width", "points"), [(12, 10), (2, 30)])
def test_the_rows_fit_their_tables(width: int, points: int) -> None:
    spec = TheorySpec(width, 1, points, 1, "tanh", "random")
    problem = problem_of(spec, 0, 3, 50, None, torch.device("cpu"))
    options = OPTIONS | {"maximum_steps": 50, "walks": OPTIONS["walks"] | {"step": 0.1}}
    found = measure_theory(problem, spec, 0, options)
    for name, rows in found.items():
        for row in rows:
            whole = KEYS | row
            assert whole.keys() == {column.name for column in table(name).columns}
            for column in table(name).columns:
                value = whole[column.name]
                assert isinstance(value, ACCEPTED[column.type]) or (column.nullable and value is None), column.name
    (row,) = found["manifold"]
    assert row["solved"] == row["solution_expected"] == (width == 12)
    assert row["constructible"] == (row["memorized_loss"] is not None) == (width == 12)
    assert bool(found["walks"]) == row["solved"]
    larger = measure_theory(problem, spec, 0, options | {"hessian_limit": 0})["manifold"][0]
    assert larger["counted_from"] == "jacobian"
    if row["solved"]:
        assert (larger["positive"], larger["zero"]) == (row["positive"], row["zero"]) == (10, 51)


@pytest.mark.parametrize(("width", "points", "outputs"), [(6, 5, 1), (10, 6, 2)])
def test_the_learning_coefficient_at_a_zero_is_half_the_number_of_equations(
    width: int, points: int, outputs: int
) -> None:
    problem = random_problem(width, points, outputs=outputs)
    given = OPTIONS["learning_coefficient"] | {"chains": 64, "draws": 200}
    rows = coefficient_rows(problem, zero_of(problem), 0, "zero", given)
    assert [row["stiffness"] for row in rows] == [0.01, 1, 100]
    for row in rows:
        assert row["rank"] == problem.constraints == 2 * row["predicted"]
        assert row["r_hat"] < 1.05
        assert abs(row["coefficient"] - row["quadratic"]) < 4 * row["standard_error"] + 0.02 * row["predicted"]
        assert row["low"] < row["coefficient"] < row["high"]
    assert rows[0]["coefficient"] < rows[1]["coefficient"] < rows[2]["coefficient"]  # the localization lets go
    assert rows[2]["coefficient"] == pytest.approx(problem.constraints / 2, rel=0.03)
    flat = problem.network.parameters - problem.constraints
    assert rows[2]["distance"] == pytest.approx(rows[2]["norm"] * given["radius"], rel=0.25)
    assert rows[2]["localization"] == pytest.approx(flat / (rows[2]["norm"] * given["radius"]) ** 2)


@pytest.mark.slow
def test_redundant_equations_do_not_count(digits: Dataset) -> None:
    """At 20 images with one-hot targets and 12 units, 7 of 200 equations follow from the others."""
    problem = problem_of(TheorySpec(12, 1, 20, 10, "tanh", "images"), 0, 5, 50, digits, torch.device("cpu"))
    given = {"stiffnesses": [100], "radius": 1e-4, "chains": 8, "burn_in": 400, "draws": 300}
    (row,) = coefficient_rows(problem, zero_of(problem), 0, "zero", given)
    assert (row["rank"], row["predicted"]) == (193, 100)
    assert row["coefficient"] == pytest.approx(193 / 2, rel=0.03)
