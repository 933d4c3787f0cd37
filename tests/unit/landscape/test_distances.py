"""Distances between networks: their invariances, their known values, and features taken where they should be."""

import math

import pytest
import torch
from helpers import recipe
from torch import Tensor, nn

from isthmus.landscape.distances import disagreement, displacement_cosine, euclidean, features_and_outputs, linear_cka
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.networks import build


@pytest.fixture(autouse=True)
def _fixed_draws() -> None:
    torch.manual_seed(0)


def weights(*values: float) -> dict[str, Tensor]:
    return {"weight": torch.tensor(values[:-1]).view(1, -1), "bias": torch.tensor(values[-1:])}


def features(examples: int, size: int) -> Tensor:
    return torch.randn(examples, size, dtype=torch.float64)


def rotation(size: int) -> Tensor:
    return torch.linalg.qr(features(size, size))[0]


# Weights


def test_the_distance_is_that_of_pythagoras_over_all_tensors() -> None:
    assert euclidean(weights(1, 2, 3), weights(3, 5, 9)) == 7
    assert euclidean(weights(1, 2, 3), weights(1, 2, 3)) == 0


def test_the_distance_of_single_precision_weights_is_summed_in_double() -> None:
    first = {"weight": torch.full((1000, 1000), 0.1)}
    second = {"weight": torch.zeros(1000, 1000)}
    assert euclidean(first, second) == pytest.approx(1000 * torch.tensor(0.1).double().item(), rel=1e-14)


def test_the_cosine_is_of_the_ways_the_networks_went() -> None:
    start, other_start = weights(1, 1, 1), weights(-2, 0, 5)
    along_x, along_xy = weights(3, 1, 1), weights(-1, 1, 5)
    assert displacement_cosine(along_x, start, along_xy, other_start) == pytest.approx(1 / math.sqrt(2))
    assert displacement_cosine(along_x, start, along_x, start) == pytest.approx(1)
    assert displacement_cosine(weights(0, 1, 1), start, along_x, start) == pytest.approx(-1)
    assert displacement_cosine(weights(1, 9, 1), start, along_x, start) == 0
    assert math.isnan(displacement_cosine(start, start, along_x, start))


# Predictions


def test_disagreement_counts_different_predictions_and_not_different_outputs() -> None:
    outputs = torch.tensor([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0], [0.0, 1.0]])
    assert disagreement(outputs, 7 * outputs + 1) == 0
    assert disagreement(outputs, -outputs) == 1
    assert disagreement(outputs, torch.tensor([1.0, 0.0]).expand(4, 2)) == 0.5
    stacked = disagreement(torch.stack([outputs, -outputs]), outputs)
    assert stacked.tolist() == [0, 1]


# Representations


@pytest.mark.parametrize("size", [5, 300])
def test_a_rotated_scaled_shifted_copy_has_a_cka_of_one(size: int) -> None:
    original = features(100, size) * torch.linspace(0.1, 3, size)
    copy = 0.3 * original @ rotation(size) + features(1, size)
    assert linear_cka(original, copy).item() == pytest.approx(1, rel=1e-12)
    # Features that are rounded to float32 turn by an angle, which counts squared where representations agree.
    angle = 100 * torch.finfo(torch.float32).eps
    assert linear_cka(original.float(), copy.float()).item() == pytest.approx(1, rel=angle**2)


def test_both_forms_of_cka_agree_with_centered_kernels() -> None:
    # Kornblith et al., eqs. 2 and 3: tr(K H L H) / sqrt(tr(K H K H) tr(L H L H)), H the centering matrix.
    for sizes in ((8, 3), (8, 90)):
        x, y = (features(50, size) + 2 for size in sizes)
        y[:, :3] += x[:, :3]
        centering = torch.eye(50, dtype=torch.float64) - 1 / 50
        one, other = x @ x.T @ centering, y @ y.T @ centering
        expected = (one @ other).trace() / ((one @ one).trace() * (other @ other).trace()).sqrt()
        torch.testing.assert_close(linear_cka(x, y), expected)
        torch.testing.assert_close(linear_cka(y, x), expected)


def test_a_part_shared_by_two_representations_has_the_cka_of_its_share() -> None:
    # Orthogonal columns of equal length: |Y^T X|^2 = shared, |X^T X|^2 = p, |Y^T Y|^2 = q.
    columns = features(200, 30)
    columns = torch.linalg.qr(columns - columns.mean(0))[0]
    value = linear_cka(columns[:, :12], columns[:, 9:30])
    assert value.item() == pytest.approx(3 / math.sqrt(12 * 21))


@pytest.mark.parametrize(("examples", "first", "second"), [(1000, 20, 20), (200, 100, 50), (50, 200, 400)])
def test_independent_noise_has_the_cka_of_chance(examples: int, first: int, second: int) -> None:
    # For Gaussian noise E|Y^T X|^2 = (n - 1) p q and E|X^T X|^2 = (n - 1) p (n + p): a Wishart matrix's second moment.
    expected = math.sqrt(first * second / ((examples + first) * (examples + second)))
    assert linear_cka(features(examples, first), features(examples, second)).item() == pytest.approx(expected, rel=0.1)


def test_many_representations_at_once_are_each_alone_and_a_constant_one_has_no_cka() -> None:
    x, y = torch.randn(3, 40, 6), torch.randn(3, 40, 4)
    together = linear_cka(x, y)
    for index in range(3):
        torch.testing.assert_close(together[index], linear_cka(x[index], y[index]))
    assert linear_cka(torch.ones(40, 6), y[0]).isnan()


@pytest.mark.parametrize(
    ("architecture", "depth", "normalization"), [("mlp", 2, "batch"), ("cnn", 1, "batch"), ("resnet", 8, "layer")]
)
def test_penultimate_features_give_the_outputs_by_the_last_layer(
    architecture: str, depth: int, normalization: str
) -> None:
    options = {"architecture": architecture, "normalization": normalization, "blocks": 2, "hidden_units": 6}
    network = build(recipe(4, depth, network=options).network, (1, 8, 8), 10, 2)
    network.initialize((0, 1))
    images = torch.randn(50, 1, 8, 8)
    with evaluation_mode(network, images[None]):
        hidden, outputs = features_and_outputs(network, images, 16)
        expected = network(images[None])
    last = network.get_submodule(network.last_layer)
    assert hidden.shape == (2, 50, last.weight.shape[2])
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(hidden @ last.weight.mT + last.bias[:, None], expected)
    assert not last._forward_pre_hooks

    other = {name: value.detach() + 0.1 for name, value in network.named_parameters()}
    with evaluation_mode(network, images[None], other):
        hidden, outputs = features_and_outputs(network, images, 50, other)
        torch.testing.assert_close(outputs, torch.func.functional_call(network, other, (images[None],)))
    torch.testing.assert_close(hidden @ other[f"{network.last_layer}.weight"].mT + last.bias[:, None] + 0.1, outputs)


def test_a_network_without_linear_layers_has_no_penultimate_features() -> None:
    with pytest.raises(ValueError, match="Flatten has no linear layer"):
        features_and_outputs(nn.Flatten(), torch.zeros(1, 1, 2, 2), 1)
