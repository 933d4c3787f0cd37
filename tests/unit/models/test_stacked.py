"""Stacked layers against PyTorch's own, one network at a time, in float64."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import pytest
import torch
from helpers import recipe
from torch import Tensor, nn

from isthmus.models import stacked as layers
from isthmus.models.architectures import architecture
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.functional import MakeModule, Stacked
from isthmus.models.layer_stacks import layer_stack

EXACT = {"rtol": 1e-12, "atol": 1e-12}
BATCH, INPUTS, OUTPUTS, HEIGHT, WIDTH = 5, 4, 3, 7, 6
SHAPE, CLASSES = (2, 8, 8), 5

stacks = pytest.mark.parametrize("stack", [1, 3])
inputs = pytest.mark.parametrize("shared", [False, True], ids=["own-input", "shared-input"])
biases = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])


@pytest.fixture(autouse=True)
def _fixed_draws() -> None:
    torch.manual_seed(0)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def stacked(layer: nn.Module, members: Sequence[nn.Module]) -> nn.Module:
    """`layer` in float64 with the weights of the `members`."""
    layer.double()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(torch.stack([member.get_parameter(name) for member in members]))
    return layer


def channels(images: Tensor) -> Tensor:
    """`[S, B, C, H, W]` as the trunk holds it, `[B, S * C, H, W]`."""
    return torch.cat(list(images), dim=1)


def assert_same(
    layer: nn.Module, members: Sequence[nn.Module], x: Tensor, enter: Callable, leave: Callable = lambda y: y
) -> None:
    """Outputs, and gradients of a random linear form of them, equal those of the members one by one.

    x: `[S or 1, B, ...]`. enter, leave: from that layout to the layer's and back.
    """
    x.requires_grad_()
    found = leave(layer(enter(x)))
    expected = torch.stack([member(x[index % len(x)]) for index, member in enumerate(members)])
    torch.testing.assert_close(found, expected, **EXACT)
    form = random(*expected.shape)
    names = [name for name, _ in layer.named_parameters()]
    assert names == [name for name, _ in members[0].named_parameters()]
    ours = torch.autograd.grad((found * form).sum(), [x, *layer.parameters()])
    theirs = torch.autograd.grad(
        (expected * form).sum(), [x, *(member.get_parameter(name) for name in names for member in members)]
    )
    torch.testing.assert_close(ours[0], theirs[0], **EXACT)
    for number, gradient in enumerate(ours[1:]):
        first = 1 + number * len(members)
        torch.testing.assert_close(gradient, torch.stack(theirs[first : first + len(members)]), **EXACT)


def unfold(stack: int) -> Callable[[Tensor], Tensor]:
    """`[B, S * C, H, W]` as `[S, B, C, H, W]`."""
    return lambda y: torch.stack(y.chunk(stack, dim=1))


def identity(x: Tensor) -> Tensor:
    return x


@stacks
@inputs
@biases
def test_linear_is_torch_linear_per_member(stack: int, shared: bool, bias: bool) -> None:
    members = [nn.Linear(INPUTS, OUTPUTS, bias, dtype=torch.float64) for _ in range(stack)]
    layer = stacked(layers.Linear(stack, INPUTS, OUTPUTS, bias), members)
    assert_same(layer, members, random(1 if shared else stack, BATCH, INPUTS), identity)


@stacks
@biases
def test_gradients_of_linear_weights_have_their_memory_layout(stack: int, bias: bool) -> None:
    first, second = (layers.Linear(stack, *sizes, bias) for sizes in ((INPUTS, OUTPUTS), (OUTPUTS, CLASSES)))
    outputs = second(torch.relu(first(torch.randn(stack, BATCH, INPUTS))))
    gradients = torch.autograd.grad(outputs.square().sum(), [first.weight, second.weight])
    assert all(gradient.is_contiguous() for gradient in gradients)


@stacks
@inputs
@biases
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1), (1, 2)])
def test_convolution_is_torch_conv2d_per_member(stack: int, shared: bool, bias: bool, size: int, stride: int) -> None:
    members = [
        nn.Conv2d(INPUTS, OUTPUTS, size, stride, padding=size // 2, bias=bias, dtype=torch.float64)
        for _ in range(stack)
    ]
    layer = stacked(layers.Convolution(stack, INPUTS, OUTPUTS, size, stride, bias), members)
    assert_same(layer, members, random(1 if shared else stack, BATCH, INPUTS, HEIGHT, WIDTH), channels, unfold(stack))


def test_convolution_takes_channels_last_images() -> None:
    members = [nn.Conv2d(INPUTS, OUTPUTS, 3, padding=1, dtype=torch.float64) for _ in range(3)]
    layer = stacked(layers.Convolution(3, INPUTS, OUTPUTS), members)

    def enter(x: Tensor) -> Tensor:
        return channels(x).contiguous(memory_format=torch.channels_last)

    assert_same(layer, members, random(3, BATCH, INPUTS, HEIGHT, WIDTH), enter, unfold(3))


def batch_norms(kind: type[nn.Module], stack: int) -> list[nn.Module]:
    members = [kind(INPUTS, dtype=torch.float64) for _ in range(stack)]
    for member in members:
        nn.init.normal_(member.weight)
        nn.init.normal_(member.bias)
        member.running_mean.copy_(random(INPUTS))
        member.running_var.copy_(random(INPUTS).square() + 0.1)
    return members


@stacks
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("images", [True, False], ids=["2d", "1d"])
def test_batch_norm_is_torch_batch_norm_per_member(stack: int, training: bool, images: bool) -> None:
    members = batch_norms(nn.BatchNorm2d if images else nn.BatchNorm1d, stack)
    layer = stacked(layers.BatchNorm(stack, INPUTS), members)
    layer.train(training)
    layer.statistics = (
        torch.cat([member.running_mean.clone() for member in members]),
        torch.cat([member.running_var.clone() for member in members]),
    )
    for member in members:
        member.train(training)
    if images:
        assert_same(layer, members, 2 + 3 * random(stack, BATCH, INPUTS, HEIGHT, WIDTH), channels, unfold(stack))
    else:
        assert_same(layer, members, 2 + 3 * random(stack, BATCH, INPUTS), identity)


@pytest.mark.parametrize("shape", [(2 * BATCH, 3 * INPUTS, HEIGHT, WIDTH), (3, 2 * BATCH, INPUTS)])
def test_collecting_batch_norm_normalizes_as_in_training_and_keeps_the_biased_variance(shape: tuple[int, ...]) -> None:
    layer = stacked(layers.BatchNorm(3, INPUTS), batch_norms(nn.BatchNorm1d, 3))
    x = random(*shape)
    expected = layer.train()(x)
    layer.eval()
    layer.collecting = True
    torch.testing.assert_close(layer(x), expected, **EXACT)
    values = x.transpose(0, 1).reshape(3 * INPUTS, -1) if x.dim() == 4 else x.transpose(1, 2).reshape(3 * INPUTS, -1)
    mean, variance = layer.statistics
    torch.testing.assert_close(mean, values.mean(1), **EXACT)
    torch.testing.assert_close(variance, (values - values.mean(1, keepdim=True)).square().mean(1), **EXACT)


def test_batch_norm_without_statistics_refuses_to_evaluate() -> None:
    layer = layers.BatchNorm(1, INPUTS)
    with pytest.raises(RuntimeError, match="statistics were not computed"):
        layer.eval()(torch.zeros(1, BATCH, INPUTS))


@stacks
def test_layer_norm_of_features_is_torch_layer_norm_per_member(stack: int) -> None:
    members = [nn.LayerNorm(INPUTS, dtype=torch.float64) for _ in range(stack)]
    for member in members:
        nn.init.normal_(member.weight)
        nn.init.normal_(member.bias)
    assert_same(stacked(layers.LayerNorm(stack, INPUTS), members), members, random(stack, BATCH, INPUTS), identity)


@stacks
def test_layer_norm_of_images_is_torch_group_norm_of_one_group_per_member(stack: int) -> None:
    members = [nn.GroupNorm(1, INPUTS, dtype=torch.float64) for _ in range(stack)]
    for member in members:
        nn.init.normal_(member.weight)
        nn.init.normal_(member.bias)
    layer = stacked(layers.LayerNorm(stack, INPUTS), members)
    assert_same(layer, members, random(stack, BATCH, INPUTS, HEIGHT, WIDTH), channels, unfold(stack))


def test_reshaping_layers_keep_every_network_and_every_pixel_in_its_place() -> None:
    images = random(3, BATCH, INPUTS, HEIGHT, WIDTH)
    trunk = layers.as_channels(images)
    assert torch.equal(trunk, channels(images))
    assert torch.equal(layers.as_channels(images[:1]), images[0])
    assert torch.equal(layers.Flatten(images.shape[2])(trunk), images.flatten(2))
    assert torch.equal(layers.Flatten()(images), images.flatten(2))
    average = nn.AdaptiveAvgPool2d(1)(trunk)
    torch.testing.assert_close(layers.GlobalAverage()(trunk), average, **EXACT)


# Whole networks

architectures = pytest.mark.parametrize(
    ("name", "depth", "normalization"),
    [
        (name, depth, normalization)
        for (name, depth), normalization in product([("mlp", 2), ("cnn", 1), ("resnet", 8)], ["none", "batch", "layer"])
    ],
)


def made(name: str, depth: int, normalization: str) -> MakeModule:
    options = {"architecture": name, "normalization": normalization, "hidden_units": 6}
    return partial(architecture, recipe(width=3, depth=depth, network=options).network, SHAPE, CLASSES)


def network_of(make: MakeModule, stack: int, together: bool = True) -> Stacked:
    """A network in float64 with weights that differ from network to network, also those of normalizations."""
    network = Stacked(make, stack, together).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


def assert_equal_to_one_after_another(make: MakeModule) -> None:
    """Outputs and gradients in training, and outputs with fresh statistics, are those of the module itself."""
    networks = [network_of(make, 3, together) for together in (True, False)]
    images, form = random(3, BATCH, *SHAPE), random(3, BATCH, CLASSES)
    found = []
    for network in networks:
        outputs = network(images)
        gradients = torch.autograd.grad((outputs * form).sum(), list(network.parameters()))
        with evaluation_mode(network, images), torch.no_grad():
            found.append([outputs, network(images[:1]), *gradients])
    assert [network.layered for network in networks] == [True, False]
    names = [[name for name, _ in network.named_parameters()] for network in networks]
    assert names[0] == names[1]
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


@architectures
def test_stacked_layers_compute_what_the_module_does(name: str, depth: int, normalization: str) -> None:
    assert_equal_to_one_after_another(made(name, depth, normalization))


def test_stacked_layers_compute_what_a_module_of_ones_own_does() -> None:
    def convolutional() -> nn.Module:
        trunk = [nn.Conv2d(2, 3, 5, stride=2, padding=2), nn.BatchNorm2d(3), nn.SiLU(), nn.AvgPool2d(2)]
        head = [nn.Flatten(), nn.Linear(12, 6), nn.LayerNorm(6), nn.Sigmoid(), nn.Linear(6, CLASSES)]
        return nn.Sequential(nn.Sequential(*trunk), nn.AdaptiveMaxPool2d(2), *head)

    assert_equal_to_one_after_another(convolutional)


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def hooked() -> nn.Module:
    layer = nn.Linear(128, CLASSES)
    layer.register_forward_hook(lambda _, arguments, output: 2 * output)
    return nn.Sequential(nn.Flatten(), layer)


def tied() -> nn.Module:
    layer = nn.Linear(128, 128)
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer)


@pytest.mark.parametrize(
    "other",
    [
        nn.Sequential(nn.Linear(8, CLASSES)),  # of inputs that may have more dimensions
        nn.Sequential(nn.Flatten(2), nn.Linear(64, CLASSES)),
        nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(128, CLASSES)),
        nn.Sequential(nn.Flatten(), Doubled(128, CLASSES)),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten()),  # without padding
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=2, dilation=2), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.LayerNorm(8), nn.Flatten()),  # over a row of pixels
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4, affine=False), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4, eps=1e-3), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Linear(8, 4), nn.Flatten()),
        hooked(),
        tied(),
    ],
    ids=str,
)  # fmt: skip
def test_modules_with_other_layers_are_left_to_vmap(other: nn.Module) -> None:
    assert layer_stack(other, 2) is None


@architectures
def test_networks_of_a_stack_never_mix(name: str, depth: int, normalization: str) -> None:
    network = network_of(made(name, depth, normalization), 3)
    images = random(3, BATCH, *SHAPE)
    before = network(images)
    for member in range(3):
        gradients = torch.autograd.grad(before[member].square().sum(), list(network.parameters()), retain_graph=True)
        others = [other for other in range(3) if other != member]
        assert all(not gradient[others].any() for gradient in gradients)
        assert all(gradient[member].any() for gradient in gradients)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter[2] += 1
        moved = network(images)
        images[2] = random(BATCH, *SHAPE)
        shifted = network(images)
    assert torch.equal(moved[:2], before[:2])
    assert torch.equal(shifted[:2], before[:2])
    assert not torch.allclose(moved[2], before[2])
    assert not torch.allclose(shifted[2], moved[2])


@architectures
def test_a_shared_input_is_an_own_input_of_equal_content(name: str, depth: int, normalization: str) -> None:
    network = network_of(made(name, depth, normalization), 3)
    images = random(1, BATCH, *SHAPE)
    own = images.expand(3, -1, -1, -1, -1).contiguous()
    torch.testing.assert_close(network(images), network(own), **EXACT)
