"""Averages of the weights along a run: stochastic weight averaging, and the exponential moving average.

`swa` (Izmailov et al. 2018) is the mean of the weights at the ends of epochs, including the one at which averaging
begins (their algorithm 1). `ema` starts as a copy of the weights and then follows them in every step:
average <- decay * average + (1 - decay) * weights. Both use functions of `torch.optim.swa_utils`, which `torch.optim`
imports anyway, but not its classes: they would copy a network, and a stack has none to copy.

The average and the number of weights in it are two slots beside those of the optimizer, so that checkpoints hold them,
masks apply to them and networks that leave the stack take theirs along. The slots appear when averaging begins.
Batch-norm statistics are not averaged but computed at the averaged weights (`isthmus.models.evaluation`).
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from isthmus.core.tensors import Tensors
from isthmus.recipes.recipe import TrainingRecipe
from isthmus.recipes.schedules import averaging_begins

AVERAGE = "average"
COUNT = "averaged"  # a number per parameter, all equal, like the step counts of Adam


def due(training: TrainingRecipe, step: int, steps_per_epoch: int, total_steps: int) -> bool:
    """Whether the weights after `step` steps (1, ..., total_steps) belong in the average."""
    if training.averaging == "none" or (training.averaging == "swa" and step % steps_per_epoch):
        return False
    return step >= averaging_begins(training.averaging, training.averaging_start, steps_per_epoch, total_steps)


def include(training: TrainingRecipe, weights: Mapping[str, Tensor], slots: dict[str, Tensors]) -> None:
    """Add the weights, by name `[S, ...]`, to the average in `slots`, in place; the first ones are copied."""
    if AVERAGE not in slots:
        slots[AVERAGE] = {name: weight.detach().clone() for name, weight in weights.items()}
        slots[COUNT] = {name: torch.ones((), device=weight.device) for name, weight in weights.items()}
        return
    averages, counts = ([slots[slot][name] for name in weights] for slot in (AVERAGE, COUNT))
    current = [weight.detach() for weight in weights.values()]
    if training.averaging == "swa":
        get_swa_multi_avg_fn()(averages, current, float(counts[0]))
    else:
        get_ema_multi_avg_fn(training.averaging_decay)(averages, current, None)
    torch._foreach_add_(counts, 1)


def average(slots: Mapping[str, Tensors]) -> Tensors | None:
    """The averaged weights, by name `[S, ...]`; None before averaging has begun."""
    return slots.get(AVERAGE)


def included(slots: Mapping[str, Tensors]) -> int:
    """The number of weights in the average, 0 before averaging has begun."""
    return int(next(iter(slots[COUNT].values()))) if COUNT in slots else 0
