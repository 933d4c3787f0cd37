"""Architectures: parameter counts done by hand, shapes, costs, and initialization from a seed alone."""

from itertools import product

import pytest
import torch
from helpers import recipe
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from isthmus.models import sizes
from isthmus.models.networks import build, count_parameters
from isthmus.recipes.recipe import NetworkRecipe

DIGITS, CIFAR, OBLONG = (1, 8, 8), (3, 32, 32), (2, 13, 10)


def architecture(name: str, width: int, depth: int, **options: object) -> NetworkRecipe:
    data = {"name": "CIFAR10"}
    return recipe(width, depth, data=data, network={"architecture": name} | options).network


def weights_of(network: nn.Module, member: int) -> dict[str, torch.Tensor]:
    return {name: parameter[member].detach() for name, parameter in network.named_parameters()}


# Parameters, counted by hand


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        # 64 pixels -> 16 -> 16 -> 10 classes, a bias per unit.
        ("none", (64 * 16 + 16) + (16 * 16 + 16) + (16 * 10 + 10)),
        # No bias before a batch norm, which has a weight and a bias per unit.
        ("batch", (64 * 16 + 2 * 16) + (16 * 16 + 2 * 16) + (16 * 10 + 10)),
        ("layer", (64 * 16 + 16 + 2 * 16) + (16 * 16 + 16 + 2 * 16) + (16 * 10 + 10)),
    ],
)
def test_parameters_of_an_mlp(normalization: str, expected: int) -> None:
    assert count_parameters(architecture("mlp", 16, 2, normalization=normalization), DIGITS, 10) == expected


def test_parameters_of_the_published_cnn() -> None:
    """arXiv 2604.07603 gives 814 thousand at base width 32."""
    convolutions = 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128)  # without biases
    norms = 2 * (32 + 32 + 64 + 64 + 128 + 128)
    hidden = 128 * 4 * 4 * 256 + 256  # 32 pixels halved three times leave 4
    output = 256 * 10 + 10
    assert convolutions + norms + hidden + output == 814_570
    assert count_parameters(architecture("cnn", 32, 2, normalization="batch"), CIFAR, 10) == 814_570


def test_an_mlp_that_tapers_is_lenet_300_100() -> None:
    """Frankle & Carbin (2019), figure 2: 266 thousand weights."""
    lenet = recipe(300, 2, data={"name": "MNIST"}, network={"taper": 3}).network
    assert lenet.hidden_widths() == [300, 100]
    assert count_parameters(lenet, (1, 28, 28), 10) == 784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10 == 266_610
    assert sizes.parameters(lenet, (1, 28, 28), 10) == 266_610
    assert recipe(4, 5, network={"taper": 2}).network.hidden_widths() == [4, 2, 1, 1, 1]


def test_parameters_of_a_cnn_with_other_options() -> None:
    # Two blocks of one convolution with biases and layer norm, 13 x 10 pixels halved to 6 x 5 and 3 x 2.
    small = architecture("cnn", 4, 1, blocks=2, hidden_units=0, normalization="layer")
    convolutions = (9 * 2 * 4 + 4) + (9 * 4 * 8 + 8)
    assert count_parameters(small, OBLONG, 7) == convolutions + 2 * (4 + 8) + (8 * 3 * 2 * 7 + 7)


@pytest.mark.parametrize(("depth", "blocks"), [(8, 1), (20, 3)])
def test_parameters_of_a_resnet(depth: int, blocks: int) -> None:
    """6n + 2 layers: the entrance, 3 stages of n blocks of two convolutions each, the output; two 1x1 projections."""
    width = 16
    entrance = 9 * 3 * width + 2 * width
    stages = 0
    for inputs, outputs in ((16, 16), (16, 32), (32, 64)):
        first = 9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs
        others = (blocks - 1) * (2 * 9 * outputs * outputs + 4 * outputs)
        projection = inputs * outputs + 2 * outputs if inputs != outputs else 0
        stages += first + others + projection
    output = 64 * 10 + 10
    assert count_parameters(architecture("resnet", width, depth, normalization="batch"), CIFAR, 10) == (
        entrance + stages + output
    )


def test_resnet_20_of_width_16_has_the_272_thousand_parameters_of_its_paper() -> None:
    """He et al. 2016, table 6: 0.27 million (they count shortcuts without parameters; two projections are 2,752)."""
    assert count_parameters(architecture("resnet", 16, 20, normalization="batch"), CIFAR, 10) == 269_722 + 2_752


# Costs in closed form

GRID = [
    (architecture(name, width, depth, normalization=normalization, **options), shape)
    for (name, depth, options), width, normalization, shape in product(
        [
            ("mlp", 1, {}),
            ("mlp", 4, {}),
            ("cnn", 1, {}),
            ("cnn", 3, {"blocks": 2, "hidden_units": 0}),
            ("resnet", 8, {}),
            ("resnet", 14, {}),
        ],
        [1, 3],
        ["none", "batch", "layer"],
        [DIGITS, OBLONG],
    )
]


def test_costs_count_the_parameters_that_networks_have() -> None:
    for network, shape in GRID:
        assert sizes.parameters(network, shape, 7) == count_parameters(network, shape, 7), (network, shape)


