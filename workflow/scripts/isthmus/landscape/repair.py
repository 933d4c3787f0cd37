"""Restore the statistics of hidden units along a line between aligned networks (REPAIR, Jordan et al. 2023).

Matched units that do not agree on every example cancel in part when their weights are averaged. The variance of
activations therefore falls from layer to layer, and the function halfway says little about the minima ("variance
collapse"). The repair gives every hidden unit, at the point t of the line, the mean and the standard
deviation over training images that lie between those at the ends:

    mean(t) = (1 - t) mean(0) + t mean(1),    deviation(t) = (1 - t) deviation(0) + t deviation(1),

by a factor and a shift of the unit's row of its layer. As in the authors' code, all layers are repaired in one pass in
which every layer already reads repaired units, statistics are those before the activation function, and factors and
shifts are folded into weights and biases: a repaired point is a network of the same architecture, and both ends are the
networks themselves. Layers right before batch normalization are left to its fresh statistics, which do the same.

    repair = Repair.of(recipe.network, network, shape, classes, statistics_images)
    points = repair.along(line(start, end))  # a function of t, like `Path.point`
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.core.tensors import Tensors
from isthmus.landscape.paths import Path
from isthmus.models.architectures import Shape
from isthmus.models.evaluation import converted
from isthmus.models.functional import Stacked
from isthmus.models.in_turns import Moments, moments
from isthmus.models.repairable import repairable
from isthmus.recipes.recipe import AnyNetwork

ROUNDING = 16
"""Deviations below this many units in the last place of the mean are rounding: such units are only shifted."""

Statistics = dict[str, Moments]
"""Mean and standard deviation of the outputs of layers, by layer, `[units]` each."""


@dataclass(frozen=True)
class Repair:
    """Repairs points of lines between networks of one architecture.

    network: a stack of one, computed by the module itself; its own weights are not used. layers: names of the linear
    layers and convolutions to repair (`isthmus.models.repairable`). images: `[1, B, ...]`, whose statistics count.
    """

    network: Stacked
    layers: tuple[str, ...]
    images: Tensor

    @classmethod
    def of(cls, recipe: AnyNetwork, network: Stacked, shape: Shape, classes: int, images: Tensor) -> "Repair":
        """For the networks of a recipe, of which `network` is a stack. Raises UserError if these cannot be repaired."""
        single = Stacked(network.make, 1, together=False).to(images.device)
        return cls(single, repairable(recipe, shape, classes, images.dtype), images)

    def statistics(self, weights: Tensors) -> Statistics:
        """Means and deviations at the weights of one network, by name `[1, ...]`."""
        return self._pass(weights, {})[0]

    def along(self, path: Path) -> Callable[[Tensor], Tensors]:
        """The repaired points of a path, a stack of one: a function from t `[S]` to weights by name `[S, ...]`.

        At t = 0 and t = 1, these are the ends, to the last bit.

        >>> from isthmus.landscape.paths import line
        >>> network = Stacked(lambda: nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), 1, together=False)
        >>> start = {"0.weight": torch.tensor([[[2.0]]]), "0.bias": torch.zeros(1, 1)}
        >>> start |= {"1.weight": torch.ones(1, 1, 1), "1.bias": torch.zeros(1, 1)}
        >>> end = start | {"0.weight": torch.tensor([[[-2.0]]])}  # halfway, the weight is zero up to a quarter
        >>> repair = Repair(network, ("0",), torch.tensor([[[-1.0], [1.0]]]))
        >>> repair.along(line(start, end))(torch.tensor([0.25]))["0.weight"]  # the deviation is 2 all along
        tensor([[[2.]]])
        """
        start, end = (self.statistics(weights) for weights in (path.start, path.end))

        def points(t: Tensor) -> Tensors:
            weights = path.point(t)
            changed: dict[str, list[Tensor]] = {
                f"{layer}.{name}": [] for layer in self.layers for name in ("weight", "bias")
            }
            for member, share in enumerate(t.tolist()):
                own = {name: value[member][None] for name, value in weights.items()}
                inside = 0 < share < 1
                repaired = self._repaired(own, _between(start, end, share)) if inside else own
                for name, values in changed.items():
                    values.append(repaired[name])
            return weights | {name: torch.cat(values) for name, values in changed.items()}

        return points

    def _repaired(self, weights: Tensors, wanted: Statistics) -> Tensors:
        """The weights `[1, ...]` after all layers got the statistics `wanted`."""
        repaired = dict(weights)
        for layer, (factor, shift) in self._pass(weights, wanted)[1].items():
            weight, bias = f"{layer}.weight", f"{layer}.bias"
            repaired[weight] = weights[weight] * factor.view(1, -1, *[1] * (weights[weight].dim() - 2))
            repaired[bias] = weights[bias] * factor + shift
        return repaired

    def _pass(self, weights: Tensors, wanted: Statistics) -> tuple[Statistics, Statistics]:
        """Statistics of all layers in one pass, and the factors and shifts that give those in `wanted` the wanted ones.

        Layers read what these factors and shifts have made of the layers before.
        """
        found: Statistics = {}
        changes: Statistics = {}

        def watch(name: str, layer: nn.Module, _: Any, output: Tensor) -> Tensor | None:
            units = output.movedim(-1, 1) if isinstance(layer, nn.Linear) else output
            mean, variance = moments(layer, units)
            found[name] = mean, variance.sqrt()
            if name not in wanted:
                return None
            changes[name] = _change(found[name], wanted[name])
            factor, shift = (each.view(-1, *[1] * (units.dim() - 2)) for each in changes[name])
            changed = units * factor + shift
            return changed.movedim(1, -1) if isinstance(layer, nn.Linear) else changed

        network, images = self.network.eval(), converted(self.images, next(iter(weights.values())).dtype)
        handles = [network.get_submodule(name).register_forward_hook(partial(watch, name)) for name in self.layers]
        network.collecting = True  # batch-norm statistics are computed in the same pass
        try:
            with torch.no_grad():
                torch.func.functional_call(network, weights, (images,))
        finally:
            network.collecting, network.statistics = False, None
            for handle in handles:
                handle.remove()
        return found, changes


def _between(start: Statistics, end: Statistics, share: float) -> Statistics:
    """The statistics between those at the ends."""
    return {
        layer: (torch.lerp(mean, end[layer][0], share), torch.lerp(deviation, end[layer][1], share))
        for layer, (mean, deviation) in start.items()
    }


def _change(found: Moments, wanted: Moments) -> Moments:
    """The factor and the shift of each unit; a unit that is the same for all images has no deviation to rescale."""
    mean, deviation = found
    constant = deviation <= ROUNDING * torch.finfo(mean.dtype).eps * mean.abs()
    factor = torch.where(constant, 1.0, wanted[1] / deviation)
    return factor, wanted[0] - factor * mean
