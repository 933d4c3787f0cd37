"""The ascent step of sharpness-aware training: from the weights to the worst ones nearby, to first order.

Sharpness-aware minimization (SAM; Foret et al. 2021) descends along the gradient taken at w + e in place of w, with
e = rho g / |g| and g the gradient of the loss of the same batch at w: the steepest way to the surface of a ball of
radius rho. Adaptive SAM (ASAM; Kwon et al. 2021) takes the ball |T^-1 e| <= rho with T = diag(|w| + eta), and with it
e = rho T^2 g / |T g|: for eta = 0 the loss at w + e is the same for all scalings of weights and filters that leave
the function of the network as it is. Norms are those of all parameters of one network together, and networks of a
stack have each its own. `isthmus.landscape.perturbations` measures trained networks by the same step.

Kwon et al. leave biases unscaled in their code (T = 1); here T holds for all parameters, as in their definition and
as in `isthmus.landscape.perturbations`: otherwise scalings of layers with biases would show.

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
    """The weights w + e, by name `[S, ...]`, as leaves that can be differentiated by; `weights` stay as they are.

    gradients: of each network's own loss, `[S, ...]`, in the order of the weights. radius: rho, in the unit of the
    weights, or relative where `eta` is given. Where all of a network's gradient is zero, and so wherever a single
    entry is (a pruned weight), nothing moves.
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
    """Euclidean norms, a network's tensors taken together: `[S]`, float64, from tensors `[S, ...]`."""
    parts = [torch.linalg.vector_norm(each, dim=tuple(range(1, each.dim())), dtype=torch.float64) for each in vectors]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)
