"""Learning rates: how they scale with the batch size and change during a run, including weight averaging."""

import math

from isthmus.recipes.recipe import Recipe, TrainingRecipe


def peak_rate(training: TrainingRecipe) -> float:
    """The peak learning rate after batch scaling (linear: Goyal et al. 2017; sqrt: Krizhevsky 2014)."""
    return training.learning_rate * _batch_factor(training)


def known_peak_rate(recipe: Recipe) -> float | None:
    """The peak learning rate of a cell, as tables hold it; None if it is not known."""
    return None if recipe.fact("learning_rate") is None else peak_rate(recipe.training)


def _batch_factor(training: TrainingRecipe) -> float:
    """The factor by which batch scaling multiplies the learning rate."""
    ratio = training.batch_size / training.reference_batch_size
    factor = {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}
    return factor[training.batch_scaling]


def averaging_begins(averaging: str, start: float, steps_per_epoch: int, total_steps: int) -> int:
    """The step at which averaging (`swa` or `ema`) begins; `start` is a fraction of the run.

    Rounded to the nearest step for `ema` and to the nearest end of an epoch for `swa`.
    """
    interval = steps_per_epoch if averaging == "swa" else 1
    return interval * math.floor(start * total_steps / interval + 0.5)


def learning_rate(training: TrainingRecipe, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """The learning rate at step `step` (0, ..., total_steps - 1).

    After a linear warm-up, `cosine` follows (1 + cos(pi u)) / 2 (Loshchilov & Hutter 2017) and `linear` follows 1 - u,
    where u rises from 0 at the end of the warm-up to 1 at the end of the run; `step` multiplies by `decay_factor` at
    each milestone. If `schedule_interval` is epoch, u keeps its value from the start of the epoch, as if
    `torch.optim.lr_scheduler.CosineAnnealingLR` were stepped once per epoch.

    If `averaging` is `swa` and `averaging_rate` is set, that rate, after batch scaling, replaces the schedule once
    averaging begins.
    """
    if training.averaging == "swa" and training.averaging_rate is not None:
        begins = averaging_begins(training.averaging, training.averaging_start, steps_per_epoch, total_steps)
        if step >= begins:
            return training.averaging_rate * _batch_factor(training)
    peak = peak_rate(training)
    interval = steps_per_epoch if training.schedule_interval == "epoch" else 1
    step -= step % interval
    warmup = training.warmup_epochs * steps_per_epoch
    if step < warmup:
        return peak * (step // interval + 1) / (math.floor(warmup / interval) + 1)
    progress = (step - warmup) / (total_steps - warmup)
    if training.schedule == "step":
        passed = sum(step / total_steps >= milestone for milestone in training.milestones)
        return peak * training.decay_factor**passed
    if training.schedule == "constant":
        return peak
    shape = {"linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    end = training.final_rate_fraction
    return peak * (end + (1 - end) * shape[training.schedule])


def run_length(training: TrainingRecipe, examples: int) -> tuple[int, int]:
    """Steps per epoch and total steps of a run on this many training examples."""
    whole, rest = divmod(examples, training.batch_size)
    per_epoch = whole if training.drop_last or not rest else whole + 1
    return per_epoch, training.steps if training.steps is not None else training.epochs * per_epoch
