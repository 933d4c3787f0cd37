"""The largest or smallest eigenvalues of a symmetric matrix, from its products with vectors alone.

They come from the Lanczos method with full reorthogonalization and thick restarts (Wu & Simon 2000), which are
equivalent to ARPACK's implicit restarts for symmetric matrices. It stops at the first product that reaches the
tolerance, while `scipy.sparse.linalg.eigsh` checks only once per restart. It also looks for copies of degenerate
eigenvalues, which one Krylov space cannot hold.

Trace and squared Frobenius norm are in `isthmus.landscape.hessian.trace`, which starts from the space that a search
leaves, and the spectral density is in `isthmus.landscape.hessian.density`.

An operator maps vectors `[K, P]` to their products `[K, P]` and has a `size` P, a `dtype` and a `device`
(`isthmus.landscape.hessian.operator.CurvatureOperator`). Random vectors are drawn with NumPy on the CPU, the same for
every device.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from isthmus.core.errors import UserError

Found = tuple[np.ndarray, np.ndarray, Tensor]  # eigenvalues, residuals and vectors
# Products after which a search for copies may give up: enough to find copies of outlying eigenvalues.
PATIENCE = 7
RANDOM_SHARE = 0.1  # of the first vector, where one is given: it lies in no subspace that does not change under H


class SymmetricOperator(Protocol):
    """A symmetric matrix `[size, size]`, given as a function that multiplies it with vectors."""

    size: int
    dtype: torch.dtype
    device: torch.device

    def __call__(self, vectors: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class KrylovSpace:
    """A subspace on which the matrix H is known.

    basis: orthonormal rows `[m, P]`, the transpose of Q; projected: T `[m, m]`, float64. Up to rounding,
    H Q = Q T + R with a remainder R orthogonal to Q; leaving: the Frobenius norm of R.
    """

    basis: Tensor
    projected: np.ndarray
    leaving: float

    @classmethod
    def empty(cls, operator: SymmetricOperator) -> "KrylovSpace":
        """The zero-dimensional space."""
        return cls(torch.empty(0, operator.size, dtype=operator.dtype, device=operator.device), np.empty((0, 0)), 0.0)

    @property
    def trace(self) -> float:
        """The trace of H within the space."""
        return float(np.trace(self.projected))

    @property
    def squared_frobenius(self) -> float:
        """The squared Frobenius norm of H without its block on the complement."""
        return float(np.square(self.projected).sum() + 2 * self.leaving**2)


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenvalues from the end of the spectrum inwards: arrays `[k]`, float64, and unit vectors `[k, P]`.

    `residuals`: |Hv - lambda v|, known up to rounding from the last product; `converged`: whether within the tolerance;
    `products`: how many were taken in all; `space`: from the first search, with the outermost eigenvalues.
    """

    values: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    vectors: Tensor = field(repr=False)
    products: int
    space: KrylovSpace = field(repr=False)


def eigenvalues(
    operator: SymmetricOperator,
    count: int,
    generator: np.random.Generator,
    which: str = "largest",
    tolerance: float = 1e-3,
    maximum_products: int = 1000,
    basis_size: int | None = None,
    look_for_copies: bool = True,
    start: Tensor | None = None,
) -> Eigenpairs:
    """The `count` algebraically `largest` (in falling order) or `smallest` (in rising order) eigenvalues.

    An eigenvalue has converged when |Hv - lambda v| <= max(tolerance * |lambda|, 64 * epsilon * |H|), with the machine
    epsilon of the operator's precision. basis_size: the most vectors held, by default max(40, 2 count + 20).
    look_for_copies: whether, for a `count` above 1, to search again in the complement of the vectors found, until there
    are no further eigenvalues; otherwise, a degenerate eigenvalue may be counted only once. start: a vector `[P]` that
    may lie close to the eigenvectors sought, such as the gradient, in the place of a random one; for the Hessians of
    small MLPs it saves about a tenth of the products.

    Raises ValueError for a `count` outside 1 .. P or another `which`, and UserError if a product is not finite.

    >>> class Diagonal:
    ...     size, dtype, device = 4, torch.float64, torch.device("cpu")
    ...
    ...     def __call__(self, vectors):
    ...         return vectors * torch.tensor([5.0, 3.0, 1.0, -2.0], dtype=torch.float64)

    >>> eigenvalues(Diagonal(), 2, np.random.default_rng(0)).values.round(6)
    array([5., 3.])
    """
    if which not in ("largest", "smallest"):
        raise ValueError(f"`which` is {which!r}; it must be 'largest' or 'smallest'")
    if not 1 <= count <= operator.size:
        raise ValueError(f"{count} eigenvalues asked for, but the matrix has {operator.size}")
    basis_size = min(basis_size or max(40, 2 * count + 20), operator.size)
    if basis_size < min(count + 2, operator.size):
        raise ValueError(f"a basis of {basis_size} is too small for {count} eigenvalues: give at least {count + 2}")
    search = _Search(operator, 1.0 if which == "largest" else -1.0, generator, tolerance, maximum_products)
    nothing = torch.empty(0, operator.size, dtype=operator.dtype, device=operator.device)
    (found, residuals, vectors), copies = search.run(count, basis_size, nothing, start=start), False
    space = search.space
    while look_for_copies and count > 1 and len(vectors) < operator.size and search.products < maximum_products:
        # In the complement, only eigenvalues above the last one kept matter.
        floor = (least := np.sort(found)[-count]) + search.accuracy(least)
        more, _, others = search.run(1, min(basis_size, operator.size - len(vectors)), vectors, floor)
        if more[0] <= floor:
            break
        found, vectors, copies = np.append(found, more), torch.cat([vectors, others]), True
    order = np.argsort(-found)[:count]
    vectors = vectors[torch.from_numpy(order).to(vectors.device)]
    # Separate searches do not know the couplings between their vectors, so the residuals need new products.
    values, residuals = search.measured(vectors) if copies else (search.sign * found[order], residuals)
    converged = residuals <= [search.accuracy(value) for value in values]
    return Eigenpairs(values, residuals, converged, vectors, search.products, space)


