"""The geometry of paths: closed forms, limits, and what no rotation, scale or parameterization can change."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from isthmus.landscape.paths import Geometry, Path, curve, geometry, line

T = np.linspace(0, 1, 61)
CURVED = ("bezier", "polychain")


def weights(*vectors: Sequence[float] | np.ndarray) -> dict[str, Tensor]:
    """Vectors as the weights of networks side by side, in two tensors of different shape."""
    stacked = torch.from_numpy(np.array(vectors, dtype=np.float64))
    return {"matrix": stacked[:, :-1, None], "bias": stacked[:, -1]}


def path_of(kind: str, start: Sequence[float], bend: Sequence[float], end: Sequence[float]) -> Path:
    return curve(kind, weights(start), weights(end), weights(bend))


def shape_of(kind: str, start: Sequence[float], bend: Sequence[float], end: Sequence[float]) -> Geometry:
    return geometry(path_of(kind, start, bend, end))


def positions(path: Path, t: np.ndarray) -> np.ndarray:
    """The points of a single path as vectors, `[T, parameters]`."""
    return flat(path.point(torch.from_numpy(t))).numpy()


def flat(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.reshape(len(value), -1) for value in weights.values()], dim=1)


def random_points(dimensions: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).standard_normal((3, dimensions)))


# Points


def test_points_are_those_of_bernsteins_polynomials_and_of_two_legs() -> None:
    start, bend, end = random_points(7)
    t = T[:, None]
    bezier = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    np.testing.assert_allclose(positions(path_of("bezier", start, bend, end), T), bezier, atol=1e-14)
    chain = np.where(t < 0.5, (1 - 2 * t) * start + 2 * t * bend, (2 - 2 * t) * bend + (2 * t - 1) * end)
    np.testing.assert_allclose(positions(path_of("polychain", start, bend, end), T), chain, atol=1e-14)
    straight = line(weights(start), weights(end))
    np.testing.assert_allclose(positions(straight, T), (1 - t) * start + t * end, atol=1e-14)


@pytest.mark.parametrize("kind", CURVED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_are_exact_and_an_offset_of_zero_is_the_line_to_the_last_bit(kind: str, dtype: torch.dtype) -> None:
    start, end, bend = ({"w": torch.randn(1, 400, dtype=dtype)} for _ in range(3))
    ends = curve(kind, start, end, bend).point(torch.tensor([0.0, 1.0], dtype=torch.float64))["w"]
    assert ends.dtype == dtype
    assert torch.equal(ends, torch.cat([start["w"], end["w"]]))
    t = torch.from_numpy(T)
    assert torch.equal(curve(kind, start, end).point(t)["w"], line(start, end).point(t)["w"])


@pytest.mark.parametrize("kind", CURVED)
def test_the_bend_is_given_back_and_the_middle_of_a_chain_is_the_bend(kind: str) -> None:
    start, bend, end = random_points(5)
    path = path_of(kind, start, bend, end)
    torch.testing.assert_close(path.bend(), weights(bend))
    if kind == "polychain":
        torch.testing.assert_close(path.point(torch.tensor([0.5])), weights(bend))
    straight = line(weights(start), weights(end))
    torch.testing.assert_close(straight.bend(), weights((start + end) / 2))


@pytest.mark.parametrize("kind", ["linear", *CURVED])
def test_the_derivative_is_that_of_automatic_differentiation(kind: str) -> None:
    start, bend, end = random_points(5)
    path = line(weights(start), weights(end)) if kind == "linear" else path_of(kind, start, bend, end)
    t = torch.tensor([0.0, 0.2, 0.4, 0.7, 1.0], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda t: flat(path.point(t)), t)
    slopes = flat(path.derivative(t))
    torch.testing.assert_close(slopes, jacobian.diagonal(dim1=0, dim2=2).T)
    np.testing.assert_allclose(geometry(path).speed(t.numpy())[0], slopes.norm(dim=1))


@pytest.mark.parametrize("kind", CURVED)
def test_paths_side_by_side_are_each_alone(kind: str) -> None:
    all_points = [random_points(6, seed) for seed in range(3)]
    start, bend, end = (weights(*column) for column in zip(*all_points, strict=True))
    together = curve(kind, start, end, bend)
    t = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    shape = geometry(together)
    for index, (a, b, c) in enumerate(all_points):
        alone, point = path_of(kind, a, b, c), together.point(t)
        for name, value in alone.point(t[index : index + 1]).items():
            torch.testing.assert_close(point[name][index : index + 1], value)
        torch.testing.assert_close(together.member(index).point(t), alone.point(t))
        own = geometry(alone)
        for measure in ("length", "detour", "turning", "chord"):
            np.testing.assert_allclose(getattr(shape, measure)[index], getattr(own, measure)[0])
        for function in ("speed", "curvature", "arc_length"):
            np.testing.assert_allclose(getattr(shape, function)(T)[index], getattr(own, function)(T)[0])


def test_a_curve_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="`spline` is not a kind of path with a bend"):
        curve("spline", weights([0, 0]), weights([1, 1]))


# Closed forms


@pytest.mark.parametrize("kind", ["linear", *CURVED])
def test_a_straight_path_with_its_bend_in_the_middle_is_its_chord(kind: str) -> None:
    start, end = np.array([1.0, 2.0, -1.0]), np.array([4.0, 6.0, 11.0])
    straight = line(weights(start), weights(end))
    shape = geometry(straight if kind == "linear" else curve(kind, straight.start, straight.end))
    assert shape.chord == shape.length == 13
    assert (shape.detour, shape.turning) == (1, 0)
    np.testing.assert_allclose(shape.speed(T), np.full((1, 61), 13))
    assert not shape.curvature(T).any()
    np.testing.assert_allclose(shape.arc_length(T)[0], 13 * T, atol=1e-14)


def test_a_bend_elsewhere_on_the_segment_changes_the_speed_and_nothing_else() -> None:
    # The control points 0, 1, 4 on a line: w = 2 t + 2 t^2 and w' = 2 + 4 t.
    direction = np.array([3.0, 0.0, 4.0]) / 5
    shape = shape_of("bezier", 0 * direction, direction, 4 * direction)
    assert shape.length == pytest.approx(4, rel=1e-15)
    assert (shape.turning, shape.across) == (0, 0)
    np.testing.assert_allclose(shape.speed(T)[0], 2 + 4 * T)
    np.testing.assert_allclose(shape.arc_length(T)[0], 2 * T + 2 * T**2, atol=1e-14)
    assert not shape.curvature(T).any()
    chain = shape_of("polychain", 0 * direction, direction, 4 * direction)
    assert (chain.length, chain.turning) == (pytest.approx(4, rel=1e-15), 0)
    np.testing.assert_allclose(chain.speed([0.2, 0.7])[0], [2, 6])


def test_a_right_angle_with_unit_legs() -> None:
    # Control points (0, 0), (1, 0), (1, 1): w = (2 t - t^2, t^2), w' = (2 - 2 t, 2 t), w'' = (-2, 2). So
    # |w'| = 2 sqrt(q) with q = 1 - 2 t + 2 t^2, and w' x w'' = 4, hence kappa = 1 / (2 q^(3/2)). With s = t - 1/2,
    # |w'| = 2 sqrt(2) sqrt(s^2 + 1/4), whose integral is sqrt(2) (s sqrt(s^2 + 1/4) + asinh(2 s) / 4); over
    # -1/2 ... 1/2 it is 1 + asinh(1) / sqrt(2). The tangent turns from (1, 0) to (0, 1).
    shape = shape_of("bezier", [0, 0], [1, 0], [1, 1])
    q = 1 - 2 * T + 2 * T**2
    assert shape.length == pytest.approx(1 + math.asinh(1) / math.sqrt(2), rel=1e-15)
    assert shape.chord == pytest.approx(math.sqrt(2), rel=1e-15)
    assert shape.turning == pytest.approx(math.pi / 2, rel=1e-15)
    np.testing.assert_allclose(shape.speed(T)[0], 2 * np.sqrt(q), rtol=1e-14)
    np.testing.assert_allclose(shape.curvature(T)[0], 1 / (2 * q**1.5), rtol=1e-14)
    s = T - 0.5
    primitive = math.sqrt(2) * (s * np.sqrt(s**2 + 0.25) + np.arcsinh(2 * s) / 4)
    np.testing.assert_allclose(shape.arc_length(T)[0], primitive - primitive[0], atol=1e-14)


@pytest.mark.parametrize("degrees", [0, 1e-6, 30, 60, 90, 120, 179, 180])
def test_both_kinds_turn_by_the_angle_between_the_legs(degrees: float) -> None:
    angle = math.radians(degrees)
    points = [0, 0, 0], [2, 0, 0], [2 + 3 * math.cos(angle), 3 * math.sin(angle), 0]
    chain, bezier = shape_of("polychain", *points), shape_of("bezier", *points)
    assert chain.turning == pytest.approx(angle, abs=1e-14)
    assert bezier.turning == pytest.approx(angle, abs=1e-14)
    assert chain.length == pytest.approx(5, rel=1e-14)
    np.testing.assert_allclose(chain.arc_length([0.25, 0.5, 0.75])[0], [1, 2, 3.5], rtol=1e-14)
    assert not chain.curvature(T).any()


# Degenerate cases


def test_a_path_that_leaves_and_returns() -> None:
    for kind, length in (("bezier", 3), ("polychain", 6)):
        shape = shape_of(kind, [1, 1], [1, 4], [1, 1])
        assert shape.chord == 0
        assert shape.length == pytest.approx(length, rel=1e-15)
        assert shape.detour == math.inf
        assert shape.turning == pytest.approx(math.pi, rel=1e-15)
        assert not shape.curvature(T).any()


def test_a_path_that_never_leaves() -> None:
    for kind in CURVED:
        shape = shape_of(kind, [1, 2], [1, 2], [1, 2])
        assert shape.chord == shape.length == shape.turning == 0
        assert np.isnan(shape.detour).all()
        assert not shape.speed(T).any()
        assert not shape.curvature(T).any()


def test_a_bend_on_the_line_beyond_the_end_doubles_the_path_back() -> None:
    # Control points 0, 3, 2: w = 6 t - 4 t^2 runs to 9/4 at t = 3/4 and back to 2.
    direction = np.array([2.0, 3.0, 6.0]) / 7
    shape = shape_of("bezier", 0 * direction, 3 * direction, 2 * direction)
    assert shape.length == pytest.approx(9 / 4 + 1 / 4, rel=1e-14)
    assert shape.turning == pytest.approx(math.pi, rel=1e-14)
    np.testing.assert_allclose(shape.speed(T)[0], abs(6 - 8 * T), atol=1e-13)
    np.testing.assert_allclose(shape.arc_length([0.5, 0.75])[0], [2, 9 / 4], rtol=1e-14)
    assert not shape.curvature(T).any()
    chain = shape_of("polychain", 0 * direction, 3 * direction, 2 * direction)
    assert (chain.length, chain.turning) == (pytest.approx(4), pytest.approx(math.pi))


@pytest.mark.parametrize("kind", CURVED)
@pytest.mark.parametrize("dimensions", [2, 1000])
def test_a_bend_on_an_end_leaves_a_straight_path(kind: str, dimensions: int) -> None:
    start, _, end = random_points(dimensions)
    for bend in (start, end):
        shape = shape_of(kind, start, bend, end)
        assert shape.length == pytest.approx(shape.chord, rel=1e-14)
        assert shape.turning == 0
        assert not shape.curvature(T).any()


def test_a_nearly_straight_path_keeps_its_digits() -> None:
    # The determinant of the Gram matrix, taken from inner products, would be lost in rounding: here its square root
    # is 10^-10 of its terms, and the square 10^-20.
    start, chord, normal = random_points(1000)
    normal -= (normal @ chord) / (chord @ chord) * chord
    normal /= np.linalg.norm(normal)
    size = np.linalg.norm(chord)
    shape = geometry(
        Path("bezier", weights(0 * start), weights(chord), weights(0.3 * chord + 1e-10 * size * normal)),
    )
    assert shape.across == pytest.approx(1e-10 * size, rel=1e-5)
    # Tangents 1.6 c + 2 h n and 0.4 c - 2 h n, to first order in h = 10^-10 |c|.
    assert shape.turning == pytest.approx(2e-10 / 1.6 + 2e-10 / 0.4, rel=1e-5)


# Against quadrature, and invariances


@pytest.mark.parametrize("scale", [0, 1e-9, 1e-3, 0.12, 0.13, 0.5, 1, 30, 100])
@pytest.mark.parametrize("tilt", [0.0, 1e-8, 0.4, 1.5, math.pi / 2, 3.0])
def test_arc_length_and_turning_are_the_integrals_of_speed_and_curvature(scale: float, tilt: float) -> None:
    offset = [scale * math.cos(tilt), scale * math.sin(tilt)]
    shape = geometry(Path("bezier", weights([0, 0]), weights([1, 0]), weights(offset)))
    # The integrands have all but a kink where the speed is lowest: integrate on either side of it.
    lowest = np.clip((2 + offset[0] / max(scale, 1e-3) ** 2) / 4, 1e-3, 1 - 1e-3)
    for until in (0.3, 1.0):
        breaks = [lowest] if lowest < until else None
        length, _ = quad(lambda t: shape.speed([t])[0, 0], 0, until, points=breaks, epsabs=0, epsrel=1e-12, limit=200)
        assert shape.arc_length([until])[0, 0] == pytest.approx(length, rel=1e-11)
    if tilt == 0.4 and scale <= 1:
        turning, _ = quad(lambda t: shape.curvature([t])[0, 0] * shape.speed([t])[0, 0], 0, 1, points=[lowest])
        assert shape.turning == pytest.approx(turning, rel=1e-9, abs=1e-15)


def polygon(points: np.ndarray) -> tuple[float, float]:
    """Length and sum of turning angles of a polygon through points `[T, n]`."""
    steps = np.diff(points, axis=0)
    sizes = np.linalg.norm(steps, axis=1)
    units = steps / sizes[:, None]
    # Of two unit vectors, the angle by the half-angle formula, exact for small ones.
    angles = 2 * np.arctan2(
        np.linalg.norm(units[1:] - units[:-1], axis=1), np.linalg.norm(units[1:] + units[:-1], axis=1)
    )
    return float(sizes.sum()), float(angles.sum())


@pytest.mark.parametrize("kind", CURVED)
def test_length_and_turning_do_not_depend_on_the_parameterization(kind: str) -> None:
    start, bend, end = random_points(50)
    path = path_of(kind, start, bend, end)
    shape = geometry(path)
    t = np.linspace(0, 1, 2001)
    for clock in (t, t**3, np.sin(t * math.pi / 2) ** 2):
        length, turning = polygon(positions(path, clock))
        # A polygon cuts the corner of a chain.
        assert length == pytest.approx(shape.length[0], rel=1e-5 if kind == "bezier" else 2e-3)
        assert turning == pytest.approx(shape.turning[0], rel=3e-3)


def test_in_a_thousand_dimensions_the_numbers_are_those_of_the_plane() -> None:
    basis = np.linalg.qr(np.random.default_rng(3).standard_normal((1000, 2)))[0].T
    shift = np.random.default_rng(4).standard_normal(1000)
    flat = np.array([[0.3, -1.0], [2.0, 0.5], [-0.7, 1.9]])
    for kind in CURVED:
        plane, space = shape_of(kind, *flat), shape_of(kind, *(flat @ basis + shift))
        assert_same_shape(space, plane)


def test_rotations_and_shifts_change_nothing_and_scales_only_the_scale() -> None:
    points = np.array(random_points(20))
    rotation = np.linalg.qr(np.random.default_rng(5).standard_normal((20, 20)))[0]
    for kind in CURVED:
        shape = shape_of(kind, *points)
        assert_same_shape(shape_of(kind, *(points @ rotation + 7)), shape)
        for factor in (1e-6, 1e6):
            scaled = shape_of(kind, *(factor * points))
            np.testing.assert_allclose(scaled.length, factor * shape.length)
            np.testing.assert_allclose(scaled.speed(T), factor * shape.speed(T))
            np.testing.assert_allclose(scaled.curvature(T), shape.curvature(T) / factor)
            np.testing.assert_allclose(scaled.turning, shape.turning)
            np.testing.assert_allclose(scaled.detour, shape.detour)


def assert_same_shape(first: Geometry, second: Geometry) -> None:
    for measure in ("chord", "length", "detour", "turning"):
        np.testing.assert_allclose(getattr(first, measure), getattr(second, measure), rtol=1e-12)
    for function in ("speed", "curvature", "arc_length"):
        np.testing.assert_allclose(getattr(first, function)(T), getattr(second, function)(T), rtol=1e-11, atol=1e-12)


def test_a_path_runs_the_same_backwards() -> None:
    start, bend, end = random_points(9)
    for kind in CURVED:
        there, back = shape_of(kind, start, bend, end), shape_of(kind, end, bend, start)
        for measure in ("chord", "length", "detour", "turning"):
            np.testing.assert_allclose(getattr(there, measure), getattr(back, measure))
        np.testing.assert_allclose(there.curvature(T)[0], back.curvature(T)[0, ::-1])


def test_weights_in_single_precision_are_measured_in_double() -> None:
    path = path_of("bezier", *random_points(1000))
    single = Path(
        "bezier",
        *({name: value.float() for name, value in part.items()} for part in (path.start, path.end, path.offset)),
    )
    double = Path(
        "bezier",
        *({name: value.double() for name, value in part.items()} for part in (single.start, single.end, single.offset)),
    )
    assert geometry(single).length == geometry(double).length
    assert geometry(single).turning == geometry(double).turning
