"""Stability to SGD noise: barriers between networks that differ in the order of the data (Frankle et al. 2020)."""

import numpy as np

from isthmus.core.tensors import Tensors
from isthmus.landscape.barriers import barrier
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.paths import line
from isthmus.tables.rows import Row, finite


def twin_barriers(evaluator: Evaluator, points: int, seed: int, weights: Tensors, twin: Tensors, named: str) -> Row:
    """Barriers on the straight line between a network and its twin, in loss and error, on training and test data.

    points: on the line, ends included. seed: of the network, whose training labels both learned. weights, twin: by name
    `[...]`. named: what the names of the columns begin with, as in `{named}_test_error`.
    """
    t, labels = np.linspace(0, 1, points), evaluator.labels(seed)[None]
    scores = evaluator.along(line(evaluator.placed(weights), evaluator.placed(twin)), t, labels)
    found: Row = {}
    for name, (loss, accuracy) in scores.items():
        found[f"{named}_{name}_loss"] = finite(barrier(loss.numpy(), t))
        found[f"{named}_{name}_error"] = finite(barrier(1 - accuracy.numpy(), t))
    return found
