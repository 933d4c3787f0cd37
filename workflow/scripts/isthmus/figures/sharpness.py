"""Sharpness during training: the top Hessian eigenvalue against epoch, and 2 / learning rate (Cohen et al. 2021)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis, plain
from isthmus.figures.looks import GREY, Look, key_of
from isthmus.figures.means import Means, draw_means, extent
from isthmus.figures.panels import nothing, rows_of
from isthmus.figures.style import paper
from isthmus.tables.descriptions import Lines

FARTHEST = 30.0  # times the largest eigenvalue drawn: a threshold above that is not worth the room
THRESHOLD = Look(GREY, "none", "--")


@paper()
def draw_sharpness_in_training(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """The top Hessian eigenvalue against epoch, with 2 / learning rate as a dashed line where the table has it."""
    rows = rows_of(study, tables, "curvature")
    if rows["final"].all() and not rows["diverged"].all():
        return nothing(lines.absent)
    return draw_means(study, tables, lines, _add_thresholds)


def _thresholds(rows: pd.DataFrame) -> list[pd.Series]:
    """2 / learning rate by epoch, once if all widths share it, else for each width; none where it is not known."""
    value = rows["stability_threshold"].astype(float)
    known = rows.assign(threshold=value)[np.isfinite(value)]
    by_epoch = known.groupby("epoch")["threshold"]
    if known.empty or (by_epoch.max() <= 1.001 * by_epoch.min()).all():
        return [by_epoch.median()] if len(known) else []
    return [own.groupby("epoch")["threshold"].median() for _, own in known.groupby("width")]


def _add_thresholds(made: Means) -> None:
    """Draw 2 / learning rate into every panel, unless it is far above the eigenvalues in all."""
    rows, drawn = rows_of(made.study, made.tables, "curvature"), extent(made, made.shown[0])
    found = [
        (axes, threshold)
        for panel, (axes,) in made.placed
        for threshold in _thresholds(rows[rows["cell"].isin(panel.rows["cell"])])
    ]
    lowest = [float(threshold.min()) for _, threshold in found]
    if not drawn or not found:
        return
    if min(lowest) > FARTHEST * max(drawn):
        made.notes.append(f"2 / learning rate is above the panels: {plain(float(f'{min(lowest):.2g}'))} or more.")
        return
    for axes, threshold in found:
        axes.plot(threshold, color=GREY, linestyle=THRESHOLD.line, linewidth=0.8, gid="threshold", zorder=1)
    decade_axis(made.placed[0][1][0].yaxis, drawn + lowest)
    made.keys.append(key_of("2 / learning rate", THRESHOLD))
