"""Movement of weights: Pythagoras over layers, and the order of the layers in files and networks."""

import math
from pathlib import Path

import pytest
import torch
from helpers import recipe
from torch import Tensor, nn

from isthmus.analyses.movement.norms import ALL, ROOT, movement
from isthmus.core.tensors import load_tensors, save_tensors
from isthmus.landscape.distances import euclidean
from isthmus.models.networks import build

SHAPE = (1, 8, 8)


def network_of(architecture: str, depth: int, seed: int = 0, normalization: str = "batch") -> nn.Module:
    keys = {"architecture": architecture, "normalization": normalization}
    network = build(recipe(4, depth, network=keys).network, SHAPE, 10)
    network.initialize([seed])
    return network


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in network.named_parameters()}


def test_distances_and_norms_are_those_of_pythagoras() -> None:
    initial = {
        "0.weight": torch.tensor([[3.0, 0.0]]),
        "0.bias": torch.tensor([4.0]),
        "1.weight": torch.tensor([[12.0]]),
    }
    now = {"0.weight": torch.tensor([[3.0, 2.0]]), "0.bias": torch.tensor([2.0]), "1.weight": torch.tensor([[13.0]])}
    whole, first, second = movement(initial, now)
    assert (whole.layer, whole.index, whole.parameters) == (ALL, 0, 4)
    assert (whole.distance, whole.norm_initial) == (3, 13)
    assert whole.norm == pytest.approx(math.sqrt(9 + 4 + 4 + 169))
    assert whole.relative == pytest.approx(3 / 13)
    assert (first.layer, first.index, first.parameters) == ("0", 1, 3)
    assert (first.norm_initial, first.distance) == (5, pytest.approx(math.sqrt(8)))
    assert (second.layer, second.index, second.parameters) == ("1", 2, 1)
    assert (second.distance, second.norm_initial, second.norm, second.relative) == (1, 12, 13, 1 / 12)


@pytest.mark.parametrize(("architecture", "depth"), [("mlp", 6), ("cnn", 2), ("resnet", 14)])
@pytest.mark.parametrize("stacked", [True, False])
def test_layers_come_in_the_order_of_the_network_whatever_the_order_in_the_file(
    architecture: str, depth: int, stacked: bool, tmp_path: Path
) -> None:
    network = network_of(architecture, depth)
    weights = weights_of(network) if stacked else {name: value[0] for name, value in weights_of(network).items()}
    save_tensors(tmp_path / "weights.safetensors", weights, {})
    read = load_tensors(tmp_path / "weights.safetensors")[0]
    expected = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in network.named_parameters()))
    assert max(int(name.split(".")[0]) for name in expected) >= 10  # where numbers as text would come out of order
    rows = movement(read, read)
    assert [row.layer for row in rows] == [ALL, *expected]
    assert [row.index for row in rows] == list(range(len(expected) + 1))
    assert all(row.distance == 0 and row.relative in (0, None) for row in rows)


def test_the_layers_add_up_to_the_whole() -> None:
    initial, now = (weights_of(network_of("resnet", 8, seed)) for seed in (0, 1))
    whole, *layers = movement(initial, now)
    assert whole.parameters == sum(row.parameters for row in layers) == sum(value.numel() for value in now.values())
    assert whole.distance == pytest.approx(euclidean(now, initial), rel=1e-12)
    for quantity in ("distance", "norm_initial", "norm"):
        squares = sum(getattr(row, quantity) ** 2 for row in layers)
        assert getattr(whole, quantity) == pytest.approx(math.sqrt(squares), rel=1e-12)


def test_independent_draws_of_a_layer_are_sqrt_two_norms_apart() -> None:
    initial, now = (weights_of(network_of("cnn", 2, seed, "none")) for seed in (0, 1))
    for row in movement(initial, now):
        if row.parameters > 5000:
            assert row.relative == pytest.approx(math.sqrt(2), rel=0.05)


def test_a_layer_that_began_at_zero_has_no_relative_movement() -> None:
    initial = {"shift": torch.zeros(1, 3), "0.weight": torch.ones(1, 2, 2)}
    whole, layer, root = movement(initial, {"shift": torch.ones(1, 3), "0.weight": torch.ones(1, 2, 2)})
    assert (root.layer, root.distance, root.relative) == (ROOT, math.sqrt(3), None)
    assert (layer.distance, layer.relative) == (0, 0)
    assert whole.relative == math.sqrt(3) / 2


def test_sums_over_single_precision_weights_are_in_double() -> None:
    initial, now = {"0.weight": torch.zeros(1000, 1000)}, {"0.weight": torch.full((1000, 1000), 0.1)}
    assert movement(initial, now)[0].distance == pytest.approx(1000 * torch.tensor(0.1).double().item(), rel=1e-14)


def test_weights_that_cannot_be_compared_are_refused() -> None:
    weights = {"0.weight": torch.ones(1, 2), "0.bias": torch.ones(1)}
    with pytest.raises(ValueError, match=r"unmatched: \['0.bias'\]"):
        movement(weights, {"0.weight": torch.ones(1, 2)})
    with pytest.raises(ValueError, match="same names"):
        movement({}, {})
    with pytest.raises(ValueError, match=r"'0.weight' has the shape \(1, 2\)"):
        movement(weights, weights | {"0.weight": torch.ones(2)})
    with pytest.raises(ValueError, match="not finite"):
        movement(weights, weights | {"0.bias": torch.tensor([math.nan])})
