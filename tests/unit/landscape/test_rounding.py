"""The errors that `rounding` allows are those of floating-point arithmetic: no less, and not much more."""

import pytest
import torch
from rounding import Disturbed, assert_within, rounding_error

U = torch.finfo(torch.float32).eps / 2  # the unit roundoff


def numbers(*shape: int) -> torch.Tensor:
    """Float32 numbers in float64, so that a computation in either precision starts from the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("order", ["forwards", "backwards", "sorted", "pairwise"])
def test_sums_in_any_order_are_within_the_error(order: str) -> None:
    x, y = numbers(2, 300, 20)
    exact, error = rounding_error(lambda: torch.stack([a @ b for a, b in zip(x.T, y.T, strict=True)]))
    products = (x * y).float()
    if order == "pairwise":
        found = products.sum(0)
    else:
        found = torch.zeros(20)
        ordered = {"forwards": products, "backwards": products.flip(0), "sorted": products.sort(0).values}[order]
        for term in ordered:
            found = found + term
    assert_within(found, exact, error)
    assert float((error / (x * y).abs().sum(0)).max()) < 300 * U, "the bound of the worst case (Higham 2002, 3.1)"


@pytest.mark.parametrize("x", [1e-1, 1e-2, 1e-3])
def test_cancellation_makes_the_error_grow_as_the_condition_number(x: float) -> None:
    """1 - cos x is x^2 / 2, of a difference of two numbers near one: the relative error is 2 u / x^2."""
    exact, error = rounding_error(lambda: 1 - torch.tensor(x, dtype=torch.float32).double().cos())
    assert U / x**2 < float(error / exact) < 30 * U / x**2
    assert_within(1 - torch.tensor(x).cos(), exact, error)


def test_gradients_through_layer_normalization_of_two_features_lose_digits_and_of_eight_do_not() -> None:
    """The terms of the derivative cancel to epsilon / variance of themselves over two features."""
    relative = []
    for features in (2, 8):
        x, direction = numbers(50, features), numbers(features, 50).T.contiguous()

        def gradient(dtype: torch.dtype, x: torch.Tensor = x, direction: torch.Tensor = direction) -> torch.Tensor:
            point = x.to(dtype).requires_grad_()
            normalized = torch.nn.functional.layer_norm(point, point.shape[-1:])
            return torch.autograd.grad((normalized * direction.to(dtype)).sum(), point)[0]

        exact, error = rounding_error(lambda: gradient(torch.float64))
        assert_within(gradient(torch.float32), exact, error)
        relative.append(float((error.norm(dim=1) / exact.norm(dim=1)).median()))
    assert relative[0] > 1e-2
    assert relative[1] < 1e-5


def test_an_error_that_rounding_does_not_explain_is_refused() -> None:
    x = numbers(30, 30)
    exact, error = rounding_error(lambda: (x @ x).tanh())
    assert_within((x.float() @ x.float()).tanh(), exact, error)
    with pytest.raises(AssertionError, match="rounding explains"):
        assert_within((x.float() @ x.float()).tanh() + 1e-4, exact, error)


def test_the_same_operation_errs_in_the_same_way_every_time() -> None:
    x = numbers(40)
    with Disturbed(0):
        first, second = x.exp(), x.exp()
    with Disturbed(1):
        other = x.exp()
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert not torch.equal(first, x.exp())


def test_what_moves_and_selects_numbers_is_exact() -> None:
    x = numbers(6, 4)
    with Disturbed(0):
        moved = torch.cat([x.clone().T.reshape(4, 6).T[:3], torch.where(x > 0, x, -x)[3:].relu()])
    assert torch.equal(moved, torch.cat([x[:3], x[3:].abs()]))
