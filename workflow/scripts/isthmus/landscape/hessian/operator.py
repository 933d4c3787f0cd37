"""The Hessian and the Gauss-Newton matrix of a network's mean loss, as products with vectors.

Neither matrix is ever formed, except by `dense` for small networks. With the loss L(w) = 1/N sum_n l(f(x_n; w), y_n):

* Hessian `H = d^2 L / dw^2`. A product is the derivative of g(w) . v, g being the gradient (Pearlmutter 1994);
* Gauss-Newton matrix `G = 1/N sum_n J_n^T (d^2 l / df^2) J_n`, J_n the Jacobian of the outputs (Schraudolph 2002).

The weights do not change between products, so the graph of the gradient is built once and kept. A product is then one
backward pass through it and costs about as much as two gradients. If memory is short, `keep=False` rebuilds the graph
for each call. Batch normalization is folded into the convolutions before it (`isthmus.models.fold_batch_norm`).

    with evaluation_mode(network, statistics_images):
        hessian = CurvatureOperator(network, images, labels, "cross_entropy", "hessian")
        top = eigenvalues(hessian, count=3)            # isthmus.landscape.hessian.lanczos

Vectors are flat, in the order of `network.named_parameters()`. Products have the precision of the weights; for float64,
call `network.double()` first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from isthmus.core.errors import UserError
from isthmus.core.progress import Progress
from isthmus.models.evaluation import converted, losses
from isthmus.models.fold_batch_norm import folded

Parts = tuple[Tensor, ...]
Product = Callable[[Tensor], Tensor]  # of flat vectors

MATRICES = ("hessian", "gauss_newton")
ROWS_AT_ONCE = 50  # of a dense matrix
CACHED_BYTES = 4e6  # what the forward pass of a chunk may keep, to stay in the cache
FEWEST_AT_ONCE = 250  # examples of a chunk: with fewer, Python takes longer than the arithmetic


class CurvatureOperator:
    """The Hessian or Gauss-Newton matrix of the mean loss over fixed images: symmetric, `[P, P]`, applied to vectors.

    network: a stack of one, in `isthmus.models.evaluation.evaluation_mode` when the operator is made; its weights and
    batch-norm statistics are constants from then on. images `[N, C, H, W]` and labels `[N]`: on its device; images are
    converted to the precision of the weights. loss: as in `isthmus.models.evaluation.losses`. matrix: one of
    `MATRICES`. chunk_size: examples computed at once, by default as many as fit into the cache, but at least 250; it
    changes results by rounding alone. keep: whether to keep the graphs for all N examples between calls.

    `size` is P, `dtype` and `device` are those of the weights, `loss` is the mean loss, and `products` counts the
    products taken.

    Raises ValueError for a stack of several networks, no images, another number of labels, an unknown matrix or
    chunks of no example, and UserError if the network is in training mode, or if the loss changes between two
    evaluations or is not finite.

    >>> from isthmus.models.stacked import Linear
    >>> network = nn.Sequential(nn.Flatten(2), Linear(1, 2, 1, bias=False)).eval()
    >>> images, labels = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 2.0]]]]), torch.tensor([0, 0])
    >>> torch.nn.init.zeros_(network[1].weight).shape
    torch.Size([1, 1, 2])
    >>> hessian = CurvatureOperator(network, images, labels, "squared_error")  # (w_1 - 1)^2 / 2 + (2 w_2 - 1)^2 / 2
    >>> hessian(torch.tensor([1.0, 1.0]))
    tensor([1., 4.])
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        loss: str,
        matrix: str = "hessian",
        chunk_size: int | None = None,
        keep: bool = True,
    ) -> None:
        if matrix not in MATRICES:
            raise ValueError(f"the matrix {matrix!r} is unknown; there are {', '.join(MATRICES)}")
        if len(images) == 0 or len(images) != len(labels):
            raise ValueError(f"{len(images)} images and {len(labels)} labels: give as many of both, and at least one")
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size {chunk_size} must be at least 1")
        if any(module.training for module in network.modules()):
            raise UserError(
                "the curvature was requested for a network in training mode, where the loss depends on the batch; "
                "enter isthmus.models.evaluation.evaluation_mode first"
            )
        self.network, self.loss_kind, self.matrix = folded(network), loss, matrix
        self.parameters = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
        if any(parameter.shape[0] != 1 for parameter in self.parameters.values()):
            raise ValueError("the curvature is that of one network: give a stack of one")
        first = next(iter(self.parameters.values()))
        self.size, self.dtype, self.device = sum(p.numel() for p in self.parameters.values()), first.dtype, first.device
        self.keep, self.products, self.count = keep, 0, len(images)
        images = self._channels_last(converted(images, self.dtype))
        chunk_size = chunk_size or max(FEWEST_AT_ONCE, int(CACHED_BYTES / self._bytes_an_example(images)))
        self._chunks = list(zip(images.split(chunk_size), labels.split(chunk_size), strict=True))
        self.loss = self._checked_loss()
        self._kept = [self._chunk_product(*chunk) for chunk in self._chunks] if keep else None

    @property
    def gradient(self) -> Tensor | None:
        """The gradient of the mean loss, `[P]`; None unless it is kept for the products."""
        parts = [each.flat.detach() for each in self._kept or [] if isinstance(each, _Backward)]
        return torch.stack(parts).sum(0) if parts else None

    def __call__(self, vectors: Tensor) -> Tensor:
        """The products with one vector `[P]` or with K vectors `[K, P]`, in the shape of `vectors`.

        Raises ValueError for vectors of another length.
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
            for row, vector in zip(total, vectors, strict=True):
                row += product(vector).detach()  # PyTorch 2.7 gives the zeros of a linear loss a graph
        return total

    def _bytes_an_example(self, images: Tensor) -> float:
        """What a forward pass keeps for the backward pass, in bytes, for each further example."""
        sizes = [0, 0]

        def keep(count: int, tensor: Tensor) -> Tensor:
            sizes[count - 1] += tensor.nbytes
            return tensor

        for count in (1, 2):
            with saved_tensors_hooks(partial(keep, count), lambda tensor: tensor):
                self._outputs(images[:1].expand(count, *images.shape[1:]))
        return max(sizes[1] - sizes[0], 1)

    def _outputs(self, images: Tensor) -> Tensor:
        """Outputs `[1, B, classes]` for images `[B, C, H, W]`, with a graph that can be differentiated twice."""
        with sdpa_kernel(SDPBackend.MATH):  # the only kernel of attention that has second derivatives
            outputs: Tensor = functional_call(self.network, self.parameters, (images[None],))
        return outputs

    def _channels_last(self, images: Tensor) -> Tensor:
        """Convert filters and images to the layout with the fastest derivatives of convolutions, on any device."""
        filters = [name for name, parameter in self.parameters.items() if parameter.dim() == 5]
        for name in filters:
            laid_out = self.parameters[name].detach()[0].contiguous(memory_format=torch.channels_last)
            self.parameters[name] = laid_out[None].requires_grad_()
        return images.contiguous(memory_format=torch.channels_last) if filters and images.dim() == 4 else images

    def _chunk_product(self, images: Tensor, labels: Tensor) -> Product:
        """The contribution of some of the images to the matrix, as a function from tangents to products."""
        weights = tuple(self.parameters.values())
        share = len(images) / self.count
        outputs = self._outputs(images)
        if self.matrix == "hessian":
            loss = losses(outputs, labels[None], self.loss_kind)[0] * share
            return _Backward(_gradient(loss, weights), weights)
        # J^T u is linear in u, so the derivative of (J^T u) . v by u is J v: two backward passes, no forward mode.
        dual = torch.zeros_like(outputs, requires_grad=True)
        forward = _Backward(_gradient((outputs * dual).sum(), weights), (dual,))
        point = outputs.detach().requires_grad_()
        loss = losses(point, labels[None], self.loss_kind)[0] * share
        curved, transposed = (
            _Backward(_gradient(loss, (point,)), (point,)),
            _Backward((outputs,), weights),
        )
        return lambda vector: transposed(curved(forward(vector)))

    def _checked_loss(self) -> float:
        """The mean loss, evaluated twice; both values must agree."""
        first, second = self._mean_loss(), self._mean_loss()
        # A GPU may sum in another order the second time, so differences by rounding are allowed.
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
                total += float(losses(outputs, labels[None], self.loss_kind)[0]) * len(images)
        return total / self.count


@dataclass(frozen=True, eq=False)
class _Backward:
    """The function from v to the derivative of values . v by the inputs, with the graph of the values kept."""

    values: Parts
    inputs: Parts

    @cached_property
    def flat(self) -> Tensor:
        """The values, flat, with their graph."""
        return torch.cat([value.flatten() for value in self.values])

    def __call__(self, vector: Tensor) -> Tensor:
        if not self.flat.requires_grad:  # such as the gradient of a bias under a linear loss
            return torch.cat([torch.zeros_like(each).flatten() for each in self.inputs])
        # The gradient of a scalar: given a vector, PyTorch would first import SymPy, which takes a second.
        found = torch.autograd.grad(
            self.flat @ vector, self.inputs, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return torch.cat([each.flatten() for each in found])


def dense(operator: CurvatureOperator, limit: int = 2000) -> Tensor:
    """The whole matrix of `operator`, `[P, P]`, float64, on the CPU: the reference for small networks.

    It is symmetrized, which changes it by rounding alone. Raises ValueError if P exceeds `limit` or the network is not
    in float64.

    >>> from isthmus.models.stacked import Linear
    >>> network = nn.Sequential(nn.Flatten(2), Linear(1, 2, 1, bias=False)).double().eval()
    >>> images, labels = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 2.0]]]]), torch.tensor([0, 0])
    >>> torch.nn.init.zeros_(network[1].weight).shape
    torch.Size([1, 1, 2])
    >>> dense(CurvatureOperator(network, images, labels, "squared_error"))
    tensor([[1., 0.],
            [0., 4.]], dtype=torch.float64)
    """
    if operator.size > limit:
        raise ValueError(f"a dense matrix of {operator.size} parameters was asked for; the limit is {limit}")
    if operator.dtype != torch.float64:
        raise ValueError(f"the dense matrix is a reference in float64, but the weights are {operator.dtype}")
    identity = torch.eye(operator.size, dtype=operator.dtype, device=operator.device)
    progress, rows = Progress("the dense matrix", operator.size), list[Tensor]()
    for part in identity.split(ROWS_AT_ONCE):
        progress.report(len(rows) * ROWS_AT_ONCE)
        rows.append(operator(part).cpu())
    matrix = torch.cat(rows)
    return (matrix + matrix.mT) / 2


def _gradient(value: Tensor, inputs: Parts) -> Parts:
    """The gradient of a scalar by the inputs, with a graph to differentiate it again."""
    return torch.autograd.grad(value, inputs, create_graph=True, allow_unused=True, materialize_grads=True)
