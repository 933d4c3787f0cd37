"""Losses at many points in weight space: along paths and on planes, several points at once.

`torch.func.functional_call` evaluates any module at any weights; the network's stack size is the number of points
evaluated at once (`isthmus.models.stacked`). Batch-norm statistics are computed anew at every point.

    network = build(recipe.network, shape, classes, stack=8)
    scores = evaluate_path(network, path, t, {"test": (images, labels)}, "cross_entropy", statistics_images, 256)
    loss, accuracy = scores["test"]
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.core.progress import Progress
from isthmus.core.tensors import Tensors
from isthmus.landscape.paths import Path
from isthmus.models.evaluation import evaluate, evaluation_mode

Sets = Mapping[str, tuple[Tensor, Tensor]]
Scores = dict[str, tuple[Tensor, Tensor]]


def evaluate_points(
    network: nn.Module,
    weights_at: Callable[[Tensor], Tensors],
    shares: np.ndarray,
    sets: Sets,
    loss: str,
    statistics_images: Tensor,
    batch_size: int,
    places: Mapping[str, Tensor] | None = None,
) -> Scores:
    """Mean losses and accuracies at T points, `[T]` each, float64, on the CPU, for each set of examples.

    network: a stack on the device; its size S is the number of points evaluated at once, and its own weights are not
    used. weights_at: a function from indices of points `[S]` (on the CPU) to their weights by name `[S, ...]`. sets:
    images `[N, C, H, W]` and labels `[K, N]`. K is 1, or 2 if two networks learned different labels
    (`isthmus.data.examples.pair_labels`); the score is then (1 - share) times the first score plus share times the
    second, shares `[T]`. statistics_images: `[1, B, C, H, W]`, for the batch-norm statistics at every point; the images
    used in training reproduce its losses. places: where the images of a set are among these, `[N]`, -1 for those that
    are not there (`isthmus.data.subsets.places`); with batch normalization, their outputs are not computed again.

    >>> from isthmus.models.stacked import Linear
    >>> network = nn.Sequential(nn.Flatten(2), Linear(2, 1, 1, bias=False))
    >>> image, label = torch.ones(1, 1, 1, 1), torch.tensor([[0]])  # the squared error is (w - 1)^2
    >>> weights = torch.tensor([1.0, 2.0, 4.0])
    >>> found = evaluate_points(
    ...     network,
    ...     lambda numbers: {"1.weight": weights[numbers].view(-1, 1, 1)},
    ...     np.zeros(3),
    ...     {"test": (image, label)},
    ...     "squared_error",
    ...     image[None],
    ...     batch_size=256,
    ... )
    >>> found["test"][0]
    tensor([0., 1., 9.], dtype=torch.float64)
    """
    stack = next(network.parameters()).shape[0]
    found: dict[str, list[Tensor]] = {name: [] for name in sets}
    progress = Progress("points", len(shares))
    for chunk in torch.arange(len(shares)).split(stack):
        progress.report(int(chunk[0]))
        # Repeat the last point to fill the stack of S.
        weights = weights_at(torch.cat([chunk, chunk[-1:].expand(stack - len(chunk))]))
        function = partial(torch.func.functional_call, network, weights)
        with evaluation_mode(network, statistics_images, weights) as outputs:
            for name, (images, labels) in sets.items():
                known = outputs, (places or {}).get(name)
                values = evaluate(function, images, labels[:, None], loss, batch_size, *known)
                found[name].append(torch.stack(values)[..., : len(chunk)])
    share = torch.from_numpy(np.asarray(shares, dtype=np.float64))
    return {name: _blend(torch.cat(parts, dim=-1), share) for name, parts in found.items()}


def _blend(scores: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Losses and accuracies, `[T]` each, from the scores on every set of labels, `[2, K, T]`."""
    loss, accuracy = scores[:, 0] if scores.shape[1] == 1 else (1 - share) * scores[:, 0] + share * scores[:, 1]
    return loss, accuracy


def evaluate_path(
    network: nn.Module,
    path: Path,
    t: np.ndarray,
    sets: Sets,
    loss: str,
    statistics_images: Tensor,
    batch_size: int,
    places: Mapping[str, Tensor] | None = None,
) -> Scores:
    """Like `evaluate_points`, along one path on the device, a stack of one; t `[T]` weights the second endpoint.

    >>> from isthmus.landscape.paths import line
    >>> from isthmus.models.stacked import Linear
    >>> network = nn.Sequential(nn.Flatten(2), Linear(2, 1, 1, bias=False))
    >>> image, label = torch.ones(1, 1, 1, 1), torch.tensor([[0]])  # the squared error is (w - 1)^2
    >>> path = line({"1.weight": torch.tensor([[[0.0]]])}, {"1.weight": torch.tensor([[[4.0]]])})
    >>> t, sets = np.linspace(0, 1, 3), {"test": (image, label)}
    >>> evaluate_path(network, path, t, sets, "squared_error", image[None], batch_size=256)["test"][0]
    tensor([1., 1., 9.], dtype=torch.float64)
    """
    points = torch.from_numpy(np.asarray(t, dtype=np.float64))

    def weights_at(numbers: Tensor) -> Tensors:
        return path.point(points[numbers].to(statistics_images.device))

    return evaluate_points(network, weights_at, t, sets, loss, statistics_images, batch_size, places)
