"""The empirical tangent kernel of a network on a few images, and how far training changes it.

For output f_c, K_c[n, m] = <d f_c(x_n) / dw, d f_c(x_m) / dw> (Jacot et al. 2018). In the lazy limit, training
does not change it; its change thus tells lazy from rich training in function space (Fort et al. 2020).

The gradients of an output with respect to all parameters, N x P numbers, are never in memory at once. The kernel is a
sum over layers. The share of a layer follows from its inputs a_n and from the derivatives b_n of the output with
respect to the layer's output, which one backward pass gives for all images (Novak et al. 2022):

* a linear layer adds (<a_n, a_m> + 1) <b_n, b_m> without computing a gradient (the 1 is for the bias);
* a convolution adds the inner products of its gradients, computed for one block of input channels at a time;
* a normalization layer adds the inner products of its gradients, which are small;
* for parameters of any other module, gradients are computed for as many parameter tensors at a time as fit a block.

The result is exact. Memory beyond the weights: a backward pass over the N images, some three blocks of `block_size`
numbers (the gradients, the patches of the images, a copy in float64), and the kernel itself; for parameters of other
modules, at least N times the largest of their tensors.

    with evaluation_mode(network, statistics_images):
        kernel = tangent_kernel(network, images)         # [outputs, N, N]
    relative_change(kernel_at_start, kernel).mean()
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from isthmus.core.errors import UserError
from isthmus.models.evaluation import converted
from isthmus.models.stacked import BatchNorm, Convolution, LayerNorm, Linear, as_channels

Weights = dict[str, Tensor]
# A layer's share of an output's kernel, [N, N], given the derivatives of the output with respect to the layer's output.
Share = Callable[[Tensor], Tensor]
Layer = Linear | Convolution | BatchNorm | LayerNorm


@dataclass
class _Calls:
    """The inputs and outputs of a layer, one of each per call."""

    layer: Layer
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


def tangent_kernel(
    network: nn.Module, images: Tensor, parameters: Weights | None = None, block_size: int = 2**24
) -> Tensor:
    """The tangent kernel of each output (logit), `[outputs, N, N]`, float64, on the CPU. Its mean over the outputs is
    the trace kernel divided by their number.

    network: a stack of one, in `isthmus.models.evaluation.evaluation_mode` at the weights in question, so that
    batch-norm statistics are constants. images: `[N, C, H, W]`, converted to the precision of the weights. parameters:
    weights `[1, ...]` that replace the network's own, as for `torch.func.functional_call`. block_size: numbers in a
    block of gradients; it changes results by rounding alone. Derivatives have the precision of the weights; sums over
    parameters are in float64.

    Raises ValueError for a stack of several networks, no images or a block_size below 1, and UserError if the network
    is in training mode or the kernel is not finite.

    >>> network = nn.Sequential(nn.Flatten(2), Linear(1, 2, 1, bias=False)).eval()
    >>> tangent_kernel(network, torch.tensor([[[[1.0, 0.0]]], [[[1.0, 2.0]]]]))  # inner products of the images
    tensor([[[1., 1.],
             [1., 5.]]], dtype=torch.float64)
    """
    weights = {name: value.detach() for name, value in dict(parameters or network.named_parameters()).items()}
    if any(value.shape[0] != 1 for value in weights.values()):
        raise ValueError("the tangent kernel is that of one network: give a stack of one, weights [1, ...]")
    if len(images) == 0 or block_size < 1:
        raise ValueError(f"{len(images)} images and a block_size of {block_size} given; both must be at least 1")
    if any(module.training for module in network.modules()):
        raise UserError(
            "the tangent kernel was requested for a network in training mode, where outputs depend on the whole batch; "
            "enter isthmus.models.evaluation.evaluation_mode first"
        )
    first = next(iter(weights.values()))
    images = converted(images.to(first.device), first.dtype)
    outputs, calls = _forward(network, weights, images)
    shares = [_share(call.layer, call.inputs[0], block_size) for call in calls.values()]
    of_layers = {f"{name}.{each}" for name in calls for each in ("weight", "bias")}
    others = {name: value.numel() for name, value in weights.items() if name not in of_layers}
    groups = _groups(others, block_size // len(images))
    count = outputs.shape[-1]
    kernel = torch.zeros(count, len(images), len(images), dtype=torch.float64, device=first.device)
    for output, total in enumerate(kernel):
        for share, signal in zip(shares, _signals(outputs, output, calls), strict=True):
            total += share(signal)
        for group in groups:
            for gradients in _gradients(network, weights, group, images, output):
                total += _gram(gradients)
    if not kernel.isfinite().all():
        raise UserError("the tangent kernel is not finite; leave out networks that diverged")
    return kernel.cpu()


def relative_change(start: Tensor, end: Tensor) -> Tensor:
    """|end - start| / |start| in Frobenius norms of kernels `[..., N, N]`: `[...]`, float64, >= 0.

    Scaling counts as change. NaN or infinite if the kernel at the start is zero.

    >>> relative_change(torch.eye(2), 3 * torch.eye(2))
    tensor(2., dtype=torch.float64)
    """
    first, last = start.double(), end.double()
    return (_inner(last - first, last - first) / _inner(first, first)).sqrt()


def kernel_distance(start: Tensor, end: Tensor) -> Tensor:
    """1 - cosine of the angle between two kernels `[..., N, N]`: `[...]`, float64, in [0, 2] (Fort et al. 2020).

    It does not change when a kernel is scaled; for tangent kernels, which are positive semidefinite, it is at most 1.
    NaN if one of them is zero.

    >>> kernel_distance(torch.eye(2), 3 * torch.eye(2)).round(decimals=6)
    tensor(0., dtype=torch.float64)
    """
    return 1 - _cosine(start.double(), end.double())


def target_alignment(kernel: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Centered alignment of kernels `[..., N, N]` with the labels `[N]`: `[...]`, float64, in [-1, 1].

    <K', T'> / (|K'| |T'|), where T[n, m] is 1 if the labels n and m agree and 0 otherwise, and ' centers rows and
    columns (Cortes et al. 2012). It is 1 for a kernel that tells the classes apart and nothing else. Scaling the kernel
    or adding a constant does not change it. NaN if the kernel or the labels are the same for all images. With real
    targets y `[N, outputs]` in the place of labels, T[n, m] is the inner product of y_n and y_m.

    >>> labels = torch.tensor([0, 0, 1])
    >>> target_alignment((labels[:, None] == labels).double(), labels, classes=2).round(decimals=6)
    tensor(1., dtype=torch.float64)
    """
    labels = labels.to(kernel.device)
    targets = (labels if labels.is_floating_point() else F.one_hot(labels, classes)).double()
    targets = targets - targets.mean(0)
    centered = kernel.double()
    centered = centered - centered.mean(-1, keepdim=True)
    centered = centered - centered.mean(-2, keepdim=True)
    return _cosine(centered, targets @ targets.mT)


