"""Planes in weight space: where to evaluate a network to draw its loss as a map.

    w(x, y) = origin + x first + y second

Two kinds of plane:

* `through` a path: the plane of its ends and its bend (Garipov et al. 2018), with orthonormal directions, so that
  distances on the map are distances between weights. The whole path lies in it (`coordinates`);
* a random plane around a network (`random_plane`), with the filter-normalized directions of Li et al. (2018). Scaling
  one ReLU layer up and the next one down does not change the map.

The points of a plane are never in memory together: `Plane.point` computes the weights of the points it is given, so a
map of thousands of points is evaluated one stack at a time.

    plane, shape = through(path, generator), geometry(path)
    x, y = grid_around(shape, points=31, margin=0.2)             # [points**2] each
    weights = plane.point(torch.from_numpy(x[:8]), torch.from_numpy(y[:8]))
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from isthmus.core.tensors import Tensors
from isthmus.landscape.paths import Geometry, Path, bump, column, geometry
from isthmus.landscape.perturbations import filter_norms, gaussian

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """A plane in the weight space of one network. origin, first, second: by name, `[1, ...]`."""

    origin: Tensors
    first: Tensors
    second: Tensors

    def point(self, x: Tensor, y: Tensor) -> Tensors:
        """The weights at S points, by name `[S, ...]`, in the type of the origin; x and y `[S]`, float64."""
        points = {}
        for name, origin in self.origin.items():
            along = torch.addcmul(origin, column(x, origin), self.first[name])
            points[name] = torch.addcmul(along, column(y, origin), self.second[name])
        return points

    def to(self, device: torch.device) -> "Plane":
        """The same plane on a device."""
        parts = [{name: value.to(device) for name, value in part.items()} for part in self._parts()]
        return Plane(*parts)

    def _parts(self) -> tuple[Tensors, Tensors, Tensors]:
        return self.origin, self.first, self.second


def through(path: Path, generator: np.random.Generator) -> Plane:
    """The plane of the ends and the bend of one path; x runs along its chord, y perpendicular to it towards the bend.

    path: a stack of one, of any kind. The directions are orthonormal in the Euclidean norm over all parameters,
    computed in float64 and stored in the type of the weights. w(0) is the point (0, 0), w(1) is (chord, 0), and the
    bend is (chord / 2 + along, across), with the three lengths of `isthmus.landscape.paths.geometry`.

    If the bend lies on the line, up to rounding of the weights, any plane through the line contains the path. Then y is
    a random direction, uniform among those perpendicular to the chord; only in this case does `generator` matter.

    Raises ValueError for several paths, and for ends that coincide or are not finite.

    >>> from isthmus.landscape.paths import curve
    >>> start, end, bend = ({"weight": torch.tensor([each])} for each in ([0.0, 0.0], [2.0, 0.0], [1.0, 1.0]))
    >>> plane = through(curve("bezier", start, end, bend), np.random.default_rng(0))
    >>> plane.first["weight"], plane.second["weight"]
    (tensor([[1., 0.]]), tensor([[0., 1.]]))
    """
    start = path.start
    if any(value.shape[0] != 1 for value in start.values()):
        raise ValueError("a plane goes through one path: give a stack of one (`Path.member`)")
    shape = geometry(path)
    chord, along, across = (float(value[0]) for value in (shape.chord, shape.along, shape.across))
    if not 0 < chord < math.inf or not math.isfinite(along + across):
        raise ValueError(f"no plane goes through a path whose ends are {chord} apart, and its bend {across} from them")
    first = {name: (path.end[name].double() - value.double()) / chord for name, value in start.items()}
    precision = max(torch.finfo(value.dtype).eps for value in start.values())
    if across <= 16 * precision * math.hypot(along, across):
        second = gaussian(start, generator)
    else:
        second = {name: value.double() for name, value in path.offset.items()}
    second = _perpendicular(second, first)
    directions = [{name: part[name].to(value.dtype) for name, value in start.items()} for part in (first, second)]
    return Plane(start, *directions)


def coordinates(shape: Geometry, t: ArrayLike) -> tuple[Array, Array]:
    """Where the points w(t) of one path lie in the plane `through` it: x and y, `[T]` each, at t `[T]`.

    >>> from isthmus.landscape.paths import curve
    >>> start, end, bend = ({"weight": torch.tensor([each])} for each in ([0.0, 0.0], [2.0, 0.0], [1.0, 1.0]))
    >>> coordinates(geometry(curve("bezier", start, end, bend)), [0, 0.5, 1])
    (array([0., 1., 2.]), array([0. , 0.5, 0. ]))
    """
    points = np.array(t, dtype=np.float64)
    height = bump(shape.kind, torch.from_numpy(points)).numpy()
    return points * shape.chord[0] + height * shape.along[0], height * shape.across[0]


def random_plane(weights: Tensors, generator: np.random.Generator) -> Plane:
    """A plane around one network along two random, filter-normalized directions (Li et al. 2018).

    weights: by name `[1, ...]`. A direction is Gaussian, with each filter rescaled to the norm of the same filter of
    the weights. A filter is a row of a matrix `[1, outputs, inputs]` or a kernel of a convolution
    `[1, outputs, inputs, size, size]`. Biases and the scales and shifts of normalization layers, `[1, outputs]`, do not
    change, as with the option `biasbn` of the authors' code. x and y are thus relative to the weights, without unit.

    Like the authors', the directions are not orthogonalized; with many parameters, they nearly are orthogonal.

    >>> weights = {"weight": torch.tensor([[[3.0, 4.0]]]), "bias": torch.tensor([[1.0]])}
    >>> plane = random_plane(weights, np.random.default_rng(0))
    >>> plane.first["weight"].norm(), plane.first["bias"]
    (tensor(5.), tensor([[0.]]))
    """
    directions = []
    for _ in range(2):
        noise = gaussian(weights, generator)
        directions.append({name: _filter_normalized(value, noise[name]) for name, value in weights.items()})
    return Plane(weights, *directions)


def grid_around(shape: Geometry, points: int, margin: float) -> tuple[Array, Array]:
    """A grid on the plane `through` a path: x and y of its points, `[points**2]` each, row after row of rising y.

    It covers the ends and the bend, hence the whole path, and a margin on all four sides: `margin` times the larger
    extent of these three points, so that a straight path gets a map and not a sliver.

    Raises ValueError for fewer than 2 points per side or a margin that is not positive.

    >>> from isthmus.landscape.paths import line
    >>> shape = geometry(line({"weight": torch.tensor([[0.0]])}, {"weight": torch.tensor([[2.0]])}))
    >>> grid_around(shape, points=2, margin=0.5)
    (array([-1.,  3., -1.,  3.]), array([-1., -1.,  1.,  1.]))
    """
    if not margin > 0:
        raise ValueError(f"the margin is {margin}, but must be positive: a straight path has no height of its own")
    chord, along, across = shape.chord[0], shape.along[0], shape.across[0]
    x, y = np.array([0, chord, chord / 2 + along]), np.array([0, across])
    border = margin * max(np.ptp(x), np.ptp(y))
    return _grid((x.min() - border, x.max() + border), (y.min() - border, y.max() + border), points)


def square_grid(radius: float, points: int) -> tuple[Array, Array]:
    """A grid on [-radius, radius]^2: x and y of its points, `[points**2]` each, row after row of rising y.

    With an odd number of points per side, the middle one is the origin. Raises ValueError for fewer than 2 points per
    side or a radius that is not positive.

    >>> square_grid(radius=1.0, points=2)
    (array([-1.,  1., -1.,  1.]), array([-1., -1.,  1.,  1.]))
    """
    if not radius > 0:
        raise ValueError(f"the radius is {radius}, but must be positive")
    return _grid((-radius, radius), (-radius, radius), points)


def _grid(across: tuple[float, float], upward: tuple[float, float], points: int) -> tuple[Array, Array]:
    if points < 2:
        raise ValueError(f"a grid of {points} points to a side was asked for; 2 are the fewest")
    x, y = np.meshgrid(np.linspace(*across, points), np.linspace(*upward, points))
    return x.ravel(), y.ravel()


def _filter_normalized(weights: Tensor, noise: Tensor) -> Tensor:
    """`noise` with the filter norms and type of `weights`; zero for tensors with one number per output."""
    if weights.dim() <= 2:
        return torch.zeros_like(weights)
    return (noise * (filter_norms(weights.double()) / filter_norms(noise))).to(weights.dtype)


def _perpendicular(direction: Tensors, unit: Tensors) -> Tensors:
    """The part of `direction` perpendicular to the unit vector `unit`, with norm 1, float64.

    It is projected twice, because one projection leaves rounding of a long parallel part in a short perpendicular one.
    """
    for _ in range(2):
        product = sum(float((value * unit[name]).sum()) for name, value in direction.items())
        direction = {name: value - product * unit[name] for name, value in direction.items()}
        norm = math.hypot(*(float(torch.linalg.vector_norm(value)) for value in direction.values()))
        direction = {name: value / norm for name, value in direction.items()}
    return direction