class _Search:
    """Thick-restart Lanczos runs for the largest eigenvalues of `sign` * operator, which share a count of products."""

    def __init__(
        self, operator: SymmetricOperator, sign: float, generator: np.random.Generator, tolerance: float, limit: int
    ) -> None:
        self.operator, self.sign, self.generator = operator, sign, generator
        self.tolerance, self.limit = tolerance, limit
        self.products, self.norm, self.epsilon = 0, 0.0, torch.finfo(operator.dtype).eps
        self.space = KrylovSpace.empty(operator)

    def accuracy(self, value: float) -> float:
        """The residual at which an eigenvalue has converged."""
        return max(self.tolerance * abs(value), 64 * self.epsilon * self.norm)

    def run(self, count: int, size: int, locked: Tensor, floor: float = -np.inf, start: Tensor | None = None) -> Found:
        """The `count` largest eigenvalues, their residuals and vectors, in the complement of `locked` `[L, P]`.

        Ends early, with what it has, once the largest is known to lie below `floor`, or no products are left.
        """
        basis = torch.empty(size + 1, self.operator.size, dtype=self.operator.dtype, device=self.operator.device)
        basis[0] = self._fresh(locked)
        if start is not None and 0 < (length := float(start.norm())) < np.inf:
            first = start.to(basis) / length + RANDOM_SHARE * basis[0]
            basis[0] = first / first.norm()
        projected, held = np.zeros((size, size)), 0
        while True:
            image, self.products = self.sign * self.operator(basis[held : held + 1])[0], self.products + 1
            column, remainder = _orthogonalize(image, basis[: held + 1])
            remainder = _orthogonalize(remainder, locked)[1]
            beta = float(remainder.norm())
            check_finite(beta)
            projected[held, : held + 1] = projected[: held + 1, held] = column
            held += 1
            values, rotations = np.linalg.eigh(projected[:held, :held])
            self.norm = max(self.norm, float(np.abs(values).max()))
            beta *= beta > 8 * self.epsilon * self.norm  # zero where the Krylov space is exhausted
            residuals = beta * np.abs(rotations[-1])
            top = slice(held - min(count, held), held)
            settled = held >= count and all(residuals[top] <= [0.9 * self.accuracy(value) for value in values[top]])
            hopeless = held >= min(PATIENCE, size) and values[-1] + residuals[-1] < floor
            if settled or hopeless or self.products >= self.limit:
                self.space = KrylovSpace(basis[:held], self.sign * projected[:held, :held], beta)
                remaining = np.maximum(residuals, self.epsilon * self.norm)[top][::-1]
                return values[top][::-1].copy(), remaining, _rotate(basis[:held], rotations[:, top][:, ::-1])
            if held == size:
                held = self._restart(basis, projected, values, rotations, count)
            basis[held] = remainder / beta if beta else self._fresh(torch.cat([locked, basis[:held]]))

    def measured(self, vectors: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and residuals of vectors `[k, P]`, from one product each."""
        images, self.products = self.operator(vectors).double(), self.products + len(vectors)
        values = (vectors * images).sum(1) / vectors.double().square().sum(1)
        return values.cpu().numpy(), (images - values[:, None] * vectors).norm(dim=1).cpu().numpy()

    def _restart(self, basis: Tensor, projected: np.ndarray, values: np.ndarray, turn: np.ndarray, count: int) -> int:
        """Keep only the best Ritz vectors, in place, and return their number. The next product adds their couplings."""
        size, kept = len(values), min(len(values) - 1, count + (len(values) - count) // 2)
        basis[:kept] = _rotate(basis[:size], turn[:, size - kept :])
        projected[:] = np.diag(np.append(values[size - kept :], np.zeros(size - kept)))
        return kept

    def _fresh(self, others: Tensor) -> Tensor:
        """A random unit vector orthogonal to the rows of `others`."""
        drawn = torch.from_numpy(self.generator.standard_normal(self.operator.size))
        vector = _orthogonalize(drawn.to(others.device, others.dtype), others)[1]
        return vector / vector.norm()


def _orthogonalize(vector: Tensor, basis: Tensor) -> tuple[np.ndarray, Tensor]:
    """Coefficients along the orthonormal rows of `basis`, float64, and the remainder; two passes suffice (Parlett)."""
    first = basis @ vector
    vector = vector - basis.mT @ first
    second = basis @ vector
    return (first.double() + second.double()).cpu().numpy(), vector - basis.mT @ second


def orthogonal(vectors: Tensor, basis: Tensor) -> Tensor:
    """Vectors `[K, P]` without their parts along the orthonormal rows of `basis` `[m, P]`.

    >>> orthogonal(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([[0., 4.]])
    """
    for _ in range(2):
        vectors = vectors - (vectors @ basis.mT) @ basis
    return vectors


def _rotate(basis: Tensor, rotation: np.ndarray) -> Tensor:
    """The combinations of the rows of `basis` `[m, P]` given by the columns of `rotation` `[m, k]`."""
    return torch.from_numpy(rotation.T.copy()).to(basis.device, basis.dtype) @ basis


def check_finite(numbers: float | np.ndarray) -> None:
    """Raise UserError if a number computed from products is not finite.

    >>> check_finite(np.array([1.0, 2.0]))
    """
    if not np.isfinite(numbers).all():
        raise UserError("a product with the matrix is not finite; leave out networks that diverged")
