"""Paths in weight space between two networks, and their geometry.

There are three kinds. Each is a straight line plus one `offset`, scaled by a bump that vanishes at both ends:

    w(t) = (1 - t) w(0) + t w(1) + bump(t) offset,    0 <= t <= 1

* `linear`: bump = 0;
* `bezier`: bump = 2 t (1 - t), the quadratic Bezier curve with one bend (Garipov et al. 2018);
* `polychain`: bump = 1 - |1 - 2 t|, two straight legs that meet in the bend at t = 1/2 (the same authors).

The offset leads from the middle of the line to the bend: bend = (w(0) + w(1)) / 2 + offset. Storing the offset instead
of the bend costs nothing and makes one statement exact: with offset 0, all three kinds give the same numbers to the
last bit. The ends are exact, too.

Weights are dictionaries of tensors by name, as `torch.func.functional_call` takes them, so that a point of a path can
be evaluated without splitting a flat vector. Every tensor has a leading dimension P, the number of paths side by side
(the `stack` of `isthmus.models.stacked`); a single path is a stack of one.

The geometry is that of a plane, spanned by the chord c = w(1) - w(0) and the offset d: w' = c + bump' d and
w'' = bump'' d. However many weights there are, they enter only through the Gram matrix of c and d, that is, through
three numbers: |c| and the components of d along c and across it, which are the entries of the matrix's Cholesky factor.
The last one is computed as the norm of d minus its projection, in float64. The usual Gram determinant of inner
products, |w'|^2 |w''|^2 - (w' . w'')^2, would lose half of its digits near straight paths.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from isthmus.core.tensors import Tensors

Array = NDArray[np.float64]
KINDS = ("linear", "bezier", "polychain")

ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""Components of a vector smaller than this, relative to the vector, count as rounding and are set to zero."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True)
class Path:
    """P paths of one kind. start, end, offset: by name, `[P, ...]`; the offset of a `linear` path is empty."""

    kind: str
    start: Tensors
    end: Tensors
    offset: Tensors

    def point(self, t: Tensor) -> Tensors:
        """The weights w(t), by name `[S, ...]`, at t `[S]`: each path at its own t (S = P), or one at many (P = 1).

        They have the type of the ends, and equal them to the last bit at t = 0 and t = 1.
        """
        height = bump(self.kind, t)
        points = {}
        for name, start in self.start.items():
            points[name] = torch.lerp(start, self.end[name], column(t, start))
            if self.offset:
                points[name] = torch.addcmul(points[name], column(height, start), self.offset[name])
        return points

    def derivative(self, t: Tensor) -> Tensors:
        """w'(t), by name `[S, ...]`; t as for `point`. At the bend of a chain, the value on the second leg."""
        slope = bump_slope(self.kind, t)
        slopes = {}
        for name, start in self.start.items():
            chord = (self.end[name] - start).expand(len(t), *start.shape[1:])
            slopes[name] = chord + column(slope, start) * self.offset[name] if self.offset else chord
        return slopes

    def bend(self) -> Tensors:
        """The control point between the ends, by name `[P, ...]`; for a `linear` path, the middle."""
        middle = {name: torch.lerp(start, self.end[name], 0.5) for name, start in self.start.items()}
        return {name: value + self.offset[name] for name, value in middle.items()} if self.offset else middle

    def member(self, index: int) -> "Path":
        """One of the P paths, as a stack of one."""
        parts = [{name: value[index][None] for name, value in part.items()} for part in self._parts()]
        return Path(self.kind, *parts)

    def to(self, device: torch.device) -> "Path":
        """The same paths on a device."""
        parts = [{name: value.to(device) for name, value in part.items()} for part in self._parts()]
        return Path(self.kind, *parts)

    def _parts(self) -> tuple[Tensors, Tensors, Tensors]:
        return self.start, self.end, self.offset


def line(start: Tensors, end: Tensors) -> Path:
    """The straight segments from `start` to `end`, by name `[P, ...]` each.

    >>> path = line({"weight": torch.tensor([[0.0]])}, {"weight": torch.tensor([[4.0]])})
    >>> path.point(torch.tensor([0.25]))["weight"]
    tensor([[1.]])
    """
    return Path("linear", start, end, {})


