"""Activation matching: pair the hidden units of two networks that are active on the same images, group by group.

The method is that of Li et al. (2015) and of Ainsworth et al. (2023, section 3.1).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.landscape.alignment.result import Alignment, Groups, assignment, check_comparable, with_weights
from isthmus.models.evaluation import converted, evaluation_mode
from isthmus.models.hidden_units import Weights, apply


def match_activations(
    network: nn.Module, reference: Weights, weights: Weights, groups: Groups, images: Tensor, batch_size: int = 500
) -> Alignment:
    """Permute the hidden units of `weights` so that their activations come close to those of `reference`.

    network: a stack of one that supplies the architecture; its own weights are not used. images `[N, C, H, W]`:
    normalized, not augmented, on the device to compute on; batch-norm statistics are computed over all of them.

    Units are paired by inner products, which is least squares, sum |z_A - pi(z_B)|^2 over all examples (Ainsworth et
    al. 2023), not by correlations (Li et al. 2015). A unit thus counts as much as the next layer sees of it, and dead
    units do not count (they are left for one another, in any order). On 21 pairs of small networks of all
    architectures, trained on the digits, barriers were 0.9 times those after pairing by correlations, in the geometric
    mean, which is within their scatter. Each pixel of a channel is one example. If a group is recorded in several
    modules, their products are summed. Forward passes have the type of the weights; sums over examples are in float64.

    Raises AlignmentError as `match_weights` does.

    >>> from isthmus.models.architectures import build
    >>> from isthmus.models.hidden_units import groups
    >>> from isthmus.recipes.recipe import NetworkRecipe
    >>> recipe = NetworkRecipe("mlp", 2, 1, "none", "relu", 0, 0, 1)
    >>> network, hidden = build(recipe, (1, 1, 1), 1), groups(recipe, (1, 1, 1), 1)
    >>> first = {"1.weight": torch.tensor([[1.0], [-2.0]]), "1.bias": torch.zeros(2)}
    >>> first |= {"3.weight": torch.tensor([[3.0, 4.0]]), "3.bias": torch.zeros(1)}
    >>> second = first | {"1.weight": first["1.weight"].flip(0), "3.weight": first["3.weight"].flip(1)}
    >>> images = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)
    >>> match_activations(network, first, second, hidden, images).weights["3.weight"]
    tensor([[3., 4.]])
    """
    check_comparable(reference, weights)
    dtype = next(iter(weights.values())).dtype
    images = converted(images, dtype)
    networks = [with_weights(network, each, images.device, dtype) for each in (reference, weights)]
    places = [place for group in groups.values() for place in group.places]
    products: dict[str, Tensor] = {}
    with (
        torch.no_grad(),
        evaluation_mode(networks[0], images[None]),
        evaluation_mode(networks[1], images[None]),
        _watched(networks[0], places) as first,
        _watched(networks[1], places) as second,
    ):
        for batch in images.split(batch_size):
            for each in networks:
                each(batch[None])
            for name, group in groups.items():
                for place in group.places:
                    added = _examples(first[place]).T @ _examples(second[place])
                    products[name] = products[name] + added if name in products else added
    permutations, objective = {}, 0.0
    for name in groups:
        similarities = products[name].cpu() / len(images)
        permutations[name], gain = assignment(similarities)
        objective += similarities.trace().item() + gain
    return Alignment(permutations, apply(permutations, weights, groups), objective, (objective,))


@contextmanager
def _watched(network: nn.Module, places: list[str]) -> Iterator[dict[str, Tensor]]:
    """A dictionary that holds, after each forward pass, the outputs of the modules named in `places`."""
    seen: dict[str, Tensor] = {}

    def hook(place: str) -> Any:
        return lambda module, arguments, output: seen.__setitem__(place, output)

    handles = [network.get_submodule(place).register_forward_hook(hook(place)) for place in places]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _examples(activations: Tensor) -> Tensor:
    """`[1, B, size]` or `[B, size, height, width]` as `[examples, size]`, float64."""
    return (activations[0] if activations.dim() == 3 else activations.movedim(1, -1).flatten(0, -2)).double()
