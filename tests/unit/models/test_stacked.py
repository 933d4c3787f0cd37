"""Stacked layers against PyTorch's own, one network at a time, in float64."""

from collections.abc import Callable, Sequence
from itertools import product

import pytest
import torch
from helpers import recipe
from torch import Tensor, nn

from isthmus.models import stacked as layers
from isthmus.models.architectures import build, initialize

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
    trunk = layers.ImagesToChannels()(images)
    assert torch.equal(trunk, channels(images))
    assert torch.equal(layers.ImagesToChannels()(images[:1]), images[0])
    assert torch.equal(layers.ChannelsToFeatures(images.shape[2])(trunk), images.flatten(2))
    assert torch.equal(layers.ImagesToFeatures()(images), images.flatten(2))
    average = nn.AdaptiveAvgPool2d(1)(trunk)
    torch.testing.assert_close(layers.GlobalAverage()(trunk), average, **EXACT)


# Whole networks

architectures = pytest.mark.parametrize(
    ("architecture", "depth", "normalization"),
    [
        (architecture, depth, normalization)
        for (architecture, depth), normalization in product(
            [("mlp", 2), ("cnn", 1), ("resnet", 8)], ["none", "batch", "layer"]
        )
    ],
)


def network_of(architecture: str, depth: int, normalization: str, stack: int) -> nn.Module:
    """An initialized network in float64 whose normalizations are not the identity map."""
    options = {"architecture": architecture, "normalization": normalization, "hidden_units": 6}
    network = build(recipe(width=3, depth=depth, network=options).network, SHAPE, CLASSES, stack)
    initialize(network, range(stack))
    network.double()
    for module in network.modules():
        if isinstance(module, layers.BatchNorm | layers.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return network


@architectures
def test_a_stack_is_what_vmap_makes_of_single_networks(architecture: str, depth: int, normalization: str) -> None:
    network = network_of(architecture, depth, normalization, 3)
    single = network_of(architecture, depth, normalization, 1)
    weights = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    images, form = random(3, BATCH, *SHAPE), random(3, BATCH, CLASSES)

    def logits(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        members = {name: value[None] for name, value in parameters.items()}
        return torch.func.functional_call(single, members, (x[None],))[0]

    def form_of(parameters: dict[str, Tensor], x: Tensor, part: Tensor) -> Tensor:
        return (logits(parameters, x) * part).sum()

    found = network(images)
    torch.testing.assert_close(found, torch.func.vmap(logits)(weights, images), **EXACT)
    gradients = torch.func.vmap(torch.func.grad(form_of))(weights, images, form)
    ours = torch.autograd.grad((found * form).sum(), list(network.parameters()))
    for (name, _), gradient in zip(network.named_parameters(), ours, strict=True):
        torch.testing.assert_close(gradient, gradients[name], **EXACT)


@architectures
def test_networks_of_a_stack_never_mix(architecture: str, depth: int, normalization: str) -> None:
    network = network_of(architecture, depth, normalization, 3)
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
def test_a_shared_input_is_an_own_input_of_equal_content(architecture: str, depth: int, normalization: str) -> None:
    network = network_of(architecture, depth, normalization, 3)
    images = random(1, BATCH, *SHAPE)
    own = images.expand(3, -1, -1, -1, -1).contiguous()
    torch.testing.assert_close(network(images), network(own), **EXACT)


# Initialization


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["linear", "convolution", "projection"])
def test_reset_draws_the_numbers_that_torch_draws(kind: str, seed: int) -> None:
    """torch.nn.Linear and Conv2d fill the weight first, then the bias, from one generator; so does `reset`."""
    makers = {
        "linear": (lambda: nn.Linear(37, 11), lambda: layers.Linear(3, 37, 11)),
        "convolution": (lambda: nn.Conv2d(5, 7, 3), lambda: layers.Convolution(3, 5, 7)),
        "projection": (lambda: nn.Conv2d(5, 7, 1), lambda: layers.Convolution(3, 5, 7, size=1)),
    }
    theirs, ours = makers[kind]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        expected = theirs()
    layer = ours()
    layers.reset(layer, 1, torch.Generator().manual_seed(seed))
    assert torch.equal(layer.weight[1], expected.weight)
    assert torch.equal(layer.bias[1], expected.bias)


def test_reset_touches_one_member_and_makes_normalizations_the_identity() -> None:
    generator = torch.Generator().manual_seed(0)
    for layer in (layers.Linear(3, 4, 2), layers.BatchNorm(3, 4), layers.LayerNorm(3, 4)):
        with torch.no_grad():
            layer.weight.fill_(7)
            layer.bias.fill_(7)
        layers.reset(layer, 1, generator)
        for parameter in (layer.weight, layer.bias):
            assert bool((parameter[[0, 2]] == 7).all())
            assert not bool((parameter[1] == 7).any())
    assert torch.equal(layer.weight[1], torch.ones(4))
    assert torch.equal(layer.bias[1], torch.zeros(4))
