"""What is measured on a pruned network once it is trained: density, speed, stability to SGD noise, curvature."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isthmus.core import seeds
from isthmus.core.tensors import Tensors
from isthmus.landscape.at_points import evaluate_path
from isthmus.landscape.barriers import barrier
from isthmus.landscape.evaluator import Ground, finite
from isthmus.landscape.paths import line
from isthmus.landscape.sharpness import sharpness, trace_columns
from isthmus.models.masks import free

Row = dict[str, Any]


def densities(mask: Tensors, names: Sequence[str]) -> list[Row]:
    """The weights kept of each of the layers `names`, as columns of `ticket_layers`."""
    return [{"kept": int(mask[name].sum()), "density": float(mask[name].double().mean())} for name in names]


def lowest(history: Sequence[Mapping[str, Any]]) -> tuple[int | None, float | None]:
    """The step of the evaluation with the lowest test loss, the first of several, and that loss; None without any."""
    known = [(row["test_loss"], row["step"]) for row in history if row["test_loss"] is not None]
    if not known:
        return None, None
    loss, step = min(known)
    return step, loss


def first_at(history: Sequence[Mapping[str, Any]], loss: float | None) -> int | None:
    """The first step evaluated whose test loss is at or below `loss`; None where it never is."""
    known = [row for row in history if row["test_loss"] is not None]
    return next((row["step"] for row in known if loss is not None and row["test_loss"] <= loss), None)


def stability(ground: Ground, seed: int, weights: Tensors, twin: Tensors) -> Row:
    """Barriers on the straight line between a network and its twin, which differ in the order of the data alone.

    weights, twin: by name `[...]`. Losses and errors on training and on test data (Frankle et al. 2020).
    """
    t = np.linspace(0, 1, ground.options["line_points"])
    path, sets = line(ground.placed(weights), ground.placed(twin)), ground.sets(ground.own_labels(seed)[None])
    scores = evaluate_path(
        ground.network,
        path,
        t,
        sets,
        ground.recipe.training.loss,
        ground.statistics_images,
        ground.settings.evaluation_batch_size,
    )
    found: Row = {f"stability_{name}_examples": len(images) for name, (images, _) in sets.items()}
    for name, (loss, accuracy) in scores.items():
        found[f"stability_{name}_loss"] = finite(barrier(loss.numpy(), t))
        found[f"stability_{name}_error"] = finite(barrier(1 - accuracy.numpy(), t))
    return found


def curvature(ground: Ground, seed: int, counters: tuple[int, ...], weights: Tensors, mask: Tensors) -> Row:
    """The curvature of the training loss over the scalars that are not pruned: columns of `tickets`.

    counters: level and kind of the network, from which, with its seed, start vectors are drawn.
    """
    options, order = ground.options["curvature"], [name for name, _ in ground.single.named_parameters()]
    labels = ground.own_labels(seed)[ground.hessian_indices]
    found = sharpness(
        ground.sharpness_setup(options["tolerance"], options["trace_precision"]),
        ground.placed(weights),
        labels[None],
        [1.0],
        seeds.generator(seed, seeds.Stream.PRUNED, *counters),
        free({name: weights[name] for name in order}, mask),
    )
    return {
        "top_eigenvalue": found.top_eigenvalue,
        "top_eigenvalue_residual": found.residual,
        "top_eigenvalue_converged": found.converged,
        **trace_columns(found.traces),
        "curvature_loss": found.loss,
        "curvature_images": len(ground.hessian_indices),
    }
