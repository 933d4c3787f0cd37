"""Theory networks against automatic differentiation, and Levenberg and Marquardt's method against linear algebra."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus.analyses.manifold.levenberg_marquardt import STALLED, damped_step, levenberg_marquardt, solve
from isthmus.analyses.manifold.problems import TheorySpec, class_targets, problem_of, specs_of
from isthmus.analyses.manifold.theory import ACTIVATIONS, SMOOTH, Problem, TheoryNetwork, solution_expected
from isthmus.data.dataset import Dataset

CPU = torch.device("cpu")


def spec(width: int = 6, depth: int = 1, points: int = 10, outputs: int = 1, activation: str = "tanh") -> TheorySpec:
    return TheorySpec(width, depth, points, outputs, activation, "random")


def random_problem(given: TheorySpec, seed: int = 0, inputs: int = 3) -> Problem:
    return problem_of(given, seed, inputs, 50, None, CPU)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def start_of(problem: Problem, seed: int = 0) -> Tensor:
    return problem.network.start(np.random.default_rng(seed))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("depth", "outputs"), [(1, 1), (2, 3), (3, 2)])
def test_the_jacobian_is_that_of_finite_differences_and_of_autograd(activation: str, depth: int, outputs: int) -> None:
    problem = random_problem(spec(5, depth, 7, outputs, activation))
    weights = start_of(problem)
    jacobian = problem.jacobian(weights)
    assert jacobian.shape == (7 * outputs, problem.network.parameters)
    torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(problem.residuals, weights))
    step = 1e-6 * torch.eye(len(weights), dtype=torch.float64)
    differences = [(problem.residuals(weights + each) - problem.residuals(weights - each)) / 2e-6 for each in step]
    torch.testing.assert_close(jacobian, torch.stack(differences, 1), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", sorted(SMOOTH))
def test_the_hessian_is_that_of_autograd_away_from_a_minimum(activation: str) -> None:
    problem = random_problem(spec(4, 2, 6, 2, activation))
    weights = start_of(problem)
    expected = torch.autograd.functional.hessian(lambda w: problem.residuals(w).square().sum() / 2, weights)
    torch.testing.assert_close(problem.hessian(weights), expected)


def test_the_jacobian_of_a_linear_layer_holds_inputs_and_ones() -> None:
    network = TheoryNetwork(inputs=3, width=1, depth=0, outputs=1, activation="tanh")
    x = random_tensor(5, 3)
    expected = torch.cat([x, torch.ones(5, 1, dtype=torch.float64)], 1)
    for seed in range(2):  # whatever the weights
        torch.testing.assert_close(network.jacobian(random_tensor(4, seed=seed), x), expected)


def test_parameters_are_counted_as_they_are_laid_out() -> None:
    network = TheoryNetwork(inputs=5, width=4, depth=3, outputs=2, activation="tanh")
    assert network.parameters == 5 * 4 + 4 + 2 * (4 * 4 + 4) + 4 * 2 + 2
    assert sum(m.numel() + b.numel() for m, b in network.layers(network.start(np.random.default_rng(0)))) == 74


def test_weights_start_within_the_bound_of_their_layer() -> None:
    network = TheoryNetwork(inputs=4, width=100, depth=2, outputs=1, activation="tanh")
    layers = network.layers(network.start(np.random.default_rng(0)))
    for (_, inputs), (matrix, bias) in zip(network.sizes, layers, strict=True):
        assert max(matrix.abs().max(), bias.abs().max()) <= 1 / math.sqrt(inputs)


@pytest.mark.parametrize("shape", [(6, 15), (15, 6)])
def test_without_damping_one_step_solves_a_linear_problem(shape: tuple[int, int]) -> None:
    matrix, right = random_tensor(*shape), random_tensor(shape[0], seed=1)
    step = damped_step(matrix, -right, 0.0)
    assert step is not None
    torch.testing.assert_close(step, torch.linalg.pinv(matrix) @ right)


@pytest.mark.parametrize("shape", [(6, 15), (15, 6)])
@pytest.mark.parametrize("damping", [0.3, 10.0])
def test_a_damped_step_minimizes_the_penalized_linear_problem(shape: tuple[int, int], damping: float) -> None:
    matrix, right = random_tensor(*shape), random_tensor(shape[0], seed=1)
    penalized = torch.cat([matrix, math.sqrt(damping) * torch.eye(shape[1], dtype=torch.float64)])
    zeros = torch.zeros(shape[1], dtype=torch.float64)
    expected = torch.linalg.lstsq(penalized, torch.cat([right, zeros])[:, None]).solution[:, 0]
    step = damped_step(matrix, -right, damping)
    assert step is not None
    torch.testing.assert_close(step, expected)


def test_the_search_finds_the_least_squares_solution_where_there_is_no_zero() -> None:
    matrix, right = random_tensor(15, 6), random_tensor(15, seed=1)
    found = levenberg_marquardt(lambda w: matrix @ w - right, lambda w: matrix, random_tensor(6, seed=2), 1e-20, 100)
    assert not found.solved
    torch.testing.assert_close(found.weights, torch.linalg.pinv(matrix) @ right, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("width", "points"), [(8, 10), (20, 15), (40, 30), (60, 50), (5, 10)])
def test_a_zero_is_found_in_some_ten_steps(width: int, points: int) -> None:
    problem = random_problem(spec(width, 1, points))
    found = solve(problem.residuals, problem.jacobian, [start_of(problem, seed) for seed in range(4)], 1e-20, 200)
    assert found.solved
    assert found.loss < 1e-26  # on to rounding
    assert found.steps < 60
    assert found.loss == problem.loss(found.weights)


def test_with_fewer_weights_than_data_points_there_is_no_zero() -> None:
    problem = random_problem(spec(3, 1, 30))
    assert (problem.network.parameters, problem.constraints) == (16, 30)
    found = solve(problem.residuals, problem.jacobian, [start_of(problem, seed) for seed in range(5)], 1e-20, 200)
    assert not found.solved
    assert found.loss > 0.1


def test_a_search_ends_where_the_loss_levels_off_above_zero() -> None:
    """r = (w, 1 - 0.45 w^2): the least loss is 1/2, at w = 0, and a step near it shortens w by a tenth only."""

    def residuals(w: Tensor) -> Tensor:
        return torch.cat([w, 1 - 0.45 * w**2])

    def jacobian(w: Tensor) -> Tensor:
        return torch.stack([torch.ones_like(w), -0.9 * w])

    found = levenberg_marquardt(residuals, jacobian, torch.ones(1, dtype=torch.float64), 1e-20, 10_000)
    assert not found.solved
    assert found.steps < 10_000
    excess = found.loss - 0.5
    last_fall = (1 / 0.9**2 - 1) * excess
    assert 0.01 * STALLED < last_fall < STALLED * found.loss  # less a few powers of 0.9 for its patience
    assert found.gradient == pytest.approx(0.1 * math.sqrt(excess / 0.05), rel=0.01)


def test_a_slow_search_that_still_falls_goes_on_to_its_zero() -> None:
    """Rosenbrock's valley with walls so steep that many steps follow its floor before the zero at (1, 1)."""

    def residuals(w: Tensor) -> Tensor:
        return torch.stack([1000 * (w[1] - w[0] ** 2), 1 - w[0]])

    def jacobian(w: Tensor) -> Tensor:
        return torch.stack([torch.stack([-2000 * w[0], 0 * w[0] + 1000]), torch.stack([0 * w[0] - 1, 0 * w[0]])])

    found = levenberg_marquardt(residuals, jacobian, torch.tensor([-1.2, 1.0]).double(), 1e-20, 10_000)
    assert found.solved
    assert found.steps > 50


