"""The noise of gradients: closed forms, a dense loop in float64, exact unbiasedness, and coverage of the intervals."""

from itertools import combinations

import numpy as np
import pytest
import torch
from helpers import recipe
from scipy.stats import beta
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.landscape.gradient_noise import curvature_along_noise, example_gradients, gradient_noise
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.models.evaluation import evaluation_mode, losses
from isthmus.models.networks import build
from isthmus.models.stacked import Flatten, Linear

CLASSES, EXAMPLES = 3, 7


def problem(architecture: str, normalization: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A tiny network in float64, images `[7, 1, 4, 4]` and their labels."""
    keys = {"architecture": architecture, "normalization": normalization, "activation": "tanh"}
    keys |= {"blocks": 2, "hidden_units": 0} if architecture == "cnn" else {}
    network = build(recipe(width=2, depth=1, network=keys).network, (1, 4, 4), CLASSES)
    network.initialize([3])
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(EXAMPLES, 1, 4, 4, generator=generator, dtype=torch.float64)
    return network.double(), images, torch.randint(0, CLASSES, (EXAMPLES,), generator=generator)


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in network.named_parameters()}


def by_loop(network: nn.Module, images: Tensor, labels: Tensor, loss: str) -> Tensor:
    """The gradients `[N, P]`, one example after the other."""
    parameters, rows = dict(network.named_parameters()), []
    for image, label in zip(images, labels, strict=True):
        value = losses(functional_call(network, parameters, (image[None, None],)), label[None, None], loss)[0]
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(value, list(parameters.values()))]))
    return torch.stack(rows)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "own_losses:focal"])
@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_noise_and_its_curvature_are_those_of_a_dense_loop(architecture: str, normalization: str, loss: str) -> None:
    network, images, labels = problem(architecture, normalization)
    weights = weights_of(network)
    with evaluation_mode(network, images[None]):
        pairs = list(
            example_gradients(
                network, weights, images, labels, loss, block=4 * sum(map(Tensor.numel, weights.values()))
            )
        )
        assert [len(gradients) for _, gradients in pairs] == [4, 3]
        expected = by_loop(network, images, labels, loss)
        operator = CurvatureOperator(network, images, labels, loss)
        hessian = dense(operator)
        curved, spread = curvature_along_noise(operator, (gradients for _, gradients in pairs))
        mean_loss = losses(network(images[None]).detach(), labels[None], loss)[0]
        one_by_one = list(example_gradients(network, weights, images, labels, loss, mapped=False))
    torch.testing.assert_close(torch.cat([gradients for _, gradients in pairs]), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(torch.cat([gradients for _, gradients in one_by_one]), expected, rtol=1e-9, atol=1e-12)
    assert sum(total for total, _ in pairs) / EXAMPLES == pytest.approx(float(mean_loss))
    covariance = expected.T.cov()
    found = gradient_noise((gradients for _, gradients in pairs), EXAMPLES)
    assert found.covariance_trace == pytest.approx(covariance.trace().item(), rel=1e-9)
    assert found.squared_gradient == pytest.approx(expected.mean(0).square().sum().item(), rel=1e-9)
    assert found.low == found.noise_scale == found.high  # all examples: nothing is estimated
    assert spread == pytest.approx(covariance.trace().item(), rel=1e-9)
    assert curved == pytest.approx((hessian @ covariance).trace().item(), rel=1e-7, abs=1e-9 * hessian.norm().item())


def test_linear_regression_on_orthogonal_inputs_has_as_much_noise_as_gradient_at_a_full_batch() -> None:
    """Residuals a_i and inputs s e_i: g_i = 2 s a_i e_i, so tr Sigma = n |G|^2, and H = 2 s^2 / n is isotropic."""
    size, scale = 12, 3.0
    network = nn.Sequential(Flatten(), Linear(1, size, 1, bias=False)).double().eval()
    weights = {"1.weight": torch.randn(1, 1, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)}
    network[1].weight.data.copy_(weights["1.weight"])
    images = scale * torch.eye(size, dtype=torch.float64).view(size, 1, 1, size)
    labels = torch.zeros(size, dtype=torch.int64)  # every target is 1
    pairs = list(example_gradients(network, weights, images, labels, "squared_error"))
    found = gradient_noise((gradients for _, gradients in pairs), size)
    residuals = scale * weights["1.weight"].flatten() - 1
    assert found.squared_gradient == pytest.approx(float((2 * scale * residuals / size).square().sum()))
    assert found.noise_scale == pytest.approx(size)
    operator = CurvatureOperator(network, images, labels, "squared_error")
    curved, spread = curvature_along_noise(operator, (gradients for _, gradients in pairs))
    assert curved / spread == pytest.approx(2 * scale**2 / size)


def test_estimates_are_unbiased_about_the_training_set() -> None:
    """Exactly: in the mean over all samples of four out of seven examples."""
    gradients = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.2
    found = [gradient_noise([gradients[list(chosen)]], 7) for chosen in combinations(range(7), 4)]
    truth = gradient_noise([gradients], 7)
    assert np.mean([each.covariance_trace for each in found]) == pytest.approx(truth.covariance_trace)
    assert np.mean([each.squared_gradient for each in found]) == pytest.approx(truth.squared_gradient)
    assert truth.squared_gradient == pytest.approx(float(gradients.mean(0).square().sum()))


def covered(examples: int, share: float, tail: float, draws: int, population: int = 10**12) -> tuple[int, int]:
    """How many intervals contain the truth, B_simple = share * examples, and how many draws have an interval.

    Gradients have 50 dimensions and lognormal norms; tail: sigma of these. population: N; if it is that of a finite
    set, one set is drawn, and samples come from it.
    """
    dimensions, inside, known = 50, 0, 0
    random = torch.Generator().manual_seed(examples)

    def drawn(count: int) -> Tensor:
        scatter = torch.randn(count, dimensions, generator=random, dtype=torch.float64)
        scatter *= (tail * torch.randn(count, 1, generator=random, dtype=torch.float64)).exp()
        scatter[:, 0] += (dimensions * np.exp(2 * tail**2) / (share * examples)) ** 0.5
        return scatter

    everything = drawn(population) if population < 10**6 else None
    truth: float | None = share * examples
    if everything is not None:
        truth = gradient_noise([everything], population).noise_scale
    assert truth is not None
    for _ in range(draws):
        if everything is None:
            sample = drawn(examples)
        else:
            sample = everything[torch.randperm(population, generator=random)[:examples]]
        found = gradient_noise([sample], population)
        if found.low is not None and found.high is not None:
            known, inside = known + 1, inside + (found.low <= truth <= found.high)
    return inside, known


@pytest.mark.parametrize("draws", [60, pytest.param(1000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("examples", "share", "tail", "population", "least"),
    [
        (200, 0.1, 0.5, 10**12, 0.93),
        (1000, 0.01, 0.5, 10**12, 0.93),
        (400, 0.1, 1.0, 800, 0.92),
        (2000, 0.1, 1.0, 10**12, 0.92),
    ],
)
def test_intervals_cover_the_noise_scale(
    examples: int, share: float, tail: float, population: int, least: float, draws: int
) -> None:
    """The exact upper 99 % limit of the coverage, of which the module has a table, is above `least`."""
    inside, known = covered(examples, share, tail, draws, population)
    assert known == draws
    assert inside == known or beta.ppf(0.99, inside + 1, known - inside) > least


def test_a_gradient_lost_in_the_noise_has_no_noise_scale() -> None:
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = gradient_noise([gradients], 100)
    assert found.squared_gradient < 0
    assert (found.noise_scale, found.low, found.high) == (None, None, None)


def test_nothing_has_no_noise() -> None:
    with pytest.raises(ValueError, match="at least one gradient"):
        gradient_noise([], 10)
    with pytest.raises(ValueError, match="give two or more"):
        curvature_along_noise(CurvatureOperator(*_one()), [torch.ones(1, 2)])


def _one() -> tuple[nn.Module, Tensor, Tensor, str]:
    network = nn.Sequential(nn.Flatten(2), Linear(1, 2, 1, bias=False)).eval()
    torch.nn.init.zeros_(network[1].weight)
    return network, torch.ones(1, 1, 1, 2), torch.tensor([0]), "squared_error"
