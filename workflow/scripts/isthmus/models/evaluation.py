"""Loss and accuracy of a stack of networks in evaluation mode, with freshly computed batch-norm statistics.

Networks here keep no running statistics, because stale ones distort the losses of interpolated and pruned networks.
Instead, the caller passes images, over which the statistics are computed at the weights that are evaluated.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.core.out_of_memory import attempt, halved
from isthmus.models.functional import Stacked
from isthmus.models.own import load
from isthmus.models.stacked import BatchNorm


@contextmanager
def evaluation_mode(
    network: nn.Module, images: Tensor, parameters: dict[str, Tensor] | None = None
) -> Iterator[Tensor | None]:
    """Put `network` into evaluation mode, with batch-norm statistics of `images`, and restore its mode afterwards.

    Yields the outputs of `images` `[S, B, classes]` in this mode, which the statistics bring with them; None without
    batch normalization, where nothing is computed.

    images: `[S or 1, B, C, H, W]`, without augmentation, all in one batch. parameters: weights that replace the
    network's own, as for `torch.func.functional_call`.

    >>> norm = BatchNorm(stack=1, channels=1)
    >>> weights = {"weight": torch.ones(1, 1), "bias": torch.zeros(1, 1)}
    >>> with evaluation_mode(norm, torch.tensor([[[1.0], [3.0]]]), weights) as outputs:
    ...     [each.item() for each in norm.statistics], outputs.flatten().round(decimals=2).tolist()  # mean and variance
    ([2.0, 1.0], [-1.0, 1.0])
    """
    norms = [module for module in network.modules() if isinstance(module, BatchNorm) or _normalizes(module)]
    was_training, outputs = network.training, None
    network.eval()
    try:
        if norms:
            for norm in norms:
                norm.collecting = True
            with torch.no_grad():
                outputs = torch.func.functional_call(network, parameters or {}, (images,))
            for norm in norms:
                norm.collecting = False
        yield outputs
    finally:
        for norm in norms:
            norm.collecting, norm.statistics = False, None
        network.train(was_training)


def _normalizes(module: nn.Module) -> TypeGuard[Stacked]:
    """Whether this is a stack of networks with batch normalization."""
    return isinstance(module, Stacked) and module.normalizes


def converted(inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Inputs in the precision of the weights; tokens, which are integers, stay as they are.

    >>> converted(torch.tensor([1, 2]), torch.float64).dtype
    torch.int64
    """
    return inputs.to(dtype) if inputs.is_floating_point() else inputs


def losses(outputs: Tensor, labels: Tensor, kind: str) -> Tensor:
    """Mean loss per network: outputs `[S, B, classes]`, labels `[S or 1, B]` -> `[S]`.

    kind: `cross_entropy`, in nats, or `squared_error`, averaged over examples and outputs, against one-hot targets, or
    against real targets `[S or 1, B, outputs]` in the place of labels; or a function of the user's own
    (`isthmus.models.loss_inspection`), averaged over examples.

    >>> losses(torch.zeros(1, 3, 2), torch.tensor([[0, 1, 1]]), "squared_error").tolist()
    [0.5]
    """
    stack, batch, classes = outputs.shape
    labels = labels.expand(stack, *labels.shape[1:])
    if labels.is_floating_point():
        labels = labels.to(outputs.dtype)
    if ":" in kind:
        each: Tensor = load(kind)(outputs.flatten(0, 1), labels.flatten(0, 1))
        return each.view(stack, batch).mean(1)
    if kind == "cross_entropy":
        each = F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none").view(stack, batch)
        return each.mean(1)
    targets = labels if labels.is_floating_point() else F.one_hot(labels, classes).to(outputs.dtype)
    return (outputs - targets).square().mean((1, 2))


def evaluate(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    loss: str,
    batch_size: int,
    outputs: Tensor | None = None,
    places: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean loss and accuracy of each network in a stack over all examples, each `[K, S]`, float64, on the CPU.

    network: a network in `evaluation_mode`, or a function. images `[N, C, H, W]`: shared by the stack; labels
    `[K, S or 1, N]`: K sets of labels, scored in one pass, or of real targets `[K, S or 1, N, outputs]`, whose accuracy
    is NaN. outputs `[S, B, classes]`: known already, if any, and places `[N]`: where those of each image are, -1 for
    images that are not among them. Sums over batches are in float64. If a batch does not fit into the device's memory,
    the batch size is halved (`isthmus.core.out_of_memory`).

    >>> images, labels = torch.tensor([[2.0, 1.0], [0.0, 3.0]]).view(2, 1, 1, 2), torch.tensor([[[0, 0]]])
    >>> loss, accuracy = evaluate(lambda x: x.flatten(2), images, labels, "squared_error", batch_size=2)
    >>> loss.tolist(), accuracy.tolist()
    ([[3.0]], [[0.5]])
    """
    total_loss: Tensor | float = 0.0
    correct: Tensor | float = 0.0
    start, total = 0, images.shape[0]
    if outputs is not None and places is not None and (there := places >= 0).any():
        total_loss, correct = _score(outputs[:, places[there]], labels[:, :, there], loss)
        images, labels = images[~there], labels[:, :, ~there]
    count = images.shape[0]
    with torch.no_grad():
        while start < count:
            part = slice(start, start + batch_size)
            score = partial(_score_images, network, images[part], labels[:, :, part], loss)
            scored = attempt(score, min(batch_size, count - start), "images at once")
            if scored is None:
                batch_size = halved(min(batch_size, count - start))
                continue
            total_loss, correct, start = total_loss + scored[0], correct + scored[1], start + batch_size
    # Fetched once: whoever asks a GPU after every batch makes it wait.
    return (torch.as_tensor(total_loss) / total).cpu(), (torch.as_tensor(correct) / total).cpu()


def _score_images(
    network: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, loss: str
) -> tuple[Tensor, Tensor]:
    return _score(network(images[None]), labels, loss)


def _score(outputs: Tensor, labels: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """Summed losses and numbers of correct answers of outputs `[S, B, classes]`, each `[K, S]`, float64."""
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    summed = torch.stack([losses(outputs, each, loss).double() * outputs.shape[1] for each in labels])
    if labels.is_floating_point():
        return summed, torch.full_like(summed, torch.nan)
    predictions = outputs.argmax(-1)
    return summed, torch.stack([(predictions == each).sum(1) for each in labels]).double()
