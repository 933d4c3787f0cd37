"""What is measured on one path, and on one plane: the columns of `connections`, `paths` and `planes`.

A measurement depends on its pair of networks alone and not on what else a job does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.core import seeds
from isthmus.core.tensors import Tensors
from isthmus.landscape.at_points import Scores, evaluate_path, evaluate_points
from isthmus.landscape.barriers import barrier, barrier_max, mode_connectivity
from isthmus.landscape.distances import disagreement, displacement_cosine, features_and_outputs, linear_cka
from isthmus.landscape.evaluator import Ends, Ground, finite
from isthmus.landscape.paths import Geometry, Path, geometry
from isthmus.landscape.planes import Plane, grid_around, random_plane, square_grid, through
from isthmus.landscape.sharpness import Setup, Sharpness, sharpness, trace_columns
from isthmus.models.evaluation import evaluation_mode
from isthmus.recipes.pairs import Pair

Row = dict[str, Any]
KINDS = {
    "linear": None,
    "linear-aligned": None,
    "bezier": "bezier",
    "polychain": "polychain",
    "bezier-aligned": "bezier",
}
"""The kinds of paths, each with the curve of `landscape.paths` whose bend is trained; None for straight lines."""

MEASURES = ("barrier", "barrier_max", "mode_connectivity")


def first_curve(kinds: Sequence[str]) -> str | None:
    """The first of some kinds of paths that has a bend: the one whose plane is drawn."""
    return next((kind for kind in kinds if KINDS[kind]), None)


def points_of(options: Mapping[str, Any], kind: str) -> int:
    """The number of points t at which a kind of path is measured."""
    return options["curve_points" if KINDS[kind] else "line_points"]


def measure_path(
    ground: Ground, pair: Pair, kind: str, path: Path, networks: Mapping[int, Ends]
) -> tuple[Row, list[Row]]:
    """Losses, barriers, geometry and sharpness along a path, a stack of one on the device.

    networks: those of the pair by seed, as trained, without alignment. Returns the measured columns of its row in
    `connections`, and those of its rows in `paths`.
    """
    t, labels = np.linspace(0, 1, points_of(ground.options, kind)), ground.labels(pair)
    scores = evaluate_path(
        ground.network,
        path,
        t,
        ground.sets(labels),
        ground.recipe.training.loss,
        ground.statistics_images,
        ground.settings.evaluation_batch_size,
    )
    shape, found = geometry(path), sharpness_along(ground, pair, kind, path, networks, scores)
    rows = [
        {"t": float(point), "arc_length": float(arc), "speed": float(speed), "curvature": float(curvature)}
        | {key: finite(values[place]) for key, values in _columns(scores).items()}
        | sharpness_columns(found.get(place), len(ground.hessian_indices))
        for place, (point, arc, speed, curvature) in enumerate(
            zip(t, shape.arc_length(t)[0], shape.speed(t)[0], shape.curvature(t)[0], strict=True)
        )
    ]
    return barriers(scores, t) | shape_columns(shape, t) | path_sharpness(rows), rows


def _columns(scores: Scores) -> dict[str, Tensor]:
    """Losses and accuracies by the names of their columns."""
    return {
        f"{name}_{what}": values
        for name, both in scores.items()
        for what, values in zip(("loss", "accuracy"), both, strict=True)
    }


def barriers(scores: Scores, t: np.ndarray) -> Row:
    """The three measures of the rise along a path, of losses and of errors, on training and on test data."""
    row: Row = {}
    for name, (loss, accuracy) in scores.items():
        for quantity, values in (("loss", loss.numpy()), ("error", 1 - accuracy.numpy())):
            rises = (barrier(values, t), barrier_max(values, t), mode_connectivity(values, t)[0])
            row |= {f"{key}_{name}_{quantity}": finite(rise) for key, rise in zip(MEASURES, rises, strict=True)}
    return row


def shape_columns(shape: Geometry, t: np.ndarray) -> Row:
    """The geometry of one path."""
    speed = shape.speed(t)
    values = {
        "chord": shape.chord[0],
        "length": shape.length[0],
        "detour": shape.detour[0],
        "turning": shape.turning[0],
        "curvature_max": shape.curvature(t).max(),
        "speed_min": speed.min(),
        "speed_max": speed.max(),
        "bend_along": shape.along[0],
        "bend_across": shape.across[0],
    }
    return {key: finite(value) for key, value in values.items()}


def sharpness_along(
    ground: Ground, pair: Pair, kind: str, path: Path, networks: Mapping[int, Ends], scores: Scores
) -> dict[int, Sharpness]:
    """The sharpness at some points of a path, by their place in the grid of t; points of no finite loss left out."""
    t, labels = np.linspace(0, 1, points_of(ground.options, kind)), ground.labels(pair)[:, ground.hessian_indices]
    places = np.unique(np.linspace(0, len(t) - 1, ground.options["sharpness"]["points"]).round().astype(int))
    options, found = ground.options["sharpness"], {}
    setup = ground.sharpness_setup(options["tolerance"], options["trace_precision"])
    for place in map(int, places):
        if not torch.isfinite(scores["train"][0][place]):
            continue
        if place in (0, len(t) - 1):
            seed = pair[0] if place == 0 else pair[1]
            found[place] = end_sharpness(ground, setup, seed, networks[seed])
            continue
        point = float(t[place])
        weights = path.point(torch.tensor([point], dtype=torch.float64, device=ground.settings.device))
        shares = [1.0] if len(labels) == 1 else [1 - point, point]
        generator = seeds.generator(pair[0], seeds.Stream.CURVATURE, pair[1], list(KINDS).index(kind), place)
        found[place] = sharpness(setup, weights, labels, shares, generator)
    return found


def end_sharpness(ground: Ground, setup: Setup, seed: int, ends: Ends) -> Sharpness:
    """The sharpness at a network, measured once, whatever paths start there.

    As trained and not aligned: permuting the hidden units of a network only permutes its Hessian.
    """
    if ("sharpness", seed) not in ground.known:
        weights, labels = ground.placed(ends.final), ground.own_labels(seed)[ground.hessian_indices]
        generator = seeds.generator(seed, seeds.Stream.CURVATURE)
        ground.known["sharpness", seed] = sharpness(setup, weights, labels[None], [1.0], generator)
    found: Sharpness = ground.known["sharpness", seed]
    return found


def sharpness_columns(found: Sharpness | None, examples: int) -> Row:
    """The columns of `paths` for the sharpness at a point on a number of examples, None where it was not measured."""
    return {
        "top_eigenvalue": found and found.top_eigenvalue,
        "top_eigenvalue_residual": found and found.residual,
        "top_eigenvalue_converged": found and found.converged,
        **trace_columns(found.traces if found else None),
        "sharpness_loss": found and found.loss,
        "hessian_examples": found and examples,
    }


def path_sharpness(rows: list[Row]) -> Row:
    """Sharpness of a whole path from its rows in `paths`: over the measured points, nulls where there are none."""
    measured = [row for row in rows if row["top_eigenvalue"] is not None]
    tops = [row["top_eigenvalue"] for row in measured]
    ends = [row["top_eigenvalue"] for row in measured if row["t"] in (0.0, 1.0)]
    ratios = [row["top_eigenvalue"] / row["sharpness_loss"] for row in measured if row["sharpness_loss"] > 0]
    traces = [row["trace"] for row in measured if row["trace"] is not None]
    return {
        "sharpness_mean": float(np.mean(tops)) if tops else None,
        "sharpness_max": max(tops, default=None),
        "sharpness_ends": float(np.mean(ends)) if len(ends) == 2 else None,
        "sharpness_over_loss_mean": finite(np.mean(ratios)) if ratios else None,
        "trace_mean": float(np.mean(traces)) if traces else None,
        "hessian_examples": measured[0]["hessian_examples"] if measured else None,
    }


def distances(ground: Ground, pair: Pair, networks: Mapping[int, Ends], second: Ends) -> Row:
    """How far apart two networks are. networks: by seed, as trained; second: the second one, aligned or not.

    Outputs, and what kernel alignment makes of features, do not change when hidden units are permuted.
    """
    (features_a, outputs_a), (features_b, outputs_b) = (_test_outputs(ground, seed, networks[seed]) for seed in pair)
    first = networks[pair[0]]
    cosine = displacement_cosine(first.final, first.initial, second.final, second.initial)
    return {
        "displacement_cosine": finite(cosine),
        "disagreement": float(disagreement(outputs_a, outputs_b)),
        "cka": finite(linear_cka(features_a, features_b)),
    }


def _test_outputs(ground: Ground, seed: int, ends: Ends) -> tuple[Tensor, Tensor]:
    """Penultimate features and outputs of a network on the test examples, on the CPU."""
    if ("outputs", seed) not in ground.known:
        weights = ground.placed(ends.final)
        with evaluation_mode(ground.single, ground.statistics_images, weights):
            features, outputs = features_and_outputs(
                ground.single, ground.test_images, ground.settings.evaluation_batch_size, weights
            )
        ground.known["outputs", seed] = features[0].cpu(), outputs[0].cpu()
    found: tuple[Tensor, Tensor] = ground.known["outputs", seed]
    return found


def measure_planes(ground: Ground, pair: Pair, kind: str | None, path: Path | None, first: Ends) -> list[Row]:
    """Losses on the plane through both ends and the bend of a fitted curve, and on a random one round the first end.

    kind: the kind of `path`; None, with no path, where no curve was asked for. Rows as in `planes`.
    """
    options, labels = ground.options["planes"], ground.labels(pair)
    rows: list[Row] = []
    if path is not None and kind is not None:
        plane = through(path, seeds.generator(pair[0], seeds.Stream.PLANES, pair[1]))
        shape = geometry(path)
        x, y = grid_around(shape, options["points"], options["margin"])
        # Where the ends learned different labels, each counts as much as the point is near it, seen along the chord.
        rows += _measure_plane(ground, kind, plane, x, y, labels, np.clip(x / shape.chord[0], 0, 1))
    centre = ground.placed(first.final)
    plane = random_plane(centre, seeds.generator(pair[0], seeds.Stream.PLANES))
    x, y = square_grid(options["radius"], options["points"])
    return rows + _measure_plane(ground, "random", plane, x, y, labels[:1], np.zeros_like(x))


def _measure_plane(
    ground: Ground, name: str, plane: Plane, x: np.ndarray, y: np.ndarray, labels: Tensor, shares: np.ndarray
) -> list[Row]:
    """The rows of `planes` for the points (x, y) of one plane."""
    places = torch.from_numpy(np.stack([x, y]))

    def weights_at(numbers: Tensor) -> Tensors:
        first, second = places[:, numbers].to(ground.settings.device)
        return plane.point(first, second)

    scores = evaluate_points(
        ground.network,
        weights_at,
        shares,
        ground.sets(labels),
        ground.recipe.training.loss,
        ground.statistics_images,
        ground.settings.evaluation_batch_size,
    )
    columns = _columns(scores)
    return [
        {"plane": name, "diverged": False, "x": float(x[place]), "y": float(y[place])}
        | {key: finite(values[place]) for key, values in columns.items()}
        for place in range(len(x))
    ]
