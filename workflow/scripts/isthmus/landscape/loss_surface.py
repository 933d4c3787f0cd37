"""The loss as a function of the weights, for measurements that perturb a network, descend or ascend."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.core.tensors import Tensors
from isthmus.models.evaluation import converted, evaluate, evaluation_mode, losses


@dataclass(frozen=True)
class LossSurface:
    """Mean loss and accuracy over fixed images, as functions of the weights of a network.

    network: a stack on the device; its size S is the number of points evaluated at once, and its own weights are not
    used. images `[N, C, H, W]` and labels `[N]`: on the device, too. loss: as in `isthmus.models.evaluation.losses`.
    statistics_images: `[1, B, C, H, W]`, for the batch-norm statistics at all weights. batch_size: images computed at
    once; it changes results by rounding alone. places `[N]`: where the images are among the statistics images, as for
    `isthmus.models.evaluation.evaluate`.

    Raises ValueError if images and labels differ in number, or there are none.

    >>> from isthmus.models.stacked import Flatten, Linear
    >>> network = nn.Sequential(Flatten(), Linear(2, 1, 1, bias=False))
    >>> image, label = torch.ones(1, 1, 1, 1), torch.tensor([0])  # the loss is (w - 1)^2
    >>> surface = LossSurface(network, image, label, "squared_error", image[None], 256)
    >>> surface.at({"1.weight": torch.tensor([[[3.0]], [[1.0]]])})[0]
    tensor([4., 0.], dtype=torch.float64)
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    loss: str
    statistics_images: Tensor
    batch_size: int
    places: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.images) == 0 or len(self.images) != len(self.labels):
            given = f"{len(self.images)} images and {len(self.labels)} labels"
            raise ValueError(f"{given}: give as many of both, and at least one")

    @property
    def stack(self) -> int:
        """The stack size S."""
        return next(self.network.parameters()).shape[0]

    def at(self, weights: Tensors) -> Tensor:
        """Losses and accuracies `[2, S]`, float64, on the CPU, at weights by name `[S, ...]`."""
        images, statistics = self._images(weights)
        function = partial(functional_call, self.network, weights)
        with evaluation_mode(self.network, statistics, weights) as outputs:
            labels, how = self.labels[None, None], (self.loss, self.batch_size)
            values = evaluate(function, images, labels, *how, outputs, self.places)
        return torch.stack(values)[:, 0]

    def with_gradient(self, weights: Tensors) -> tuple[float, Tensors]:
        """The loss at weights `[1, ...]` and its gradient by them, summed over batches in float64."""
        images, statistics = self._images(weights)
        leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
        total, sums = 0.0, {name: torch.zeros_like(value, dtype=torch.float64) for name, value in weights.items()}
        batches = zip(images.split(self.batch_size), self.labels.split(self.batch_size), strict=True)
        with evaluation_mode(self.network, statistics, weights):
            for batch, labels in batches:
                value = losses(functional_call(self.network, leaves, (batch[None],)), labels[None], self.loss)[0]
                share = len(batch) / len(images)
                total += float(value.detach()) * share
                for name, gradient in zip(leaves, torch.autograd.grad(value, tuple(leaves.values())), strict=True):
                    sums[name].add_(gradient, alpha=share)
        return total, sums

    def _images(self, weights: Tensors) -> tuple[Tensor, Tensor]:
        """Both sets of images, in the type of the weights."""
        dtype = next(iter(weights.values())).dtype
        return converted(self.images, dtype), converted(self.statistics_images, dtype)
