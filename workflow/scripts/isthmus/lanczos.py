"""Eigenvalues, trace and spectral density of a symmetric matrix that is known by its products with vectors alone.

* `eigenvalues`: the algebraically largest or smallest, by Lanczos' method with full re-orthogonalization and thick
  restarts (Wu & Simon 2000), which is what ARPACK's implicit restarts amount to for symmetric matrices. It stops at
  the very product that reaches the tolerance, where `scipy.sparse.linalg.eigsh` looks only once per restart, and it
  looks for copies of degenerate eigenvalues, which one Krylov space cannot hold.
* `trace`: Hutch++ (Meyer et al. 2021). The trace within a subspace is exact, and that of the remainder is estimated
  by random signs (Hutchinson 1990) until its standard error is small enough; the squared Frobenius norm comes along.
* `density`: stochastic Lanczos quadrature (Ubaru et al. 2017, Ghorbani et al. 2019).

An operator maps vectors `[K, P]` to their products `[K, P]` and has a `size` P, a `dtype` and a `device`
(`isthmus.operators.CurvatureOperator`). Vectors are drawn with NumPy on the CPU, the same for every device.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import UserError

Found = tuple[np.ndarray, np.ndarray, Tensor]  # eigenvalues, residuals and vectors
# Products after which a search for copies may give up: enough for those of eigenvalues that stand out at all.
PATIENCE = 7


class SymmetricOperator(Protocol):
    """A symmetric matrix `[size, size]`, known by its products."""

    size: int
    dtype: torch.dtype
    device: torch.device

    def __call__(self, vectors: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenvalues from the end of the spectrum inwards: arrays `[k]`, float64, and unit vectors `[k, P]`.

    `residuals`: |Hv - lambda v|, known to rounding from the last product; `converged`: whether within the tolerance.
    `products` were taken in all.
    """

    values: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    vectors: Tensor
    products: int


def eigenvalues(
    operator: SymmetricOperator,
    count: int,
    generator: np.random.Generator,
    which: str = "largest",
    tolerance: float = 1e-3,
    maximum_products: int = 1000,
    basis_size: int | None = None,
    look_for_copies: bool = True,
) -> Eigenpairs:
    """The `count` algebraically `largest` (in falling order) or `smallest` (in rising order) eigenvalues.

    An eigenvalue has converged when |Hv - lambda v| <= max(tolerance * |lambda|, 64 * epsilon * |H|), epsilon being
    that of the operator's precision. basis_size: vectors held at most, by default max(40, 2 count + 20).
    look_for_copies: whether, for a `count` above 1, a search then begins anew in the complement of what was found,
    until it brings up no further eigenvalue; without it, a degenerate eigenvalue may be counted once.

    Raises ValueError for a `count` outside 1 .. P or another `which`, and UserError where a product is not finite.
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
    (found, residuals, vectors), copies = search.run(count, basis_size, nothing), False
    while look_for_copies and count > 1 and len(vectors) < operator.size and search.products < maximum_products:
        # What is left over is of interest only above the last eigenvalue kept.
        floor = (least := np.sort(found)[-count]) + search.accuracy(least)
        more, _, others = search.run(1, min(basis_size, operator.size - len(vectors)), vectors, floor)
        if more[0] <= floor:
            break
        found, vectors, copies = np.append(found, more), torch.cat([vectors, others]), True
    order = np.argsort(-found)[:count]
    vectors = vectors[torch.from_numpy(order).to(vectors.device)]
    # Several searches know nothing of the couplings between what they found: only products tell the residuals then.
    values, residuals = search.measured(vectors) if copies else (search.sign * found[order], residuals)
    converged = residuals <= [search.accuracy(value) for value in values]
    return Eigenpairs(values, residuals, converged, vectors, search.products)


class _Search:
    """Thick-restart Lanczos runs for the largest eigenvalues of `sign` * operator, which share a count of products."""

    def __init__(
        self, operator: SymmetricOperator, sign: float, generator: np.random.Generator, tolerance: float, limit: int
    ) -> None:
        self.operator, self.sign, self.generator = operator, sign, generator
        self.tolerance, self.limit = tolerance, limit
        self.products, self.norm, self.epsilon = 0, 0.0, torch.finfo(operator.dtype).eps

    def accuracy(self, value: float) -> float:
        """The residual at which an eigenvalue has converged."""
        return max(self.tolerance * abs(value), 64 * self.epsilon * self.norm)

    def run(self, count: int, size: int, locked: Tensor, floor: float = -np.inf) -> Found:
        """The `count` largest eigenvalues, their residuals and vectors, in the complement of `locked` `[L, P]`.

        Ends early, with what it has, when the largest is found to lie below `floor`, or no product is left.
        """
        basis = torch.empty(size + 1, self.operator.size, dtype=self.operator.dtype, device=self.operator.device)
        basis[0] = self._fresh(locked)
        projected, held = np.zeros((size, size)), 0
        while True:
            image, self.products = self.sign * self.operator(basis[held : held + 1])[0], self.products + 1
            column, remainder = _orthogonalize(image, basis[: held + 1])
            remainder = _orthogonalize(remainder, locked)[1]
            beta = float(remainder.norm())
            _check_finite(beta)
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
                remaining = np.maximum(residuals, self.epsilon * self.norm)[top][::-1]
                return values[top][::-1].copy(), remaining, _rotate(basis[:held], rotations[:, top][:, ::-1])
            if held == size:
                held = self._restart(basis, projected, values, rotations, count)
            basis[held] = remainder / beta if beta else self._fresh(torch.cat([locked, basis[:held]]))

    def measured(self, vectors: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and residuals of vectors `[k, P]`, by a product for each."""
        images, self.products = self.operator(vectors).double(), self.products + len(vectors)
        values = (vectors * images).sum(1) / vectors.double().square().sum(1)
        return values.cpu().numpy(), (images - values[:, None] * vectors).norm(dim=1).cpu().numpy()

    def _restart(self, basis: Tensor, projected: np.ndarray, values: np.ndarray, turn: np.ndarray, count: int) -> int:
        """Keep the best Ritz vectors alone, in place; their number. The next product brings in their couplings."""
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
    """Coefficients along the orthonormal rows of `basis`, float64, and the remainder; twice is enough (Parlett)."""
    first = basis @ vector
    vector = vector - basis.mT @ first
    second = basis @ vector
    return (first.double() + second.double()).cpu().numpy(), vector - basis.mT @ second


