"""What all figures share: sizes, colours, axes, and how they are saved.

Figures are made with Matplotlib's object-oriented interface on the Agg canvas: no pyplot, no global state. Colours
are chosen for colour-blind readers (Okabe and Ito 2008 for unordered things; perceptually uniform maps, from dark
to light, for ordered ones), and a marker and a line style go with each, so that a grey print can be read too.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from isthmus.core.files import write_whole
from isthmus.recipes.cell_table import CELLS

SINGLE_COLUMN = 3.4  # inches
DOUBLE_COLUMN = 7.0  # inches
PNG_RESOLUTION = 200  # dots per inch
FONT_SIZE = 8  # points
NOTE_SIZE = 7  # points
LETTER = 0.53  # mean width of a letter / font size, for deciding where lines break

PAPER: Any = {
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": FONT_SIZE,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.formatter.useoffset": False,
    "axes.grid": False,
    "mathtext.default": "regular",
    "pdf.fonttype": 42,
    "savefig.dpi": PNG_RESOLUTION,
    "figure.dpi": PNG_RESOLUTION,
}

GREY = "#6e6e6e"
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (7, 1.5, 1, 1, 1, 1)))
# Ordered axes: the colour map, and the part of it that is neither black nor too light to see on white.
ORDERED = {
    "width": ("viridis", 0.0, 0.90),
    "batch_size": ("inferno", 0.15, 0.82),
    "layer": ("plasma", 0.0, 0.85),
}
LABELS = {"batch_size": "batch size", "learning_rate": "learning rate", "label_noise": "label noise"}


@contextmanager
def paper() -> Iterator[None]:
    """The settings of all figures, in force inside the `with` block only."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change the figures
        matplotlib.rcParams.update(PAPER)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of the given size in inches, laid out so that nothing is clipped or overlaps."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def label_of(axis: str) -> str:
    """The words for an axis of the grid: `batch_size` is "batch size"."""
    return LABELS.get(axis, axis.replace("_", " "))


@dataclass(frozen=True)
class Look:
    """How one value of an axis is drawn: colour (hexadecimal), marker and line style of Matplotlib."""

    colour: str
    marker: str
    line: Any


def values_of(tables: dict[str, pd.DataFrame], axis: str) -> list[Any]:
    """All values of an axis in all tables and studies, sorted: what `look_of` wants.

    Taking them from all studies gives a value the same look in every figure drawn from the same networks.
    """
    drawn = [table for name, table in tables.items() if name != CELLS]
    return sorted({value for table in drawn if axis in table for value in table[axis].unique()})


def _slots(values: Sequence[Any]) -> dict[Any, int]:
    """A number for each value: a small integer keeps its own, whatever else is there; others take what is free."""
    slots: dict[Any, int] = {}
    for position, value in enumerate(values):
        wanted = int(value) - 1 if isinstance(value, int) or hasattr(value, "__index__") else position
        free = [slot % len(OKABE_ITO) for slot in range(wanted, wanted + len(OKABE_ITO))]
        taken = {slot % len(OKABE_ITO) for slot in slots.values()}
        slots[value] = next((slot for slot in free if slot not in taken), position)
    return slots


def look_of(kind: str, value: Any, values: Sequence[Any]) -> Look:
    """The look of `value` among the sorted `values` that the axis (or other kind of thing) `kind` takes.

    Widths, batch sizes and layers are ordered: dark is the smallest, light the largest. Everything else gets the
    distinct colours of Okabe and Ito; small integers, such as depths, keep theirs whatever the other values are.
    Raises ValueError where `value` is not among `values`.
    """
    values = list(values)
    if value not in values:
        raise ValueError(f"{value!r} is not one of the values of {kind}: {values}")
    position = values.index(value)
    if kind in ORDERED:
        name, first, last = ORDERED[kind]
        place = first + (last - first) * (position / (len(values) - 1) if len(values) > 1 else 0.4)
        colour = to_hex(matplotlib.colormaps[name](place))
    else:
        position = _slots(values)[value]
        colour = OKABE_ITO[position % len(OKABE_ITO)]
    return Look(colour, MARKERS[position % len(MARKERS)], LINES[position % len(LINES)])


