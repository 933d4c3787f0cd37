"""Curvature of the training loss at a trained network: the rows of `curvature`, `eigenvalues` and `spectrum`.

All curvatures belong to the mean loss over a fixed subset of the training data, in evaluation mode; the tables give
that loss next to them. Estimates come with errors and say whether they converged. For small networks, the dense Hessian
in float64 is computed, too, as a reference for the estimates.
"""

import copy
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.core import seeds
from isthmus.core.tensors import Tensors
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.hessian.density import density
from isthmus.landscape.hessian.lanczos import Eigenpairs, eigenvalues
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.landscape.hessian.trace import traces
from isthmus.landscape.moments import Moment
from isthmus.landscape.sharpness import Setup, put, trace_columns
from isthmus.models.evaluation import converted, evaluation_mode
from isthmus.recipes.schedules import known_peak_rate, learning_rate, run_length
from isthmus.tables.rows import Row, Rows, finite

Options = Mapping[str, Any]
PURPOSES = ("largest", "smallest", "gauss_newton", "trace", "spectrum")
"""The purposes of random vectors; each has its own stream, so it does not matter what else is requested."""


def measure(evaluator: Evaluator, options: Options, seed: int, weights: Tensors, moment: Moment) -> dict[str, Any]:
    """The curvature of a network with weights by name `[...]`, at one moment.

    Returns the measured columns of its row in `curvature` and, at the end of training, of its rows in `eigenvalues` and
    `spectrum`. Before the end, only the largest eigenvalues are computed. Raises UserError if the loss is not finite.
    """
    started = time.monotonic()
    setup = Setup.of(evaluator, options["tolerance"], options["trace_precision"], options["maximum_products"])
    labels = evaluator.labels(seed)[evaluator.hessian_indices]
    put(setup.network, evaluator.placed(weights))
    with evaluation_mode(setup.network, setup.statistics_images):
        row, found, spectrum = _hessian(setup, labels, options, seed, moment)
        if moment.final and options["gauss_newton_eigenvalues"]:
            more, others = _gauss_newton(setup, labels, options, seed)
            row, found = row | more, found + others
    size = sum(value.numel() for value in weights.values())
    if moment.final and size <= options["dense_limit"]:
        more, others = _dense(setup, labels, size)
        row, found = row | more, found + others
    row |= {
        "images": len(setup.images),
        "top_eigenvalue_over_loss": row["top_eigenvalue"] / row["loss"] if row["loss"] > 0 else None,
        "learning_rate": known_peak_rate(evaluator.recipe),
        "stability_threshold": stability_threshold(evaluator, moment.epoch),
        "seconds": time.monotonic() - started,
    }
    return {"curvature": row, "eigenvalues": found, "spectrum": spectrum}


def stability_threshold(evaluator: Evaluator, epoch: float) -> float | None:
    """2 / learning rate of the last step up to `epoch`, above which plain gradient descent on a quadratic diverges.

    None with momentum or another optimizer, for which the threshold differs (Cohen et al. 2021), and for networks
    trained elsewhere, whose last rate is not known.
    """
    training = evaluator.recipe.training
    if evaluator.recipe.trained_elsewhere or training.optimizer != "sgd" or training.momentum > 0:
        return None
    per_epoch, total = run_length(training, len(evaluator.examples.images))
    step = min(max(round(epoch * per_epoch) - 1, 0), total - 1)
    rate = learning_rate(training, step, per_epoch, total)
    return 2 / rate if rate > 0 else None


def _generator(seed: int, moment: Moment, purpose: str) -> np.random.Generator:
    """A generator for one purpose at one network; epochs enter in thousandths, because they need not be whole."""
    return seeds.generator(seed, seeds.Stream.CURVATURE, round(1000 * moment.epoch), PURPOSES.index(purpose))


