"""What is measured on networks during training (losses, accuracies and norms), and when they stop because of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from isthmus.core.tensors import Tensors
from isthmus.data.examples import Examples
from isthmus.data.subsets import places
from isthmus.models.evaluation import evaluate, evaluation_mode
from isthmus.recipes.recipe import TrainingRecipe
from isthmus.tables.rows import Row, Rows, finite


@dataclass(frozen=True)
class Scoring:
    """The data that the networks of a stack are scored on, the same throughout a run.

    statistics `[B]`: indices, in rising order, of the training examples for batch normalization. noisy: whether labels
    have noise, so that the accuracy on clean labels differs.
    """

    examples: Examples
    statistics: Tensor
    loss: str
    batch_size: int
    noisy: bool

    @cached_property
    def statistics_images(self) -> Tensor:
        """The images `[1, B, C, H, W]` that batch-norm statistics are computed over."""
        return self.examples.images[self.statistics][None]

    @cached_property
    def places(self) -> Tensor:
        """Where the training images `[N]` are among these, -1 for those that are not."""
        everything = torch.arange(len(self.examples.images), device=self.statistics.device)
        return places(everything, among=self.statistics)

    def rows(
        self,
        network: nn.Module,
        function: Callable[[Tensor], Tensor],
        weights: Tensors,
        initial: Tensors,
        labels: Tensor,
    ) -> Rows:
        """One row per network of the stack, with None for numbers that are not finite.

        function: the network at the weights, by name `[S, ...]`. initial: the weights at the start.
        labels `[S, N]`: those that each network learns.
        """
        both = labels[None]
        if self.noisy:
            both = torch.cat([both, self.examples.clean_labels.expand_as(labels)[None]])
        images, test_images, test_labels = self.examples.images, self.examples.test_images, self.examples.test_labels
        with evaluation_mode(network, self.statistics_images, weights) as outputs:
            how, known = (self.loss, self.batch_size), (outputs, self.places)
            train_loss, train_accuracy = evaluate(function, images, both, *how, *known)
            test_loss, test_accuracy = evaluate(function, test_images, test_labels[None], self.loss, self.batch_size)
        norm, movement = norms(weights, initial)
        columns = {
            "train_loss": train_loss[0],
            "train_accuracy": train_accuracy[0],
            "train_accuracy_clean": train_accuracy[-1],
            "test_loss": test_loss[0],
            "test_accuracy": test_accuracy[0],
            "weight_norm": norm,
            "movement": movement,
        }
        return [{key: finite(values[member]) for key, values in columns.items()} for member in range(len(norm))]


def norms(weights: Tensors, initial: Tensors) -> tuple[Tensor, Tensor]:
    """Norm of the weights and their distance from the start, `[S]` each, of tensors `[S, ...]`, summed in float64."""
    with torch.no_grad():
        pairs = [(weight.double(), initial[name]) for name, weight in weights.items()]
        norm = torch.stack([now.flatten(1).square().sum(1) for now, _ in pairs]).sum(0).sqrt()
        movement = torch.stack([(now - start).flatten(1).square().sum(1) for now, start in pairs]).sum(0).sqrt()
    return norm.cpu(), movement.cpu()


def not_finite(row: Row) -> bool:
    """Whether a loss or a norm in these scores is not finite. Accuracies are null if targets are real numbers."""
    return any(row[key] is None for key in ("train_loss", "test_loss", "weight_norm", "movement"))


def reason_to_stop(training: TrainingRecipe, row: Row, first_loss: float, over: bool) -> str | None:
    """Why a network with these scores stops, or None if it continues.

    first_loss: its training loss at the start, to detect divergence. over: whether its steps are used up.
    """
    if not_finite(row):
        return "diverged"
    if row["train_loss"] > training.divergence_factor * first_loss:
        return "diverged"
    if training.until_train_loss is not None and row["train_loss"] <= training.until_train_loss:
        return "train_loss"
    if training.until_train_accuracy is not None and row["train_accuracy"] >= training.until_train_accuracy:
        return "train_accuracy"
    return "budget" if over else None
