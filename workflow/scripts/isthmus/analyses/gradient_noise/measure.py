"""The rows of `gradient_noise`: the noise scale of a network at a snapshot and, at the end, curvature along the noise.

Gradients are those of the training loss in evaluation mode, without penalty and augmentation, with batch-norm
statistics held at their values for the weights in question.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from isthmus.core.seeds import generator
from isthmus.core.tensors import Tensors
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.gradient_noise import curvature_along_noise, example_gradients, gradient_noise
from isthmus.landscape.hessian.lanczos import eigenvalues
from isthmus.landscape.hessian.operator import CurvatureOperator
from isthmus.landscape.hessian.trace import traces
from isthmus.landscape.moments import Moment
from isthmus.landscape.sharpness import Setup, put, trace_columns
from isthmus.models.evaluation import evaluation_mode
from isthmus.tables.rows import Row, finite

TOLERANCE, TRACE_PRECISION = 1e-3, 0.05


def measure(evaluator: Evaluator, options: Mapping[str, Any], seed: int, weights: Tensors, moment: Moment) -> Row:
    """The measured columns of one row, for a network with weights by name `[...]`."""
    placed, totals = evaluator.placed(weights), []
    chosen = evaluator.examples.subset(options["images"])

    def of_examples() -> Iterator[Tensor]:
        for total, gradients in _gradients(evaluator, seed, placed, chosen):
            totals.append(total)
            yield gradients

    with evaluation_mode(evaluator.single, evaluator.statistics_images, placed):
        noise = gradient_noise(of_examples(), len(evaluator.examples.images))
    row: Row = {
        "images": noise.examples,
        "loss": finite(sum(totals) / noise.examples),
        "squared_gradient": finite(noise.squared_gradient),
        "covariance_trace": finite(noise.covariance_trace),
        "noise_scale": finite(noise.noise_scale),
        "noise_scale_low": finite(noise.low),
        "noise_scale_high": finite(noise.high),
    }
    if moment.final and options["alignment_images"]:
        row |= alignment(evaluator, seed, placed)
    logging.info("network %d, epoch %g: noise scale %s", seed, moment.epoch, row["noise_scale"])
    return row


def alignment(evaluator: Evaluator, seed: int, weights: Tensors) -> Row:
    """The columns about noise and curvature, both on the evaluator's Hessian examples; weights by name `[1, ...]`."""
    setup = Setup.of(evaluator, TOLERANCE, TRACE_PRECISION)
    labels = evaluator.labels(seed)[evaluator.hessian_indices]
    put(setup.network, weights)
    random = generator(seed, "gradient noise")
    with evaluation_mode(setup.network, setup.statistics_images):
        hessian = CurvatureOperator(setup.network, setup.images, labels, setup.loss, keep=setup.keep)
        how = (setup.tolerance, setup.maximum_products)
        top = eigenvalues(hessian, 1, random, "largest", *how, look_for_copies=False, start=hessian.gradient)
        trace = traces(hessian, top.space, random, TRACE_PRECISION, maximum_products=setup.maximum_products)
        pairs = _gradients(evaluator, seed, weights, evaluator.hessian_indices)
        curved, spread = curvature_along_noise(hessian, (gradients for _, gradients in pairs))
    along, largest = (curved / spread if spread > 0 else None), float(top.values[0])
    mean = trace.trace.value / hessian.size
    return {
        "alignment_images": len(setup.images),
        "curvature_along_noise": finite(along),
        "top_eigenvalue": largest,
        "top_eigenvalue_converged": bool(top.converged[0]),
        **trace_columns(trace),
        "noise_alignment": finite(along / mean) if along is not None and mean > 0 else None,
        "noise_alignment_to_top": finite(along / largest) if along is not None and largest > 0 else None,
    }


def _gradients(evaluator: Evaluator, seed: int, weights: Tensors, chosen: Tensor) -> Iterator[tuple[float, Tensor]]:
    images, labels = evaluator.examples.images[chosen], evaluator.labels(seed)[chosen]
    recipe = evaluator.recipe
    return example_gradients(
        evaluator.single, weights, images, labels, recipe.training.loss, mapped=recipe.network.stacks
    )