def colour_of(kind: str, value: Any, values: Sequence[Any]) -> str:
    """The colour of `look_of`, hexadecimal."""
    return look_of(kind, value, values).colour


def plain(value: float) -> str:
    """A number as a short tick label: 0.01, 512, 20k, 3M."""
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale and math.isclose(value / scale, round(value / scale, 1)):
            return f"{value / scale:g}{unit}"
    return f"{value:.12g}"


def power(value: float) -> str:
    """A positive number as a tick label in powers of ten."""
    exponent = math.floor(math.log10(value) + 1e-9)
    digits = value / 10.0**exponent
    return rf"$10^{{{exponent}}}$" if math.isclose(digits, 1) else rf"${digits:g}\times10^{{{exponent}}}$"


def _thinned(values: Sequence[float], most: int) -> list[float]:
    """As many of the sorted positive `values` as have room on a log axis with space for `most` labels."""
    room = math.log(values[-1] / values[0]) / max(most - 1, 1) * 0.999
    kept = [values[0]]
    for value in values[1:]:
        if math.log(value / kept[-1]) >= room:
            kept.append(value)
    return kept


def log_axis(axis: Axis, values: Iterable[float], most: int = 6) -> None:
    """A log axis with plain labels at `values` themselves (widths, say), at most some `most` of them, and margins.

    Works for a single value. `axis` is `axes.xaxis` or `axes.yaxis`; `values` are positive.
    """
    ordered = sorted(set(values))
    limits = ordered[0] / 1.25, ordered[-1] * 1.25
    if len(ordered) == 1:
        limits = ordered[0] / 2, ordered[0] * 2
    _set_log(axis, limits)
    axis.set_major_locator(FixedLocator(_thinned(ordered, most)))


def decade_axis(axis: Axis, values: Iterable[float], most: int = 5) -> None:
    """A log axis over the positive ones of `values`, with some `most` labels at powers of ten.

    Labels are plain numbers, or powers where they would be long. Where the axis spans less than two decades, 2 and
    5 times the powers of ten have labels too; where it spans half a decade, numbers at equal steps have. Without any
    positive value the axis stays linear.
    """
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    if not positive:
        return
    low, high = min(positive), max(positive)
    margin = max((high / low) ** 0.05, 1.1)
    _set_log(axis, (low / margin, high * margin), power if low < 1e-3 else plain)
    decades = math.log10(high / low) + 2 * math.log10(margin)
    steps = (1.0,) if decades >= 2 else (1.0, 2.0, 5.0)
    even = MaxNLocator(most - 1, steps=[1, 2, 5, 10])
    axis.set_major_locator(LogLocator(subs=steps, numticks=most + 1) if decades >= 0.6 else even)


def _set_log(axis: Axis, limits: tuple[float, float], label: Callable[[float], str] = plain) -> None:
    name = "x" if axis is axis.axes.xaxis else "y"
    axis.axes.set(**{f"{name}scale": "log", f"{name}lim": limits})
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))


def draw_means(axes: Axes, x: Sequence[float], summary: pd.DataFrame, look: Look) -> Line2D:
    """Draw the means of `statistics.bootstrap.summarize` at `x`, joined by a line, with their intervals as bars.

    A group without a network left breaks the line. Returns the line of the means.
    """
    axes.vlines(x, summary["low"], summary["high"], color=look.colour, linewidth=0.8, alpha=0.8, zorder=3)
    (line,) = axes.plot(
        x, summary["mean"], color=look.colour, marker=look.marker, linestyle=look.line, zorder=4, markeredgewidth=0.6
    )
    return line


