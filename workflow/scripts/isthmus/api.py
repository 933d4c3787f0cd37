"""The library by itself, for notebooks: measurements of one or two networks, without a configuration or a recipe.

Every call takes a plain `torch.nn.Module`, weights, and data:

* `model` says how weights become outputs, `[B, ...]` -> `[B, classes]`; it is never changed. Its parameters keep their
  precision, float32 or float64.
* weights are dictionaries by name, such as `model.state_dict()`. Buffers in them are not used: batch-norm statistics
  are computed afresh, over all given inputs, wherever the network is evaluated (docs/definitions.md).
* `data` is a pair of tensors, inputs `[N, ...]` and targets `[N]` (classes) or `[N, outputs]` (real numbers), or
  something that yields such pairs batch by batch, such as a `DataLoader`. All of it is used, in evaluation mode; give
  fewer examples if they do not fit into memory.
* `loss` is `cross_entropy` (nats), `squared_error`, or a function of your own, `losses.py:huber` (docs/own-models.md).

Computations run on the device of the weights. Random draws depend only on `seed`. docs/library.md compares each call
with other libraries. Nothing imports this module.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus.core.defaults import with_defaults
from isthmus.core.devices import Settings
from isthmus.core.errors import UserError
from isthmus.core.seeds import generator
from isthmus.data.examples import Examples
from isthmus.landscape.alignment.activations import match_activations
from isthmus.landscape.alignment.result import check_same_function
from isthmus.landscape.alignment.weights import match_weights
from isthmus.landscape.at_points import evaluate_path
from isthmus.landscape.barriers import Profile
from isthmus.landscape.curves import fit, fitted, new_curves
from isthmus.landscape.hessian.density import density
from isthmus.landscape.hessian.lanczos import Eigenpairs, eigenvalues
from isthmus.landscape.hessian.operator import CurvatureOperator
from isthmus.landscape.hessian.trace import Estimate, traces
from isthmus.landscape.paths import curve, line
from isthmus.models.evaluation import converted, evaluation_mode
from isthmus.models.permutations.check import checked_groups
from isthmus.models.plain import Data, Weights, network_of, parameters_of, stack_of_one, whole, without_statistics
from isthmus.models.same_function import with_weights
from isthmus.recipes.recipe import TrainingRecipe
from isthmus.study.schema import study_schema

Array = NDArray[np.float64]

CHECKED = 64  # examples on which an aligned network must compute what it computed before


def barrier(
    model: nn.Module,
    first: Weights,
    second: Weights,
    data: Data,
    *,
    bend: Weights | None = None,
    kind: str = "bezier",
    points: int = 25,
    loss: str = "cross_entropy",
    batch_size: int = 256,
) -> Profile:
    """Loss and accuracy along the straight line from `first` to `second`, and how high they rise above their ends.

    bend: from `fit_curve`; the path is then the curve of this `kind` through it. points: in the uniform grid of t, ends
    included; fewer than 13 miss much of a barrier on a curve (docs/claims.md). batch_size: examples evaluated at once.
    Raises UserError if the weights are not those of `model`. Source: Frankle et al. (2020), Entezari et al. (2022).

    >>> model = nn.Linear(1, 1, bias=False).double()
    >>> data = torch.ones(4, 1).double(), torch.ones(4, 1).double()  # the squared error is (w - 1)^2
    >>> low, high = ({"weight": torch.tensor([[each]]).double()} for each in (0.0, 2.0))
    >>> found = barrier(model, low, high, data, points=3, loss="squared_error")
    >>> found.loss.tolist(), found.barrier
    ([1.0, 0.0, 1.0], 0.0)
    """
    start, end = stack_of_one(model, first), stack_of_one(model, second)
    path = line(start, end) if bend is None else curve(kind, start, end, stack_of_one(model, bend))
    inputs, targets = whole(data, start, loss)
    network, t = network_of(model, start), np.linspace(0, 1, points)
    sets = {"data": (inputs, targets[None])}
    losses, accuracies = evaluate_path(network, path, t, sets, loss, inputs[None], batch_size)["data"]
    return Profile(t, losses.numpy(), accuracies.numpy())


def fit_curve(
    model: nn.Module,
    first: Weights,
    second: Weights,
    data: Data,
    *,
    kind: str = "bezier",
    epochs: int = 30,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    batch_size: int = 128,
    loss: str = "cross_entropy",
    seed: int = 0,
) -> dict[str, Tensor]:
    """Train a curve of low loss from `first` to `second`; returns its bend, weights by name.

    kind: `bezier`, (1 - t)^2 first + 2 t (1 - t) bend + t^2 second, or `polychain`, two straight legs that meet in the
    bend. The bend starts halfway between the ends and follows SGD with momentum and a cosine schedule that begins at
    `learning_rate`; every step takes a random t. weight_decay g: a penalty g/2 |w(t)|^2. Batch normalization uses the
    statistics of the batch, and dropout is on.

    Raises UserError if the weights are not those of `model`, or if the loss stops being finite. Source: Garipov et al.
    (2018).

    >>> model = nn.Linear(2, 1, bias=False)
    >>> inputs = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> data = inputs, torch.tensor([[0.0], [3.0]])  # both ends have 3 as the second weight, the line as well
    >>> ends = ({"weight": torch.tensor([[each, 3.0]])} for each in (-1.0, 1.0))
    >>> bend = fit_curve(model, *ends, data, epochs=2, loss="squared_error")
    >>> round(float(bend["weight"][0, 1]), 4)
    3.0
    """
    start, end = stack_of_one(model, first), stack_of_one(model, second)
    inputs, targets = whole(data, start, loss)
    path, pair = curve(kind, start, end), (seed, seed + 1)
    options = {"loss": loss, "epochs": epochs, "learning_rate": learning_rate, "momentum": momentum}
    given = with_defaults(options | {"weight_decay": weight_decay}, study_schema()["training"])
    training = TrainingRecipe(**given, batch_size=min(batch_size, len(inputs)))
    nothing = inputs[:0]
    examples = Examples(inputs, targets[None], targets[None], nothing, targets[:0][None], torch.zeros(1))
    state = new_curves(path, (pair,))
    settings = Settings(inputs.device, checkpoint_seconds=float("inf"))
    network = network_of(model, start, random=True)
    fit(network, path, state, targets[None, None], examples, training, settings, lambda _: None, lambda: None)
    (result,) = state.results.values()
    if result["diverged"]:
        raise UserError(f"the loss of the curve stopped being finite at a rate of {learning_rate:g}; give a lower one")
    return {name: value[0].to(inputs.device) for name, value in fitted(path, state).bend().items()}


def align(
    model: nn.Module,
    reference: Weights,
    weights: Weights,
    data: Data,
    *,
    method: str = "weights",
    restarts: int = 8,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Permute the hidden units of `weights` so that they match those of `reference`; the function stays the same.

    method: `weights` finds the closest weights and `activations` the most similar activations on `data`; `combined`
    searches for close weights, starting from matched activations, which is best in deep networks. restarts: of that
    search. Returns all parameters by name, without buffers.

    What can be permuted is derived from the module; docs/own-models.md lists what is understood. Raises UserError if
    nothing can be permuted, AlignmentError if a weight is not finite, and ValueError for another method. Source:
    Ainsworth et al. (2023).

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> mine = {name: value.detach() for name, value in model.named_parameters()}
    >>> order = torch.tensor([2, 0, 1])
    >>> theirs = {name: value[order] if name.startswith("0") else value for name, value in mine.items()}
    >>> theirs["2.weight"] = mine["2.weight"][:, order]
    >>> found = align(model, mine, theirs, (torch.rand(8, 2), torch.zeros(8).long()))
    >>> all(torch.equal(found[name], value) for name, value in mine.items())
    True
    """
    if method not in ("weights", "activations", "combined"):
        raise ValueError(f"the method {method!r} is unknown; there are weights, activations and combined")
    first, second = parameters_of(model, reference), parameters_of(model, weights)
    inputs, _ = whole(data, second, "cross_entropy")
    plain = without_statistics(model).cpu().float()
    check = converted(inputs[:CHECKED].cpu(), torch.float32)
    groups = checked_groups(lambda: copy.deepcopy(plain), check).groups
    network, random = network_of(model, stack_of_one(model, weights)), generator(seed, "api align")
    begin = None
    if method != "weights":
        found = match_activations(network, first, second, groups, inputs, generator=random, restarts=restarts)
        begin = found.permutations
    if method != "activations":
        found = match_weights(first, second, groups, random, restarts, begin)
    check_same_function(network, second, found.weights, inputs[:CHECKED])
    return found.weights