def _rotate(basis: Tensor, rotation: np.ndarray) -> Tensor:
    """The combinations of the rows of `basis` `[m, P]` given by the columns of `rotation` `[m, k]`."""
    return torch.from_numpy(rotation.T.copy()).to(basis.device, basis.dtype) @ basis


@dataclass(frozen=True)
class Trace:
    """Trace and squared Frobenius norm, each with its standard error over `probes` random vectors.

    `converged`: whether that of the trace is within the precision. `products` were taken in all.
    """

    value: float
    standard_error: float
    squared_frobenius: float
    squared_frobenius_error: float
    probes: int
    products: int
    converged: bool


def trace(
    operator: SymmetricOperator,
    generator: np.random.Generator,
    precision: float = 0.05,
    sketch: int = 8,
    basis: Tensor | None = None,
    least_probes: int = 10,
    maximum_products: int = 1000,
) -> Trace:
    """The trace until its standard error is at most `precision` * |trace|, by Hutch++.

    The exact part is that within the span of `basis` `[k, P]`, linearly independent rows such as known eigenvectors,
    or by default of the images of `sketch` random vectors. `least_probes` random vectors are used, then five more at
    a time. value +- t standard_error is an interval, t being Student's with `probes` - 1 degrees of freedom.

    Raises ValueError for fewer than two probes, and UserError where a product is not finite.
    """
    if least_probes < 2:
        raise ValueError(f"least_probes is {least_probes}; it must be at least 2")
    products = 0
    if basis is None:
        products = min(sketch, operator.size)
        basis = operator(_signs(products, operator, generator))
    basis = torch.linalg.qr(basis.mT).Q.mT.contiguous()  # orthonormal even where the rank is low
    images, products = operator(basis), products + len(basis)
    exact, exact_square = float((basis * images).sum(dtype=torch.float64)), float(images.double().square().sum())
    traces, squares, wanted = np.empty(0), np.empty(0), least_probes
    while True:
        probes = _signs(wanted, operator, generator)
        probes = probes - (probes @ basis.mT) @ basis
        images, products = operator(probes), products + wanted
        traces = np.append(traces, (probes * images).sum(1, dtype=torch.float64).cpu().numpy())
        squares = np.append(squares, images.double().square().sum(1).cpu().numpy())
        value, error = exact + float(traces.mean()), _standard_error(traces)
        _check_finite(value)
        converged = bool(error <= precision * abs(value))
        wanted = min(5, maximum_products - products)
        if converged or wanted <= 0:
            square, square_error = exact_square + float(squares.mean()), _standard_error(squares)
            return Trace(value, error, square, square_error, len(traces), products, converged)


