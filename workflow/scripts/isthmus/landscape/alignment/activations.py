"""Activation matching: pair the hidden units of two networks that are active on the same images, group by group.

The method is that of Li et al. (2015) and of Ainsworth et al. (2023, section 3.1).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.landscape.alignment.result import Alignment, Groups, assignment, check_comparable
from isthmus.landscape.alignment.weights import match_weights
from isthmus.models.evaluation import converted, evaluation_mode
from isthmus.models.functional import Stacked
from isthmus.models.hidden_units import Place, Weights, apply
from isthmus.models.same_function import with_weights


def match_activations(
    network: Stacked,
    reference: Weights,
    weights: Weights,
    groups: Groups,
    images: Tensor,
    batch_size: int = 500,
    generator: np.random.Generator | None = None,
    restarts: int = 8,
) -> Alignment:
    """Permute the hidden units of `weights` so that their activations come close to those of `reference`.

    network: supplies the architecture; its own weights are not used. images `[N, C, H, W]`:
    normalized, not augmented, on the device to compute on; batch-norm statistics are computed over all of them.

    Units are paired by inner products, which is least squares, sum |z_A - pi(z_B)|^2 over all examples (Ainsworth et
    al. 2023), not by correlations (Li et al. 2015). A unit thus counts as much as the next layer sees of it, and dead
    units do not count (they are left for one another, in any order). On 21 pairs of small networks of all
    architectures, trained on the digits, barriers were 0.9 times those after pairing by correlations, in the geometric
    mean, which is within their scatter. Each pixel of a channel is one example. If a group is recorded in several
    places, their products are summed. Forward passes have the type of the weights; sums over examples are in float64.

    Units that no module reads or returns, such as those inside `nn.MultiheadAttention`, are then matched by their
    weights (`match_weights`, with `generator` and `restarts`).

    Raises AlignmentError as `match_weights` does, and ValueError if there are such units and no generator is given.

    >>> from isthmus.models.networks import build
    >>> from isthmus.models.unit_groups import groups
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
    # Places are those of the module itself, not those of stacked layers, which have another layout.
    single = Stacked(network.make, 1, together=False)
    networks = [with_weights(single, each, images.device, dtype) for each in (reference, weights)]
    recorded = {name: group for name, group in groups.items() if group.places}
    places = [place for group in recorded.values() for place in group.places]
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
            for name, group in recorded.items():
                for place in group.places:
                    units = [_examples(seen[place], place, group.size) for seen in (first, second)]
                    for one, other in zip(*units, strict=True):
                        added = one.T @ other
                        products[name] = products[name] + added if name in products else added
    permutations, objective = {}, 0.0
    for name, group in recorded.items():
        similarities = products[name].cpu() / len(images)
        permutations[name], gain = assignment(similarities, group.block)
        objective += similarities.trace().item() + gain
    rest = {name: group for name, group in groups.items() if not group.places}
    if rest:
        if generator is None:
            raise ValueError(f"the units {', '.join(rest)} are matched by their weights, which needs a generator")
        matched = apply(permutations, weights, groups)
        permutations |= match_weights(reference, matched, rest, generator, restarts).permutations
    return Alignment(permutations, apply(permutations, weights, groups), objective, (objective,))


@contextmanager
def _watched(network: nn.Module, places: list[Place]) -> Iterator[dict[Place, Tensor]]:
    """A dictionary that holds, after each forward pass, the tensors with the activations of `places`."""
    seen: dict[Place, Tensor] = {}

    def before(place: Place) -> Any:
        return lambda module, arguments: seen.__setitem__(place, arguments[0])

    def after(place: Place) -> Any:
        return lambda module, arguments, output: seen.__setitem__(place, output)

    handles = []
    for place in places:
        module = network.get_submodule(place.name)
        register = module.register_forward_pre_hook if place.reads else module.register_forward_hook
        handles.append(register(before(place) if place.reads else after(place)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _examples(activations: Tensor, place: Place, size: int) -> list[Tensor]:
    """Activations as `[examples, size]`, float64, one for each start of the place."""
    return [part.movedim(0, -1).flatten(0, -2).double() for part in place.parts(activations, size)]
