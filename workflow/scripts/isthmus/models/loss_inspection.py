"""Whether a loss of the user's own is what the library can handle, found by calling it on random outputs.

A loss is a function `(outputs [B, classes], targets) -> losses [B]`, one for each example. Targets are classes, int64
`[B]`, or real numbers `[B, classes]` in the type of the outputs. `isthmus.models.inspection` calls this before any job.
"""

import torch
from torch import Tensor

from isthmus.core.errors import UserError
from isthmus.models.own import load

EXAMPLES = 4


def check_loss(loss: str, classes: int, real: bool) -> None:
    """Raise UserError unless the loss gives every example a number of its own that can be differentiated twice.

    real: whether targets are real numbers. Whatever the function itself raises is passed on.

    >>> check_loss("torch.nn.functional:mse_loss", 2, real=True)
    Traceback (most recent call last):
    isthmus.core.errors.UserError: for outputs [4, 2], it returns the shape []; needed is one loss for each example, [4]
    """
    function, generator = load(loss), torch.Generator().manual_seed(0)
    for dtype in (torch.float32, torch.float64):
        outputs = torch.randn(EXAMPLES, classes, generator=generator, dtype=dtype, requires_grad=True)
        targets = torch.arange(EXAMPLES) % classes
        if real:
            targets = torch.randn(EXAMPLES, classes, generator=generator, dtype=dtype)
        found = function(outputs, targets)
        _check_values(found, outputs)
        if not torch.equal(found, function(outputs, targets)):
            raise UserError("it returns different losses when it is called again; it must depend only on its arguments")
        first = function(outputs[:1], targets[:1])
        # Rounding in another order makes differences of about 1e-7; the others in a batch would make large ones.
        if not torch.allclose(first, found[:1], rtol=1e-4, atol=1e-6):
            raise UserError("the loss of an example depends on the others in its batch")
        _check_curved(found, outputs)


def _check_values(found: object, outputs: Tensor) -> None:
    """UserError unless these are finite losses `[B]` in the precision of the outputs, on which they depend."""
    if not isinstance(found, Tensor):
        raise UserError(f"it returns a {type(found).__name__}, not a tensor [batch]")
    if found.shape != outputs.shape[:1]:
        needed = f"needed is one loss for each example, [{EXAMPLES}]"
        raise UserError(f"for outputs {list(outputs.shape)}, it returns the shape {list(found.shape)}; {needed}")
    if found.dtype != outputs.dtype:
        raise UserError(
            f"for outputs of {outputs.dtype}, it returns {found.dtype}; give losses the type of the outputs"
        )
    if not found.isfinite().all():
        raise UserError("it returns a loss that is not finite for outputs near zero")
    if not found.requires_grad:
        raise UserError("its losses cannot be differentiated by the outputs")


def _check_curved(found: Tensor, outputs: Tensor) -> None:
    """UserError, or what PyTorch raises, unless the losses can be differentiated twice by the outputs."""
    (gradient,) = torch.autograd.grad(found.sum(), outputs, create_graph=True)
    curved = [gradient]
    if gradient.requires_grad:  # it does not where a loss is linear
        curved += torch.autograd.grad(gradient.square().sum(), outputs)
    if not all(each.isfinite().all() for each in curved):
        raise UserError("its first or second derivative by the outputs is not finite for outputs near zero")