def _forward(network: nn.Module, weights: Weights, images: Tensor) -> tuple[Tensor, dict[str, _Calls]]:
    """The outputs `[1, N, outputs]` and the calls of those layers whose share of the kernel has a closed form.

    A layer is left out if it was not called exactly once, or shares its parameters with another.
    """
    owners = Counter(id(value) for _, value in network.named_parameters(remove_duplicate=False))
    calls: dict[str, _Calls] = {}
    handles = []
    for name, module in network.named_modules():
        alone = all(owners[id(value)] == 1 for value in module.parameters())
        if type(module) in get_args(Layer) and alone:
            calls[name] = _Calls(cast(Layer, module))
            handles.append(module.register_forward_hook(_recorder(calls[name])))
    try:
        outputs = functional_call(network, weights, (images[None],))
    finally:
        for handle in handles:
            handle.remove()
    return outputs, {name: call for name, call in calls.items() if len(call.outputs) == 1}


def _recorder(call: _Calls) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
    def record(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        if not output.requires_grad:  # the weights are constants here: only what follows a layer is differentiated
            output.requires_grad_()
        call.inputs.append(arguments[0].detach())
        call.outputs.append(output)

    return record


def _signals(outputs: Tensor, output: int, calls: dict[str, _Calls]) -> tuple[Tensor, ...]:
    """Derivatives of one output of every image with respect to each layer's output for that image."""
    if not calls:
        return ()
    targets = [call.outputs[0] for call in calls.values()]
    return torch.autograd.grad(outputs[0, :, output].sum(), targets, retain_graph=True, materialize_grads=True)


def _share(layer: Layer, inputs: Tensor, block_size: int) -> Share:
    if isinstance(layer, Linear):
        return _linear_share(layer, inputs)
    if isinstance(layer, Convolution):
        return lambda signal: _convolution_share(layer, as_channels(inputs), signal, block_size)
    return _normalization_share(layer, inputs)


def _linear_share(layer: Linear, inputs: Tensor) -> Share:
    of_inputs = _gram(inputs[0]) + (layer.bias is not None)
    return lambda signal: of_inputs * _gram(signal[0])


def _convolution_share(layer: Convolution, inputs: Tensor, signal: Tensor, block_size: int) -> Tensor:
    """inputs `[N, channels, H, W]`, signal `[N, outputs, H', W']`."""
    size = layer.weight.shape[-1]
    signal = signal.flatten(2)
    images, outputs, pixels = signal.shape
    channels = max(1, block_size // (images * size**2 * max(outputs, pixels)))
    kernel = torch.zeros(images, images, dtype=torch.float64, device=signal.device)
    for part in inputs.split(channels, dim=1):
        patches = F.unfold(part, size, padding=size // 2, stride=layer.stride)
        kernel += _gram(signal @ patches.mT)
    if layer.bias is not None:
        kernel += _gram(signal.sum(2))
    return kernel


def _normalization_share(layer: BatchNorm | LayerNorm, inputs: Tensor) -> Share:
    neutral = {"weight": torch.ones_like(layer.weight), "bias": torch.zeros_like(layer.bias)}
    with torch.no_grad():
        normalized = functional_call(layer, neutral, (inputs,))

    def by_channel(values: Tensor) -> Tensor:
        return values[0] if values.dim() == 3 else values.sum((2, 3))

    return lambda signal: _gram(by_channel(signal * normalized)) + _gram(by_channel(signal))


def _groups(sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """The names in groups whose sizes add up to at most `most`; a larger one is alone."""
    groups: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if size > room:
            groups.append([])
            room = max(most, size)
        groups[-1].append(name)
        room -= size
    return groups


def _gradients(network: nn.Module, weights: Weights, names: list[str], images: Tensor, output: int) -> list[Tensor]:
    """The derivatives of an output with respect to some parameter tensors, image by image, `[N, *its shape]` each."""

    def output_at(values: Weights, image: Tensor) -> Tensor:
        outputs: Tensor = functional_call(network, weights | values, (image[None, None],))
        return outputs[0, 0, output]

    with sdpa_kernel(SDPBackend.MATH):  # the only kernel of attention that vmap can batch
        found = vmap(grad(output_at), in_dims=(None, 0))({name: weights[name] for name in names}, images)
    return list(found.values())


def _gram(vectors: Tensor) -> Tensor:
    """Inner products of all pairs of the N vectors `[N, ...]`: `[N, N]`, summed in float64."""
    flat = vectors.detach().flatten(1).double()
    return flat @ flat.mT


def _inner(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum((-2, -1))


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return _inner(first, second) / (_inner(first, first) * _inner(second, second)).sqrt()
