"""The rows of `fragility` and `fragility_corruptions`: how sensitive a network is at every snapshot of its training.

The measures are those that trained networks have in `perturbations` and `robustness`: how much the loss and the error
rise under noise on the weights, how much the loss rises in the worst direction, and how much accuracy corrupted test
images cost. Noise and worst direction are relative to the weights, because weights grow during training and can grow
without changing the function. The loss at the same weights is part of the row, since much of a rise goes with it.

A network has the same draws of noise at all snapshots, those of `perturbations`, so snapshots do not differ by their
draws. Networks of different seeds have different draws: means over networks average over draws, too, and their
intervals include this error. If all networks shared their draws, 95 % intervals of the mean over five networks would
contain the expected rise in 77 % of 400 simulated cases instead of 95 %, for quadratic losses whose Hessians have
half of their eigenvalues in common and 4 draws (`tests/unit/analyses/test_fragility.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.core import seeds
from isthmus.core.tensors import Tensors
from isthmus.landscape.corrupted_images import CorruptedTest, scoring
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.perturbations import noise_response, worst_in_ball
from isthmus.statistics.chains import mean_of_chains
from isthmus.tables.rows import Row, Rows, finite

CLEAN = "none"
"""The name of clean test images in the table, as in `robustness`."""


def measure(
    evaluator: Evaluator,
    test: CorruptedTest | None,
    options: Mapping[str, Any],
    seed: int,
    weights: Sequence[Tensors],
) -> list[tuple[Row, Rows]]:
    """The measured columns of one network at each moment: its row of `fragility`, its rows of `fragility_corruptions`.

    test: None if no corruption was requested. weights: at each moment, by name `[...]`. Raises UserError if a training
    loss is not finite.
    """
    corrupted = corruptions(evaluator, test, weights)
    return [
        (disturbances(evaluator, options, seed, each) | in_total(rows), rows)
        for each, rows in zip(weights, corrupted, strict=True)
    ]


def disturbances(evaluator: Evaluator, options: Mapping[str, Any], seed: int, weights: Tensors) -> Row:
    """The columns about perturbed weights, of a network with weights by name `[...]`."""
    chosen, placed = evaluator.examples.subset(options["images"]), evaluator.placed(weights)
    sigma, radius = options["relative_sigma"], options["adaptive_radius"]
    noise = noise_response(
        evaluator.loss_surface(evaluator.network, seed, chosen),
        placed,
        sigma=sigma,
        relative=True,
        draws=options["draws"],
        generator=seeds.generator(seed, seeds.Stream.PERTURBATIONS, 1),
    )
    surface = evaluator.loss_surface(evaluator.single, seed, chosen)
    worst = worst_in_ball(surface, placed, rho=radius, steps=options["ascent_steps"], adaptive=True)
    return {
        "images": len(chosen),
        "loss": noise.loss,
        "error": finite(1 - noise.accuracy),
        "relative_sigma": sigma,
        "draws": noise.draws,
        **with_interval("noise_rise", noise.losses - noise.loss),
        **with_interval("noise_error_rise", noise.accuracy - noise.accuracies),
        "adaptive_radius": radius,
        "worst_rise": finite(worst.rise),
    }


def with_interval(name: str, values: NDArray[np.float64]) -> Row:
    """The mean of independent draws `[draws]` and its 95 % interval, Student's, as the three columns called `name`.

    Without a finite mean there are no columns. If all draws are equal, they do not show how far off the mean may be,
    and there is no interval. Rises of a quadratic loss are skewed: in 4,000 simulated cases with ten draws, the
    interval contained the expected rise in 94 % if ten equal eigenvalues made it up, in 91 % with three, and in 86 %
    with one.

    >>> with_interval("rise", np.array([2.0, 2.0])), len(with_interval("rise", np.array([1.0, 3.0])))
    ({'rise': 2.0}, 3)
    """
    if not np.isfinite(values).all():
        return {}
    mean, error, low, high = mean_of_chains(values[None])
    ends = {f"{name}_low": low, f"{name}_high": high} if error > 0 else {}
    return {name: mean} | ends


def corruptions(evaluator: Evaluator, test: CorruptedTest | None, weights: Sequence[Tensors]) -> list[Rows]:
    """The rows of `fragility_corruptions` at each moment, `none` first; weights by name `[...]`."""
    labels = evaluator.examples.test_labels[:, evaluator.test_indices]
    found = []
    with scoring(evaluator, weights) as scores:
        for corruption, severity, images in [(CLEAN, 0, evaluator.test_images), *(test or ())]:
            fixed = {"corruption": corruption, "severity": severity, "images": len(images)}
            measured = zip(*scores(images, labels), strict=True)
            found.append(
                [
                    fixed | {"loss": finite(loss), "accuracy": None if loss.isnan() else finite(accuracy)}
                    for loss, accuracy in measured
                ]
            )
    return [list(rows) for rows in zip(*found, strict=True)]


def in_total(rows: Rows) -> Row:
    """The columns of `fragility` that sum up the rows of `fragility_corruptions` at one moment.

    >>> clean = {"corruption": "none", "images": 10, "loss": 0.1, "accuracy": 0.9}
    >>> in_total([clean, {"corruption": "contrast", "images": 10, "loss": 0.5, "accuracy": 0.5}])["corruption_drop"]
    0.4
    """
    clean, *others = rows
    accuracies = [row["accuracy"] for row in others]
    row = {"test_images": clean["images"], "test_loss": clean["loss"], "test_accuracy": clean["accuracy"]}
    if not others or None in accuracies:
        return row
    corrupted = float(np.mean(accuracies))
    drop = None if clean["accuracy"] is None else clean["accuracy"] - corrupted
    return row | {"corrupted_accuracy": corrupted, "corruption_drop": drop}
