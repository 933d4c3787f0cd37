"""The ascent step of sharpness-aware training: from the weights to the worst ones nearby, to first order.

Sharpness-aware minimization (SAM; Foret et al. 2021) descends along the gradient at w + e instead of w. Here
e = rho g / |g|, with g the gradient of the same batch's loss at w, is the steepest way to the surface of a ball of
radius rho. Adaptive SAM (ASAM; Kwon et al. 2021) uses the ball |T^-1 e| <= rho with T = diag(|w| + eta), and hence
e = rho T^2 g / |T g|. With eta = 0, scalings of weights and filters that preserve the network's function preserve the
loss at w + e, too. A norm is over all parameters of one network; each network of a stack has its own.
`isthmus.landscape.perturbations` measures trained networks with the same step.

The code of Kwon et al. leaves biases unscaled (T = 1). Here T covers all parameters, as in their definition and in
`isthmus.landscape.perturbations`; otherwise scaling a layer with biases would change the result.

    worst = ascended(weights, gradients, radius=0.05, eta=None)    # None is SAM, a number ASAM
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from isthmus.core.tensors import Tensors


def coordinates(weight: Tensor, eta: float) -> Tensor:
    """The diagonal of T, |w| + eta, in the shape of the weights."""
    return weight.abs() + eta


def ascended(
    weights: Mapping[str, Tensor], gradients: Sequence[Tensor], radius: float, eta: float | None = None
) -> Tensors:
    """The weights w + e, by name `[S, ...]`, as leaves that require gradients; `weights` do not change.

    gradients: of each network's own loss, `[S, ...]`, in the order of the weights. radius: rho, in the unit of the
    weights, or relative if `eta` is given. Zero gradients, of a whole network or of single (pruned) weights, cause no
    movement.
    """
    with torch.no_grad():
        scales = [None if eta is None else coordinates(weight, eta) for weight in weights.values()]
        slopes = [gradient if t is None else t * gradient for gradient, t in zip(gradients, scales, strict=True)]
        norms = _norms(slopes)
        length = torch.where(norms > 0, radius / norms, 0)
        found = {}
        for (name, weight), slope, scale in zip(weights.items(), slopes, scales, strict=True):
            step = slope if scale is None else scale * slope
            own = length.to(weight.dtype).view(-1, *[1] * (weight.dim() - 1))
            found[name] = torch.addcmul(weight, step, own)
    return {name: value.requires_grad_() for name, value in found.items()}


def _norms(vectors: Sequence[Tensor]) -> Tensor:
    """Euclidean norms over all tensors of each network: `[S]`, float64, from tensors `[S, ...]`."""
    parts = [torch.linalg.vector_norm(each, dim=tuple(range(1, each.dim())), dtype=torch.float64) for each in vectors]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)
