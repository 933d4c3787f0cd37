"""What happens between the initialization of a network and its end: the rows of `movement` and of `kernels`."""

from typing import Any

from torch import Tensor

from isthmus.analyses.movement.norms import movement
from isthmus.core.tensors import Tensors
from isthmus.landscape.evaluator import Ground, finite
from isthmus.landscape.moments import Moment
from isthmus.landscape.tangent_kernel import kernel_distance, relative_change, tangent_kernel, target_alignment
from isthmus.models.evaluation import evaluation_mode

Row = dict[str, Any]


def movement_rows(initial: Tensors, now: Tensors) -> list[Row]:
    """The measured columns of `movement`, a row for the whole network and one per layer."""
    return [
        {
            "layer": each.layer,
            "layer_index": each.index,
            "parameters": each.parameters,
            "distance": each.distance,
            "norm_initial": each.norm_initial,
            "norm": each.norm,
            "relative": each.relative,
        }
        for each in movement(initial, now)
    ]


def kernels_of(ground: Ground, weights: Tensors, images: int) -> Tensor:
    """The tangent kernel of each output at the weights of a network, `[outputs, N, N]`, on N training examples."""
    placed = ground.placed(weights)
    chosen = ground.examples.images[ground.examples.subset(images)]
    with evaluation_mode(ground.single, ground.statistics_images, placed):
        return tangent_kernel(ground.single, chosen, placed)


def kernel_row(ground: Ground, seed: int, start: Tensor, now: Tensor) -> Row:
    """The measured columns of a row of `kernels`, from the kernels `[outputs, N, N]` at the start and now."""
    count = now.shape[-1]
    labels = ground.own_labels(seed)[ground.examples.subset(count)].cpu()
    first, mean = start.mean(0), now.mean(0)
    return {
        "images": count,
        "relative_change": finite(relative_change(first, mean)),
        "relative_change_outputs": finite(relative_change(start, now).mean()),
        "distance": finite(kernel_distance(first, mean)),
        "target_alignment": finite(target_alignment(mean, labels, ground.classes)),
        "norm": finite(mean.norm()),
    }


def measure_displacement(
    ground: Ground, seed: int, snapshots: dict[str, Tensors], looked_at: list[Moment]
) -> dict[str, list[Row]]:
    """Movement, and the tangent kernel if it is asked for, of one network at each moment, the start included."""
    images, movements, kernels = ground.options["kernel_images"], [], []
    start = kernels_of(ground, snapshots["initial"], images) if images else None
    for moment in looked_at:
        when, weights = {"epoch": moment.epoch, "final": moment.final}, snapshots[moment.name]
        movements += [when | row for row in movement_rows(snapshots["initial"], weights)]
        if start is not None:
            now = start if moment.name == "initial" else kernels_of(ground, weights, images)
            kernels.append(when | kernel_row(ground, seed, start, now))
    return {"movement": movements, "kernels": kernels}