def top_eigenvalues(
    model: nn.Module,
    data: Data,
    count: int = 1,
    *,
    weights: Weights | None = None,
    matrix: str = "hessian",
    which: str = "largest",
    loss: str = "cross_entropy",
    tolerance: float = 1e-3,
    maximum_products: int = 1000,
    keep_graph: bool = True,
    seed: int = 0,
) -> Eigenpairs:
    """The algebraically `largest` (or `smallest`) eigenvalues of the Hessian of the mean loss, with residuals.

    weights: None for those of `model`. matrix: `hessian` or `gauss_newton`. The result has `values`, `residuals`
    |Hv - lambda v|, `converged` (whether these are within `tolerance` |lambda|), `[count]` each, `vectors`
    `[count, P]` in the order of `model.parameters()`, and `products`. keep_graph: whether the graph of the gradient
    stays in memory between products, some 40 bytes per activation and example; without it a product takes longer.

    Raises UserError if the loss is not finite, or random, and ValueError for a `count` outside 1 .. P. Source: Wu &
    Simon (2000).

    >>> model = nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 1)  # the loss is (w_1^2 + 4 w_2^2) / 2
    >>> top_eigenvalues(model, data, 2, loss="squared_error").values.round(4)
    array([4., 1.])
    """
    with _operator(model, data, weights, loss, matrix, keep_graph) as operator:
        random = generator(seed, "api eigenvalues")
        start = operator.gradient if which == "largest" else None
        return eigenvalues(operator, count, random, which, tolerance, maximum_products, start=start)


