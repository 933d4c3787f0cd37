"""A network with its batch normalization folded is the same function of the same weights."""

import pytest
import torch
from helpers import recipe
from torch.func import functional_call

from isthmus.models.evaluation import evaluation_mode
from isthmus.models.fold_batch_norm import folded
from isthmus.models.networks import build
from isthmus.models.stacked import BatchNorm


@pytest.mark.parametrize(
    ("architecture", "normalization"), [("cnn", "batch"), ("resnet", "batch"), ("cnn", "layer"), ("mlp", "batch")]
)
@pytest.mark.parametrize("stack", [1, 2])
def test_a_folded_network_is_the_same_function(architecture: str, normalization: str, stack: int) -> None:
    keys = {"architecture": architecture, "normalization": normalization}
    network = build(recipe(2, 8 if architecture == "resnet" else 2, network=keys).network, (3, 8, 8), 4, stack).double()
    network.initialize(range(stack))
    generator = torch.Generator().manual_seed(0)
    parameters = {
        name: (value + 0.1 * torch.randn(value.shape, generator=generator, dtype=value.dtype)).detach().requires_grad_()
        for name, value in network.named_parameters()
    }
    images = torch.randn(1, 5, 3, 8, 8, generator=generator, dtype=torch.float64)
    with evaluation_mode(network, images, parameters):
        twin = folded(network)
        assert [name for name, _ in twin.named_parameters()] == list(parameters)
        assert all(one is other for one, other in zip(twin.parameters(), network.parameters(), strict=True))
        results = [functional_call(each, parameters, (images,)) for each in (network, twin)]
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(each.square().sum(), tuple(parameters.values())) for each in results]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-10)


def test_folding_spares_the_normalizations_after_convolutions() -> None:
    network = build(recipe(2, 2, network={"architecture": "cnn", "normalization": "batch"}).network, (1, 8, 8), 4)
    network.initialize([0])
    images = torch.randn(1, 5, 1, 8, 8)
    with evaluation_mode(network, images):
        twin = folded(network)
        seen = []
        for each in (network, twin):
            for module in each.modules():
                if isinstance(module, BatchNorm):
                    module.register_forward_hook(lambda *_, name=each is twin: seen.append(name))
        network(images), twin(images)
    assert seen == [False] * 6
