"""Planes in weight space: where ends, bends and whole paths lie in them, and what their directions promise."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import recipe
from rounding import assert_within, rounding_error
from torch import Tensor

from isthmus.landscape.paths import Path, curve, geometry, line
from isthmus.landscape.planes import Plane, coordinates, grid_around, random_plane, square_grid, through
from isthmus.models.networks import build

T = np.linspace(0, 1, 21)
SHAPES = {"kernel": (1, 4, 3, 2, 2), "matrix": (1, 5, 6), "bias": (1, 5)}


def random_weights(seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for name, s in SHAPES.items()}


def random_path(kind: str = "bezier", dtype: torch.dtype = torch.float64) -> Path:
    return curve(kind, *(random_weights(seed, dtype) for seed in (0, 1, 2)))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def flat(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.reshape(len(value), -1).double() for value in weights.values()], dim=1)


def at(plane: Plane, x: Any, y: Any) -> Tensor:
    """The weights at points as vectors, `[S, parameters]`, float64."""
    return flat(plane.point(*(torch.from_numpy(np.atleast_1d(np.array(each, dtype=np.float64))) for each in (x, y))))


def assert_orthonormal(plane: Plane, tolerance: float = 1e-14) -> None:
    axes = torch.cat([flat(plane.first), flat(plane.second)])
    torch.testing.assert_close(axes @ axes.mT, torch.eye(2, dtype=torch.float64), rtol=0, atol=tolerance)


# Through a path


@pytest.mark.parametrize("kind", ["bezier", "polychain"])
def test_ends_and_bend_lie_where_the_geometry_says(kind: str) -> None:
    path = random_path(kind)
    plane, shape = through(path, generator()), geometry(path)
    assert_orthonormal(plane)
    chord, along, across = (float(value[0]) for value in (shape.chord, shape.along, shape.across))
    torch.testing.assert_close(at(plane, 0, 0), flat(path.start), rtol=0, atol=0)
    torch.testing.assert_close(at(plane, chord, 0), flat(path.end), rtol=0, atol=1e-14)
    torch.testing.assert_close(at(plane, chord / 2 + along, across), flat(path.bend()), rtol=0, atol=1e-14)
    # Orthonormal axes make the map true to scale: the bend is as far from the ends as in weight space.
    assert math.hypot(chord / 2 + along, across) == pytest.approx(float((flat(path.bend()) - flat(path.start)).norm()))


@pytest.mark.parametrize("kind", ["linear", "bezier", "polychain"])
def test_the_whole_path_lies_in_its_plane(kind: str) -> None:
    path = random_path(kind) if kind != "linear" else line(random_weights(0), random_weights(1))
    plane = through(path, generator())
    x, y = coordinates(geometry(path), T)
    assert x.shape == y.shape == T.shape
    points = path.point(torch.from_numpy(T))
    torch.testing.assert_close(at(plane, x, y), flat(points), rtol=0, atol=1e-13)
    # The same by projection on the axes.
    seen = (flat(points) - flat(path.start)) @ torch.cat([flat(plane.first), flat(plane.second)]).mT
    np.testing.assert_allclose(seen.numpy(), np.stack([x, y], axis=1), atol=1e-13)


def test_a_parabola_in_a_plane_given_by_hand() -> None:
    # Ends (0, 0, 0) and (4, 0, 0), bend (1, 3, 0): y = 2 t (1 - t) 3 and x = 2 t (1 - t) + 4 t^2.
    start, end, bend = ({"w": torch.tensor([v], dtype=torch.float64)} for v in ([0, 0, 0], [4, 0, 0], [1, 3, 0]))
    path = curve("bezier", start, end, bend)
    plane = through(path, generator())
    assert plane.first["w"].tolist() == [[1, 0, 0]]
    assert plane.second["w"].tolist() == [[0, 1, 0]]
    x, y = coordinates(geometry(path), T)
    np.testing.assert_allclose(x, 2 * T * (1 - T) + 4 * T**2, atol=1e-14)
    np.testing.assert_allclose(y, 6 * T * (1 - T), atol=1e-14)


def test_the_generator_matters_only_where_the_bend_lies_on_the_line() -> None:
    bent, straight = random_path(), curve("bezier", random_weights(0), random_weights(1))
    for path, same in ((bent, True), (straight, False)):
        first, again, other = (through(path, generator(seed)) for seed in (0, 0, 1))
        assert torch.equal(flat(first.second), flat(again.second))
        assert torch.equal(flat(first.second), flat(other.second)) == same
        assert torch.equal(flat(first.first), flat(other.first))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.0, 0.3, -2.0])
def test_a_bend_on_the_line_gives_a_random_plane_through_it(dtype: torch.dtype, share: float) -> None:
    start, end = random_weights(0, dtype), random_weights(1, dtype)
    bend = {name: torch.lerp(value, end[name], 0.5 + share) for name, value in start.items()}
    path, precision = curve("bezier", start, end, bend), 100 * torch.finfo(dtype).eps
    planes = [through(path, generator(seed)) for seed in (0, 1)]
    shape = geometry(path)
    for plane in planes:
        assert_orthonormal(plane, precision)
        x, y = coordinates(shape, T)
        points = flat(path.point(torch.from_numpy(T)))
        torch.testing.assert_close(at(plane, x, y), points, rtol=0, atol=precision)
    assert abs(float((flat(planes[0].second) * flat(planes[1].second)).sum())) < 0.5


def test_a_bend_hardly_off_the_line_keeps_the_axes_orthonormal() -> None:
    start, end, normal = (random_weights(seed) for seed in (0, 1, 2))
    offset = {name: 0.3 * (end[name] - start[name]) + 1e-9 * normal[name] for name in start}
    path = Path("bezier", start, end, offset)
    plane, shape = through(path, generator()), geometry(path)
    assert 0 < shape.across < 1e-7
    assert_orthonormal(plane)
    torch.testing.assert_close(
        at(plane, shape.chord / 2 + shape.along, shape.across), flat(path.bend()), rtol=0, atol=1e-14
    )


def test_weights_keep_single_precision() -> None:
    path = random_path(dtype=torch.float32)
    plane = through(path, generator())
    parts = (plane.origin, plane.first, plane.second, plane.point(*torch.zeros(2, 3, dtype=torch.float64)))
    assert all(value.dtype == torch.float32 for part in parts for value in part.values())
    assert_orthonormal(plane, 1e-6)
    torch.testing.assert_close(at(plane, geometry(path).chord, 0), flat(path.end), rtol=0, atol=1e-5)


def test_points_do_not_depend_on_how_many_are_made_at_once() -> None:
    plane = through(random_path(), generator()).to(torch.device("cpu"))
    x, y = generator().standard_normal((2, 7))
    together = at(plane, x, y)
    assert together.shape == (7, sum(math.prod(shape) for shape in SHAPES.values()))
    for index in range(7):
        assert torch.equal(at(plane, x[index], y[index])[0], together[index])


def test_paths_without_a_plane_are_refused() -> None:
    start, end = random_weights(0), random_weights(1)
    with pytest.raises(ValueError, match="no plane goes through"):
        through(curve("bezier", start, start, end), generator())
    with pytest.raises(ValueError, match="no plane goes through"):
        through(line(start, {name: value * math.nan for name, value in end.items()}), generator())
    pair = [{name: torch.cat([value, value]) for name, value in part.items()} for part in (start, end)]
    with pytest.raises(ValueError, match="stack of one"):
        through(line(*pair), generator())


# Random planes


def test_directions_have_the_filter_norms_of_the_weights_and_leave_biases_alone() -> None:
    weights = random_weights(0)
    weights["matrix"][0, 2] = 0
    plane = random_plane(weights, generator())
    for direction in (plane.first, plane.second):
        for name in ("kernel", "matrix"):
            for own, of_weights in zip(direction[name][0], weights[name][0], strict=True):
                assert float(own.norm()) == pytest.approx(float(of_weights.norm()), rel=1e-14)
        assert not direction["bias"].any()
        assert not direction["matrix"][0, 2].any()
    x, y = generator().standard_normal((2, 4))
    points = plane.point(torch.from_numpy(x), torch.from_numpy(y))
    assert torch.equal(points["bias"], weights["bias"].expand(4, -1))
    assert torch.equal(at(plane, 0, 0), flat(weights))


def test_random_directions_are_gaussian_in_all_but_their_norms() -> None:
    wide = {"matrix": torch.randn(1, 50, 1000, dtype=torch.float64)}
    plane = random_plane(wide, generator())
    axes = [part["matrix"][0] / wide["matrix"][0].norm(dim=1, keepdim=True) for part in (plane.first, plane.second)]
    between = (axes[0] * axes[1]).sum(1)
    assert float(between.abs().max()) < 5 / math.sqrt(1000), "directions in many dimensions are nearly orthogonal"
    values = axes[0].flatten() * math.sqrt(1000)
    assert float((values.abs() < 1).double().mean()) == pytest.approx(math.erf(math.sqrt(0.5)), abs=0.01)


def test_a_random_plane_is_a_function_of_the_generator() -> None:
    weights = random_weights(0)
    first = random_plane(weights, generator())
    for other, same in (
        (random_plane(weights, generator()), True),
        (random_plane(dict(reversed(weights.items())), generator()), True),
        (random_plane(weights, generator(1)), False),
    ):
        for name in ("kernel", "matrix"):
            assert torch.equal(first.first[name], other.first[name]) == same
            assert torch.equal(first.second[name], other.second[name]) == same
    rounded = random_weights(0, torch.float32)
    single = random_plane(rounded, generator()).first["matrix"]
    assert single.dtype == torch.float32
    double = {name: value.double() for name, value in rounded.items()}
    assert_within(single, *rounding_error(lambda: random_plane(double, generator()).first["matrix"]))


def test_networks_that_compute_the_same_have_the_same_map() -> None:
    # One ReLU layer times 10 and the next divided by 10: what filter normalization was made for (Li et al. 2018).
    network = build(recipe(width=4, depth=1, network={"activation": "relu"}).network, (1, 4, 4), 3, stack=1).double()
    network.initialize([3])
    weights = {name: value.detach() for name, value in network.named_parameters()}
    first, bias, second = list(weights)[:3]
    scaled = weights | {first: weights[first] * 10, bias: weights[bias] * 10, second: weights[second] / 10}
    images = torch.randn(1, 5, 1, 4, 4, dtype=torch.float64)
    for x, y in ((0.0, 0.0), (0.5, -0.3), (-1.0, 1.0)):
        place = [torch.tensor([value], dtype=torch.float64) for value in (x, y)]
        outputs = [
            torch.func.functional_call(network, random_plane(each, generator()).point(*place), (images,))
            for each in (weights, scaled)
        ]
        torch.testing.assert_close(*outputs)


# Grids


def test_a_grid_covers_ends_and_bend_and_the_same_margin_on_all_sides() -> None:
    start, end, bend = ({"w": torch.tensor([v], dtype=torch.float64)} for v in ([0, 0], [4, 0], [-1, 3]))
    x, y = grid_around(geometry(curve("bezier", start, end, bend)), points=11, margin=0.2)
    assert x.shape == y.shape == (121,)
    assert (x.min(), x.max()) == (-1 - 0.2 * 5, 4 + 0.2 * 5)
    assert (y.min(), y.max()) == (0 - 0.2 * 5, 3 + 0.2 * 5)
    np.testing.assert_array_equal(x.reshape(11, 11)[0], x.reshape(11, 11)[7])
    np.testing.assert_allclose(np.diff(x[:11]), 7 / 10)
    np.testing.assert_allclose(np.diff(y[::11]), 5 / 10)


def test_around_a_straight_path_there_is_a_map_and_no_sliver() -> None:
    start, end = ({"w": torch.tensor([v], dtype=torch.float64)} for v in ([0, 0], [0, 10]))
    x, y = grid_around(geometry(line(start, end)), points=5, margin=0.25)
    assert (x.min(), x.max(), y.min(), y.max()) == (-2.5, 12.5, -2.5, 2.5)


def test_a_square_grid_has_the_network_in_its_middle() -> None:
    x, y = square_grid(1.5, 5)
    assert x.shape == y.shape == (25,)
    assert (x.min(), x.max(), y.min(), y.max()) == (-1.5, 1.5, -1.5, 1.5)
    assert (x[12], y[12]) == (0, 0)
    assert (np.diff(y) >= 0).all()


def test_impossible_grids_are_refused() -> None:
    shape = geometry(random_path())
    for margin in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="margin"):
            grid_around(shape, 5, margin)
    with pytest.raises(ValueError, match="radius"):
        square_grid(0.0, 5)
    for points in (0, 1):
        with pytest.raises(ValueError, match="2 are the fewest"):
            square_grid(1.0, points)
