"""Loss and accuracy of a stack of networks, in evaluation mode, with batch-norm statistics made afresh.

Running statistics are no state of a network (stale ones are how barriers and pruned networks get misjudged):
whoever evaluates names the images over which the statistics are to be computed at the very weights in question.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.core.out_of_memory import attempt, halved
from isthmus.models.stacked import BatchNorm


@contextmanager
def evaluation_mode(network: nn.Module, images: Tensor, parameters: dict[str, Tensor] | None = None) -> Iterator[None]:
    """Switch `network` to evaluation mode, batch-norm statistics computed over `images` in one pass, then back.

    images: `[S or 1, B, C, H, W]`, un-augmented. parameters: weights in place of the network's own, as for
    `torch.func.functional_call`. All layers see the statistics of the whole of `images`, so they are exact for it.
    """
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    was_training = network.training
    network.eval()
    try:
        if norms:
            for norm in norms:
                norm.collecting = True
            with torch.no_grad():
                torch.func.functional_call(network, parameters or {}, (images,))
            for norm in norms:
                norm.collecting = False
        yield
    finally:
        for norm in norms:
            norm.collecting, norm.statistics = False, None
        network.train(was_training)


def losses(outputs: Tensor, labels: Tensor, kind: str) -> Tensor:
    """Mean loss per network: outputs `[S, B, classes]`, labels `[S or 1, B]` -> `[S]`.

    `cross_entropy` in nats; `squared_error` against one-hot targets, mean over examples and outputs.
    """
    stack, batch, classes = outputs.shape
    labels = labels.expand(stack, -1)
    if kind == "cross_entropy":
        each = F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none").view(stack, batch)
        return each.mean(1)
    targets = F.one_hot(labels, classes).to(outputs.dtype)
    return (outputs - targets).square().mean((1, 2))


def evaluate(
    network: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, loss: str, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Mean loss and accuracy of each network of a stack over all examples, each `[K, S]`, float64, on the CPU.

    images `[N, C, H, W]`, shared by the stack; labels `[K, S or 1, N]`: K sets of labels scored in one pass. The
    network, or the function in its place, must be in `evaluation_mode`. Sums over batches are in float64. Where a batch
    does not fit into the device's memory, it and those that follow are halved (`isthmus.core.out_of_memory`).
    """
    total_loss: Tensor | float = 0.0
    correct: Tensor | float = 0.0
    start, count = 0, images.shape[0]
    with torch.no_grad():
        while start < count:
            part = slice(start, start + batch_size)
            score = partial(_score, network, images[part], labels[..., part], loss)
            scored = attempt(score, min(batch_size, count - start), "images at once")
            if scored is None:
                batch_size = halved(min(batch_size, count - start))
                continue
            total_loss, correct, start = total_loss + scored[0], correct + scored[1], start + batch_size
    return torch.as_tensor(total_loss) / count, torch.as_tensor(correct) / count


def _score(network: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """Sums of losses and numbers of right answers over one batch `[B, C, H, W]`, each `[K, S]`, float64, on the CPU."""
    outputs = network(images[None])
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    predictions = outputs.argmax(-1)
    summed = torch.stack([losses(outputs, each, loss).double() * outputs.shape[1] for each in labels])
    return summed.cpu(), torch.stack([(predictions == each).sum(1) for each in labels]).double().cpu()
