"""How much the gradients of single examples scatter about their mean, and how much the loss curves along that scatter.

A step on B examples descends along the mean gradient G plus noise of covariance Sigma / B, where Sigma is the
covariance of the gradients g_i of single examples. The simple noise scale B_simple = tr Sigma / |G|^2 (McCandlish et
al. 2018) is the batch size at which noise and gradient are equally large. With n of the N training examples and their
mean gradient m,

    tr Sigma = sum_i |g_i - m|^2 / (n - 1),     |G|^2 = |m|^2 - (1/n - 1/N) tr Sigma

are unbiased estimates for the training set if the n examples are a random sample of it; with n = N they are exact.
|G|^2 may come out negative if the gradient is lost in the noise; there is no noise scale then.

The interval of B_simple is Student's on the logarithm, with the error of a jackknife that leaves out one of 20 groups
at a time, times sqrt(1 - n/N). How often nominal 95 % intervals covered the truth, in %, in 1,000 samples of gradients
in 50 dimensions from a set so large that n/N is 0; norms are lognormal, and with sigma 1 few examples dominate:

    B_simple / n              0.01   0.1     1
    sigma 0.5, n =   200      94.2  94.9  97.1
    sigma 0.5, n = 2,000      95.0  95.9  97.2
    sigma 1,   n =   200      85.2  86.2  91.1
    sigma 1,   n = 2,000      91.4  93.5  95.7

At B_simple = n, up to 8 in 1,000 samples had no interval. With few examples of very unequal gradients, the intervals
are too short: the largest gradients are not among them.

Curvature: tr(H Sigma) / tr Sigma is the mean curvature along the noise. Divided by tr H / P, that of all P
directions, it is 1 for noise without a preferred direction (Zhu et al. 2019); divided by the top eigenvalue it is 1 for
noise along the sharpest direction alone.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from scipy.special import stdtrit
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from isthmus.core.tensors import Tensors
from isthmus.landscape.hessian.lanczos import SymmetricOperator
from isthmus.models.evaluation import converted, losses

GROUPS = 20
LEVEL = 0.95
BLOCK = 2**24
"""Numbers in a block of gradients: 64 MB in float32."""


@dataclass(frozen=True)
class GradientNoise:
    """Mean and scatter of the gradients of `examples` examples.

    squared_gradient: the estimate of |G|^2, not positive if the gradient is lost in the noise. covariance_trace: tr
    Sigma. low, high: the 95 % interval of the noise scale; both equal it if all training examples were used, and are
    None if it is unknown.
    """

    examples: int
    squared_gradient: float
    covariance_trace: float
    low: float | None
    high: float | None

    @property
    def noise_scale(self) -> float | None:
        """B_simple, in examples; None if the squared gradient is not positive."""
        return self.covariance_trace / self.squared_gradient if self.squared_gradient > 0 else None


def example_gradients(
    network: nn.Module,
    weights: Tensors,
    images: Tensor,
    labels: Tensor,
    loss: str,
    block: int = BLOCK,
    mapped: bool = True,
) -> Iterator[tuple[float, Tensor]]:
    """The summed loss of some examples after others, and the gradient of each by all weights, `[B, P]`.

    network: a stack of one, in `isthmus.models.evaluation.evaluation_mode` at `weights`, by name `[1, ...]`, so that
    batch-norm statistics are constants. images `[N, C, H, W]` and labels `[N]`: on the device. loss: as in
    `isthmus.models.evaluation.losses`. block: how many numbers of gradients to hold at once. mapped: whether examples
    go through the network together, by `torch.vmap`, which not every module of a user's can do; otherwise one by one.
    Gradients have the precision of the weights, in the order of `network.named_parameters()`.

    >>> from isthmus.models.stacked import Linear
    >>> network = nn.Sequential(nn.Flatten(2), Linear(1, 2, 1, bias=False)).eval()
    >>> weights = {"1.weight": torch.zeros(1, 1, 2)}
    >>> images, labels = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 2.0]]]]), torch.tensor([0, 0])
    >>> list(example_gradients(network, weights, images, labels, "squared_error"))  # (w_1 - 1)^2 and (2 w_2 - 1)^2
    [(2.0, tensor([[-2.,  0.],
            [ 0., -4.]]))]
    """
    order = [name for name, _ in network.named_parameters()]
    weights = {name: weights[name].detach() for name in order}

    def along(values: Tensors, image: Tensor, signal: Tensor) -> Tensor:
        outputs: Tensor = functional_call(network, values, (image[None, None],))
        return (outputs[0, 0] * signal).sum()

    together = max(1, block // sum(value.numel() for value in weights.values()))
    images = converted(images, next(iter(weights.values())).dtype)
    for some, their in zip(images.split(together), labels.split(together), strict=True):
        with torch.no_grad():
            outputs = functional_call(network, weights, (some[None],))
        # The derivatives by the outputs are taken of all examples at once, since a loss may not be made for vmap.
        total = losses(outputs.requires_grad_(), their[None], loss)[0] * len(some)
        (signals,) = torch.autograd.grad(total, outputs)
        if mapped:
            with sdpa_kernel(SDPBackend.MATH):  # the only kernel of attention that vmap can batch
                gradients = vmap(grad(along), in_dims=(None, 0, 0))(weights, some, signals[0])
        else:
            each = [grad(along)(weights, *pair) for pair in zip(some, signals[0], strict=True)]
            gradients = {name: torch.stack([one[name] for one in each]) for name in order}
        yield float(total.detach()), torch.cat([gradients[name].flatten(1) for name in order], dim=1)


def gradient_noise(gradients: Iterable[Tensor], training_examples: int) -> GradientNoise:
    """Mean and scatter of the gradients of single examples, given in parts `[B, P]`. Sums are in float64.

    training_examples: N, at least as many as there are gradients; those given count as a random sample of them. Raises
    ValueError without any gradient.

    >>> found = gradient_noise([torch.tensor([[2.0, 1.0], [2.0, -1.0]])], 2)
    >>> found.squared_gradient, found.covariance_trace, found.noise_scale
    (4.0, 2.0, 0.5)
    """
    sums: Tensor | None = None
    squares, counts, seen = torch.zeros(GROUPS, dtype=torch.float64), torch.zeros(GROUPS, dtype=torch.float64), 0
    for part in gradients:
        if sums is None:
            sums = part.new_zeros(GROUPS, part.shape[1], dtype=torch.float64)
        norms = torch.linalg.vector_norm(part, dim=1, dtype=torch.float64).cpu()
        for group in range(GROUPS):  # every twentieth example, since files may be sorted by class
            members = slice((group - seen) % GROUPS, None, GROUPS)
            sums[group] += part[members].sum(0, dtype=torch.float64)
            squares[group] += norms[members].square().sum()
            counts[group] += len(norms[members])
        seen += len(part)
    if sums is None:
        raise ValueError("the noise of gradients needs at least one gradient")
    whole = _moments(sums.sum(0), squares.sum(), counts.sum(), training_examples)
    found = GradientNoise(seen, *whole, None, None)
    if found.noise_scale is None:
        return found
    if seen == training_examples:
        return GradientNoise(seen, *whole, found.noise_scale, found.noise_scale)
    if seen < 2 * GROUPS:
        return found
    logarithms = []
    for kept in range(GROUPS):
        others = torch.arange(GROUPS) != kept
        squared, trace = _moments(sums[others].sum(0), squares[others].sum(), counts[others].sum(), training_examples)
        if min(squared, trace) <= 0:
            return found
        logarithms.append(math.log(trace / squared))
    values = torch.tensor(logarithms, dtype=torch.float64)
    error = float(values.var(correction=0) * (GROUPS - 1) * (1 - seen / training_examples)) ** 0.5
    factor = math.exp(float(stdtrit(GROUPS - 1, (1 + LEVEL) / 2)) * error)
    return GradientNoise(seen, *whole, found.noise_scale / factor, found.noise_scale * factor)


def _moments(total: Tensor, squares: Tensor, count: Tensor, training_examples: int) -> tuple[float, float]:
    """Estimates of |G|^2 and of tr Sigma, from the sum of gradients `[P]`, that of their squared norms, and n."""
    examples, of_mean = float(count), float((total / count).square().sum())
    trace = max(float(squares) - examples * of_mean, 0.0) / max(examples - 1, 1)
    return of_mean - (1 / examples - 1 / training_examples) * trace, trace


def curvature_along_noise(matrix: SymmetricOperator, gradients: Iterable[Tensor]) -> tuple[float, float]:
    """tr(H Sigma) and tr Sigma, for the gradients of single examples, given in parts `[B, P]`.

    matrix: H, which costs one product for each example and one for their mean. Sums are in float64. Raises ValueError
    for fewer than two examples.

    >>> class Diagonal:
    ...     size, dtype, device = 2, torch.float32, torch.device("cpu")
    ...
    ...     def __call__(self, vectors):
    ...         return vectors * torch.tensor([5.0, 3.0])

    >>> curvature_along_noise(Diagonal(), [torch.tensor([[2.0, 1.0], [2.0, -1.0]])])  # scatter along the second alone
    (6.0, 2.0)
    """
    total = torch.zeros(matrix.size, dtype=torch.float64, device=matrix.device)
    squares, curved, count = 0.0, 0.0, 0
    for part in gradients:
        exact = part.double()
        total += exact.sum(0)
        squares += float(exact.square().sum())
        curved += float((exact * matrix(part)).sum())
        count += len(part)
    if count < 2:
        raise ValueError(f"the covariance of {count} gradients was asked for; give two or more")
    mean = total / count
    curved -= count * float((mean * matrix(mean.to(matrix.dtype)[None])[0]).sum())
    return curved / (count - 1), (squares - count * float(mean.square().sum())) / (count - 1)
