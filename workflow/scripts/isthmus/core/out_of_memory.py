"""Retry work that does not fit into GPU memory in smaller portions, with a log line instead of a crash.

This applies to evaluation batches (`isthmus.models.evaluation`) and to stacks of networks that train together
(`isthmus.training.stacks`). Smaller portions change results by rounding alone. If a single item does not fit, that is
an error. So is running out of memory in work that is not split: batch-norm statistics and Hessian products.
"""

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def attempt(compute: Callable[[], Result], size: int, what: str) -> Result | None:
    """The result of `compute`, or None if `size` of `what` did not fit into the device's memory.

    In the second case the memory is freed again. Raises torch.OutOfMemoryError if `size` is 1.
    """
    try:
        return compute()
    except torch.OutOfMemoryError:
        if size <= 1:
            raise
    # Free memory outside the handler: the exception keeps the tensors of every frame it passed through alive.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    logging.warning("%d %s do not fit into the device's memory: trying %d", size, what, halved(size))
    return None


def halved(size: int) -> int:
    """The size to try next."""
    return (size + 1) // 2