def test_costs_count_the_multiplications_that_torch_counts() -> None:
    """torch's counter counts a multiplication and an addition as two operations."""
    examples = 2
    for network, shape in GRID:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            build(network, shape, 7)(torch.empty(1, examples, *shape))
        expected = counter.get_total_flops() // (2 * examples)
        assert sizes.multiplications(network, shape, 7) == expected, (network, shape)


# Outputs


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize(("name", "depth"), [("mlp", 1), ("mlp", 6), ("cnn", 1), ("cnn", 3), ("resnet", 8)])
def test_any_width_and_depth_gives_logits_per_network_example_and_class(
    name: str, depth: int, width: int, stack: int
) -> None:
    for normalization, shape in product(["none", "batch", "layer"], [DIGITS, OBLONG]):
        network = build(architecture(name, width, depth, normalization=normalization), shape, 7, stack)
        network.initialize(range(stack))
        logits = network(torch.randn(1, 4, *shape))
        assert logits.shape == (stack, 4, 7)
        assert bool(logits.isfinite().all())


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_depth_counts_hidden_layers_of_an_mlp_and_convolutions_per_block_of_a_cnn(depth: int) -> None:
    mlp = weights_of(build(architecture("mlp", 3, depth), DIGITS, 10), 0)
    assert sum(weight.dim() == 2 for weight in mlp.values()) == depth + 1
    cnn = weights_of(build(architecture("cnn", 3, depth), DIGITS, 10), 0)
    assert sum(weight.dim() == 4 for weight in cnn.values()) == 3 * depth
    assert max(len(weight) for weight in cnn.values() if weight.dim() == 4) == 4 * 3


@pytest.mark.parametrize("depth", [8, 14, 20])
def test_depth_counts_weighted_layers_of_a_resnet_besides_projections(depth: int) -> None:
    resnet = weights_of(build(architecture("resnet", 2, depth), CIFAR, 10), 0)
    projections = sum(weight.dim() == 4 and weight.shape[-1] == 1 for weight in resnet.values())
    assert projections == 2
    assert sum(weight.dim() > 1 for weight in resnet.values()) - projections == depth


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_activations_are_those_of_torch(name: str) -> None:
    network = build(architecture("mlp", 5, 1, activation=name), DIGITS, 3).double()
    network.initialize([0])
    x = torch.randn(4, *DIGITS, dtype=torch.float64)
    hidden, output = (weight for weight in weights_of(network, 0).values() if weight.dim() == 2)
    first_bias, second_bias = (weight for weight in weights_of(network, 0).values() if weight.dim() == 1)
    function = {"relu": torch.relu, "tanh": torch.tanh, "gelu": nn.functional.gelu}[name]
    expected = function(x.flatten(1) @ hidden.T + first_bias) @ output.T + second_bias
    torch.testing.assert_close(network(x[None])[0], expected)


@pytest.mark.parametrize("name", ["cnn", "resnet"])
@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("stack", [1, 2])
def test_channels_last_images_give_the_same_logits(name: str, normalization: str, stack: int) -> None:
    network = build(architecture(name, 4, 8, normalization=normalization), CIFAR, 10, stack).double()
    network.initialize(range(stack))
    images = torch.randn(2, *CIFAR, dtype=torch.float64)
    other = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(other[None]), network(images[None]), rtol=1e-10, atol=1e-10)


# Initialization


def test_a_network_is_drawn_from_its_seed_alone() -> None:
    for name, depth in (("mlp", 2), ("cnn", 1), ("resnet", 8)):
        kind = architecture(name, 3, depth, normalization="batch")
        company, alone = build(kind, DIGITS, 10, 3), build(kind, DIGITS, 10, 1)
        company.initialize([5, 9, 2])
        for member, seed in enumerate([5, 9, 2]):
            torch.manual_seed(member)
            alone.initialize([seed])
            expected = weights_of(alone, 0)
            for parameter, weight in weights_of(company, member).items():
                assert torch.equal(weight, expected[parameter]), (name, seed, parameter)


def test_initialization_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    build(architecture("mlp", 3, 1), DIGITS, 10).initialize([0])
    assert torch.equal(torch.get_rng_state(), before)


def test_other_seeds_and_other_layers_give_other_weights() -> None:
    network = build(architecture("mlp", 8, 3), (1, 2, 4), 8, 4)
    network.initialize([0, 1, 2, 2**32 - 1])
    drawn = [weight.flatten() for member in range(4) for weight in weights_of(network, member).values()]
    firsts = {float(each[0]) for each in drawn}
    assert len(firsts) == len(drawn) == 4 * 8


def test_initial_weights_are_uniform_in_one_over_the_root_of_the_fan_in() -> None:
    """He et al. 2015 with a = sqrt(5): variance bound^2 / 3 = 1 / (3 fan-in), the default of PyTorch."""
    network = build(architecture("mlp", 400, 2), CIFAR, 10)
    network.initialize([0])
    weight = next(value for value in weights_of(network, 0).values() if value.shape == (400, 400))
    bound = 1 / 400**0.5
    assert float(weight.abs().max()) <= bound
    assert float(weight.abs().max()) > 0.999 * bound
    # 160,000 draws: the standard error of the mean square is 0.9 / 400 of it.
    assert float(weight.double().square().mean()) == pytest.approx(bound**2 / 3, rel=0.01)
    assert abs(float(weight.double().mean())) < 5 * bound / 3**0.5 / 400
