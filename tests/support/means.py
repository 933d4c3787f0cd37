"""The figures of means, and what each shows of invented tables."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import invented_curvature
import invented_paths
import invented_training
import numpy as np
import pandas as pd
import pytest
from drawn import Tables, means_figure, shown_in, summarized
from invented_paths import CURVES
from matplotlib.axes import Axes
from matplotlib.figure import Figure

paths = partial(invented_paths.frames, plane_points=0, fits_diverged=[(8, "polychain")])
curvature = partial(invented_curvature.frames, snapshots=(), spectra=False, sizes={})
MADE = {
    "test-accuracy": invented_training.frames,
    "learning-curves": partial(invented_training.frames, epochs=8),
    "barriers": paths,
    "loss-profiles": paths,
    "path-geometry": paths,
    "curvature": curvature,
    "curvature-and-loss": curvature,
}
# One figure for each table; the two others are drawn by the same function from tables that these show as well.
FOR_EACH_TABLE = [
    pytest.param(name, marks=pytest.mark.exhaustive) if name in ("path-geometry", "curvature-and-loss") else name
    for name in MADE
]
BANDS = ("learning-curves", "loss-profiles")
AGAINST_WIDTH = ("test-accuracy", "barriers", "path-geometry", "curvature")
FREE, POSITIVE, SHARE, GEOMETRIC = (-np.inf, np.inf), (0.0, np.inf), (0.0, 1.0), None
# The quantities of each figure: table, expression of its columns, and limits of a mean that is not geometric.
QUANTITIES: dict[str, dict[str, tuple[str, str, tuple[float, float] | None]]] = {
    "test-accuracy": {
        "test_accuracy": ("networks", "test_accuracy", SHARE),
        "generalization_gap": ("networks", "generalization_gap", FREE),
    },
    "learning-curves": {
        "test_loss_curve": ("history", "test_loss", GEOMETRIC),
        "train_loss_curve": ("history", "train_loss", GEOMETRIC),
    },
    "barriers": {
        "train_loss_barrier": ("connections", "barrier_train_loss", POSITIVE),
        "test_error_barrier": ("connections", "barrier_test_error", SHARE),
    },
    "loss-profiles": {
        "train_loss_along": ("paths", "train_loss", GEOMETRIC),
        "test_error_along": ("paths", "1 - test_accuracy", SHARE),
    },
    "path-geometry": {
        "detour": ("connections", "detour", (1.0, np.inf)),
        "turning": ("connections", "turning", POSITIVE),
        "path_sharpness": ("connections", "sharpness_mean", GEOMETRIC),
        "path_sharpness_over_loss": ("connections", "sharpness_over_loss_mean", GEOMETRIC),
    },
    "curvature": {
        "top_eigenvalue": ("curvature", "top_eigenvalue", GEOMETRIC),
        "trace": ("curvature", "trace", GEOMETRIC),
        "gauss_newton_top_eigenvalue": ("curvature", "gauss_newton_top_eigenvalue", GEOMETRIC),
    },
    "curvature-and-loss": {
        "top_eigenvalue": ("curvature", "top_eigenvalue", GEOMETRIC),
        "loss_at_curvature": ("curvature", "loss", GEOMETRIC),
        "top_over_loss": ("curvature", "top_eigenvalue_over_loss", GEOMETRIC),
    },
}
EACH_QUANTITY = [(name, quantity) for name, found in QUANTITIES.items() for quantity in found]


def made_for(*names: str, **given: Any) -> dict[str, Tables]:
    """Invented tables with summaries for figures; those that are made in the same way share them."""
    found: dict[str, Tables] = {}
    for make in {id(MADE[name]): MADE[name] for name in names}.values():
        alike = [name for name in names if MADE[name] is make]
        found |= dict.fromkeys(alike, summarized(make(**given), shown_in(*alike)))
    return found


def draw(name: str, tables: Tables, study: str = "digits") -> Figure:
    return means_figure(name)(study, tables)


def rows_behind(name: str, quantity: str, tables: Tables) -> pd.DataFrame:
    """What a figure shows of a quantity: the rows of networks or pairs that did not diverge, with their `value`."""
    table, expression, _ = QUANTITIES[name][quantity]
    rows = tables[table]
    rows = rows.merge(tables["networks"][["cell", "seed", "diverged"]]) if table == "history" else rows
    rows = rows[rows["final"]] if "final" in rows else rows
    rows = rows[rows["kind"].isin(CURVES)] if quantity in ("detour", "turning") else rows
    rows = rows[~rows["diverged"]]
    return rows.assign(value=rows.eval(expression).astype(float))


def panels(name: str, figure: Figure, quantity: str) -> Iterator[tuple[dict[str, int], Axes]]:
    """The axes of each panel that show a quantity, with the values of the axes of the grid in the panel's title."""
    shown = list(QUANTITIES[name])
    for first in range(0, len(figure.axes), len(shown)):
        title = figure.axes[first].get_title("left").replace("\n", " ")
        values = re.findall(r"(depth|batch size|width) (\d+)", title)
        own = {axis.replace(" ", "_"): int(value) for axis, value in values}
        yield own, figure.axes[first + shown.index(quantity)]


def only(rows: pd.DataFrame, **values: Any) -> pd.DataFrame:
    for axis, value in values.items():
        rows = rows[rows[axis] == value]
    return rows
