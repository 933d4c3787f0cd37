"""The figures of curvature that are more than means: spectra, and sharpness during training (Cohen et al. 2021)."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from isthmus.figures.axes import decade_axis, plain
from isthmus.figures.looks import GREY, PALETTE, Look, key_of, looks_in
from isthmus.figures.means import Means, draw_means, extent
from isthmus.figures.notes import counted, span
from isthmus.figures.panels import (
    choose,
    fewer_panels,
    in_all_panels,
    lay_out,
    nothing,
    panels_of,
    rows_of,
    say,
    throughout,
)
from isthmus.figures.style import finish, listed, paper
from isthmus.statistics.bootstrap import bootstrap_intervals
from isthmus.tables.descriptions import Lines

PANELS = ("depth", "batch_size", "width")
MOST_SPECTRA = 12  # panels: three lines on a page
MOST_WIDTHS = 4  # of these, side by side
MOST_POINTS = 2000  # of a density
FAINTEST = 1 / 30  # of the density at the peak of a single eigenvalue: nothing below is drawn
FEWEST = 3  # networks, for a band
ONE, TOP = Look(GREY, "none", ":"), Look(PALETTE[1], "|", "none")
UNDEFINED = 1e-300  # a density that is as good as zero, and still has a logarithm
NO_SPECTRA = (
    "No spectra were asked for. Set `probes` to 1 or more under `spectrum` of the analysis `curvature` to have them."
)
FARTHEST = 30.0  # times the largest eigenvalue drawn: a threshold above that is not worth the room
THRESHOLD = Look(GREY, "none", "--")


def mean_density(spectra: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """A grid of eigenvalues, [points], and the densities of all networks of a cell there, [points, networks].

    The grid is that of the networks where all have the same, else it spans all of theirs as finely as the finest, and
    densities are interpolated in their logarithm, as the smoothing Gaussians are no polygons. A density is 0 beyond
    its own grid.
    """
    each = [rows.sort_values("eigenvalue") for _, rows in spectra.groupby("seed", observed=True)]
    grids = [rows["eigenvalue"].to_numpy() for rows in each]
    grid = grids[0]
    if any(not np.array_equal(grid, other) for other in grids):
        ends = min(other[0] for other in grids), max(other[-1] for other in grids)
        spacing = min(float(np.diff(other).min()) for other in grids)
        grid = np.linspace(*ends, min(int(np.ceil((ends[1] - ends[0]) / spacing)) + 1, MOST_POINTS))
    densities = []
    for own, rows in zip(grids, each, strict=True):
        logarithms = np.log(np.maximum(rows["density"].to_numpy(dtype=float), UNDEFINED))
        inside = (grid >= own[0]) & (grid <= own[-1])
        densities.append(np.where(inside, np.exp(np.interp(grid, own, logarithms)), 0.0))
    return grid, np.column_stack(densities)


def one_eigenvalue(spectra: pd.DataFrame, parameters: int) -> float:
    """The density of a single one of `parameters` eigenvalues at its peak, in the geometric mean over networks."""
    smoothing = np.exp(np.log(spectra.groupby("seed", observed=True)["smoothing"].first()).mean())
    return float(1 / parameters / (smoothing * np.sqrt(2 * np.pi)))


def _draw_density(axes: Axes, spectra: pd.DataFrame, floor: float, colour: str) -> list[float]:
    """The mean density of a cell and its interval, as far as they are above `floor`; returns what was drawn."""
    grid, densities = mean_density(spectra)
    mean = densities.mean(axis=1)
    low, high = bootstrap_intervals(densities, limits=(0, np.inf))
    seen = mean >= floor
    if densities.shape[1] >= FEWEST:
        ends = np.maximum(low, floor), np.maximum(high, floor)
        axes.fill_between(grid, *ends, where=high > floor, color=colour, alpha=0.25, linewidth=0, zorder=2)
    axes.plot(grid, np.where(seen, mean, np.nan), color=colour, gid="density", zorder=3)
    return mean[seen].tolist()


@paper()
def draw_spectra(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Spectral densities of the Hessian at the end of training, a panel per width, depth and batch size.

    `tables` holds `spectrum` and `curvature`. Of many panels some are shown, and the note says which. Says so where no
    spectra were asked for. Raises DataError where the study has no network.
    """
    networks = rows_of(study, tables, "curvature")
    networks = networks[networks["final"].astype(bool)].reset_index(drop=True)
    spectrum = tables["spectrum"][tables["spectrum"]["study"] == study]
    if spectrum.empty:
        return nothing("All networks diverged." if networks["diverged"].all() else NO_SPECTRA)
    networks, chosen = choose(networks, fewer_panels(networks, MOST_SPECTRA, MOST_WIDTHS))
    looks = looks_in(tables, "width", networks["width"])
    figure, placed = lay_out(panels_of(networks, PANELS), ["spectral density"], "Hessian eigenvalue")
    counts, drawn = [], []
    for panel, (axes,) in placed:
        spectra = spectrum[spectrum["cell"].isin(panel.rows["cell"].unique())]
        if spectra.empty:
            say(axes, "all diverged" if panel.rows["diverged"].all() else "not measured")
            axes.set_xticks([])
            continue
        counts.append(spectra["seed"].nunique())
        one = one_eigenvalue(spectra, int(panel.rows["parameters"].iloc[0]))
        shown = _draw_density(axes, spectra, FAINTEST * one, looks[int(panel.rows["width"].iloc[0])].colour)
        drawn += [*shown, FAINTEST * one]
        if not shown:
            say(axes, "nowhere above a thirtieth of\none eigenvalue")
        axes.axhline(one, color=GREY, linestyle=ONE.line, linewidth=0.8, gid="one eigenvalue", zorder=1)
        tops = panel.rows.loc[~panel.rows["diverged"].astype(bool), "top_eigenvalue"].astype(float).dropna()
        ticks: Any = {"color": TOP.colour, "linewidth": 0.8, "gid": "top eigenvalues", "zorder": 3}
        axes.vlines(tops, 0.92, 1.0, transform=axes.get_xaxis_transform(), **ticks)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(float(f"{value:.6g}"))))
    decade_axis(placed[0][1][0].yaxis, drawn)
    band = [Patch(facecolor=GREY, alpha=0.25, label="95 % interval")] if max(counts, default=0) >= FEWEST else []
    keys = [key_of("mean density", Look(GREY, "none")), *band]
    keys += [key_of("one eigenvalue", ONE), key_of("top eigenvalues", TOP)]
    notes = [
        counted(span(counts, "network") if counts else "", len(networks), int(networks["diverged"].sum())),
        "Lines: means. Bands: 95 % bootstrap intervals over networks.",
        "There is no band below three networks." if min(counts, default=FEWEST) < FEWEST else "",
        f"Measured on {listed([str(count) for count in sorted({*networks['images']} - {0})])} training examples.",
    ]
    notes += [in_all_panels(networks, PANELS, chosen), chosen, throughout(networks)]
    return finish(figure, keys, " ".join(filter(None, notes)))


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
