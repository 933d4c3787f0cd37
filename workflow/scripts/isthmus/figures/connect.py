"""Maps of loss and error on planes in weight space: through both ends and the bend of a path, and random ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from isthmus.figures.axes import plain, power
from isthmus.figures.choice import choose
from isthmus.figures.looks import KINDS, key_of, words_of
from isthmus.figures.panels import nothing, rows_of, say, throughout
from isthmus.figures.style import DOUBLE_COLUMN, finish, loss_unit, new_figure, paper
from isthmus.recipes.cell_table import axes_in

SMALLEST_LOSS = 1e-12  # float32 cannot tell smaller losses from zero
MAP = "YlGnBu_r"  # from dark, low, to light, high; readable with any colour vision and in grey
BLANK = "#d9d9d9"  # where a loss is not finite: no colour of the map
LEVELS = 12  # steps of the maps, about
MOST_SHOWN = 0.8  # of the points have a loss within the levels; the highest get the colour at the end
CURVE_POINTS = 101
SHOWN = {"width": 2, "depth": 2}  # smallest and largest
MAPS_WIDTH = 5.6  # inches of a line of maps that are not labels and gaps
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
BEND = NETWORK | {"marker": "D", "markersize": 4}


@dataclass(frozen=True)
class Measure:
    """What a map shows: the column of the grids, its label, the levels between its colours, and what is above them."""

    column: str
    label: str
    levels: np.ndarray
    norm: Normalize
    ticks: Sequence[float]
    extend: str


def path_on_plane(kind: str, chord: float, along: float, across: float) -> np.ndarray:
    """The path on the plane of its ends (0, 0), (chord, 0) and its bend (chord/2 + along, across): [points, 2].

    With c the chord and d the offset of the bend from its middle, w(t) = t c + 2 t (1-t) d for a quadratic Bézier
    curve and w(t) = t c + (1 - |1 - 2t|) d for a chain of two legs, as in `isthmus.landscape.paths`. In the unit of
    the weights.
    """
    t = np.linspace(0, 1, CURVE_POINTS)
    share = 1 - abs(1 - 2 * t) if kind == "polychain" else 2 * t * (1 - t)
    return np.column_stack([t * chord + share * along, share * across])


def _loss_measure(values: np.ndarray, label: str) -> Measure:
    """Levels of losses, equal steps of the logarithm: from the lowest one up to what most points lie below."""
    finite = values[np.isfinite(values)]
    low, high = np.log10(np.maximum(np.quantile(finite, [0, MOST_SHOWN]), SMALLEST_LOSS)) if len(finite) else (-1, 0)
    step = max(math.ceil((high - low) / LEVELS * 12), 1) / 12  # decades
    first = math.floor(low / step + 1e-9)
    levels = 10 ** (step * np.arange(first, max(math.ceil(high / step), first + 2) + 1))
    powers = range(math.ceil(math.log10(levels[0]) - 1e-9), math.floor(math.log10(levels[-1]) + 1e-9) + 1)
    ticks = [10.0**power for power in powers[:: math.ceil(len(powers) / 3) or 1]]
    if len(ticks) < 2:
        ticks = [float(f"{level:.1g}") for level in (levels[1], levels[-2])]
    return Measure("train_loss", label, levels, LogNorm(levels[0], levels[-1]), ticks, "max")


def _error_measure(values: np.ndarray) -> Measure:
    """Levels of the error, equal steps from 0."""
    top = max(float(np.nanmax(values)) if np.isfinite(values).any() else 1.0, 1e-3)
    levels = np.asarray(MaxNLocator(LEVELS, steps=[1, 2, 5, 10]).tick_values(0, top))
    ticks = np.asarray(MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(0, levels[-1]))
    norm, ticks = Normalize(levels[0], levels[-1]), ticks[ticks <= levels[-1]].tolist()
    return Measure("test_error", "test error", levels, norm, ticks, "neither")


def _draw_map(axes: Axes, rows: pd.DataFrame, measure: Measure) -> QuadContourSet | None:
    """The map of one measure on one plane; None, and a word why, where nothing was measured."""
    table = rows.dropna(subset=["x", "y"]).pivot(index="y", columns="x", values=measure.column)
    x, y, values = table.columns.to_numpy(), table.index.to_numpy(), np.ma.masked_invalid(table.to_numpy(dtype=float))
    if values.count() == 0 or min(values.shape) < 2:
        say(axes, "not finite" if len(x) else "diverged")
        axes.set_axis_off()
        return None
    values = np.ma.maximum(values, measure.levels[0])
    colours: Any = {"norm": measure.norm, "cmap": MAP, "extend": measure.extend}
    drawn = axes.contourf(x, y, values, levels=measure.levels, **colours, zorder=0)
    drawn.set_edgecolor("face")  # no seams between the colours
    drawn.set_linewidth(0.2)
    axes.contour(x, y, values, levels=measure.levels[1:], colors="black", linewidths=0.2, alpha=0.45, zorder=1)
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


def _heights(planes: pd.DataFrame, cells: Sequence[str], kinds: Sequence[str]) -> tuple[list[float], list[float]]:
    """Widths of the columns, one per plane, and heights of the rows, one per cell, in inches.

    Equal aspects make some planes wide and low: columns are as wide as lets their maps be about as high as
    those beside them.
    """
    extent = planes.groupby(["cell", "plane"], observed=True)[["x", "y"]].agg(
        lambda values: values.max() - values.min()
    )
    ratio = (extent["y"] / extent["x"]).where(extent["x"] > 0).dropna()
    typical = [ratio[ratio.index.get_level_values("plane") == kind].median() for kind in kinds]
    weights = np.array([1 / np.clip(1.0 if math.isnan(each) else each, 0.65, 1.5) for each in typical])
    widths = dict(zip(kinds, MAPS_WIDTH / 2 * weights / max(weights.sum(), 2.0), strict=True))
    heights = [max([min(widths[kind] * ratio.get((cell, kind), 0.0), 2.2) for kind in kinds] + [0.6]) for cell in cells]
    return list(widths.values()), heights


def _label(column: Sequence[Axes], kind: str, *, left: bool) -> None:
    """Labels of a column of maps: x below the last of them, y where it is the `left` one of a plane."""
    x, y = ("direction 1", "direction 2") if kind == "random" else ("along chord", "across")
    column[-1].set_xlabel(x)
    for axes in column:
        axes.set(ylabel=y) if left else axes.tick_params(labelleft=False)


def _colorbar(figure: Figure, drawn: QuadContourSet, column: Sequence[Axes], measure: Measure) -> None:
    """A bar under a column of maps with the colours of its measure."""
    label = power if measure.column == "train_loss" and min(measure.ticks) < 1e-3 else plain
    bar = figure.colorbar(
        drawn,
        ax=column,
        location="bottom",
        shrink=0.9,
        aspect=20,
        panchor=False,
        ticks=list(measure.ticks),
        format=FuncFormatter(lambda value, _: label(float(f"{value:.3g}")) if value else "0"),
    )
    bar.minorticks_off()
    bar.outline.set_linewidth(0.5)
    bar.set_label(measure.label)


def _maps(
    planes: pd.DataFrame, connections: pd.DataFrame, cells: pd.DataFrame, kinds: Sequence[str], measures: list[Measure]
) -> Figure:
    """The maps: a row per cell, a column per plane and measure, and a colour bar under each column."""
    columns = [(kind, measure) for kind in kinds for measure in measures]
    widths, heights = _heights(planes, list(cells["cell"]), kinds)
    size = (sum(widths) * len(measures) / MAPS_WIDTH * DOUBLE_COLUMN, sum(heights) + 0.4 * len(cells) + 0.6)
    figure = new_figure(*size)
    ratios = {"width_ratios": np.repeat(widths, len(measures)), "height_ratios": heights}
    grid = figure.subplots(len(cells), len(columns), squeeze=False, gridspec_kw=ratios)
    for column, (kind, measure) in enumerate(columns):
        drawn = []
        for row, cell in enumerate(cells.itertuples()):
            axes, rows = grid[row, column], planes[(planes["cell"] == cell.cell) & (planes["plane"] == kind)]
            axes.set_anchor("N")
            if column == 0:
                axes.set_title(f"depth {cell.depth}, width {cell.width}")
            if (mapped := _draw_map(axes, rows, measure)) is not None:
                own = connections[connections["kind"] == kind].merge(rows[PAIR].drop_duplicates(), on=PAIR)
                _draw_marks(axes, kind, own)
                drawn.append(mapped)
        if drawn:
            _label([mapped.axes for mapped in drawn], kind, left=column % len(measures) == 0)
            _colorbar(figure, drawn[0], list(grid[:, column]), measure)
    return figure


def _legend(kinds: Sequence[str]) -> list[Line2D]:
    """The marks on the maps: networks, bend and path."""
    keys = [Line2D([], [], label="network", **NETWORK)]
    for kind in kinds:
        if kind != "random":
            path = key_of(f"path: {words_of(kind)}", KINDS[kind], marker=False, band=True)
            keys += [Line2D([], [], label="bend", **BEND), path]
    return keys


def _note(planes: pd.DataFrame, connections: pd.DataFrame, chosen: str) -> str:
    """The sentences under the maps: one pair each, planes that diverged, and which cells are shown."""
    lost = int(planes.groupby(["cell", "plane"])["diverged"].any().sum())
    seeds = sorted(set(zip(planes["seed_a"], planes["seed_b"], strict=True)))
    which = " or ".join(f"{a} and {b}" for a, b in seeds)
    note = f"n = 1 pair per cell, networks {which}: examples, not means."
    note += f" {lost} of {planes.groupby(['cell', 'plane']).ngroups} planes diverged." if lost else ""
    if planes["batch_size"].nunique() == 1 and "batch size" not in chosen:
        note += f" Batch size {planes['batch_size'].iloc[0]}."
    return " ".join(filter(None, (note, chosen, throughout(connections))))


@paper()
def draw_planes(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Maps of the training loss and the test error on planes through the ends and the bend of a path, and random ones.

    `tables` holds `planes` and `connections`. A row per cell, for the smallest and the largest width and depth at the
    smallest batch size and one value of any further axis, as the note says; the first pair of each. Losses are in nats
    or mean squared errors with levels equal in the logarithm, errors are fractions; colours are the same in all rows.
    Says so where no planes were asked for. Raises DataError where the study has no pair.
    """
    connections = rows_of(study, tables, "connections")
    if not (tables["planes"]["study"] == study).any():
        return nothing("No planes were asked for.")
    planes = rows_of(study, tables, "planes")
    others = {name: 1 for axes in axes_in(planes).values() for name in axes}
    planes, chosen = choose(planes, others | SHOWN)
    planes["test_error"] = 1 - planes["test_accuracy"].astype(float)
    measures = [
        _loss_measure(planes["train_loss"].to_numpy(dtype=float), f"training loss ({loss_unit(connections['loss'])})"),
        _error_measure(planes["test_error"].to_numpy(dtype=float)),
    ]
    kinds = [kind for kind in KINDS if kind in set(planes["plane"])]
    cells = planes.drop_duplicates("cell").sort_values(["depth", "width"])
    figure = _maps(planes, connections, cells, kinds, measures)
    return finish(figure, _legend(kinds), _note(planes, connections, chosen))
