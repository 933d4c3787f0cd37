"""Losses of the user's own: what trains on them and their curvature, against automatic differentiation in float64."""

from collections.abc import Callable

import own_losses
import pytest
import torch
from torch import Tensor, nn

from isthmus.core.errors import UserError
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.models.evaluation import evaluate, losses
from isthmus.models.loss_inspection import check_loss
from isthmus.models.stacked import Linear

COUNT, INPUTS, HIDDEN, OUTPUTS = 12, 3, 4, 3
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(COUNT, INPUTS, dtype=torch.float64, generator=GENERATOR)
TARGETS = {
    "focal": torch.arange(COUNT) % OUTPUTS,
    "pseudo_huber": torch.randn(COUNT, OUTPUTS, generator=GENERATOR),
    "linear": torch.randn(COUNT, OUTPUTS, generator=GENERATOR),
}
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {name: getattr(own_losses, name) for name in TARGETS}


def network_of(stack: int = 1) -> nn.Sequential:
    network = nn.Sequential(Linear(stack, INPUTS, HIDDEN), nn.Tanh(), Linear(stack, HIDDEN, OUTPUTS)).double().eval()
    for value in network.parameters():
        nn.init.normal_(value, generator=GENERATOR)
    return network


@pytest.mark.parametrize("name", TARGETS)
def test_a_loss_is_the_mean_over_the_examples_for_every_network_of_a_stack(name: str) -> None:
    network, targets = network_of(3), TARGETS[name]
    outputs = network(IMAGES[None])
    found = losses(outputs, targets[None], f"own_losses:{name}")
    expected = torch.stack([FUNCTIONS[name](each, targets.to(each.dtype) if targets.is_floating_point() else targets)
                            for each in outputs]).mean(1)  # fmt: skip
    torch.testing.assert_close(found, expected)
    in_batches, accuracy = evaluate(network, IMAGES, targets[None, None], f"own_losses:{name}", batch_size=5)
    torch.testing.assert_close(in_batches[0], expected.detach())
    right = (
        (outputs.argmax(-1) == targets).double().mean(1) if name == "focal" else torch.full((3,), torch.nan).double()
    )
    torch.testing.assert_close(accuracy[0], right, equal_nan=True)


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
@pytest.mark.parametrize("name", TARGETS)
def test_the_curvature_is_that_of_the_loss(name: str, matrix: str) -> None:
    network, targets = network_of(), TARGETS[name]
    targets = targets.double() if targets.is_floating_point() else targets
    found = dense(CurvatureOperator(network, IMAGES, TARGETS[name], f"own_losses:{name}", matrix, chunk_size=5))
    names, values = zip(*((name, value.detach()) for name, value in network.named_parameters()), strict=True)

    def outputs(flat: Tensor) -> Tensor:
        parts = flat.split([value.numel() for value in values])
        weights = {each: part.view_as(value) for each, part, value in zip(names, parts, values, strict=True)}
        return torch.func.functional_call(network, weights, (IMAGES[None],))[0]

    flat, loss = torch.cat([value.flatten() for value in values]), FUNCTIONS[name]
    if matrix == "hessian":
        expected = torch.autograd.functional.hessian(lambda at: loss(outputs(at), targets).mean(), flat)
    else:
        jacobian, given = torch.autograd.functional.jacobian(outputs, flat), outputs(flat)
        inner = torch.stack([
            torch.autograd.functional.hessian(lambda at, n=n: loss(at[None], targets[n : n + 1])[0], given[n])
            for n in range(COUNT)
        ])  # fmt: skip
        expected = torch.einsum("ncp,ncd,ndq->pq", jacobian, inner, jacobian) / COUNT
    torch.testing.assert_close(found, expected)


def test_a_loss_that_the_library_can_handle_passes() -> None:
    check_loss("own_losses:focal", OUTPUTS, real=False)
    check_loss("own_losses:pseudo_huber", OUTPUTS, real=True)
    check_loss("own_losses:linear", OUTPUTS, real=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("averaged", r"the shape \[\]; needed is one loss for each example, \[4\]"),
        ("standardized", "depends on the others in its batch"),
        ("detached", "cannot be differentiated"),
        ("rooted", "derivative by the outputs is not finite"),
        ("noisy", "different losses when it is called again"),
        ("single", "it returns torch.float32"),
        ("listed", "it returns a list"),
        ("missing", "missing"),
    ],
)
def test_any_other_loss_is_refused_by_what_is_wrong(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_loss(f"own_losses:{name}", OUTPUTS, real=True)
