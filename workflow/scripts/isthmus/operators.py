"""The Hessian and the Gauss-Newton matrix of a network's mean loss, as products with vectors.

Neither matrix is ever formed, except by `dense` for small networks. With the loss L(w) = 1/N sum_n l(f(x_n; w), y_n):

* Hessian `H = d^2 L / dw^2`. A product is the forward-mode derivative of the reverse-mode gradient (Pearlmutter 1994);
* Gauss-Newton matrix `G = 1/N sum_n J_n^T (d^2 l / df^2) J_n`, J_n the Jacobian of the outputs (Schraudolph 2002).

The weights stay where they are while hundreds of products are taken, so everything that does not depend on the vector
is computed once and kept (`torch.func.linearize`): a product then costs about as much as 1.5 gradients, half of what
it costs afresh. Where memory is short, `keep=False` computes it afresh.

    with evaluation_mode(network, statistics_images):
        hessian = CurvatureOperator(network, images, labels, "cross_entropy", "hessian")
        top = eigenvalues(hessian, count=3)            # isthmus.lanczos

Vectors are flat, in the order of `network.named_parameters()`. Products are in the precision of the weights; for
float64 call `network.double()` first.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, linearize, vjp, vmap

from isthmus.errors import UserError
from isthmus.evaluation import losses

Parameters = dict[str, Tensor]
Product = Callable[[Parameters], Parameters]

MATRICES = ("hessian", "gauss_newton")


class CurvatureOperator:
    """The Hessian or Gauss-Newton matrix of the mean loss over fixed images: symmetric, `[P, P]`, known by products.

    network: a stack of one, inside `isthmus.evaluation.evaluation_mode` for as long as the operator is used, so that
    batch-norm statistics are constants. images `[N, C, H, W]` and labels `[N]` on its device; the images are converted
    to the precision of the weights. loss: as in `isthmus.evaluation.losses`. matrix: one of `MATRICES`. chunk_size:
    examples in one computation; the result depends on it by rounding alone. vectors_at_once: how many vectors share
    one computation. keep: whether intermediate results are kept from product to product, for all N examples.

    `size` is P, `dtype` and `device` are those of the weights, `loss` the mean loss, `products` counts those taken.

    Raises ValueError for a stack of several networks, for no images, labels of another count, or an unknown matrix,
    and UserError where the network is in training mode, the loss changes between two evaluations, or is not finite.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        loss: str,
        matrix: str = "hessian",
        chunk_size: int = 500,
        vectors_at_once: int = 8,
        keep: bool = True,
    ) -> None:
        if matrix not in MATRICES:
            raise ValueError(f"the matrix {matrix!r} is unknown; there are {', '.join(MATRICES)}")
        if len(images) == 0 or len(images) != len(labels):
            raise ValueError(f"{len(images)} images and {len(labels)} labels: give as many of both, and at least one")
        if min(chunk_size, vectors_at_once) < 1:
            raise ValueError(f"chunk_size {chunk_size} and vectors_at_once {vectors_at_once} must be at least 1")
        self.network, self.loss_kind, self.matrix = network, loss, matrix
        self.parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
        if any(parameter.shape[0] != 1 for parameter in self.parameters.values()):
            raise ValueError("the curvature is that of one network: give a stack of one")
        first = next(iter(self.parameters.values()))
        self.size, self.dtype, self.device = sum(p.numel() for p in self.parameters.values()), first.dtype, first.device
        self.vectors_at_once, self.keep, self.products = vectors_at_once, keep, 0
        self.count = len(images)
        self._chunks = list(zip(images.to(self.dtype).split(chunk_size), labels.split(chunk_size), strict=True))
        self.loss = self._checked_loss()
        self._kept = [self._chunk_product(*chunk) for chunk in self._chunks] if keep else None

    def __call__(self, vectors: Tensor) -> Tensor:
        """Products with one vector `[P]` or with each of several `[K, P]`, of the shape of `vectors`.

        Raises ValueError where the vectors are of another length.
        """
        if vectors.dim() not in (1, 2) or vectors.shape[-1] != self.size:
            raise ValueError(f"vectors of shape {tuple(vectors.shape)} given; [{self.size}] or [K, {self.size}] wanted")
        if vectors.dim() == 1:
            return self(vectors[None])[0]
        self.products += len(vectors)
        vectors = vectors.to(self.device, self.dtype)
        total = torch.zeros_like(vectors)
        for number, chunk in enumerate(self._chunks):
            product = self._kept[number] if self._kept is not None else self._chunk_product(*chunk)
            for part, result in zip(
                vectors.split(self.vectors_at_once), total.split(self.vectors_at_once), strict=True
            ):
                result += self._product(product, part)
        return total

    def _product(self, product: Product, vectors: Tensor) -> Tensor:
        """Products of one chunk with a few vectors `[K, P]`."""
        tangents = self._by_name(vectors)
        if len(vectors) == 1:  # a vmap over one vector would still pay for the batching
            found = product({name: tangent[0] for name, tangent in tangents.items()})
            return torch.cat([found[name].flatten() for name in self.parameters])[None]
        found = vmap(product)(tangents)
        return torch.cat([found[name].flatten(1) for name in self.parameters], dim=1)

    def _by_name(self, vectors: Tensor) -> Parameters:
        sizes = [parameter.numel() for parameter in self.parameters.values()]
        parts = zip(self.parameters.items(), vectors.split(sizes, dim=1), strict=True)
        return {name: part.reshape(-1, *parameter.shape) for (name, parameter), part in parts}

    def _chunk_product(self, images: Tensor, labels: Tensor) -> Product:
        """Products with the share that a chunk has in the matrix."""
        share = len(images) / self.count

        def outputs_at(parameters: Parameters) -> Tensor:
            outputs: Tensor = functional_call(self.network, parameters, (images[None],))
            return outputs

        # `losses` makes one-hot targets on the way, a step that depends on data, which tracing cannot follow.
        targets = F.one_hot(labels, self.outputs).to(self.dtype) if self.loss_kind == "squared_error" else None

        def loss_of(outputs: Tensor) -> Tensor:
            if targets is None:
                return losses(outputs, labels[None], self.loss_kind)[0] * share
            return (outputs[0] - targets).square().mean() * share

        if self.matrix == "hessian":
            gradient = grad(lambda parameters: loss_of(outputs_at(parameters)))
            return self._derivative(gradient, self.parameters)
        primal, transposed = vjp(outputs_at, self.parameters)[:2]
        outputs = primal.detach()
        forward = self._derivative(outputs_at, self.parameters)

        def gauss_newton(tangents: Parameters) -> Parameters:
            weighted = jvp(grad(loss_of), (outputs,), (forward(tangents),))[1]
            result: Parameters = transposed(weighted)[0]
            return result

        return gauss_newton

    def _derivative(self, function: Callable, point: Parameters) -> Callable:
        """The derivative of `function` at `point`, as a function of the tangent."""
        if not self.keep:
            return lambda tangents: jvp(function, (point,), (tangents,))[1]
        with _quiet_tracing():
            derivative: Callable = linearize(function, point)[1]
        return derivative

    def _checked_loss(self) -> float:
        """The mean loss; two evaluations of it have to agree."""
        if any(module.training for module in self.network.modules()):
            raise UserError(
                "the curvature was asked of a network in training mode, where the loss depends on the batch; "
                "enter isthmus.evaluation.evaluation_mode first"
            )
        first, second = self._mean_loss(), self._mean_loss()
        # A GPU may sum in another order the second time: rounding is no randomness.
        if abs(first - second) > 100 * torch.finfo(self.dtype).eps * max(abs(first), abs(second)):
            raise UserError(
                f"the loss changed from {first:.9g} to {second:.9g} between two evaluations at the same weights and "
                "images, so it has no Hessian; remove what is random in the network (dropout, noise, augmentation)"
            )
        if not abs(first) < float("inf"):
            raise UserError(f"the loss is {first}, so it has no Hessian; leave out networks that diverged")
        return first

    def _mean_loss(self) -> float:
        total = 0.0
        with torch.no_grad():
            for images, labels in self._chunks:
                outputs = functional_call(self.network, self.parameters, (images[None],))
                self.outputs = outputs.shape[-1]
                total += float(losses(outputs, labels[None], self.loss_kind)[0]) * len(images)
        return total / self.count


def dense(operator: CurvatureOperator, limit: int = 2000) -> Tensor:
    """The whole matrix of `operator`, `[P, P]`, float64, on the CPU: the reference for small networks.

    Symmetrized, which changes it by rounding alone. Raises ValueError where P exceeds `limit` or the network is not in
    float64.
    """
    if operator.size > limit:
        raise ValueError(f"a dense matrix of {operator.size} parameters was asked for; the limit is {limit}")
    if operator.dtype != torch.float64:
        raise ValueError(f"the dense matrix is a reference in float64, but the weights are {operator.dtype}")
    identity = torch.eye(operator.size, dtype=operator.dtype, device=operator.device)
    matrix = operator(identity).cpu()
    return (matrix + matrix.mT) / 2


@contextmanager
def _quiet_tracing() -> Iterator[None]:
    """Hide what PyTorch says about its own internals while it traces a function (as of 2.15)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\..*")
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\..*")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
