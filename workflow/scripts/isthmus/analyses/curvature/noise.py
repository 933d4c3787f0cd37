"""The rows of `perturbations`: how much a network's training loss rises when its weights are disturbed."""

from typing import Any

import numpy as np

from isthmus.core import seeds
from isthmus.core.tensors import Tensors
from isthmus.landscape.evaluator import Ground, finite
from isthmus.landscape.perturbations import NoiseResponse, WorstCase, noise_response, worst_in_ball

Row = dict[str, Any]


def measure_disturbed(ground: Ground, seed: int, weights: Tensors) -> list[Row]:
    """The measured columns of the rows of one network, weights by name `[...]`, for all disturbances asked for.

    All sigmas of a kind share their draws, scaled, so that they are compared on equal noise.
    """
    options, size = ground.options["noise"], ground.settings.evaluation_batch_size
    chosen = ground.examples.subset(options["images"])
    images, labels = ground.examples.images[chosen], ground.own_labels(seed)[chosen]
    placed, loss = ground.placed(weights), ground.recipe.training.loss
    rows = []
    for relative, kind, key in ((False, "noise", "sigmas"), (True, "relative_noise", "relative_sigmas")):
        for sigma in options[key]:
            generator = seeds.generator(seed, seeds.Stream.PERTURBATIONS, int(relative))
            response = noise_response(
                ground.network,
                placed,
                images,
                labels,
                loss,
                sigma,
                relative,
                options["draws"],
                generator,
                ground.statistics_images,
                size,
            )
            rows.append(_noise_row(kind, sigma, len(images), response))
    for adaptive, kind, key in ((False, "worst", "radii"), (True, "adaptive_worst", "adaptive_radii")):
        for radius in options[key]:
            worst = worst_in_ball(
                ground.single,
                placed,
                images,
                labels,
                loss,
                radius,
                options["ascent_steps"],
                adaptive,
                ground.statistics_images,
                size,
            )
            rows.append(_worst_row(kind, radius, len(images), options["ascent_steps"], worst))
    return rows


def _noise_row(kind: str, sigma: float, images: int, response: NoiseResponse) -> Row:
    whole = bool(np.isfinite(np.asarray(response.losses)).all())
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
        "disturbed_accuracy": finite(response.mean_accuracy) if whole else None,
    }


def _worst_row(kind: str, radius: float, images: int, steps: int, worst: WorstCase) -> Row:
    return {
        "kind": kind,
        "size": radius,
        "images": images,
        "draws": steps,
        "loss": worst.loss,
        "disturbed_loss": finite(worst.worst_loss),
        "rise": finite(worst.rise),
        "relative_rise": finite(worst.relative_rise),
        "relative_rise_error": None,
        "disturbed_accuracy": None,
    }
