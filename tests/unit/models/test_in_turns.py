"""Statistics of images in groups are those of all images at once."""

from collections.abc import Callable

import pytest
import torch
from own_models import depthwise
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from isthmus.core.errors import UserError
from isthmus.models import in_turns
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.functional import Stacked
from isthmus.models.stacked import BatchNorm

SHAPE, CLASSES, IMAGES = (3, 8, 8), 5, 67  # the last of seven groups has a single image


@pytest.fixture(autouse=True)
def groups_of_eleven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_turns, "PIXELS", 11 * 8 * 8 + 5)


def layers() -> nn.Module:
    convolution, linear = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 16, 6)
    head = [nn.Flatten(), linear, nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, CLASSES)]
    return nn.Sequential(convolution, nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), *head)


def residual() -> nn.Module:
    block = BasicBlock(4, 4)
    return nn.Sequential(nn.Conv2d(3, 4, 3), block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES))


def own() -> nn.Module:
    return depthwise(4, CLASSES, SHAPE)


def images_of(count: int = IMAGES) -> Tensor:
    return 3 + torch.randn(count, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def reference(make: Callable[[], nn.Module], weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """Outputs of an ordinary module in training mode, whose statistics are those of all images."""
    module = make().double().train()
    return torch.func.functional_call(module, weights, (images,))


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("make", [layers, residual, own])
def test_outputs_are_those_of_one_pass_over_all_images(
    make: Callable[[], nn.Module], stack: int, together: bool
) -> None:
    network = Stacked(make, stack, together).double()
    network.initialize(tuple(range(stack)))
    images = images_of()
    with evaluation_mode(network, images[None]) as outputs, torch.no_grad():
        found = network(images[None])
    torch.testing.assert_close(outputs, found, rtol=1e-9, atol=1e-9)
    for member in range(stack):
        weights = {name: value.detach()[member] for name, value in network.named_parameters()}
        # Rounding of float64 through a few layers, with sums over 4,000 values: some 1e-13 on any processor.
        torch.testing.assert_close(found[member], reference(make, weights, images).detach(), rtol=1e-9, atol=1e-9)


def test_images_go_through_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    network = Stacked(own, stack=1).double()
    network.initialize((0,))
    network.template.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    with evaluation_mode(network, images_of()[None]):
        assert sizes == [11] * 6 + [1]


def test_a_large_mean_costs_no_digits() -> None:
    """Sums of squares would lose all digits of float32 here."""
    images = (1000 + torch.randn(1, 256, *SHAPE, generator=torch.Generator().manual_seed(0))).float()
    network = Stacked(lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Flatten()), stack=1)
    with torch.no_grad():
        network.get_parameter("0.weight").copy_(torch.eye(3)[None, :, :, None, None])
        network.get_parameter("0.bias").zero_()
    with evaluation_mode(network, images):
        (norm,) = (module for module in network.modules() if isinstance(module, BatchNorm))
        assert norm.statistics is not None
        variance = norm.statistics[1]
    expected = images[0].double().var((0, 2, 3), correction=0)
    # A float32 mean of 1,000 is off by at most 1e-4 per group, which the variance of 1 feels squared.
    torch.testing.assert_close(variance.double(), expected, rtol=1e-4, atol=0)


class Undecided(nn.Module):
    """Normalizes bright images by one layer and dark ones by another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.dark, self.bright = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        norm = self.bright if bool(x.mean() > 0) else self.dark
        return norm(self.first(x)).mean((2, 3))


def test_normalizations_that_depend_on_the_images_are_refused() -> None:
    network, images = Stacked(Undecided, stack=1, together=False).double(), images_of()
    images[:20] -= 6
    with pytest.raises(UserError, match="depends on the images"), evaluation_mode(network, images[None]):
        pass
    with evaluation_mode(network, images[None, 20:]):  # and nothing is left of it
        assert network(images[None, 20:]).shape == (1, IMAGES - 20, 3)


def test_an_error_in_one_group_is_that_of_the_network() -> None:
    network = Stacked(own, stack=1).double()
    network.initialize((0,))
    seen = []

    def fail(*_: object) -> None:
        seen.append(1)
        if len(seen) == 5:
            raise MemoryError("the fifth group")

    handle = network.template.register_forward_pre_hook(fail)
    with pytest.raises(MemoryError, match="the fifth group"), evaluation_mode(network, images_of()[None]):
        pass
    handle.remove()
    with evaluation_mode(network, images_of()[None]), torch.no_grad():
        again = network(images_of()[None])
    fresh = Stacked(own, stack=1).double()
    fresh.initialize((0,))
    with evaluation_mode(fresh, images_of()[None]), torch.no_grad():
        assert torch.equal(again, fresh(images_of()[None]))
