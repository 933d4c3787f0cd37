"""Paths in weight space between two networks, and their geometry.

Three kinds, all of them a straight line plus one `offset` that comes and goes:

    w(t) = (1 - t) w(0) + t w(1) + bump(t) offset,    0 <= t <= 1

* `linear`: bump = 0;
* `bezier`: bump = 2 t (1 - t), the quadratic Bezier curve with one bend (Garipov et al. 2018);
* `polychain`: bump = 1 - |1 - 2 t|, two straight legs that meet in the bend at t = 1/2 (the same).

The offset is where the bend lies as seen from the middle of the line: bend = (w(0) + w(1)) / 2 + offset. Holding the
offset instead of the bend costs nothing and makes the statement exact that a bend on the middle of the line changes
nothing: with offset 0 all three kinds give the same numbers to the last bit. The ends are exact, too.

Weights are dictionaries of tensors by name, as `torch.func.functional_call` takes them, so that a point of a path can
be evaluated without being cut into pieces. Every tensor has a leading dimension of paths side by side, P, the `stack`
of `isthmus.models.stacked`: one path is a stack of one.

All of the geometry happens in the plane of the chord c = w(1) - w(0) and the offset d: w' = c + bump' d and
w'' = bump'' d. Weights, however many, enter only through the Gram matrix of c and d, that is through three numbers:
|c| and the parts of d along c and across it, which are the entries of the matrix's Cholesky factor. The last is
computed as the norm of d less its projection, in float64. Taken from the inner products, as the Gram determinant
|w'|^2 |w''|^2 - (w' . w'')^2 is usually written, it would lose half of its digits near straight paths.
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
"""Parts of a vector smaller than this, relative to the vector, are taken for rounding and set to zero."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True)
class Path:
    """P paths of one kind. start, end, offset: by name, `[P, ...]`; the offset of a `linear` path is empty."""

    kind: str
    start: Tensors
    end: Tensors
    offset: Tensors

    def point(self, t: Tensor) -> Tensors:
        """The weights w(t), by name `[S, ...]`, at t `[S]`: each path at its own t, S = P, or one at many, P = 1.

        In the type of the weights. At t = 0 and t = 1 they are the ends to the last bit.
        """
        height = bump(self.kind, t)
        points = {}
        for name, start in self.start.items():
            points[name] = torch.lerp(start, self.end[name], column(t, start))
            if self.offset:
                points[name] = torch.addcmul(points[name], column(height, start), self.offset[name])
        return points

    def derivative(self, t: Tensor) -> Tensors:
        """w'(t), by name `[S, ...]`; t as for `point`. At the bend of a chain, that of the second leg."""
        slope = bump_slope(self.kind, t)
        slopes = {}
        for name, start in self.start.items():
            chord = (self.end[name] - start).expand(len(t), *start.shape[1:])
            slopes[name] = chord + column(slope, start) * self.offset[name] if self.offset else chord
        return slopes

    def bend(self) -> Tensors:
        """The control point between the ends, by name `[P, ...]`; of a `linear` path, the middle."""
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
    """Curves of a kind with a bend, by name `[P, ...]`; on the middle of the line where that is None.

    ValueError where the kind is not `bezier` or `polychain`.

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
    """The share of the offset in w(t), `[S]`: 0 at both ends, at t = 1/2 1/2 (`bezier`) or 1 (`polychain`).

    >>> bump("bezier", torch.tensor([0.0, 0.5])), bump("polychain", torch.tensor([0.0, 0.5]))
    (tensor([0.0000, 0.5000]), tensor([0., 1.]))
    """
    if kind == "linear":
        return torch.zeros_like(t)
    return 2 * t * (1 - t) if kind == "bezier" else 1 - (1 - 2 * t).abs()


def bump_slope(kind: str, t: Tensor) -> Tensor:
    """The derivative of `bump` by t, `[S]`; at the corner of a chain, that from above.

    >>> bump_slope("bezier", torch.tensor([0.0, 0.5])), bump_slope("polychain", torch.tensor([0.0, 0.5]))
    (tensor([2., 0.]), tensor([ 2., -2.]))
    """
    if kind == "linear":
        return torch.zeros_like(t)
    return 2 - 4 * t if kind == "bezier" else torch.where(t < 0.5, 2.0, -2.0).to(t.dtype)


def column(values: Tensor, like: Tensor) -> Tensor:
    """`values` `[S]` in the type of `like` and with as many dimensions, so that each scales its member of a stack.

    >>> column(torch.tensor([2.0, 3.0]), torch.ones(2, 1, 2)) * torch.ones(2, 1, 2)
    tensor([[[2., 2.]],
    <BLANKLINE>
            [[3., 3.]]])
    """
    return values.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


@dataclass(frozen=True)
class Geometry:
    """The shape of P paths, in the plane of their control points. Float64; lengths in the unit of the weights.

    chord: |w(1) - w(0)|; along, across: the parts of the offset parallel and perpendicular to the chord, the former
    signed; `[P]` each. Where the ends coincide, all of the offset counts as across.
    """

    kind: str
    chord: Array
    along: Array
    across: Array

    def speed(self, t: ArrayLike) -> Array:
        """|w'(t)|, `[P, T]`, at t `[T]`. At the bend of a chain, that of the second leg."""
        slope = bump_slope(self.kind, torch.from_numpy(np.array(t, dtype=np.float64))).numpy()
        return self._speed_at(slope)

    def curvature(self, t: ArrayLike) -> Array:
        """kappa(t) = |w' x w''| / |w'|^3, `[P, T]`, in 1 / the unit of the weights.

        Zero on straight legs, at a point where the path only turns back (`turning` counts it), and at t where a
        path stands still.
        """
        speed = self.speed(t)
        # Of w' = c + bump' d and w'' = -4 d only the parts that are not parallel count, and they do not depend on t.
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
        """The integral of the curvature along the path, `[P]`, in radians: for a chain the angle at its bend.

        The tangents of a Bezier curve turn, always the same way, from that of the first leg of its control polygon to
        that of the second: by the angle at which a chain with the same bend turns. At most pi, where the path
        comes straight back; 0 where the bend lies on an end.
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

        With D = |d| the integrand is the root of v^2 + m^2, v = D u + c . d / D and m = |c| across / D, which has a
        closed form. Near a straight and evenly parameterized path, where that is a small difference of large
        numbers, a Gauss-Legendre rule of 16 points does not differ from it: the integrand's branch points lie at
        |u| >= 8, and the error is below 10^-28.
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
    # Only the logarithm is kept from dividing by zero: its factor waist^2 has vanished long before.
    logarithm = np.arcsinh(v / np.maximum(waist, 1e-150))
    return (v * np.hypot(v, waist) + waist**2 * logarithm) / 2


def geometry(path: Path) -> Geometry:
    """The shape of the P paths in `path`: two passes over their weights, in float64.

    >>> start, end, bend = ({"weight": torch.tensor([each])} for each in ([0.0, 0.0], [2.0, 0.0], [1.0, 1.0]))
    >>> shape = geometry(curve("polychain", start, end, bend))
    >>> shape.chord, shape.across, shape.length.round(4)
    (array([2.]), array([1.]), array([2.8284]))
    """
    products = torch.stack([_sums(c * c, c * d) for c, d in _chords_and_offsets(path)]).sum(0)
    chord_squared, product = products
    ratio = torch.where(chord_squared > 0, product / chord_squared, 0.0)
    # The rest of the offset, less its projection on the chord, and all of it.
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
