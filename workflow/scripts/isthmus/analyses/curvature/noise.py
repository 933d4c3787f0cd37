"""The rows of `perturbations`: how much a network's training loss rises when its weights are perturbed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from isthmus.core import seeds
from isthmus.core.tensors import Tensors
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.perturbations import NoiseResponse, WorstCase, noise_response, worst_in_ball
from isthmus.tables.rows import Row, Rows, finite


def perturbation_rows(evaluator: Evaluator, options: Mapping[str, Any], seed: int, weights: Tensors) -> Rows:
    """The measured columns of one network's rows, for all requested perturbations.

    options: `noise`; weights: by name `[...]`. All sigmas of a kind scale the same draws, so that they are compared on
    equal noise.
    """
    chosen, placed, rows = evaluator.examples.subset(options["images"]), evaluator.placed(weights), []
    surface = evaluator.loss_surface(evaluator.network, seed, chosen)
    for relative, kind, key in ((False, "noise", "sigmas"), (True, "relative_noise", "relative_sigmas")):
        for sigma in options[key]:
            generator = seeds.generator(seed, seeds.Stream.PERTURBATIONS, int(relative))
            response = noise_response(
                surface, placed, sigma=sigma, relative=relative, draws=options["draws"], generator=generator
            )
            rows.append(_noise_row(kind, sigma, len(chosen), response))
    surface = evaluator.loss_surface(evaluator.single, seed, chosen)
    for adaptive, kind, key in ((False, "worst", "radii"), (True, "adaptive_worst", "adaptive_radii")):
        for radius in options[key]:
            worst = worst_in_ball(surface, placed, rho=radius, steps=options["ascent_steps"], adaptive=adaptive)
            rows.append(_worst_row(kind, radius, len(chosen), worst))
    return rows


def _noise_row(kind: str, sigma: float, images: int, response: NoiseResponse) -> Row:
    sound = bool(np.isfinite(response.losses).all())
    return {
        "kind": kind,
        "size": sigma,
        "images": images,
        "draws": response.draws,
        "loss": response.loss,
        "disturbed_loss": finite(response.mean_loss),
        "rise": finite(response.rise),
        "relative_rise": finite(response.relative_rise),
        "relative_rise_error": finite(response.relative_rise_error),
        "disturbed_accuracy": finite(response.mean_accuracy) if sound else None,
    }


def _worst_row(kind: str, radius: float, images: int, worst: WorstCase) -> Row:
    return {
        "kind": kind,
        "size": radius,
        "images": images,
        "draws": len(worst.losses),
        "loss": worst.loss,
        "disturbed_loss": finite(worst.worst_loss),
        "rise": finite(worst.rise),
        "relative_rise": finite(worst.relative_rise),
        "relative_rise_error": None,
        "disturbed_accuracy": None,
    }