def curve(kind: str, start: Tensors, end: Tensors, bend: Tensors | None = None) -> Path:
    """Curves of a kind that has a bend; all by name `[P, ...]`. A bend of None is the middle of the line.

    Raises ValueError if the kind is not `bezier` or `polychain`.

    >>> start, end, bend = ({"weight": torch.tensor([each])} for each in ([0.0, 0.0], [2.0, 0.0], [1.0, 1.0]))
    >>> curve("bezier", start, end, bend).point(torch.tensor([0.5]))["weight"]
    tensor([[1.0000, 0.5000]])
    """
    if kind not in KINDS[1:]:
        raise ValueError(f"`{kind}` is not a kind of path with a bend; these are {', '.join(KINDS[1:])}")
    offset = {name: torch.zeros_like(value) for name, value in start.items()}
    if bend is not None:
        offset = {name: bend[name] - torch.lerp(value, end[name], 0.5) for name, value in start.items()}
    return Path(kind, start, end, offset)


def bump(kind: str, t: Tensor) -> Tensor:
    """The factor of the offset in w(t), `[S]`: 0 at both ends; at t = 1/2, it is 1/2 (`bezier`) or 1 (`polychain`).

    >>> bump("bezier", torch.tensor([0.0, 0.5])), bump("polychain", torch.tensor([0.0, 0.5]))
    (tensor([0.0000, 0.5000]), tensor([0., 1.]))
    """
    if kind == "linear":
        return torch.zeros_like(t)
    return 2 * t * (1 - t) if kind == "bezier" else 1 - (1 - 2 * t).abs()


def bump_slope(kind: str, t: Tensor) -> Tensor:
    """The derivative of `bump` by t, `[S]`; at the corner of a chain, the derivative from above.

    >>> bump_slope("bezier", torch.tensor([0.0, 0.5])), bump_slope("polychain", torch.tensor([0.0, 0.5]))
    (tensor([2., 0.]), tensor([ 2., -2.]))
    """
    if kind == "linear":
        return torch.zeros_like(t)
    return 2 - 4 * t if kind == "bezier" else torch.where(t < 0.5, 2.0, -2.0).to(t.dtype)


def column(values: Tensor, like: Tensor) -> Tensor:
    """`values` `[S]` with the type and the number of dimensions of `like`, so that each scales one member of a stack.

    >>> column(torch.tensor([2.0, 3.0]), torch.ones(2, 1, 2)) * torch.ones(2, 1, 2)
    tensor([[[2., 2.]],
    <BLANKLINE>
            [[3., 3.]]])
    """
    return values.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


