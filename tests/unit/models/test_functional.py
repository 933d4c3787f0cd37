"""Stacks of any module: equal to one network after another, and to the built-in layers where these compute the same."""

import copy
from collections.abc import Callable

import own_models
import pytest
import torch
import torchvision
from helpers import recipe
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from isthmus.core import seeds
from isthmus.core.errors import UserError
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.functional import Stacked
from isthmus.models.masks import prunable
from isthmus.models.networks import build

SHAPE, CLASSES, STACK = (2, 8, 8), 5, 3


def resnet() -> nn.Module:
    """torchvision's ResNet-18 with an eighth of its channels."""
    network = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=CLASSES)
    network.conv1 = nn.Conv2d(2, 64, 3, padding=1, bias=False)
    return network


MODULES: dict[str, Callable[[], nn.Module]] = {
    "depthwise": lambda: own_models.depthwise(4, CLASSES, SHAPE),
    "vit": lambda: own_models.ViT(SHAPE, CLASSES),
    "tied": lambda: own_models.Tied(SHAPE, CLASSES),
    "mlp": lambda: own_models.normalized_mlp(6, CLASSES, SHAPE),
    "resnet": resnet,
}


def stack_of(make: Callable[[], nn.Module], stack: int = STACK, together: bool = True) -> Stacked:
    """Initialized networks in float64, whose normalizations are not the identity map."""
    network = Stacked(make, stack, together).double()
    network.initialize(range(stack))
    torch.manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            value += 0.1 * torch.randn(value.shape, dtype=value.dtype)
    return network


def images_of(stack: int = 1, count: int = 7) -> Tensor:
    return 1 + 2 * torch.randn(stack, count, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def plain(make: Callable[[], nn.Module], network: Stacked, member: int) -> nn.Module:
    """One network of a stack as the user's own module."""
    module = make().double()
    missing = module.load_state_dict({n: v[member].detach() for n, v in network.named_parameters()}, strict=False)
    assert not missing.unexpected_keys
    return module


def set_statistics(module: nn.Module, images: Tensor) -> nn.Module:
    """Compute the running statistics of the user's own module by its own means: one pass in training mode."""
    for each in module.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm):
            each.reset_running_stats()
            each.momentum = None  # the mean over all passes, here one
            each.register_forward_hook(biased)
    module.train()(images)
    return module.eval()


def biased(norm: nn.Module, arguments: tuple[Tensor, ...], _: Tensor) -> None:
    """PyTorch keeps the unbiased variance; training normalizes by the biased one."""
    count = arguments[0].numel() / arguments[0].shape[1]
    if norm.training:
        norm.running_var *= (count - 1) / count


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("shared", [True, False])
def test_a_stack_computes_what_each_module_computes_alone(name: str, shared: bool) -> None:
    network, images = stack_of(MODULES[name]), images_of(1 if shared else STACK)
    outputs = network(images)
    with evaluation_mode(network, images), torch.no_grad():
        evaluated = network(images)
    for member in range(STACK):
        own = images[0 if shared else member]
        module = plain(MODULES[name], network, member)
        torch.testing.assert_close(outputs[member], module.train()(own))
        torch.testing.assert_close(evaluated[member], set_statistics(module, own)(own))


@pytest.mark.parametrize("name", MODULES)
def test_gradients_are_those_of_each_module_alone(name: str) -> None:
    network, images = stack_of(MODULES[name]), images_of()
    found = torch.autograd.grad(network(images).square().sum(), list(network.parameters()))
    for member in range(STACK):
        module = plain(MODULES[name], network, member)
        expected = torch.autograd.grad(module(images[0]).square().sum(), list(module.parameters()))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one[member], other)


def test_networks_that_cannot_be_computed_together_are_computed_one_after_another() -> None:
    def make() -> nn.Module:
        return own_models.Branching(SHAPE, CLASSES)

    with pytest.raises(RuntimeError, match="item"):
        stack_of(make)(images_of())
    network = stack_of(make, together=False)
    for member, outputs in enumerate(network(images_of())):
        torch.testing.assert_close(outputs, plain(make, network, member)(images_of()[0]))


def test_what_a_network_drops_depends_on_its_seed_and_the_step_alone() -> None:
    def make() -> nn.Module:
        return own_models.Scaled(CLASSES)

    def outputs(noise_seeds: tuple[int, ...], step: int) -> Tensor:
        network = Stacked(make, len(noise_seeds), random=True)
        network.initialize([0] * len(noise_seeds))
        network.draw_seeds(noise_seeds, step)
        return network(images_of().float())

    together, before = outputs((4, 5), step=3), torch.random.get_rng_state()
    assert torch.equal(together, torch.cat([outputs((4,), step=3), outputs((5,), step=3)]))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(together[0], outputs((4,), step=4)[0])
    network = Stacked(make, 1, random=True)
    network.initialize([0])
    module = plain(make, network, 0).float()
    torch.manual_seed(seeds.integer(5, "dropout", 3))
    assert torch.equal(together[1], module(images_of()[0].float()))