def _hessian(setup: Setup, labels: Tensor, options: Options, seed: int, moment: Moment) -> tuple[Row, Rows, Rows]:
    """Measure the Hessian: columns of `curvature`, rows of `eigenvalues` and of `spectrum`."""
    operator = CurvatureOperator(setup.network, setup.images, labels, setup.loss, "hessian", keep=setup.keep)
    most, count = options["maximum_products"], min(options["eigenvalues"], operator.size)
    top = eigenvalues(
        operator,
        count,
        _generator(seed, moment, "largest"),
        "largest",
        setup.tolerance,
        most,
        look_for_copies=count > 1,
        start=operator.gradient,
    )
    row = {
        "loss": operator.loss,
        "top_eigenvalue": float(top.values[0]),
        "top_eigenvalue_residual": float(top.residuals[0]),
        "top_eigenvalue_converged": bool(top.converged.all()),
    }
    found, spectrum = _eigenvalue_rows(top, "hessian", "largest"), []
    if moment.final and options["smallest_eigenvalues"]:
        count = min(options["smallest_eigenvalues"], operator.size)
        low = eigenvalues(operator, count, _generator(seed, moment, "smallest"), "smallest", setup.tolerance, most)
        row["smallest_eigenvalue"] = float(low.values[0])
        found += _eigenvalue_rows(low, "hessian", "smallest")
    if moment.final and setup.precision is not None:
        generator = _generator(seed, moment, "trace")
        of_square = options["squared_frobenius_precision"]
        both = traces(operator, top.space, generator, setup.precision, of_square, maximum_products=most)
        row |= trace_columns(both) | {
            "squared_frobenius": both.squared_frobenius.value,
            "squared_frobenius_error": both.squared_frobenius.error,
            "squared_frobenius_low": both.squared_frobenius.low,
            "squared_frobenius_high": both.squared_frobenius.high,
            "squared_frobenius_converged": both.squared_frobenius.converged,
        }
    row["products"] = operator.products
    if moment.final and options["spectrum"]["probes"]:
        spectrum = _spectrum_rows(operator, options["spectrum"], _generator(seed, moment, "spectrum"))
    return row, found if moment.final else [], spectrum


def _gauss_newton(setup: Setup, labels: Tensor, options: Options, seed: int) -> tuple[Row, Rows]:
    """The largest eigenvalues of the Gauss-Newton matrix at the end of training."""
    operator = CurvatureOperator(setup.network, setup.images, labels, setup.loss, "gauss_newton", keep=setup.keep)
    count = min(options["gauss_newton_eigenvalues"], operator.size)
    generator = seeds.generator(seed, seeds.Stream.CURVATURE, 0, PURPOSES.index("gauss_newton"))
    top = eigenvalues(
        operator, count, generator, "largest", setup.tolerance, options["maximum_products"], look_for_copies=count > 1
    )
    row = {"gauss_newton_top_eigenvalue": float(top.values[0]), "gauss_newton_residual": float(top.residuals[0])}
    return row, _eigenvalue_rows(top, "gauss_newton", "largest")


def _dense(setup: Setup, labels: Tensor, size: int) -> tuple[Row, Rows]:
    """All eigenvalues of the dense Hessian, in float64."""
    network = copy.deepcopy(setup.network).double()
    with evaluation_mode(network, converted(setup.statistics_images, torch.float64)):
        operator = CurvatureOperator(network, setup.images, labels, setup.loss, "hessian", keep=setup.keep)
        values = torch.linalg.eigvalsh(dense(operator, size)).flip(0).numpy()
    fixed = {"matrix": "hessian", "method": "dense", "end": "largest", "residual": None, "converged": True}
    row = {
        "dense_top_eigenvalue": float(values[0]),
        "dense_trace": float(values.sum()),
        "dense_squared_frobenius": float(np.square(values).sum()),
    }
    return row, [fixed | {"index": index, "eigenvalue": float(value)} for index, value in enumerate(values)]


def _eigenvalue_rows(pairs: Eigenpairs, matrix: str, end: str) -> Rows:
    fixed = {"matrix": matrix, "method": "lanczos", "end": end}
    found = zip(pairs.values, pairs.residuals, pairs.converged, strict=True)
    return [
        fixed | {"index": index, "eigenvalue": float(value), "residual": float(residual), "converged": bool(converged)}
        for index, (value, residual, converged) in enumerate(found)
    ]


def _spectrum_rows(operator: CurvatureOperator, options: Options, generator: np.random.Generator) -> Rows:
    """The spectral density on a uniform grid over all quadrature nodes and slightly beyond."""
    found = density(operator, generator, options["probes"], options["steps"])
    low, high = float(found.nodes.min()), float(found.nodes.max())
    width = options["width"] * (high - low if high > low else abs(high) or 1.0)
    grid = np.linspace(low - 4 * width, high + 4 * width, options["points"])
    means, spreads = found.smoothed(grid, width)
    return [
        {
            "eigenvalue": float(eigenvalue),
            "density": float(mean),
            "spread": finite(spread),
            "smoothing": width,
        }
        for eigenvalue, mean, spread in zip(grid, means, spreads, strict=True)
    ]