@dataclass(frozen=True)
class Geometry:
    """The shape of P paths, in the plane of their control points. Float64; lengths in the unit of the weights.

    chord: |w(1) - w(0)|; along, across: the components of the offset parallel (signed) and perpendicular to the chord;
    `[P]` each. If the ends coincide, the whole offset counts as across.
    """

    kind: str
    chord: Array
    along: Array
    across: Array

    def speed(self, t: ArrayLike) -> Array:
        """|w'(t)|, `[P, T]`, at t `[T]`. At the bend of a chain, the speed on the second leg."""
        slope = bump_slope(self.kind, torch.from_numpy(np.array(t, dtype=np.float64))).numpy()
        return self._speed_at(slope)

    def curvature(self, t: ArrayLike) -> Array:
        """kappa(t) = |w' x w''| / |w'|^3, `[P, T]`, in 1 / the unit of the weights.

        Zero on straight legs, at points where the path only reverses (counted in `turning`), and where it stands still.
        """
        speed = self.speed(t)
        # In w' = c + bump' d, the second term is parallel to w'' = -4 d, so the cross product does not depend on t.
        product = 4 * self.chord * self.across if self.kind == "bezier" else np.zeros_like(self.chord)
        return np.divide(
            product[:, None], speed**3, out=np.zeros_like(speed), where=(product[:, None] > 0) & (speed > 0)
        )

    def arc_length(self, t: ArrayLike) -> Array:
        """The length of the path from w(0) to w(t), `[P, T]`, at t `[T]`."""
        points = np.asarray(t, dtype=np.float64)
        if self.kind == "bezier":
            return self._bezier_arc_length(points)
        first, second = self.legs()
        return first[:, None] * np.minimum(2 * points, 1) + second[:, None] * np.maximum(2 * points - 1, 0)

    @property
    def length(self) -> Array:
        """The integral of |w'(t)|, `[P]`."""
        return self.arc_length([1.0])[:, 0]

    @property
    def detour(self) -> Array:
        """length / chord, `[P]`: 1 for a straight path, inf for one that returns, NaN for one that never leaves."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.length / self.chord

    @property
    def turning(self) -> Array:
        """The integral of the curvature along the path, `[P]`, in radians; for a chain, the angle at its bend.

        The tangent of a Bezier curve turns in one direction, from the first leg of its control polygon to the second,
        and thus by the same angle as a chain with the same bend. The maximum is pi, for a path that comes straight
        back; the value is 0 if the bend lies on an end.
        """
        first, second = self.legs()
        angle = np.arctan2(4 * self.chord * self.across, self.chord**2 - 4 * self._offset() ** 2)
        return np.where(np.minimum(first, second) <= ROUNDING * np.maximum(first, second), 0.0, angle)

    def legs(self) -> tuple[Array, Array]:
        """The distances of the bend from w(0) and from w(1), `[P]` each."""
        first, second = self._speed_at(np.array([2.0, -2.0])).T / 2
        return first, second

    def _offset(self) -> Array:
        return np.hypot(self.along, self.across)

    def _speed_at(self, slope: Array) -> Array:
        """|c + slope d|, `[P, ...]`, at slopes `[...]`."""
        chord, along, across = (value.reshape(-1, *[1] * slope.ndim) for value in (self.chord, self.along, self.across))
        return np.hypot(chord + slope * along, slope * across)

    def _bezier_arc_length(self, t: Array) -> Array:
        """The integral of |c + u d| / 4 over the slope u from 2 - 4 t to 2, `[P, T]`.

        With D = |d|, the integrand is the root of v^2 + m^2, where v = D u + c . d / D and m = |c| across / D, and the
        integral has a closed form. Near a straight and evenly parameterized path, the closed form is a small difference
        of large numbers. A 16-point Gauss-Legendre rule is used there: the integrand's branch points lie at |u| >= 8,
        and the rule's error is below 10^-28.
        """
        offset = self._offset()
        nearly_even = 8 * offset <= self.chord
        middle, half = 2 - 2 * t, 2 * t
        quadrature = (self._speed_at(middle[:, None] + half[:, None] * _NODES) @ _WEIGHTS) * half / 4
        size = np.where(nearly_even, 1.0, offset)[:, None]
        centre = self.chord[:, None] * self.along[:, None] / size
        waist = self.chord[:, None] * self.across[:, None] / size
        area = _area(2 * size + centre, waist) - _area((2 - 4 * t) * size + centre, waist)
        return np.where(nearly_even[:, None], quadrature, area / (4 * size))


def _area(v: Array, waist: Array) -> Array:
    """An antiderivative of sqrt(v^2 + waist^2) by v."""
    # The bound keeps the logarithm from dividing by zero; its factor waist^2 vanishes long before.
    logarithm = np.arcsinh(v / np.maximum(waist, 1e-150))
    return (v * np.hypot(v, waist) + waist**2 * logarithm) / 2


def geometry(path: Path) -> Geometry:
    """The shape of the P paths in `path`, from two passes over their weights in float64.

    >>> start, end, bend = ({"weight": torch.tensor([each])} for each in ([0.0, 0.0], [2.0, 0.0], [1.0, 1.0]))
    >>> shape = geometry(curve("polychain", start, end, bend))
    >>> shape.chord, shape.across, shape.length.round(4)
    (array([2.]), array([1.]), array([2.8284]))
    """
    products = torch.stack([_sums(c * c, c * d) for c, d in _chords_and_offsets(path)]).sum(0)
    chord_squared, product = products
    ratio = torch.where(chord_squared > 0, product / chord_squared, 0.0)
    # Squared norms of the offset without its projection on the chord, and of the whole offset.
    rests = torch.stack([_sums((d - ratio[:, None] * c) ** 2, d * d) for c, d in _chords_and_offsets(path)]).sum(0)
    chord, across, offset = (value.sqrt().cpu().numpy() for value in (chord_squared, *rests))
    along = ratio.cpu().numpy() * chord
    return Geometry(path.kind, chord, along, np.where(across <= ROUNDING * offset, 0.0, across))


def _chords_and_offsets(path: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Chord and offset of each tensor, flattened, `[P, parameters of the tensor]`, float64."""
    for name, start in path.start.items():
        chord = (path.end[name].double() - start.double()).reshape(len(start), -1)
        yield chord, path.offset[name].double().reshape(chord.shape) if path.offset else torch.zeros_like(chord)


def _sums(first: Tensor, second: Tensor) -> Tensor:
    return torch.stack([first.sum(1), second.sum(1)])
