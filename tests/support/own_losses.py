"""Losses as users write them, and some that the library has to refuse."""

import random

import torch
import torch.nn.functional as F
from torch import Tensor


def pseudo_huber(outputs: Tensor, targets: Tensor) -> Tensor:
    """Quadratic near the target and linear far from it, summed over the outputs (Charbonnier et al. 1997)."""
    return ((1 + (outputs - targets).square()).sqrt() - 1).sum(1)


def focal(outputs: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy, weighted down where the right class is likely (Lin et al. 2017, with gamma 2)."""
    losses = F.cross_entropy(outputs, labels, reduction="none")
    return (1 - (-losses).exp()).square() * losses


def linear(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss without curvature."""
    return (outputs * targets).sum(1)


def averaged(outputs: Tensor, targets: Tensor) -> Tensor:
    return pseudo_huber(outputs, targets).mean()


def standardized(outputs: Tensor, targets: Tensor) -> Tensor:
    return pseudo_huber(outputs - outputs.mean(0), targets)


def detached(outputs: Tensor, targets: Tensor) -> Tensor:
    return pseudo_huber(outputs.detach(), targets)


def rooted(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - outputs.detach()).square().sum(1).sqrt()


def noisy(outputs: Tensor, targets: Tensor) -> Tensor:
    return random.random() * pseudo_huber(outputs, targets)


def single(outputs: Tensor, targets: Tensor) -> Tensor:
    return pseudo_huber(outputs, targets).to(torch.float32)


def listed(outputs: Tensor, targets: Tensor) -> list[float]:
    return pseudo_huber(outputs, targets).tolist()


def broken(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs @ targets
