"""How training moves a network's weights and changes its tangent kernel: the rows of `movement` and `kernels`."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from isthmus.analyses.movement.norms import movement
from isthmus.core.tensors import Tensors
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.moments import Moment
from isthmus.landscape.tangent_kernel import kernel_distance, relative_change, tangent_kernel, target_alignment
from isthmus.models.evaluation import evaluation_mode
from isthmus.tables.rows import Row, Rows, finite


def movement_rows(initial: Tensors, now: Tensors) -> Rows:
    """The measured columns of `movement`: a row for the whole network and one per layer."""
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


def tangent_kernels(evaluator: Evaluator, weights: Tensors, images: int) -> Tensor:
    """The tangent kernel of each output at a network's weights, `[outputs, N, N]`, on N training examples."""
    placed = evaluator.placed(weights)
    chosen = evaluator.examples.images[evaluator.examples.subset(images)]
    with evaluation_mode(evaluator.single, evaluator.statistics_images, placed):
        return tangent_kernel(evaluator.single, chosen, placed)


def kernel_row(evaluator: Evaluator, seed: int, start: Tensor, now: Tensor) -> Row:
    """The measured columns of a row of `kernels`, from the kernels `[outputs, N, N]` at the start and now."""
    count = now.shape[-1]
    labels = evaluator.labels(seed)[evaluator.examples.subset(count)].cpu()
    first, mean = start.mean(0), now.mean(0)
    return {
        "images": count,
        "relative_change": finite(relative_change(first, mean)),
        "relative_change_outputs": finite(relative_change(start, now).mean()),
        "distance": finite(kernel_distance(first, mean)),
        "target_alignment": finite(target_alignment(mean, labels, evaluator.classes)),
        "norm": finite(mean.norm()),
    }


def measure(
    evaluator: Evaluator, kernel_images: int, seed: int, snapshots: Mapping[str, Tensors], moments: Sequence[Moment]
) -> dict[str, Rows]:
    """The movement of one network at each moment, including the start, and its tangent kernel if images are given."""
    movements: Rows = []
    kernels: Rows = []
    start = tangent_kernels(evaluator, snapshots["initial"], kernel_images) if kernel_images else None
    for moment in moments:
        when, weights = {"epoch": moment.epoch, "final": moment.final}, snapshots[moment.name]
        movements += [when | row for row in movement_rows(snapshots["initial"], weights)]
        if start is not None:
            now = start if moment.name == "initial" else tangent_kernels(evaluator, weights, kernel_images)
            kernels.append(when | kernel_row(evaluator, seed, start, now))
    return {"movement": movements, "kernels": kernels}
