"""How far a result may be from the exact one by rounding, on any processor and with any library.

Kernels differ between processors, libraries and numbers of threads: they add in another order, with or without fused
multiplication. What they share is the standard model (Higham 2002, Accuracy and Stability of Numerical Algorithms,
sections 2.2 and 3.1): with unit roundoff u, an operation returns (x op y)(1 + d), |d| <= u, and a sum of k products, in
*any* order, is off by at most k u sum |x_i y_i| to first order. How much of that arrives in a result is a matter of its
conditioning. `rounding_error` measures it: it repeats the computation in float64 with every operation disturbed by what
the model allows (Monte Carlo arithmetic, Parker 1997), and takes the spread of the results.

    exact, error = rounding_error(lambda: products(torch.float64))
    assert_within(products(torch.float32), exact, error)

Where a tolerance is a number, it has to hold on other machines too: `pytest --disturb 1` runs the suite with every
operation disturbed by a unit in the last place, in its own precision; each number is another machine.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

REPEATS = 8
# A disturbance is uniform within the model's bound, so the standard deviation of a result is the root sum of squares
# of what the bounds do to it, over sqrt(3). A kernel may err by a whole bound every time, and in one direction; and the
# standard deviation is known from eight results only. Ten of them leave room for both.
DEVIATIONS = 10.0

_ATEN = torch.ops.aten
# Sums of products, with the number of terms; other sums and elementary functions.
_TERMS: dict[Any, Callable[..., int]] = {
    _ATEN.mm: lambda a, b, **_: a.shape[1],
    _ATEN.addmm: lambda c, a, b, **_: a.shape[1] + 1,
    _ATEN.bmm: lambda a, b, **_: a.shape[2],
    _ATEN.baddbmm: lambda c, a, b, **_: a.shape[2] + 1,
    _ATEN.mv: lambda a, b: a.shape[1],
    _ATEN.dot: lambda a, b: len(a),
    _ATEN.convolution: lambda x, weight, *_: weight[0].numel() + 1,
    _ATEN.convolution_backward: lambda out, x, weight, *_: max(out.numel() // weight.shape[0], weight[:, 0].numel()),
}
_SUMS = (_ATEN.sum, _ATEN.mean)
_ROUNDED = {
    *("add", "sub", "rsub", "mul", "div", "pow", "square", "sqrt", "rsqrt", "addcmul", "addcdiv", "lerp", "cumsum"),
    *("add_", "sub_", "mul_", "div_", "square_", "sqrt_", "addcmul_", "addcdiv_", "lerp_"),
    *("exp", "expm1", "log", "log1p", "sin", "cos", "atan2", "hypot", "sigmoid"),
    *("tanh", "tanh_backward", "gelu", "gelu_backward", "_softmax", "_softmax_backward_data"),
    *("_log_softmax", "_log_softmax_backward_data", "logsumexp"),
    *("var", "std", "var_mean", "norm", "linalg_vector_norm"),
    *("native_batch_norm", "native_batch_norm_backward", "native_layer_norm"),
    *("native_group_norm", "native_group_norm_backward"),
    *("grid_sampler_2d", "upsample_bilinear2d", "avg_pool2d", "_adaptive_avg_pool2d"),
}


class Disturbed(TorchDispatchMode):
    """While it is entered, the floating-point operations of PyTorch, those backwards too, err as a machine's may.

    dtype: the precision whose rounding float64 suffers; without it, every tensor suffers that of its own precision,
    a unit in the last place. As on a machine, the same operation on the same numbers errs in the same way every time;
    another seed is another machine.

    Sums of products are disturbed by u times the root of their number of terms, over the sum of absolute values: what
    independent roundings come to (Higham & Mary 2019). What moves, selects or compares numbers is exact.
    """

    def __init__(self, seed: int, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dtype, self.salt = dtype, int(np.random.default_rng(seed).integers(2**62))

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        magnitudes = _magnitudes(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        parts = result if isinstance(result, tuple | list) else (result,)
        for part, magnitude in zip(parts, magnitudes or parts, strict=False):
            if magnitudes is None and func.overloadpacket.__name__ not in _ROUNDED:
                break
            if isinstance(part, Tensor) and part.dtype in (torch.float32, torch.float64):
                # Less than a unit in the last place of its own would be rounded away.
                roundoff = torch.finfo(part.dtype).eps if self.dtype is None else torch.finfo(self.dtype).eps / 2
                part.add_((self._noise(part) * magnitude).to(part.dtype), alpha=roundoff)
        return result

    def _noise(self, values: Tensor) -> Tensor:
        """Uniform in [-1, 1], a function of the bits of each value (the mixing of splitmix64)."""
        bits = values.double().contiguous().view(torch.int64) + self.salt
        for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
            bits = (bits ^ (bits >> shift)) * factor
        return (bits ^ (bits >> 31)).double() / 2**63


def _magnitudes(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor] | None:
    """For sums, what their roundings are relative to, before the operation happens; None for all others."""
    if func.overloadpacket is _ATEN.native_layer_norm:
        return _layer_norm(*args)
    if func.overloadpacket is _ATEN.native_layer_norm_backward:
        return _layer_norm_backward(*args)
    terms = _TERMS.get(func.overloadpacket)
    if (terms is None and func.overloadpacket not in _SUMS) or not args[0].is_floating_point():
        return None
    absolute = [each.abs() if isinstance(each, Tensor) else each for each in args]
    sums = func(*absolute, **kwargs)
    parts = sums if isinstance(sums, tuple) else (sums,)
    count = args[0].numel() / max(sums.numel(), 1) if terms is None else terms(*args, **kwargs)
    return [each if each is None else each * count**0.5 for each in parts]


def _layer_norm(x: Tensor, shape: Any, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> list[Tensor]:
    """Of the outputs, the mean and the inverse standard deviation: what is subtracted may exceed what is left."""
    axes = tuple(range(-len(shape), 0))
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    scale, size = (variance + epsilon).rsqrt(), x.abs().mean(axes, keepdim=True)
    apart = x.abs() + size
    of_scale = scale + ((x - mean).abs() * apart).mean(axes, keepdim=True) * scale**3
    normalized = apart * scale + (x - mean).abs() * of_scale
    outputs = normalized * (1 if weight is None else weight.abs()) + (0 if bias is None else bias.abs())
    return [outputs, size, of_scale]


def _layer_norm_backward(
    gradient: Tensor, x: Tensor, shape: Any, mean: Tensor, scale: Tensor, weight: Tensor | None, *_: Any
) -> list[Tensor]:
    """The three terms of a gradient through layer normalization, which all but cancel over two features."""
    axes = tuple(range(-len(shape), 0))
    outer = gradient.abs() if weight is None else (gradient * weight).abs()
    normalized = ((x - mean) * scale).abs()
    along = normalized * (outer * normalized).mean(axes, keepdim=True)
    by_weight = (gradient.abs() * normalized).flatten(0, -len(shape) - 1).sum(0)
    return [
        (outer + outer.mean(axes, keepdim=True) + along) * scale,
        by_weight,
        gradient.abs().flatten(0, -len(shape) - 1).sum(0),
    ]


def summation_error(terms: int, dtype: torch.dtype = torch.float32) -> float:
    """k u / (1 - k u): the error of a sum of k terms in any order, over that of absolute values (Higham 2002, 3.1)."""
    share = terms * torch.finfo(dtype).eps / 2
    return share / (1 - share)


def rounding_error(
    compute: Callable[[], Tensor], dtype: torch.dtype | None = torch.float32, repeats: int = REPEATS
) -> tuple[Tensor, Tensor]:
    """The exact result of `compute` and, for each of its entries, how far one in `dtype` may be from it.

    compute: gives a float64 tensor by PyTorch's operations in float64, the same as those of the computation in `dtype`.
    dtype: None if it computes as the others do, so that its result is that of one machine, and theirs of others.
    repeats: few are enough where entries are judged by the norm of many.
    """
    exact = compute().detach()
    squares = torch.zeros_like(exact)
    for seed in range(repeats):
        with Disturbed(seed, dtype):
            squares += (compute().detach() - exact).square()
    return exact, DEVIATIONS * (squares / repeats).sqrt()


def assert_within(found: Tensor, exact: Tensor, error: Tensor) -> None:
    """Every entry of `found` is as near to the exact one as `error` says; AssertionError with the worst otherwise."""
    apart = (found.detach().double() - exact).abs()
    worst = int((apart - error).argmax())
    assert (apart <= error).all(), (
        f"entry {worst} is off by {apart.flatten()[worst]:.2e}; rounding explains {error.flatten()[worst]:.2e}"
    )
