"""Measurements on one path and on one plane: the columns of `connections`, `paths` and `planes`.

A measurement depends only on its pair of networks, not on what else a job does.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.core import seeds
from isthmus.core.tensors import Tensors
from isthmus.landscape.at_points import Scores
from isthmus.landscape.barriers import barrier, barrier_max, mode_connectivity
from isthmus.landscape.distances import (
    disagreement,
    displacement_cosine,
    features_and_outputs,
    linear_cka,
    total_variance,
)
from isthmus.landscape.evaluator import Evaluator, TrainedNetwork
from isthmus.landscape.paths import Geometry, Path, geometry
from isthmus.landscape.planes import Plane, grid_around, random_plane, square_grid, through
from isthmus.landscape.repair import Repair
from isthmus.landscape.sharpness import Setup, Sharpness, sharpness, trace_columns
from isthmus.models.evaluation import evaluation_mode
from isthmus.recipes.pairs import Pair
from isthmus.recipes.path_kinds import is_repaired
from isthmus.tables.rows import Row, Rows, finite

KINDS = {
    "linear": None,
    "linear-aligned": None,
    "bezier": "bezier",
    "polychain": "polychain",
    "bezier-aligned": "bezier",
    "linear-repaired": None,
}
"""Kinds of paths, each with the curve from `landscape.paths` whose bend is trained; None for straight lines."""

MEASURES = ("barrier", "barrier_max", "mode_connectivity")

Points = Callable[[Tensor], Tensors]  # the weights at some t `[S]`, by name `[S, ...]`


def first_curve(kinds: Sequence[str]) -> str | None:
    """The first of `kinds` that has a bend; its plane is drawn."""
    return next((kind for kind in kinds if KINDS[kind]), None)


def points_of(options: Mapping[str, Any], kind: str) -> int:
    """The number of points t at which a kind of path is measured."""
    return options["curve_points" if KINDS[kind] else "line_points"]


class PathMeasures:
    """Measurements on paths between the networks of a cell.

    options: of the analysis; networks: as trained, by seed. Each network's own properties are measured only once.
    """

    def __init__(
        self, evaluator: Evaluator, options: Mapping[str, Any], networks: Mapping[int, TrainedNetwork]
    ) -> None:
        self.evaluator, self.options, self.networks = evaluator, options, networks
        self.sharpness_of, self.outputs_of = cache(self._sharpness_of), cache(self._outputs_of)
        given = options["sharpness"]
        self.for_planes = evaluator.with_fewer(options["planes"]["examples"])
        self.setup = Setup.of(evaluator, given["tolerance"], given["trace_precision"])

    @cached_property
    def repair(self) -> Repair:
        """Restores the statistics of hidden units on lines, on the images that batch-norm statistics are taken over."""
        of, images = self.evaluator, self.evaluator.statistics_images
        return Repair.of(of.recipe.network, of.single, of.shape, of.classes, images)

    def along(self, pair: Pair, kind: str, path: Path) -> tuple[Row, Rows]:
        """Losses, barriers, geometry and sharpness along a path, a stack of one on the device.

        Returns the measured columns of its row in `connections` and of its rows in `paths`. Points of a repaired line
        do not lie on the line: the curve that they follow has no closed form, so that it has no shape here, and their
        weights have been rescaled, which changes eigenvalues whatever the landscape is like (Dinh et al. 2017).
        """
        t = np.linspace(0, 1, points_of(self.options, kind))
        at = torch.from_numpy(t).to(self.evaluator.settings.device)
        points = self.repair.along(path) if is_repaired(kind) else path.point
        scores = self.evaluator.at(lambda numbers: points(at[numbers]), t, self.evaluator.pair_labels(pair))
        shape, found = geometry(path), {} if is_repaired(kind) else self.sharpness_along(pair, kind, path, scores)
        examples, columns = len(self.evaluator.hessian_indices), score_columns(scores)
        rows = [
            {"t": float(point)}
            | {key: finite(values[index]) for key, values in columns.items()}
            | sharpness_columns(found.get(index), examples)
            for index, point in enumerate(t)
        ]
        shapes: Rows = [dict.fromkeys(("arc_length", "speed", "curvature"))] * len(t)
        whole: Row = {"chord": finite(shape.chord[0])}
        if not is_repaired(kind):
            shapes, whole = shape_rows(shape, t), shape_columns(shape, t)
        whole["activation_variance_ratio"] = self.variance_halfway(pair, points)
        return barriers(scores, t) | whole | path_sharpness(rows), [a | b for a, b in zip(rows, shapes, strict=True)]

    def variance_halfway(self, pair: Pair, points: Points) -> float | None:
        """The total variance of the penultimate features halfway, divided by its mean over the ends."""
        halfway = points(torch.tensor([0.5], dtype=torch.float64, device=self.evaluator.settings.device))
        ends = [total_variance(self.outputs_of(seed)[0]) for seed in pair]
        return finite(2 * total_variance(self._outputs_at(halfway)[0]) / sum(ends))

    def sharpness_along(self, pair: Pair, kind: str, path: Path, scores: Scores) -> dict[int, Sharpness]:
        """The sharpness at some points of a path, by index in the grid of t; left out where the loss is not finite."""
        t = np.linspace(0, 1, points_of(self.options, kind))
        labels = self.evaluator.pair_labels(pair)[:, self.evaluator.hessian_indices]
        chosen, found = np.linspace(0, len(t) - 1, self.options["sharpness"]["points"]), {}
        for index in map(int, np.unique(chosen.round().astype(int))):
            if not torch.isfinite(scores["train"][0][index]):
                continue
            if index in (0, len(t) - 1):
                found[index] = self.sharpness_of(pair[0] if index == 0 else pair[1])
                continue
            point = float(t[index])
            weights = path.point(torch.tensor([point], dtype=torch.float64, device=self.evaluator.settings.device))
            shares = [1.0] if len(labels) == 1 else [1 - point, point]
            generator = seeds.generator(pair[0], seeds.Stream.CURVATURE, pair[1], list(KINDS).index(kind), index)
            found[index] = sharpness(self.setup, weights, labels, shares, generator)
        return found

    def _sharpness_of(self, seed: int) -> Sharpness:
        """The sharpness at a network as trained; alignment does not change it, because it only permutes the Hessian."""
        weights = self.evaluator.placed(self.networks[seed].final)
        labels = self.evaluator.labels(seed)[self.evaluator.hessian_indices]
        return sharpness(self.setup, weights, labels[None], [1.0], seeds.generator(seed, seeds.Stream.CURVATURE))

    def distances(self, pair: Pair, second: TrainedNetwork) -> Row:
        """How far apart the networks of a pair are. second: the second network, aligned or not.

        Permuting hidden units changes neither outputs nor kernel alignment, so these use the networks as trained.
        """
        (features_a, outputs_a), (features_b, outputs_b) = (self.outputs_of(seed) for seed in pair)
        first, cosine = self.networks[pair[0]], None
        if first.initial and second.initial:
            cosine = displacement_cosine(first.final, first.initial, second.final, second.initial)
        return {
            "displacement_cosine": finite(cosine),
            "disagreement": None if self.evaluator.regression else float(disagreement(outputs_a, outputs_b)),
            "cka": finite(linear_cka(features_a, features_b)),
        }

    def _outputs_of(self, seed: int) -> tuple[Tensor, Tensor]:
        """Penultimate features and outputs of a network on the test examples, on the CPU."""
        return self._outputs_at(self.evaluator.placed(self.networks[seed].final))

    def _outputs_at(self, weights: Tensors) -> tuple[Tensor, Tensor]:
        """The same at the weights of one network on the device, by name `[1, ...]`."""
        evaluator = self.evaluator
        with evaluation_mode(evaluator.single, evaluator.statistics_images, weights):
            features, outputs = features_and_outputs(
                evaluator.single, evaluator.test_images, evaluator.settings.evaluation_batch_size, weights
            )
        return features[0].cpu(), outputs[0].cpu()

    def planes(self, pair: Pair, kind: str | None, path: Path | None) -> Rows:
        """Rows of `planes`: losses on the plane of a fitted curve, and on a random plane around the first network.

        kind: the kind of `path`, None if no curve was requested; path: None also if its fit diverged.
        """
        options, labels = self.options["planes"], self.evaluator.pair_labels(pair)
        rows: Rows = []
        if path is not None and kind is not None:
            plane = through(path, seeds.generator(pair[0], seeds.Stream.PLANES, pair[1]))
            shape = geometry(path)
            x, y = grid_around(shape, options["points"], options["margin"])
            # If the ends learned different labels, each counts by how close the point is to it along the chord.
            rows += self._on_plane(kind, plane, (x, y), labels, np.clip(x / shape.chord[0], 0, 1))
        centre = self.evaluator.placed(self.networks[pair[0]].final)
        plane = random_plane(centre, seeds.generator(pair[0], seeds.Stream.PLANES))
        x, y = square_grid(options["radius"], options["points"])
        return rows + self._on_plane("random", plane, (x, y), labels[:1], np.zeros_like(x))

    def _on_plane(
        self, name: str, plane: Plane, points: tuple[np.ndarray, np.ndarray], labels: Tensor, shares: np.ndarray
    ) -> Rows:
        """The rows of `planes` for the points (x, y) of one plane."""
        x, y = points
        both = torch.from_numpy(np.stack(points))

        def weights_at(numbers: Tensor) -> Tensors:
            first, second = both[:, numbers].to(self.evaluator.settings.device)
            return plane.point(first, second)

        columns = score_columns(self.for_planes.at(weights_at, shares, labels))
        return [
            {"plane": name, "diverged": False, "x": float(x[index]), "y": float(y[index])}
            | {key: finite(values[index]) for key, values in columns.items()}
            for index in range(len(x))
        ]


def score_columns(scores: Scores) -> dict[str, Tensor]:
    """Losses and accuracies by column name."""
    return {
        f"{name}_{what}": values
        for name, both in scores.items()
        for what, values in zip(("loss", "accuracy"), both, strict=True)
    }


def barriers(scores: Scores, t: np.ndarray) -> Row:
    """The three measures of a barrier along a path, for loss and error, on training and test data."""
    row: Row = {}
    for name, (loss, accuracy) in scores.items():
        for quantity, values in (("loss", loss.numpy()), ("error", 1 - accuracy.numpy())):
            rises = (barrier(values, t), barrier_max(values, t), mode_connectivity(values, t)[0])
            row |= {f"{key}_{name}_{quantity}": finite(rise) for key, rise in zip(MEASURES, rises, strict=True)}
    return row


def shape_rows(shape: Geometry, t: np.ndarray) -> Rows:
    """The geometry at the points of one path."""
    columns = zip(shape.arc_length(t)[0], shape.speed(t)[0], shape.curvature(t)[0], strict=True)
    return [
        {"arc_length": float(arc), "speed": float(speed), "curvature": float(curvature)}
        for arc, speed, curvature in columns
    ]


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


def sharpness_columns(found: Sharpness | None, examples: int) -> Row:
    """The columns of `paths` for the sharpness at one point, measured on `examples` examples; None if not measured."""
    return {
        "top_eigenvalue": found and found.top_eigenvalue,
        "top_eigenvalue_residual": found and found.residual,
        "top_eigenvalue_converged": found and found.converged,
        **trace_columns(found.traces if found else None),
        "sharpness_loss": found and found.loss,
        "hessian_examples": found and examples,
    }


def path_sharpness(rows: Rows) -> Row:
    """Sharpness of a whole path, from its rows in `paths`, over the measured points; nulls if there are none."""
    measured = [row for row in rows if row["top_eigenvalue"] is not None]
    inside = [row for row in measured if row["t"] not in (0.0, 1.0)]
    tops = [row["top_eigenvalue"] for row in measured]
    ends = [row["top_eigenvalue"] for row in measured if row["t"] in (0.0, 1.0)]
    ratios, ratios_inside = (
        [row["top_eigenvalue"] / row["sharpness_loss"] for row in some if row["sharpness_loss"] > 0]
        for some in (measured, inside)
    )
    traces = [row["trace"] for row in measured if row["trace"] is not None]
    return {
        "sharpness_mean": float(np.mean(tops)) if tops else None,
        "sharpness_max": max(tops, default=None),
        "sharpness_ends": float(np.mean(ends)) if len(ends) == 2 else None,
        "sharpness_interior": float(np.mean([row["top_eigenvalue"] for row in inside])) if inside else None,
        "sharpness_over_loss_mean": finite(np.mean(ratios)) if ratios else None,
        "sharpness_over_loss_interior": finite(np.mean(ratios_inside)) if ratios_inside else None,
        "trace_mean": float(np.mean(traces)) if traces else None,
        "hessian_examples": measured[0]["hessian_examples"] if measured else None,
    }