def draw_dots(axes: Axes, x: Iterable[float], y: Iterable[float], look: Look, *, hollow: bool = False) -> Line2D:
    """Draw individual networks as faint small markers, `hollow` or filled."""
    (dots,) = axes.plot(
        list(x),
        list(y),
        linestyle="none",
        marker=look.marker,
        markersize=2.4,
        markerfacecolor="none" if hollow else look.colour,
        markeredgecolor=look.colour,
        markeredgewidth=0.5 if hollow else 0.0,
        alpha=0.75 if hollow else 0.35,
        zorder=2,
    )
    return dots


def say_if_empty(axes: Axes, counts: Iterable[int]) -> None:
    """Write "all diverged" into a panel where none of the points or lines has a network left."""
    if not any(counts):
        axes.text(0.5, 0.5, "all diverged", transform=axes.transAxes, ha="center", va="center", color=GREY)


def legend_key(label: str, look: Look, *, marker: bool = True, band: bool = False) -> Line2D:
    """An entry of a legend: the line (thicker for a `band`) and, if wanted, the marker of a look."""
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker if marker else "none",
        linewidth=1.6 if band else 1.0,
        label=label,
    )


def _legend_width(labels: Sequence[str], columns: int) -> float:
    """About how wide a legend gets, in inches: it is filled column by column."""
    rows = math.ceil(len(labels) / columns)
    longest = [max(map(len, labels[start : start + rows])) for start in range(0, len(labels), rows)]
    return sum(0.5 + letters * LETTER * FONT_SIZE / 72 for letters in longest)


def legend_above(figure: Figure, keys: Sequence[Line2D]) -> None:
    """One legend for the whole figure, above its panels, in as few rows as its width allows."""
    labels = [str(key.get_label()) for key in keys]
    for rows in range(1, len(keys) + 1):
        columns = math.ceil(len(keys) / rows)
        if _legend_width(labels, columns) <= figure.get_figwidth():
            break
    figure.legend(handles=list(keys), loc="outside upper center", ncols=columns, columnspacing=1.2)


def footnote(figure: Figure, text: str) -> None:
    """Write a note under the panels: how many networks are behind a point, and how many are left out."""
    width, height = figure.get_size_inches()
    text = text.replace(" %", "\xa0%").replace(" = ", "\xa0=\xa0")  # no line breaks there
    lines = textwrap.wrap(text, width=int(0.98 * width * 72 / (NOTE_SIZE * LETTER)))
    reserved = (len(lines) * NOTE_SIZE * 1.25 + 4) / 72 / height
    layout = figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(rect=(0, reserved, 1, 1 - reserved))
    figure.text(0.01, 2 / 72 / height, "\n".join(lines), fontsize=NOTE_SIZE, va="bottom", color="0.25", gid="footnote")


def save(figure: Figure, paths: Iterable[Path | str]) -> None:
    """Write the figure to each of `paths`, as PDF or PNG by the ending; each file is whole or absent.

    The files hold no date: the same figure gives the same bytes. Raises ValueError for another ending.
    """
    with paper():
        for _ in range(2):  # tick labels settle in a first layout, and margins in the second
            figure.draw_without_rendering()
    # The solver of the layout rounds differently from run to run: keep what it found, to a ten-thousandth of a point.
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(side, 7) for side in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))
    for path in map(Path, paths):
        kind = path.suffix.removeprefix(".")
        if kind not in ("pdf", "png"):
            raise ValueError(f"{path}: figures are saved as .pdf or .png")
        # None leaves an entry out. Matplotlib's version would be in these, and the date in the first.
        metadata = dict.fromkeys(("CreationDate", "Creator", "Producer") if kind == "pdf" else ("Software",))

        def write(temporary: Path, kind: str = kind, metadata: dict[str, None] = metadata) -> None:
            with paper():
                figure.savefig(temporary, format=kind, metadata=metadata, dpi=PNG_RESOLUTION)

        write_whole(path, write)
