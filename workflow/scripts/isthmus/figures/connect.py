"""Maps of loss and error on planes in weight space: through both ends and the bend of a path, and random ones."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from isthmus.figures.axes import plain, power
from isthmus.figures.looks import KINDS, key_of, words_of
from isthmus.figures.panels import choose, evenly, nothing, rows_of, say, throughout
from isthmus.figures.style import DOUBLE_COLUMN, finish, listed, loss_unit, new_figure, paper
from isthmus.recipes.cell_table import axes_in

SMALLEST_LOSS = 1e-12  # float32 cannot tell smaller losses from zero
MAP = "YlGnBu_r"  # from dark, low, to light, high; readable with any colour vision and in grey
COLOURS = 256
BLANK = "#d9d9d9"  # where a loss is not finite: no colour of the map
LEVELS = 15  # steps of the maps, at most
MOST_SHOWN = 0.8  # of the points have a loss within the levels; the highest get the colour at the end
CURVE_POINTS = 101
SHOWN = {"width": 2, "depth": 2}  # smallest and largest
ROW, LONG = 1.5, 1.6  # inches from one row of maps to the next; width of a plane through a path / of a random one
OUTLINE = [withStroke(linewidth=2.4, foreground="white"), Normal()]
NETWORK: dict[str, Any] = {
    "marker": "o",
    "color": "black",
    "markeredgecolor": "white",
    "markeredgewidth": 0.6,
    "markersize": 4.5,
    "linestyle": "none",
}
PAIR = ["cell", "seed_a", "seed_b"]
SIZES = {"training": "train_examples", "test": "test_examples"}
BEND = NETWORK | {"marker": "D", "markersize": 4}


@dataclass(frozen=True)
class Measure:
    """What a map shows: a column of the grids, its label, what lies above the levels between its colours, and these."""

    column: str
    label: str
    extend: Literal["max", "neither"]
    levels: np.ndarray
    ticks: np.ndarray


def path_on_plane(kind: str, chord: float, along: float, across: float) -> np.ndarray:
    """The path on the plane of its ends (0, 0), (chord, 0) and its bend (chord/2 + along, across): [points, 2].

    With c the chord and d the offset of the bend from its middle, w(t) = t c + 2 t (1-t) d for a quadratic Bézier
    curve and w(t) = t c + (1 - |1 - 2t|) d for a chain of two legs, as in `isthmus.landscape.paths`. In the unit of
    the weights.
    """
    t = np.linspace(0, 1, CURVE_POINTS)
    share = 1 - abs(1 - 2 * t) if kind == "polychain" else 2 * t * (1 - t)
    return np.column_stack([t * chord + share * along, share * across])


def _levels(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Equal steps from `low` to `high` at round numbers, and the few of them that have a number at the colour bar."""
    levels, ticks = (np.asarray(MaxNLocator(n, steps=[1, 2, 5, 10]).tick_values(low, high)) for n in (LEVELS, 3))
    return levels, np.array(evenly(ticks[(ticks >= levels[0]) & (ticks <= levels[-1])], 3))


def _measures(planes: pd.DataFrame, unit: str) -> list[Measure]:
    """Levels of the loss, from the lowest one up to what most points lie below, and of the error, from 0."""
    loss, error = (planes[name].to_numpy(dtype=float) for name in ("train_loss", "test_error"))
    finite = np.maximum(loss[np.isfinite(loss)], SMALLEST_LOSS)
    powers = np.log10(np.quantile(finite, [0, MOST_SHOWN])) if len(finite) else (-1, 0)
    top = np.nanmax(error) if np.isfinite(error).any() else 1.0
    return [
        Measure("train_loss", f"training loss ({unit})", "max", *(10.0**ends for ends in _levels(*powers))),
        Measure("test_error", "test error", "neither", *_levels(0, max(top, 1e-3))),
    ]


def _draw_map(axes: Axes, rows: pd.DataFrame, measure: Measure) -> QuadContourSet | None:
    """The map of one measure on one plane; None, and a word why, where nothing was measured."""
    table = rows.dropna(subset=["x", "y"]).pivot(index="y", columns="x", values=measure.column)
    x, y, values = table.columns.to_numpy(), table.index.to_numpy(), np.ma.masked_invalid(table.to_numpy(dtype=float))
    if values.count() == 0 or min(values.shape) < 2:
        why = "not finite" if measure.column == "train_loss" else "not measured"  # real targets have no accuracy
        say(axes, why if len(x) else "diverged")
        axes.set_axis_off()
        return None
    levels, extend = measure.levels, measure.extend
    colours: Any = {"cmap": MAP, "norm": BoundaryNorm(levels, COLOURS, extend=extend), "extend": extend}
    values = np.ma.maximum(values, levels[0])
    drawn = axes.contourf(x, y, values, levels=levels, **colours, zorder=0)
    drawn.set_edgecolor("face")  # no seams between the colours
    drawn.set_linewidth(0.2)
    axes.contour(x, y, values, levels=levels[1:], colors="black", linewidths=0.2, alpha=0.45, zorder=1)
    axes.set(aspect="equal", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), facecolor=BLANK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    return drawn


