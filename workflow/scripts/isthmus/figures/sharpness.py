"""Sharpness during training: the largest Hessian eigenvalue against epoch."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis, plain
from isthmus.figures.lines import (
    LONGEST_BAR,
    Measure,
    examples_note,
    keys_of,
    left_out,
    looks_in,
    means_of,
    why_empty,
)
from isthmus.figures.looks import GREY, Look, key_of
from isthmus.figures.panels import (
    Panel,
    choose,
    count_note,
    fewer_panels,
    lay_out,
    nothing,
    panels_of,
    room_for_text,
    rows_of,
    say,
)
from isthmus.figures.style import footnote, legend_above, paper

MOST_PANELS = 12  # of sharpness in training: three lines on a page
MOST_WIDTHS = 6  # lines in each of them
FARTHEST = 30.0  # times the largest eigenvalue drawn: a threshold above that is not worth the room
SHARPNESS = Measure("top_eigenvalue", "top Hessian eigenvalue", "top eigenvalue")
THRESHOLD = Look(GREY, "none", "--")
NO_SNAPSHOTS = (
    "No snapshots were asked for. Set `during_training: true` for the analysis `curvature`, and name epochs in "
    "`snapshots` under `training`, to see sharpness during training."
)


def in_training(rows: pd.DataFrame) -> pd.DataFrame:
    """The sharpness of every network in `rows` at every epoch of a grid, one row each.

    `rows` are those of one panel, at the end of training and before. The grid is that of all snapshots, and the last
    epoch of any network. A network that stopped earlier keeps its last value; nothing is interpolated, and where a
    network that was still in training has no value, neither has it here.
    """
    final = rows["final"].astype(bool)
    grid = np.unique([*rows.loc[~final, "epoch"], rows["epoch"].max()])
    found = []
    for _, own in rows.groupby(["cell", "seed"], observed=True):
        own = own.sort_values(["epoch", "final"]).drop_duplicates("epoch", keep="last").set_index("epoch")
        values = own["top_eigenvalue"].astype(float).reindex(grid).to_numpy(copy=True)
        values[grid > own.index[-1]] = own["top_eigenvalue"].iloc[-1]
        keys = {name: own[name].iloc[0] for name in ("cell", "width", "seed", "diverged")}
        found.append(pd.DataFrame({**keys, "epoch": grid, "top_eigenvalue": values}))
    return pd.concat(found, ignore_index=True)


def _draw_sharpness(axes: Axes, curves: pd.DataFrame, look: Look, gid: str) -> tuple[pd.DataFrame, list[float]]:
    """The sharpness of the networks of one cell against epoch; returns the means, and the values drawn.

    A band is the interval; where fewer than three networks are left, thin lines are these.
    """
    summary = means_of(curves, ["epoch"], SHARPNESS)
    epochs, mean, low, high = (summary[name].to_numpy() for name in ("epoch", "mean", "low", "high"))
    if summary["count"].max() > 2:
        axes.fill_between(epochs, low, high, color=look.colour, alpha=0.18, linewidth=0, zorder=2)
    else:
        kept = curves[~curves["diverged"].astype(bool) & (curves["top_eigenvalue"] > 0)]
        for _, own in kept.groupby("seed", observed=True):
            axes.plot(own["epoch"], own["top_eigenvalue"], color=look.colour, linewidth=0.4, alpha=0.6, zorder=2)
        values = kept.groupby("epoch")["top_eigenvalue"]
        low, high = (end.reindex(epochs).to_numpy(dtype=float) for end in (values.min(), values.max()))
    axes.plot(epochs, mean, look.marker, color=look.colour, linestyle=look.line, markersize=2, gid=gid, zorder=3)
    drawn = [*mean, *np.fmin(high, LONGEST_BAR * mean), *np.fmax(low, mean / LONGEST_BAR)]
    return summary, [value for value in drawn if np.isfinite(value)]


def _thresholds(rows: pd.DataFrame) -> list[pd.Series]:
    """2 / learning rate by epoch, once if all widths share it, else for each width; none where it is not known."""
    value = rows["stability_threshold"].astype(float)
    known = rows.assign(threshold=value)[np.isfinite(value)]
    by_epoch = known.groupby("epoch")["threshold"]
    if known.empty or (by_epoch.max() <= 1.001 * by_epoch.min()).all():
        return [by_epoch.median()] if len(known) else []
    return [own.groupby("epoch")["threshold"].median() for _, own in known.groupby("width")]


def _draw_thresholds(placed: list[tuple[Panel, list[Axes]]], largest: float) -> tuple[list[float], float]:
    """Draw 2 / learning rate into every panel, unless it is far above `largest` in all.

    Returns the lowest value of each line drawn, and the lowest of all, infinity where there is none.
    """
    found = [(axes, threshold) for panel, (axes,) in placed for threshold in _thresholds(panel.rows)]
    lowest = min((float(threshold.min()) for _, threshold in found), default=np.inf)
    if lowest > FARTHEST * largest:
        return [], lowest
    for axes, threshold in found:
        axes.plot(threshold, color=GREY, linestyle=THRESHOLD.line, linewidth=0.8, gid="threshold", zorder=1)
    return [float(threshold.min()) for _, threshold in found], lowest


def draw_sharpness_in_training(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """The top Hessian eigenvalue against epoch, a line per width, a panel per depth and batch size.

    `tables` holds `curvature`. Log axis, in the unit of the loss; geometric means over networks with bands for their
    intervals, thin lines in place of a band below three networks. A dashed line is 2 / learning rate where the table
    has it. Of many widths or panels some are shown, and the footnote says which. Says so where there are no
    snapshots. Raises DataError where the study has no network.
    """
    rows = rows_of(study, tables, "curvature")
    with paper():
        if rows["final"].all():
            return nothing("All networks diverged." if rows["diverged"].all() else NO_SNAPSHOTS)
        rows, chosen = choose(rows, fewer_panels(rows, MOST_PANELS) | {"width": MOST_WIDTHS})
        looks = looks_in(tables, "width", rows)
        blocks = panels_of(rows, ["depth", "batch_size"])
        figure, placed = lay_out(blocks, [SHARPNESS.label], "epoch", above=room_for_text(blocks))
        summaries: list[pd.DataFrame] = []
        drawn: list[float] = []
        for panel, (axes,) in placed:
            curves = in_training(panel.rows)
            axes.autoscale(False)  # limits are set below, once for all panels
            for width, own in curves.groupby("width"):
                summary, values = _draw_sharpness(axes, own, looks[int(width)], f"top_eigenvalue width={width}")
                summaries, drawn = [*summaries, summary], drawn + values
            if not curves[~curves["diverged"].astype(bool)]["top_eigenvalue"].notna().any():
                say(axes, why_empty(panel.rows, "top_eigenvalue"))
            axes.set_xlim(0, max(curves["epoch"].max(), 1e-9))
        thresholds, lowest = _draw_thresholds(placed, max(drawn)) if drawn else ([], np.inf)
        decade_axis(placed[0][1][0].yaxis, drawn + thresholds)
        keys = keys_of("width", looks)
        legend_above(figure, keys + ([key_of("2 / learning rate", THRESHOLD)] if thresholds else []))
        beyond = f"2 / learning rate is above the panels: {plain(float(f'{lowest:.2g}'))} or more."
        far = beyond if np.isfinite(lowest) and not thresholds else ""
        footnote(figure, " ".join(filter(None, (_training_note(rows, pd.concat(summaries)), far, chosen))))
    return figure


def _training_note(rows: pd.DataFrame, summary: pd.DataFrame) -> str:
    """The note under sharpness in training: networks, what is left out, examples, and who has no band."""
    final = rows[rows["final"].astype(bool)]
    note = count_note(final, summary["count"], "Lines: geometric means. Bands")
    if {1, 2} & set(summary["count"]):
        note += " Below three networks, thin lines are these, in place of a band."
    return " ".join(filter(None, (note, left_out(rows, [SHARPNESS]), examples_note(rows))))