def trace(
    model: nn.Module,
    data: Data,
    *,
    weights: Weights | None = None,
    matrix: str = "hessian",
    loss: str = "cross_entropy",
    precision: float = 0.05,
    maximum_products: int = 1000,
    keep_graph: bool = True,
    seed: int = 0,
) -> Estimate:
    """The trace of the Hessian of the mean loss, with its standard error and its 95 % interval.

    precision: standard error / |trace| at which the estimate ends. The result has `value`, `error`, `low`, `high` and
    `converged`: the interval is valid whether or not the precision was reached within `maximum_products` random
    vectors. Other arguments and errors are those of `top_eigenvalues`. Source: Hutchinson (1989), with deflation as in
    Meyer et al. (2021).

    >>> model = nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 1)  # the loss is (w_1^2 + 4 w_2^2) / 2
    >>> round(trace(model, data, loss="squared_error").value, 4)
    5.0
    """
    with _operator(model, data, weights, loss, matrix, keep_graph) as operator:
        space = eigenvalues(operator, 1, generator(seed, "api eigenvalues"), start=operator.gradient).space
        random = generator(seed, "api trace")
        return traces(operator, space, random, precision, maximum_products=maximum_products).trace


def spectral_density(
    model: nn.Module,
    data: Data,
    *,
    weights: Weights | None = None,
    matrix: str = "hessian",
    loss: str = "cross_entropy",
    probes: int = 3,
    steps: int = 40,
    points: int = 200,
    smoothing: float = 0.01,
    keep_graph: bool = True,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Positions on the axis of eigenvalues and the density of the Hessian's eigenvalues there, `[points]` each.

    The density has total mass 1. probes: random vectors, of `steps` products each. smoothing: the standard deviation
    of the Gaussian that replaces a quadrature node, as a fraction of the range of the nodes. Other arguments and errors
    are those of `top_eigenvalues`. Source: Ghorbani et al. (2019).

    >>> model = nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 1)  # the eigenvalues are 1 and 4
    >>> at, height = spectral_density(model, data, loss="squared_error")
    >>> round(float(at[height.argmax()])) in (1, 4)
    True
    """
    with _operator(model, data, weights, loss, matrix, keep_graph) as operator:
        found = density(operator, generator(seed, "api density"), probes, steps)
    low, high = float(found.nodes.min()), float(found.nodes.max())
    width = smoothing * (high - low if high > low else abs(high) or 1.0)
    grid = np.linspace(low - 4 * width, high + 4 * width, points)
    return grid, found.smoothed(grid, width)[0]


@contextmanager
def _operator(
    model: nn.Module, data: Data, weights: Weights | None, loss: str, matrix: str, keep: bool
) -> Iterator[CurvatureOperator]:
    """The matrix at these weights."""
    own = parameters_of(model, dict(model.named_parameters()) if weights is None else weights)
    inputs, targets = whole(data, own, loss)
    first = next(iter(own.values()))
    network = with_weights(network_of(model, own), own, first.device, first.dtype)
    with evaluation_mode(network, inputs[None]):
        yield CurvatureOperator(network, inputs, targets, loss, matrix, keep=keep)
