"""Repaired lines: the statistics that hidden units get, in closed form and in plain PyTorch, and what that restores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from architectures import CLASSES, SHAPE, network_recipe, random_weights, recipe_name, recipes, some_images
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.landscape.distances import total_variance
from isthmus.landscape.paths import Path, line
from isthmus.landscape.repair import Repair
from isthmus.models.architectures import architecture
from isthmus.models.functional import Stacked
from isthmus.models.networks import build
from isthmus.recipes.recipe import NetworkRecipe

IMAGES = some_images(40)
T = (0.25, 0.5)
every_recipe = pytest.mark.parametrize("chosen", recipes(6), ids=recipe_name)
normalized = [chosen for chosen in recipes(6) if chosen.normalization == "batch"]


def between(first: dict[str, Tensor], second: dict[str, Tensor]) -> Path:
    return line(*({name: value[None] for name, value in each.items()} for each in (first, second)))


def repair_of(chosen: NetworkRecipe) -> Repair:
    found = Repair.of(chosen, build(chosen, SHAPE, CLASSES), SHAPE, CLASSES, IMAGES[None].float())
    return replace(found, images=IMAGES[None])


def statistics(module: nn.Module, weights: dict[str, Tensor], layers: tuple[str, ...]) -> dict[str, list[np.ndarray]]:
    """Means and deviations of the units of layers, from a forward pass of a module with hooks; float64.

    Batch normalization in training mode takes the statistics of all the images, as fresh ones are.
    """
    outputs: dict[str, np.ndarray] = {}

    def keep(name: str) -> None:
        module.get_submodule(name).register_forward_hook(
            lambda layer, _, output: outputs.__setitem__(name, output.movedim(1, -1).flatten(0, -2).numpy())
        )

    module = module.double().train()
    for name in layers:
        keep(name)
    module.load_state_dict(weights, strict=False)
    with torch.no_grad():
        module(IMAGES)
    return {name: [values.mean(0), values.std(0)] for name, values in outputs.items()}


@every_recipe
def test_every_hidden_unit_has_the_mean_and_the_deviation_between_those_of_the_ends(chosen: NetworkRecipe) -> None:
    repair, ends = repair_of(chosen), [random_weights(chosen, seed) for seed in (1, 2)]
    module = architecture(chosen, SHAPE, CLASSES)
    convolutions = [name for name, each in module.named_modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    if chosen.normalization == "batch":  # in the built-in networks, it follows all layers but the hidden one of a cnn
        assert repair.layers == (("16",) if chosen.architecture == "cnn" else ())
    else:
        assert repair.layers == tuple(convolutions[:-1])
    points = repair.along(between(*ends))(torch.tensor(T, dtype=torch.float64))
    at_ends = [statistics(architecture(chosen, SHAPE, CLASSES), each, repair.layers) for each in ends]
    for member, t in enumerate(T):
        own = {name: value[member] for name, value in points.items()}
        found = statistics(architecture(chosen, SHAPE, CLASSES), own, repair.layers)
        for layer in repair.layers:
            for value, start, end in zip(found[layer], *(each[layer] for each in at_ends), strict=True):
                np.testing.assert_allclose(value, (1 - t) * start + t * end, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("chosen", normalized, ids=recipe_name)
def test_behind_batch_normalization_units_have_these_statistics_on_any_line(chosen: NetworkRecipe) -> None:
    """Mean and deviation there are its bias and weight, which the line interpolates; so nothing has to be repaired."""
    ends = [random_weights(chosen, seed) for seed in (1, 2)]
    module = architecture(chosen, SHAPE, CLASSES)
    norms = tuple(name for name, each in module.named_modules() if isinstance(each, _BatchNorm))
    halfway = {name: value[0] for name, value in between(*ends).point(torch.tensor([0.5])).items()}
    found, start, end = (statistics(architecture(chosen, SHAPE, CLASSES), each, norms) for each in (halfway, *ends))
    for norm in norms:
        for value, first, last in zip(found[norm], start[norm], end[norm], strict=True):
            np.testing.assert_allclose(value, (first + last) / 2, rtol=1e-3, atol=1e-3)  # its epsilon is 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_recipe
def test_the_ends_are_the_networks_to_the_last_bit(chosen: NetworkRecipe, dtype: torch.dtype) -> None:
    ends = [{name: value.to(dtype) for name, value in random_weights(chosen, seed).items()} for seed in (1, 2)]
    points = repair_of(chosen).along(between(*ends))(torch.tensor([0.0, 1.0, 1e-7], dtype=torch.float64))
    for member, end in enumerate(ends):
        for name, value in end.items():
            assert torch.equal(points[name][member], value), name
    for name, value in ends[0].items():  # next to an end, too, next to nothing changes
        torch.testing.assert_close(points[name][2], value, rtol=1e-4, atol=1e-5)


def test_a_point_does_not_depend_on_which_others_are_repaired_with_it() -> None:
    chosen = network_recipe("mlp", 6, 3, "none")
    points = repair_of(chosen).along(between(*(random_weights(chosen, seed) for seed in (1, 2))))
    together = points(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    for name, value in points(torch.tensor([0.5], dtype=torch.float64)).items():
        assert torch.equal(value[0], together[name][1])


def test_units_that_never_change_are_shifted_and_not_rescaled() -> None:
    network = Stacked(lambda: nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1)), 1, together=False)
    start = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    end = start | {"0.bias": torch.tensor([[3.0]])}
    repair = Repair(network, ("0",), torch.randn(1, 9, 2))
    points = repair.along(line(start, end))(torch.tensor([0.5]))
    assert points["0.weight"].tolist() == [[[0.0, 0.0]]]
    assert points["0.bias"].item() == pytest.approx(1.5)


def test_each_layer_of_independent_linear_networks_halves_the_variance_and_repair_restores_it() -> None:
    """The mean of two independent weights has half their variance: after L layers, 2^-L of the variance is left."""
    width, depth = 300, 6
    names = [str(index) for index in range(depth)]
    network = Stacked(lambda: nn.Sequential(*(nn.Linear(width, width) for _ in range(depth + 1))), 1, together=False)
    generator = torch.Generator().manual_seed(0)

    def drawn() -> dict[str, Tensor]:
        return {
            name: torch.randn(value.shape, generator=generator) / width**0.5 if "weight" in name else value.detach() * 0
            for name, value in network.named_parameters()
        }

    path, images = line(drawn(), drawn()), torch.randn(1, 200, width, generator=generator)
    half = torch.tensor([0.5])

    def left(weights: dict[str, Tensor], layer: str) -> float:
        """The variance behind a layer, relative to its mean over the ends."""
        seen = []
        module = network.get_submodule(layer)
        handle = module.register_forward_hook(lambda *given: seen.append(float(total_variance(given[-1]))))
        for each in (weights, path.start, path.end):
            torch.func.functional_call(network, each, (images,))
        handle.remove()
        return 2 * seen[0] / (seen[1] + seen[2])

    repaired = Repair(network, tuple(names), images).along(path)(half)
    for index, name in enumerate(names):
        assert left(path.point(half), name) == pytest.approx(0.5 ** (index + 1), rel=0.1)
        # Squared means of two deviations are a little below the mean of their squares.
        assert left(repaired, name) == pytest.approx(1, rel=0.05)