def test_a_search_without_a_start_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one start"):
        solve(lambda w: w, lambda w: torch.eye(1), [], 1e-20, 10)


def test_more_points_of_a_seed_contain_the_fewer() -> None:
    few, many = (random_problem(spec(points=points)) for points in (10, 25))
    torch.testing.assert_close(many.inputs[:10], few.inputs, rtol=0, atol=0)
    torch.testing.assert_close(many.targets[:10], few.targets, rtol=0, atol=0)
    assert not torch.equal(few.inputs, random_problem(spec(), seed=1).inputs)


def test_images_are_a_balanced_choice_with_the_parity_of_their_class(digits: Dataset) -> None:
    problem = problem_of(TheorySpec(4, 1, 40, 1, "tanh", "images"), 0, 5, 100, digits, CPU)
    assert problem.inputs.shape == (40, 64)
    assert sorted(problem.targets.unique().tolist()) == [-1, 1]
    assert float(problem.targets.sum()) == 0  # five classes are even, five odd
    assert problem.off_targets is not None
    assert problem.off_targets.shape == (100, 1)
    assert problem.network.parameters == 4 * 65 + 5
    one_hot = problem_of(TheorySpec(4, 1, 40, 10, "tanh", "images"), 0, 5, 100, digits, CPU)
    assert one_hot.targets.sum(0).tolist() == [4] * 10
    assert one_hot.constraints == 400


def test_targets_of_classes() -> None:
    labels = torch.tensor([0, 1, 2])
    assert class_targets(labels, 3, 1).tolist() == [[-1], [1], [-1]]
    assert class_targets(labels, 3, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    with pytest.raises(ValueError, match="take 1 output or 3, not 2"):
        class_targets(labels, 3, 2)


def test_a_bottleneck_has_no_zero_though_weights_suffice() -> None:
    narrow = TheoryNetwork(inputs=64, width=1, depth=1, outputs=10, activation="tanh")
    assert narrow.parameters > 8 * 10
    assert not solution_expected(narrow, 8)  # outputs on a line cannot meet eight generic points of ten dimensions
    assert solution_expected(TheoryNetwork(64, 7, 1, 10, "tanh"), 8)
    assert not solution_expected(TheoryNetwork(3, 3, 1, 1, "tanh"), 30)


def test_a_sweep_is_all_combinations() -> None:
    sweep = {
        "width": [2, 4],
        "depth": [1],
        "points": [5, 6],
        "outputs": [1],
        "activation": ["tanh"],
        "data": ["random"],
    }
    found = list(specs_of(sweep | {"seeds": 3}))
    assert [(each.width, each.points) for each in found] == [(2, 5), (2, 6), (4, 5), (4, 6)]
    assert len({each.name for each in found}) == 4
