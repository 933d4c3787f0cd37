"""Operators whose spectra are known, and spectra on which intervals for the trace and the squared norm are tried."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass
class Matrix:
    """A dense matrix as an operator."""

    matrix: Tensor

    def __post_init__(self) -> None:
        self.size, self.dtype, self.device = len(self.matrix), self.matrix.dtype, self.matrix.device

    def __call__(self, vectors: Tensor) -> Tensor:
        return vectors @ self.matrix


def with_spectrum(values: np.ndarray, seed: int = 0, dtype: torch.dtype = torch.float64) -> Matrix:
    """A matrix with these eigenvalues and random eigenvectors."""
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    return Matrix(torch.from_numpy(basis * values @ basis.T).to(dtype))


@dataclass
class Diagonal:
    """A diagonal matrix as an operator. What starts from rotationally invariant vectors sees its eigenvalues alone."""

    spectrum: np.ndarray

    def __post_init__(self) -> None:
        self.values = torch.from_numpy(self.spectrum)
        self.size, self.dtype, self.device = len(self.spectrum), self.values.dtype, self.values.device

    def __call__(self, vectors: Tensor) -> Tensor:
        return vectors * self.values


def _some(random: np.random.Generator, most: int) -> int:
    return int(random.integers(1, most + 1))


def _spiked(random: np.random.Generator, size: int) -> np.ndarray:
    spikes = random.uniform(5, 100) * random.uniform(0.5, 1, _some(random, 12))
    return np.concatenate([spikes, random.standard_normal(size - len(spikes))])


def _degenerate(random: np.random.Generator, size: int) -> np.ndarray:
    """Copies of one large eigenvalue: a Krylov space holds but one of them."""
    copies = 1 + _some(random, 6)
    return np.concatenate([np.full(copies, random.uniform(20, 100)), random.standard_normal(size - copies)])


def _two_ends(random: np.random.Generator, size: int) -> np.ndarray:
    """Spikes of either sign."""
    spikes = random.uniform(5, 50, 2 * _some(random, 5)) * random.choice([-1, 1])
    spikes[::2] *= -1
    return np.concatenate([spikes, random.standard_normal(size - len(spikes))])


def _power_law(random: np.random.Generator, size: int) -> np.ndarray:
    return np.arange(1.0, size + 1) ** -random.uniform(0.3, 3)


def _geometric(random: np.random.Generator, size: int) -> np.ndarray:
    return random.uniform(0.4, 0.97) ** np.arange(size)


def _low_rank(random: np.random.Generator, size: int) -> np.ndarray:
    """Of low rank; half of them projections, the rest with different eigenvalues."""
    kept = np.full(rank := 1 + _some(random, 20), 3.0)
    kept = kept if random.random() < 0.5 else kept * random.lognormal(0, 1, rank)
    return np.concatenate([kept, np.zeros(size - rank)])


def _flat(random: np.random.Generator, size: int) -> np.ndarray:
    return 1 + random.uniform(0, 1) * np.linspace(-1, 1, size)


def _indefinite(random: np.random.Generator, size: int) -> np.ndarray:
    return random.standard_normal(size) + random.uniform(-0.3, 0.3)


def _cancelling(random: np.random.Generator, size: int) -> np.ndarray:
    """A trace that is next to nothing beside the eigenvalues."""
    half = np.arange(1.0, size // 2 + 1) ** -random.uniform(0.3, 1.5)
    return np.concatenate([half, -half * random.uniform(0.98, 1.02)])


def _like_a_hessian(random: np.random.Generator, size: int) -> np.ndarray:
    """Some outliers, a positive bulk that falls steeply, and a small negative part."""
    outliers = random.lognormal(1, 0.8, 4 + _some(random, 8))
    negative = -0.1 * random.exponential(1, size // 5) ** 2
    bulk = 2 * np.arange(1.0, size - len(outliers) - len(negative) + 1) ** -random.uniform(0.7, 1.5)
    return np.concatenate([outliers, bulk, negative])


FAMILIES = {
    "spiked": _spiked,
    "degenerate": _degenerate,
    "two ends": _two_ends,
    "power law": _power_law,
    "geometric": _geometric,
    "low rank": _low_rank,
    "flat": _flat,
    "indefinite": _indefinite,
    "cancelling": _cancelling,
    "like a Hessian": _like_a_hessian,
}


def spectra(each: int = 20) -> list[tuple[str, np.ndarray]]:
    """`each` random spectra of every family, with its name, of 100 to 400 eigenvalues: always the same ones."""
    random = np.random.default_rng(20)
    return [
        (name, make(random, 2 * int(random.integers(50, 201)))) for name, make in FAMILIES.items() for _ in range(each)
    ]
