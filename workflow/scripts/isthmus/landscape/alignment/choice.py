"""Match the hidden units of a pair of networks: by which method, and on which images.

Three methods (`isthmus.landscape.alignment`):

* `weights`: weight matching from the identity and from random permutations, which needs no data;
* `activations`: activation matching on training images;
* `combined`: weight matching that starts from the permutations that activation matching found.

None of them is always the best, so `auto` tries all three and keeps the one with the lowest loss halfway along the
straight line, on training examples that were not used to match activations.

Test accuracy in percent at that midpoint, as means over three pairs of width 128 with batch norm, trained on 15,000
images of MNIST for 8 epochs, with 8 restarts:

    hidden layers   weights   activations   combined   auto
    2               96.7      96.7          96.6       96.6
    5               95.7      95.9          96.3       96.3
    11              86.2      94.9          95.2       95.2

In deep networks, weight matching on its own ends in poor local optima. Over 32 restarts at 11 layers, the objectives of
a pair differ by less than 0.5 percent, while the accuracies range from 69 to 91 percent. More restarts do not cure
this: the best objective of 1, 8 and 32 gives 83, 85 and 86 percent, and selecting by the loss at the midpoint gives 83,
89 and 90. Every search from matched activations ends with a higher objective than all of these and with 94 to 96
percent, in whatever order it visits the layers. The number of restarts therefore matters only to `weights`; the default
is 8, since more gain nothing at 2 and 5 layers. Networks trained for longer at four times the learning rate vary even
more: 34 to 95 percent over 16 restarts of `weights`, 95 to 96 for `combined`.

In narrow networks (width 32, the digits, 11 layers), `activations` beats `combined` for most pairs.

Matching effective weights, with batch norm folded into the layer before, is worse at every depth (94, 86, 63 percent,
against the column `weights`). Scaling inputs by the root mean square of their activations does not help either (97,
96 and 83). Batch norm's own weights and biases are matched, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from isthmus.core import seeds
from isthmus.data.subsets import subset
from isthmus.landscape.alignment.activations import match_activations
from isthmus.landscape.alignment.result import Alignment
from isthmus.landscape.alignment.weights import match_weights
from isthmus.landscape.at_points import evaluate_path
from isthmus.landscape.evaluator import Evaluator, TrainedNetwork
from isthmus.landscape.paths import line
from isthmus.models.unit_groups import groups
from isthmus.recipes.pairs import Pair

METHODS = ("weights", "activations", "combined")
"""The methods that `auto` chooses from; if losses are equal, the first wins."""


@dataclass(frozen=True)
class Match:
    """The alignment that was kept, its method (one of METHODS), and the loss of each tried method halfway.

    midpoint_losses: by method, on held-out examples; empty if there was nothing to choose. matched_examples: how many
    examples activations were matched on; selected_examples: how many others the method was selected on.
    """

    method: str
    alignment: Alignment
    midpoint_losses: dict[str, float]
    matched_examples: int
    selected_examples: int


def match_and_select(labels: Tensor, images: int, selection_images: int) -> tuple[Tensor, Tensor]:
    """Indices, in rising order, of training examples to match activations on, and of others to select a method on.

    labels: `[N]`, without noise. images, selection_images: how many are wanted; if there are fewer examples, all are
    used in the same proportion. Raises ValueError for fewer than two examples.

    >>> import torch
    >>> [len(part) for part in match_and_select(torch.zeros(60), 1000, 500)]
    [40, 20]
    """
    count, wanted = len(labels), images + selection_images
    if count < wanted:
        images = min(max(round(count * images / wanted), 1), count - 1)
        selection_images = count - images
    return subset(labels, images), subset(labels, selection_images, after=images)


def match(
    evaluator: Evaluator, options: Mapping[str, Any], pair: Pair, first: TrainedNetwork, second: TrainedNetwork
) -> Match:
    """Match the hidden units of the second network of a pair with those of the first.

    options: `method`, `images`, `selection_images` and `restarts`, as in the configuration. Restarts are seeded by the
    pair. Raises AlignmentError if a network is not finite.
    """
    labels = evaluator.examples.clean_labels[0]
    if options["method"] != "auto":
        matched_on = subset(labels, options["images"])
        alignments = _alignments(evaluator, options["restarts"], pair, first, second, matched_on, (options["method"],))
        used = 0 if options["method"] == "weights" else len(matched_on)
        return Match(options["method"], alignments[options["method"]], {}, used, 0)
    matched_on, selected_on = match_and_select(labels, options["images"], options["selection_images"])
    alignments = _alignments(evaluator, options["restarts"], pair, first, second, matched_on, METHODS)
    losses = {
        method: midpoint_loss(evaluator, pair, first, alignment.weights, selected_on)
        for method, alignment in alignments.items()
    }
    best = min(METHODS, key=lambda method: losses[method] if np.isfinite(losses[method]) else np.inf)
    return Match(best, alignments[best], losses, len(matched_on), len(selected_on))


def _alignments(
    evaluator: Evaluator,
    restarts: int,
    pair: Pair,
    first: TrainedNetwork,
    second: TrainedNetwork,
    matched_on: Tensor,
    methods: tuple[str, ...],
) -> dict[str, Alignment]:
    """The alignments by the given METHODS, in that order. matched_on: indices of the images for activations."""
    found = groups(evaluator.recipe.network, evaluator.shape, evaluator.classes, evaluator.examples.images.dtype)
    ends: tuple[Any, Any] = (first.final, second.final)
    made: dict[str, Alignment] = {}
    if "weights" in methods:
        generator = seeds.generator(pair[0], seeds.Stream.ALIGNMENT, pair[1])
        made["weights"] = match_weights(*ends, found, generator, restarts)
    if methods != ("weights",):
        images, size = evaluator.examples.images, evaluator.settings.evaluation_batch_size
        images = images[matched_on.to(evaluator.settings.device)]
        generator = seeds.generator(pair[0], seeds.Stream.ALIGNMENT, pair[1], 2)
        by_activations = match_activations(evaluator.single, *ends, found, images, size, generator, restarts)
        made["activations"] = by_activations
        if "combined" in methods:
            generator = seeds.generator(pair[0], seeds.Stream.ALIGNMENT, pair[1], 1)
            made["combined"] = match_weights(*ends, found, generator, restarts, by_activations.permutations)
    return made


def midpoint_loss(
    evaluator: Evaluator, pair: Pair, first: TrainedNetwork, second: Mapping[str, Tensor], chosen: Tensor
) -> float:
    """The loss halfway between a network and the aligned weights of another, on the training examples `chosen`.

    Batch-norm statistics are computed anew at this point. Each network's own labels count for half.
    """
    chosen = chosen.to(evaluator.settings.device)
    start, end = (evaluator.placed(dict(each)) for each in (first.final, second))
    scores = evaluate_path(
        evaluator.single,
        line(start, end),
        np.array([0.5]),
        {"apart": (evaluator.examples.images[chosen], evaluator.pair_labels(pair)[:, chosen])},
        evaluator.recipe.training.loss,
        evaluator.statistics_images,
        evaluator.settings.evaluation_batch_size,
    )
    return scores["apart"][0].item()
