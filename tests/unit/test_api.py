"""The calls of the library by itself, against closed forms and plain PyTorch in float64."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from isthmus import api
from isthmus.core.errors import UserError

Weights = dict[str, Tensor]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def normalized() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))


def made(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return make().double()


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(9)
    inputs = torch.randn(40, 4).double()
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()


def outputs(model: nn.Module, weights: Weights, inputs: Tensor) -> Tensor:
    """In evaluation mode, with the batch-norm statistics of these inputs, in plain PyTorch."""
    own = copy.deepcopy(model).train()
    for module in own.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return functional_call(own, weights, (inputs,))


def between(first: Weights, second: Weights, t: float, bend: Weights | None = None) -> Weights:
    names = [name for name, value in first.items() if "running" not in name and "num_batches" not in name]
    if bend is None:
        return {name: (1 - t) * first[name] + t * second[name] for name in names}
    return {n: (1 - t) ** 2 * first[n] + 2 * t * (1 - t) * bend[n] + t**2 * second[n] for n in names}


@pytest.mark.parametrize("make", [mlp, normalized])
def test_losses_on_the_line_are_those_of_eight_lines_of_pytorch(
    make: Callable[[], nn.Module], data: tuple[Tensor, Tensor]
) -> None:
    model, first, second = (made(make, seed) for seed in (0, 1, 2))
    before = copy.deepcopy(model.state_dict())
    found = api.barrier(model, first.state_dict(), second.state_dict(), data, points=7, batch_size=16)
    expected = []
    for t in np.linspace(0, 1, 7):
        logits = outputs(model, between(first.state_dict(), second.state_dict(), t), data[0])
        expected.append((float(F.cross_entropy(logits, data[1])), float((logits.argmax(1) == data[1]).double().mean())))
    losses, accuracies = np.array(expected).T
    np.testing.assert_allclose(found.loss, losses, rtol=1e-12)
    np.testing.assert_allclose(found.accuracy, accuracies, rtol=1e-12)
    assert found.barrier == pytest.approx(max(losses - ((1 - found.t) * losses[0] + found.t * losses[-1])), rel=1e-9)
    assert found.error_barrier >= 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


def test_a_loader_is_read_to_its_end(data: tuple[Tensor, Tensor]) -> None:
    model, other = made(mlp, 0), made(mlp, 1)
    loader = DataLoader(TensorDataset(*data), batch_size=7)
    whole, read = (api.barrier(model, model.state_dict(), other.state_dict(), d, points=3) for d in (data, loader))
    assert read.loss.tolist() == whole.loss.tolist()


def test_a_curve_has_a_lower_loss_than_the_line(data: tuple[Tensor, Tensor]) -> None:
    """Between two networks that fit, and the curve is the quadratic Bézier curve through its bend."""
    ends = [made(mlp, seed) for seed in (0, 1)]
    for end in ends:
        optimizer = torch.optim.Adam(end.parameters(), 0.05)
        for _ in range(150):
            optimizer.zero_grad()
            F.cross_entropy(end(data[0]), data[1]).backward()
            optimizer.step()
    first, second = (end.state_dict() for end in ends)
    options: dict[str, Any] = {"epochs": 200, "learning_rate": 0.2, "batch_size": 20}
    bend = api.fit_curve(ends[0], first, second, data, **options)
    straight, found = (api.barrier(ends[0], first, second, data, bend=each, points=13) for each in (None, bend))
    assert straight.barrier > 0.1
    assert found.barrier < 0.4 * straight.barrier
    middle = outputs(ends[0], between(first, second, 0.5, bend), data[0])
    assert found.loss[6] == pytest.approx(float(F.cross_entropy(middle, data[1])), rel=1e-12)
    again = api.fit_curve(ends[0], first, second, data, **options)
    other = api.fit_curve(ends[0], first, second, data, **options, seed=1)
    assert all(torch.equal(value, again[name]) for name, value in bend.items())
    assert not torch.equal(other["0.weight"], bend["0.weight"])
    with pytest.raises(UserError, match="stopped being finite"):
        api.fit_curve(ends[0], first, second, data, **options | {"learning_rate": 1e300})


def test_a_curve_of_normalized_networks_with_dropout_depends_on_the_seed_alone(data: tuple[Tensor, Tensor]) -> None:
    first, second = (made(normalized, seed) for seed in (0, 1))
    fits = [api.fit_curve(first, first.state_dict(), second.state_dict(), data, epochs=2) for _ in range(2)]
    assert all(torch.equal(value, fits[1][name]) for name, value in fits[0].items())


@pytest.mark.parametrize("method", ["weights", "activations", "combined"])
@pytest.mark.parametrize("make", [mlp, normalized])
def test_a_permuted_network_is_found_again(
    make: Callable[[], nn.Module], method: str, data: tuple[Tensor, Tensor]
) -> None:
    model = made(make, 0)
    model(data[0])  # running averages of batch norms then differ from channel to channel
    mine = {name: value.detach() for name, value in model.named_parameters()}
    order, last = torch.tensor([3, 1, 5, 0, 2, 4]), [name for name in mine if name.endswith("weight")][-1]
    theirs = {name: value[order] if len(value) == 6 else value for name, value in mine.items()}
    theirs[last] = mine[last][:, order]
    found = api.align(model, mine, theirs, data, method=method)
    assert all(torch.equal(found[name], value) for name, value in mine.items())
    with pytest.raises(ValueError, match="there are weights, activations and combined"):
        api.align(model, mine, theirs, data, method="best")


@pytest.fixture(params=[mlp, normalized])
def problem(request: pytest.FixtureRequest, data: tuple[Tensor, Tensor]) -> tuple[nn.Module, Tensor]:
    """A network, and the Hessian of its mean loss by PyTorch, whose statistics are constants."""
    model = made(request.param, 3)
    hidden = model[0](data[0])
    frozen = copy.deepcopy(model).eval()
    if request.param is normalized:
        frozen[1].running_mean = hidden.mean(0).detach()
        frozen[1].running_var = hidden.var(0, correction=0).detach()
    shapes = {name: value.shape for name, value in model.named_parameters()}

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes.values()])
        weights = {n: part.view(shape) for (n, shape), part in zip(shapes.items(), parts, strict=True)}
        return F.cross_entropy(functional_call(frozen, weights, (data[0],)), data[1])

    flat = torch.cat([value.detach().flatten() for value in model.parameters()])
    return model, hessian(loss, flat)


def test_curvature_is_that_of_the_dense_hessian(problem: tuple[nn.Module, Tensor], data: tuple[Tensor, Tensor]) -> None:
    model, matrix = problem
    exact = torch.linalg.eigvalsh(matrix).numpy()
    top = api.top_eigenvalues(model, data, 3, tolerance=1e-8)
    np.testing.assert_allclose(top.values, exact[:-4:-1], rtol=1e-7)
    assert top.converged.all()
    low = api.top_eigenvalues(model, data, which="smallest", tolerance=1e-8, keep_graph=False)
    assert low.values[0] == pytest.approx(exact[0], rel=1e-7)
    other = api.top_eigenvalues(made(mlp, 5), data, weights=None)
    assert other.values[0] != pytest.approx(top.values[0])
    estimate = api.trace(model, data, precision=0.01, maximum_products=2000)
    assert abs(estimate.value - exact.sum()) <= 4 * estimate.error + 1e-9 * abs(exact.sum())
    assert estimate.low <= estimate.value <= estimate.high
    at, height = api.spectral_density(model, data, probes=20, steps=len(exact), points=2000)
    assert np.trapezoid(height, at) == pytest.approx(1, abs=1e-3)
    # The mean eigenvalue, whose estimate from random signs has a standard error of at most |H| sqrt(2 / probes) / P.
    error = np.linalg.norm(matrix.numpy()) * np.sqrt(2 / 20) / len(exact)
    assert np.trapezoid(at * height, at) == pytest.approx(exact.mean(), abs=4 * error)


def test_weights_may_be_given_instead_of_those_of_the_model(data: tuple[Tensor, Tensor]) -> None:
    model, other = made(mlp, 0), made(mlp, 1)
    given = api.top_eigenvalues(model, data, weights=other.state_dict())
    assert given.values[0] == api.top_eigenvalues(other, data).values[0]


def test_weights_keep_their_precision(data: tuple[Tensor, Tensor]) -> None:
    model = mlp()
    assert api.top_eigenvalues(model, data).vectors.dtype == torch.float32
    assert api.top_eigenvalues(model.double(), data).vectors.dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda w: {n: v for n, v in w.items() if n != "2.bias"}, "lack the parameter 2.bias"),
        (lambda w: w | {"3.weight": torch.zeros(1)}, "have a tensor 3.weight, which the model does not have"),
        (lambda w: w | {"2.bias": torch.zeros(2)}, r"2.bias has the shape \(2,\); in the model it is \(3,\)"),
    ],
)
def test_weights_that_are_not_those_of_the_model_are_named(
    change: Callable[[Weights], Weights], sentence: str, data: tuple[Tensor, Tensor]
) -> None:
    model = made(mlp, 0)
    with pytest.raises(UserError, match=sentence):
        api.barrier(model, model.state_dict(), change(model.state_dict()), data)


def test_data_that_do_not_fit_together_are_refused(data: tuple[Tensor, Tensor]) -> None:
    model = made(mlp, 0)
    with pytest.raises(UserError, match="40 inputs and 39 targets"):
        api.trace(model, (data[0], data[1][1:]))
    with pytest.raises(UserError, match="there are no data"):
        api.trace(model, [])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda model, data: api.barrier(model, model, model, data),
            "weights are a dictionary.*Sequential was given",
        ),
        (lambda model, data: api.trace(model, data[0]), "data are a pair of tensors.*; one tensor was given"),
        (
            lambda model, data: api.top_eigenvalues(model, data, loss=nn.CrossEntropyLoss()),
            r"`loss` is a name, such as `cross_entropy`; CrossEntropyLoss\(\) was given",
        ),
    ],
)
def test_what_one_tries_first_is_refused_in_a_sentence(
    call: Callable[[nn.Module, object], object], sentence: str, data: tuple[Tensor, Tensor]
) -> None:
    with pytest.raises(UserError, match=sentence):
        call(made(mlp, 0), data)


def test_eigenvalues_are_printed_without_their_vectors(data: tuple[Tensor, Tensor]) -> None:
    printed = repr(api.top_eigenvalues(made(mlp, 0), data))
    assert "values=array" in printed
    assert "vectors" not in printed
