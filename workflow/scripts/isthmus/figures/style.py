"""What all figures share: sizes, fonts, legends and notes, and how they are saved.

Figures are made on the Agg canvas, without a window and without Matplotlib's global state.
"""

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from isthmus.core.files import write_whole

SINGLE_COLUMN = 3.4  # inches
DOUBLE_COLUMN = 7.0  # inches
PNG_RESOLUTION = 200  # dots per inch
FONT_SIZE = 8  # points, of all text
LETTER = 0.53  # mean width of a letter / font size, for deciding where lines break

PAPER: Any = {
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": FONT_SIZE,
    "ytick.labelsize": FONT_SIZE,
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

LOSS = {"cross_entropy": "nats", "squared_error": "mean squared error"}
LABELS = {"t": "position on the path, t", "severity": "severity (0: clean)", "layer_index": "layer"}


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
    """The words for an axis of the grid or another column: `batch_size` is "batch size"."""
    return LABELS.get(axis, axis.replace("_", " "))


def loss_unit(kinds: Iterable[str]) -> str:
    """The unit of losses of these kinds."""
    return " or ".join(LOSS.get(kind, kind) for kind in sorted(set(kinds)))


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
    lines = textwrap.wrap(text, width=int(0.98 * width * 72 / (FONT_SIZE * LETTER)))
    reserved = (len(lines) * FONT_SIZE * 1.25 + 4) / 72 / height
    layout = figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(rect=(0, reserved, 1, 1 - reserved))
    figure.text(0.01, 2 / 72 / height, "\n".join(lines), fontsize=FONT_SIZE, va="bottom", color="0.25", gid="footnote")


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
