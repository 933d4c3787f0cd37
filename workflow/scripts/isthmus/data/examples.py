"""The data that a stack of networks trains on: selected, normalized, with each network's labels and augmentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from isthmus.core import seeds
from isthmus.core.devices import Settings
from isthmus.data import subsets
from isthmus.data.augmentation import augment, draw
from isthmus.data.dataset import Dataset, noisy_labels, normalized, select
from isthmus.recipes.pairs import Pair
from isthmus.recipes.recipe import DataRecipe, Recipe, TrainingRecipe


@dataclass(frozen=True)
class Examples:
    """The data for a stack of networks, on the device.

    images `[N, C, H, W]`: float32, normalized, or inputs of another kind `[N, ...]`; labels `[S, N]`: one row per
    network; clean_labels `[1, N]`; fill `[C]`: the normalized value of a black pixel. Real targets have one axis more
    than labels, for the outputs.
    """

    images: Tensor
    labels: Tensor
    clean_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    fill: Tensor

    @cached_property
    def order(self) -> Tensor:
        """The order `[N]` from which subsets of the training examples are taken.

        It depends on the clean labels, so networks trained on different labels are measured on the same examples.
        """
        return subsets.order(self.clean_labels[0])

    def subset(self, size: int, after: int = 0) -> Tensor:
        """Indices of training examples, in rising order, on the device: see `isthmus.data.subsets.subset`."""
        return subsets.taken(self.order, size, after).to(self.images.device)

    def test_subset(self, size: int) -> Tensor:
        """Indices of test examples, in rising order, on the device: see `isthmus.data.subsets.subset`."""
        return subsets.subset(self.test_labels[0], size).to(self.images.device)


def training_labels(recipe: DataRecipe, dataset: Dataset, network_seeds: tuple[int, ...]) -> tuple[np.ndarray, Tensor]:
    """Indices `[N]` of the training examples that a recipe selects, and their labels `[S, N]` with label noise."""
    every_label = dataset.train_labels.numpy()
    indices = select(every_label, recipe.train_size, recipe.selection, recipe.selection_seed)
    clean = every_label[indices]
    rows = []
    for seed in network_seeds:
        drawn_from = seed if recipe.label_noise_draw == "per_seed" else recipe.selection_seed
        noise = seeds.generator(drawn_from, seeds.Stream.LABEL_NOISE)
        rows.append(noisy_labels(clean, dataset.classes, recipe.label_noise, noise))
    return indices, torch.from_numpy(np.stack(rows))


def place_examples(recipe: Recipe, dataset: Dataset, network_seeds: tuple[int, ...], settings: Settings) -> Examples:
    """Select, normalize and move the data to the device."""
    indices, labels = training_labels(recipe.data, dataset, network_seeds)
    device = settings.device
    channels_last = settings.channels_last and len(dataset.shape) == 3
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def images(raw: Tensor) -> Tensor:
        return normalized(raw.to(device), dataset.mean.to(device), dataset.std.to(device)).contiguous(
            memory_format=layout
        )

    return Examples(
        images=images(dataset.train_images[torch.from_numpy(indices)]),
        labels=labels.to(device),
        clean_labels=dataset.train_labels[torch.from_numpy(indices)][None].to(device),
        test_images=images(dataset.test_images),
        test_labels=dataset.test_labels[None].to(device),
        fill=(-dataset.mean / dataset.std).to(device),
    )


def stacked_images(
    examples: Examples,
    chosen: Tensor,
    own_seeds: Sequence[int],
    step: int,
    training: TrainingRecipe,
    channels_last: bool,
) -> Tensor:
    """Images `[S, B, C, H, W]` of the chosen examples `[S, B]`, augmented for this step with one seed per row."""
    images = examples.images[chosen.flatten()]
    if training.flip or training.crop_padding:
        draws = [draw(seed, step, chosen.shape[1], training.flip, training.crop_padding) for seed in own_seeds]
        mirrored, offsets = (torch.cat(parts, dim=-1).to(images.device) for parts in zip(*draws, strict=True))
        images = augment(images, mirrored, offsets, training.crop_padding, examples.fill)
    if channels_last and images.dim() == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    return images.unflatten(0, tuple(chosen.shape))


def picked(labels: Tensor, chosen: Tensor) -> Tensor:
    """The labels, or real targets, of the chosen examples `[S, B]`, from those of all, `[S, N]` or `[S, N, outputs]`.

    >>> picked(torch.tensor([[5, 6, 7]]), torch.tensor([[2, 0]])).tolist()
    [[7, 5]]
    """
    index = chosen.view(*chosen.shape, *[1] * (labels.dim() - 2))
    return labels.gather(1, index.expand(*chosen.shape, *labels.shape[2:]))


def pair_labels(labels: Tensor, network_seeds: tuple[int, ...], pairs: tuple[Pair, ...]) -> Tensor:
    """Training labels for curves between pairs of networks, `[K, P, N]`, from the networks' labels `[S, N]`.

    K is 1 if both networks of every pair learned the same labels. With label noise drawn per seed, K is 2, one set of
    labels for each endpoint; the loss at t is then (1 - t) times the loss on the first set plus t times the loss on the
    second. At its endpoints, a path thus has the losses that its networks were trained on.
    """
    rows = torch.tensor([[network_seeds.index(seed) for seed in pair] for pair in pairs]).T.to(labels.device)
    both = labels[rows]
    return both[:1] if torch.equal(both[0], both[1]) else both
