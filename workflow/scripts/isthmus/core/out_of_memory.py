"""What does not fit into a GPU's memory is done in smaller portions: logged, not a crash.

Only the size of a portion changes - of a batch in evaluation (`isthmus.models.evaluation`), of a stack of networks
that train together (`isthmus.training.stacks`) - and with it results by rounding alone. A portion of one that does not
fit is an error, and so is what is not done in portions: batch-norm statistics, and Hessian products.
"""

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def attempt(compute: Callable[[], Result], size: int, what: str) -> Result | None:
    """What `compute` returns, or None where the device's memory did not suffice for its `size` of `what`.

    What the attempt had taken is free again then. Raises torch.OutOfMemoryError for a size of 1.
    """
    try:
        return compute()
    except torch.OutOfMemoryError:
        if size <= 1:
            raise
    # Outside of the handler, whose exception holds on to the tensors of all that it passed through.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    logging.warning("%d %s do not fit into the device's memory: trying %d", size, what, halved(size))
    return None


def halved(size: int) -> int:
    """The size to try next."""
    return (size + 1) // 2