def _draw_marks(axes: Axes, kind: str, connections: pd.DataFrame) -> None:
    """The networks on a plane, and the bend and the path where it is a plane through these, a row of `connections`."""
    ends = [0.0]
    for chord, along, across in connections[["chord", "bend_along", "bend_across"]].dropna().to_numpy(dtype=float):
        path = path_on_plane(kind, chord, along, across)
        axes.plot(*path.T, color=KINDS[kind].colour, linewidth=1.3, path_effects=OUTLINE, gid=f"path {kind}", zorder=3)
        axes.plot(chord / 2 + along, across, gid="bend", zorder=4, **BEND)
        ends.append(chord)
    axes.plot(ends, [0.0] * len(ends), gid="networks", zorder=4, **NETWORK)


def _draw_bar(figure: Figure, drawn: QuadContourSet, column: np.ndarray, measure: Measure) -> None:
    """A bar under a column of maps with the colours of its measure."""
    label = power if measure.column == "train_loss" and measure.ticks[0] < 1e-3 else plain
    written = FuncFormatter(lambda value, _: label(float(f"{value:.2g}")) if value else "0")
    under: Any = {"location": "bottom", "shrink": 0.9, "aspect": 20, "panchor": False}
    bar = figure.colorbar(drawn, ax=list(column), ticks=measure.ticks, format=written, label=measure.label, **under)
    bar.minorticks_off()
    bar.outline.set_linewidth(0.5)


def _maps(planes: pd.DataFrame, connections: pd.DataFrame, kinds: list[str], measures: list[Measure]) -> Figure:
    """The maps: a row per cell, a column per plane and measure, and a colour bar under each column."""
    cells = planes.drop_duplicates("cell").sort_values(["depth", "width"])
    columns = [(kind, measure) for kind in kinds for measure in measures]
    widths = [1.0 if kind == "random" else LONG for kind, _ in columns]
    figure = new_figure(DOUBLE_COLUMN * min(sum(widths) / 5, 1), ROW * len(cells) + 0.6, layout="compressed")
    grid = figure.subplots(len(cells), len(columns), squeeze=False, width_ratios=widths)
    for column, (kind, measure) in zip(grid.T, columns, strict=True):
        shown = []
        for axes, cell in zip(column, cells.itertuples(), strict=True):
            rows = planes[(planes["cell"] == cell.cell) & (planes["plane"] == kind)]
            if axes in grid[:, 0]:
                axes.set_title(f"depth {cell.depth}, width {cell.width}")
            if (drawn := _draw_map(axes, rows, measure)) is not None:
                own = connections[connections["kind"] == kind].merge(rows[PAIR].drop_duplicates(), on=PAIR)
                _draw_marks(axes, kind, own)
                shown.append(drawn)
        x, y = ("direction 1", "direction 2") if kind == "random" else ("along chord", "across")
        for drawn in shown:
            drawn.axes.set(ylabel=y) if measure is measures[0] else drawn.axes.tick_params(labelleft=False)
        if shown:
            shown[-1].axes.set_xlabel(x)
            _draw_bar(figure, shown[0], column, measure)
    return figure


def _legend(kinds: list[str]) -> list[Line2D]:
    """The marks on the maps: networks, bend and path."""
    keys = [Line2D([], [], label="network", **NETWORK)]
    for kind in kinds:
        if kind != "random":
            path = key_of(f"path: {words_of(kind)}", KINDS[kind], marker=False, band=True)
            keys += [Line2D([], [], label="bend", **BEND), path]
    return keys


def _note(planes: pd.DataFrame, connections: pd.DataFrame, chosen: str) -> str:
    """The sentences under the maps: one pair each, planes that diverged, and which cells are shown."""
    lost = planes.groupby(["cell", "plane"])["diverged"].any()
    seeds = sorted(set(zip(planes["seed_a"], planes["seed_b"], strict=True)))
    which = " or ".join(f"{a} and {b}" for a, b in seeds)
    note = f"n = 1 pair per cell, networks {which}: examples, not means."
    sizes = [f"{count} {kind}" for kind in ("training", "test") for count in sorted(set(planes[SIZES[kind]]))]
    note += f" Measured on {listed(sizes)} examples."
    note += f" {lost.sum()} of {len(lost)} planes diverged." if lost.any() else ""
    if planes["batch_size"].nunique() == 1 and "batch size" not in chosen:
        note += f" Batch size {planes['batch_size'].iloc[0]}."
    return " ".join(filter(None, (note, chosen, throughout(connections))))


@paper()
def draw_planes(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Maps of the training loss and the test error on planes through the ends and the bend of a path, and random ones.

    `tables` holds `planes` and `connections`. A row per cell, for the smallest and the largest width and depth and one
    value of any other axis. Says so where no planes were asked for. Raises DataError where the study has no pair.
    """
    connections = rows_of(study, tables, "connections")
    if not (tables["planes"]["study"] == study).any():
        return nothing(
            "No planes were asked for. Set `points` to 2 or more under `planes` of the analysis `connect` to have them."
        )
    planes = rows_of(study, tables, "planes")
    others = {name: 1 for axes in axes_in(planes).values() for name in axes}
    planes, chosen = choose(planes, others | SHOWN)
    planes["test_error"] = 1 - planes["test_accuracy"].astype(float)
    kinds = [kind for kind in KINDS if kind in set(planes["plane"])]
    figure = _maps(planes, connections, kinds, _measures(planes, loss_unit(connections["loss"])))
    return finish(figure, _legend(kinds), _note(planes, connections, chosen))