def test_nothing_is_dropped_in_evaluation_and_nothing_without_a_seed_in_training() -> None:
    networks = [Stacked(lambda p=p: own_models.ViT(SHAPE, CLASSES, dropout=p), 1, random=p > 0) for p in (0.0, 0.5)]
    found = []
    for network in networks:
        network.initialize([0])
        with evaluation_mode(network, images_of().float()):
            found.append(network(images_of().float()))
    assert torch.equal(*found)
    with pytest.raises(RuntimeError, match="seeds of a training step"):
        networks[1](images_of().float())


@pytest.mark.parametrize("stack", [1, STACK])
@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_plain_layers_compute_what_the_batched_ones_do(stack: int, normalization: str) -> None:
    built = build(recipe(6, 1, network={"normalization": normalization}).network, SHAPE, CLASSES, stack).double()
    built.initialize(range(stack))
    plain_mlp = own_models.normalized_mlp if normalization == "batch" else own_models.mlp
    arguments = {"depth": 1} if normalization == "none" else {}
    network = Stacked(lambda: plain_mlp(6, classes=CLASSES, shape=SHAPE, **arguments), stack).double()
    network.load_state_dict(built.state_dict())
    images = images_of(stack)
    torch.testing.assert_close(network(images), built(images))
    with evaluation_mode(network, images), evaluation_mode(built, images):
        torch.testing.assert_close(network(images_of(1, 3)), built(images_of(1, 3)))


def test_statistics_belong_to_the_weights_at_hand() -> None:
    network, images = stack_of(MODULES["depthwise"]), images_of()
    weights = {name: 2 * value.detach() for name, value in network.named_parameters()}
    with evaluation_mode(network, images, weights), torch.no_grad():
        found = functional_call(network, weights, (images,))
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(weights[name])
    with evaluation_mode(network, images), torch.no_grad():
        torch.testing.assert_close(found, network(images), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="before evaluation"):
        network.eval()(images)


def test_a_network_is_initialized_by_its_constructor_from_its_seed_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    pair, single = Stacked(MODULES["vit"], 2), Stacked(MODULES["vit"], 1)
    pair.initialize([5, 7])
    single.initialize([7])
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(seeds.integer(7, seeds.Stream.INITIALIZATION))
    drawn = dict(MODULES["vit"]().named_parameters())
    for name, value in pair.named_parameters():
        assert torch.equal(value[1], single.get_parameter(name)[0])
        assert torch.equal(value[1], drawn[name])


def test_names_are_those_of_the_module() -> None:
    for make in MODULES.values():
        expected = {name: (STACK, *value.shape) for name, value in make().named_parameters()}
        assert {name: tuple(value.shape) for name, value in Stacked(make, STACK).named_parameters()} == expected


def test_a_copy_has_weights_of_its_own() -> None:
    network = stack_of(MODULES["vit"])
    twin = copy.deepcopy(network)
    before = network(images_of())
    with torch.no_grad():
        for value in twin.parameters():
            value.zero_()
    torch.testing.assert_close(network(images_of()), before, rtol=0, atol=0)
    assert not torch.equal(twin(images_of()), before)


def test_a_name_that_the_stack_needs_is_refused() -> None:
    def make() -> nn.Module:
        module = nn.Sequential(nn.Flatten(), nn.Linear(128, CLASSES))
        module.statistics = nn.Linear(1, 1)
        return module

    with pytest.raises(UserError, match="an attribute `statistics`"):
        Stacked(make, 1)


def test_the_output_layer_is_pruned_as_such_wherever_it_is_defined() -> None:
    network = Stacked(MODULES["vit"], 1, last_layer="head")
    layer = "layers.0"
    assert prunable(network) == (
        "patches.weight",
        f"{layer}.self_attn.in_proj_weight",
        f"{layer}.self_attn.out_proj.weight",
        f"{layer}.linear1.weight",
        f"{layer}.linear2.weight",
        "head.weight",
    )
    assert prunable(Stacked(MODULES["tied"], 1, last_layer="head")) == ("encode.weight", "head.weight")


class Convolutions(TorchDispatchMode):
    """Records the sizes and strides of all convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, int]] = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten.convolution.default:
            self.found.append((args[1].shape[-1], args[3][0]))
        return operation(*args, **(kwargs or {}))


def test_no_strided_convolution_of_single_pixels_is_left_to_the_library_that_computes_it_wrongly() -> None:
    with Convolutions() as convolutions:
        stack_of(resnet, 1)(images_of())
    assert {stride for size, stride in convolutions.found if size == 1} == {1}
    assert {stride for size, stride in convolutions.found if size == 3} == {1, 2}