def _standard_error(samples: np.ndarray) -> float:
    return float(samples.std(ddof=1) / np.sqrt(len(samples)))


def _check_finite(numbers: float | np.ndarray) -> None:
    if not np.isfinite(numbers).all():
        raise UserError("a product with the matrix is not finite; leave out networks that diverged")


def _signs(count: int, operator: SymmetricOperator, generator: np.random.Generator) -> Tensor:
    """Random signs, +-1, `[count, P]`."""
    drawn = torch.from_numpy(generator.integers(0, 2, (count, operator.size), dtype=np.int8) * 2 - 1)
    return drawn.to(operator.device, operator.dtype)


@dataclass(frozen=True, eq=False)
class Density:
    """A spectral density as Gauss quadratures: `nodes` and `weights` `[probes, steps]`, float64.

    The weights of a probe sum to 1; the mean over probes estimates the density of eigenvalues, of total mass 1.
    """

    nodes: np.ndarray
    weights: np.ndarray

    def moments(self, power: int) -> np.ndarray:
        """For each probe, an estimate of trace(H^power) / P: `[probes]`. The quadrature is exact to 2 steps - 1."""
        return (self.weights * self.nodes**power).sum(1)

    def smoothed(self, grid: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation over probes of the density at `grid` `[G]`, nodes being Gaussians of deviation `width`."""
        bells = np.exp(-0.5 * ((grid[None, :, None] - self.nodes[:, None, :]) / width) ** 2)
        each = (bells * self.weights[:, None, :]).sum(-1) / (width * np.sqrt(2 * np.pi))
        return each.mean(0), each.std(0, ddof=1) if len(each) > 1 else np.full(len(grid), np.nan)


def density(operator: SymmetricOperator, generator: np.random.Generator, probes: int = 5, steps: int = 60) -> Density:
    """The spectral density by Lanczos quadrature from `probes` random sign vectors, `steps` products each.

    Full re-orthogonalization keeps out ghosts of converged eigenvalues. Memory: `probes * steps * P` numbers.
    Raises ValueError for no probes or steps, and UserError where a product is not finite.
    """
    if min(probes, steps) < 1:
        raise ValueError(f"{probes} probes of {steps} steps asked for; give at least one of both")
    steps, vectors = min(steps, operator.size), _signs(probes, operator, generator) / operator.size**0.5
    basis = torch.zeros(probes, steps, operator.size, dtype=operator.dtype, device=operator.device)
    matrices, scale = np.zeros((probes, steps, steps)), np.zeros(probes)
    for step in range(steps):
        basis[:, step] = vectors
        images = operator(vectors)
        alphas = (vectors * images).sum(1, dtype=torch.float64).cpu().numpy()
        _check_finite(alphas)
        matrices[:, step, step] = alphas
        for _ in range(2):
            known = basis[:, : step + 1]
            images = images - (known.mT @ (known @ images[..., None])).squeeze(-1)
        betas = images.norm(dim=1).double().cpu().numpy()
        scale = np.maximum(scale, np.abs(alphas) + betas)
        # An exhausted Krylov space: what follows is zero, uncoupled, and so of no weight.
        betas[betas <= 8 * torch.finfo(operator.dtype).eps * scale] = 0
        if step + 1 < steps:
            matrices[:, step, step + 1] = matrices[:, step + 1, step] = betas
            inverse = np.divide(1, betas, out=np.zeros_like(betas), where=betas > 0)
            vectors = images * torch.from_numpy(inverse).to(images.device, images.dtype)[:, None]
    nodes, rotations = np.linalg.eigh(matrices)
    return Density(nodes, rotations[:, 0] ** 2)
