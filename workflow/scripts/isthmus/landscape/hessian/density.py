"""The spectral density of a symmetric matrix, from its products with vectors alone.

It comes from stochastic Lanczos quadrature (Ubaru et al. 2017, Ghorbani et al. 2019).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.landscape.hessian.lanczos import SymmetricOperator, check_finite


def _signs(count: int, operator: SymmetricOperator, generator: np.random.Generator) -> Tensor:
    """Random signs, +-1, `[count, P]`."""
    drawn = torch.from_numpy(generator.integers(0, 2, (count, operator.size), dtype=np.int8) * 2 - 1)
    return drawn.to(operator.device, operator.dtype)


@dataclass(frozen=True, eq=False)
class Density:
    """A spectral density as Gauss quadratures: `nodes` and `weights` `[probes, steps]`, float64.

    The weights of a probe sum to 1; the mean over probes estimates the density of eigenvalues, with total mass 1.
    """

    nodes: np.ndarray
    weights: np.ndarray

    def moments(self, power: int) -> np.ndarray:
        """For each probe, an estimate of trace(H^power) / P: `[probes]`. Exact quadrature up to 2 steps - 1."""
        return (self.weights * self.nodes**power).sum(1)

    def smoothed(self, grid: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation over probes of the density at `grid` `[G]`; nodes are Gaussians of deviation `width`."""
        bells = np.exp(-0.5 * ((grid[None, :, None] - self.nodes[:, None, :]) / width) ** 2)
        each = (bells * self.weights[:, None, :]).sum(-1) / (width * np.sqrt(2 * np.pi))
        return each.mean(0), each.std(0, ddof=1) if len(each) > 1 else np.full(len(grid), np.nan)


def density(operator: SymmetricOperator, generator: np.random.Generator, probes: int = 5, steps: int = 60) -> Density:
    """The spectral density by Lanczos quadrature from `probes` random sign vectors, `steps` products each.

    Full re-orthogonalization prevents ghost copies of converged eigenvalues. Memory: `probes * steps * P` numbers.
    Raises ValueError for no probes or steps, and UserError if a product is not finite.

    >>> class Diagonal:
    ...     size, dtype, device = 4, torch.float64, torch.device("cpu")
    ...
    ...     def __call__(self, vectors):
    ...         return vectors * torch.tensor([5.0, 3.0, 1.0, -2.0], dtype=torch.float64)

    >>> found = density(Diagonal(), np.random.default_rng(0), probes=1, steps=4)
    >>> found.moments(1).round(6)  # the mean of the eigenvalues
    array([1.75])
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
        check_finite(alphas)
        matrices[:, step, step] = alphas
        for _ in range(2):
            earlier = basis[:, : step + 1]
            images = images - (earlier.mT @ (earlier @ images[..., None])).squeeze(-1)
        betas = images.norm(dim=1).double().cpu().numpy()
        scale = np.maximum(scale, np.abs(alphas) + betas)
        # After an exhausted Krylov space, everything is zero and uncoupled, and so has no weight.
        betas[betas <= 8 * torch.finfo(operator.dtype).eps * scale] = 0
        if step + 1 < steps:
            matrices[:, step, step + 1] = matrices[:, step + 1, step] = betas
            inverse = np.divide(1, betas, out=np.zeros_like(betas), where=betas > 0)
            vectors = images * torch.from_numpy(inverse).to(images.device, images.dtype)[:, None]
    nodes, rotations = np.linalg.eigh(matrices)
    return Density(nodes, rotations[:, 0] ** 2)
