"""Measurements on modules of the user's own, against the same module in plain PyTorch."""

import own_models
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.landscape.distances import features_and_outputs
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.landscape.tangent_kernel import tangent_kernel
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.functional import Stacked

SHAPE, CLASSES, COUNT = (1, 8, 8), 3, 6
LENGTH, TOKENS = 3, 7
MAKES = {
    "vit": lambda: own_models.ViT(SHAPE, CLASSES, width=4, heads=2),
    "depthwise": lambda: own_models.depthwise(2, CLASSES, SHAPE),
    "tied": lambda: own_models.Tied(SHAPE, CLASSES, width=3),
    "reader": lambda: own_models.Reader((LENGTH,), CLASSES, TOKENS, width=4),
}
LAST = {"vit": "head", "depthwise": "15", "tied": "head", "reader": "head"}


def network_of(name: str) -> Stacked:
    network = Stacked(MAKES[name], 1, last_layer=LAST[name]).double()
    network.initialize([0])
    return network


def inputs_of(name: str, count: int = COUNT) -> Tensor:
    """Images, or tokens for the network that reads them."""
    generator = torch.Generator().manual_seed(0)
    if name == "reader":
        return torch.randint(TOKENS, (count, LENGTH), generator=generator)
    return torch.randn(count, *SHAPE, dtype=torch.float64, generator=generator)


LABELS = torch.arange(COUNT) % CLASSES


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
@pytest.mark.parametrize("name", MAKES)
def test_the_curvature_is_that_of_the_loss(name: str, matrix: str) -> None:
    network, images = network_of(name), inputs_of(name)
    names, values = zip(*((name, value.detach()) for name, value in network.named_parameters()), strict=True)
    with evaluation_mode(network, images[None]):
        found = dense(CurvatureOperator(network, images, LABELS, "cross_entropy", matrix))

        def outputs(flat: Tensor) -> Tensor:
            parts = flat.split([value.numel() for value in values])
            weights = {n: part.view_as(value) for n, part, value in zip(names, parts, values, strict=True)}
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                return functional_call(network, weights, (images[None],))[0]

        flat = torch.cat([value.flatten() for value in values])
        if matrix == "hessian":
            expected = torch.autograd.functional.hessian(lambda at: F.cross_entropy(outputs(at), LABELS), flat)
        else:
            jacobian, shares = torch.autograd.functional.jacobian(outputs, flat), outputs(flat).softmax(-1)
            inner = torch.diag_embed(shares) - shares[:, :, None] * shares[:, None]
            expected = torch.einsum("ncp,ncd,ndq->pq", jacobian, inner, jacobian) / COUNT
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("block_size", [2**24, 300])
@pytest.mark.parametrize("name", MAKES)
def test_the_tangent_kernel_is_the_gram_matrix_of_the_gradients(name: str, block_size: int) -> None:
    network, images = network_of(name), inputs_of(name)
    with evaluation_mode(network, images[None]):
        found = tangent_kernel(network, images, block_size=block_size)
        rows = []
        for image in images:
            outputs = network(image[None, None])[0, 0]
            each = [torch.autograd.grad(output, list(network.parameters()), retain_graph=True) for output in outputs]
            rows.append(torch.stack([torch.cat([part.flatten() for part in parts]) for parts in each]))
    gradients = torch.stack(rows)
    torch.testing.assert_close(found, torch.einsum("nop,mop->onm", gradients, gradients))


@pytest.mark.parametrize("name", MAKES)
def test_features_are_the_input_of_the_layer_called_last(name: str) -> None:
    network, images = network_of(name), inputs_of(name)
    with evaluation_mode(network, images[None]):
        features, outputs = features_and_outputs(network, images, batch_size=4)
        layer = network.get_submodule(LAST[name])
        assert isinstance(layer, nn.Linear)
        with torch.no_grad():
            torch.testing.assert_close(outputs, network(images[None]))
            torch.testing.assert_close(outputs[0], F.linear(features[0], layer.weight[0], layer.bias[0]))


def test_without_such_a_layer_there_are_no_features() -> None:
    network = Stacked(lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64)), 1)
    with pytest.raises(ValueError, match="no linear layer"):
        features_and_outputs(network, inputs_of("norm"), batch_size=4)


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_strided_convolutions_of_single_pixels_have_the_curvature_of_float64(channels: int) -> None:
    """As in the shortcuts of narrow residual networks. oneDNN writes past its buffer there, and may end the process."""

    def make() -> nn.Module:
        layers = [nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, 8, 1, stride=2), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, CLASSES))

    images, products = inputs_of("images").tile(3, 2, 2), []
    for dtype in (torch.float32, torch.float64):
        network = Stacked(make, 1).to(dtype)
        network.initialize([0])
        hessian = CurvatureOperator(network.eval(), images.to(dtype), LABELS, "cross_entropy")
        products.append(hessian(torch.linspace(-1, 1, hessian.size, dtype=dtype)).double())
    torch.testing.assert_close(products[0], products[1], rtol=1e-4, atol=1e-5)
