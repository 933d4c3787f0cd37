"""What all figures share: sizes, fonts, legends and notes, and how they are saved.

Figures are made on the Agg canvas, without a window and without Matplotlib's global state.
"""

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from isthmus.core.files import write_whole

SINGLE_COLUMN = 3.4  # inches
DOUBLE_COLUMN = 7.0  # inches
PNG_RESOLUTION = 200  # dots per inch
FONT_SIZE = 8  # points, of all text
LETTER = 0.53  # mean width of a letter / font size, for deciding where lines break

PAPER: Any = {
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
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
    "mathtext.default": "regular",
    "pdf.fonttype": 42,
    "savefig.dpi": PNG_RESOLUTION,
    "figure.dpi": PNG_RESOLUTION,
}

Layout = Literal["constrained", "compressed"]
LOSS = {"cross_entropy": "nats", "squared_error": "mean squared error"}
LABELS = {"t": "position on the path, t", "severity": "severity (0: clean)", "layer_index": "layer"}


@contextmanager
def paper() -> Iterator[None]:
    """The settings of all figures, in force inside the `with` block only."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change the figures
        matplotlib.rcParams.update(PAPER)
        yield


def new_figure(width: float, height: float, *, layout: Layout = "constrained") -> Figure:
    """An empty figure of the given size in inches, laid out so that nothing is clipped or overlaps."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def listed(words: Sequence[str]) -> str:
    """Words joined by commas and "and"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def label_of(axis: str) -> str:
    """The words for an axis of the grid or another column: `batch_size` is "batch size"."""
    return LABELS.get(axis, axis.replace("_", " "))


def loss_unit(kinds: Iterable[str]) -> str:
    """The unit of losses of these kinds; losses of the user's own have the name of their function.

    >>> loss_unit(["losses.py:pseudo_huber"])
    'pseudo huber'
    """
    return " or ".join(LOSS.get(kind, label_of(kind.rpartition(":")[2])) for kind in sorted(set(kinds)))


def _columns(labels: Sequence[str], width: float) -> int:
    """In how many columns a legend has the fewest rows that fit so many inches; it is filled column by column."""
    for rows in range(1, len(labels) + 1):
        longest = [max(map(len, labels[start : start + rows])) for start in range(0, len(labels), rows)]
        if sum(0.5 + letters * LETTER * FONT_SIZE / 72 for letters in longest) <= width:
            return len(longest)
    return 1


def finish(figure: Figure, keys: Sequence[Artist], note: str) -> Figure:
    """Add one legend above all panels and a note below them: how many networks are behind a point, what is left out.

    The figure grows by the room that they need, so that panels keep theirs.
    """
    width, height = figure.get_size_inches()
    if keys:
        columns = _columns([str(key.get_label()) for key in keys], width)
        figure.legend(handles=list(keys), loc="outside upper center", ncols=columns, columnspacing=1.2)
        height += (math.ceil(len(keys) / columns) * 1.5 + 0.8) * FONT_SIZE / 72
    figure.set_size_inches(width, height)
    return _write_note(figure, note)


@paper()
def attribute(figure: Figure, sentences: str) -> Figure:
    """Add sentences to the note of a finished figure, such as whose measurements it shows; the figure grows."""
    (written,) = (text for text in figure.texts if text.get_gid() == "footnote")
    note = written.get_text().replace("\n", " ")
    width, height = figure.get_size_inches()
    if written.get_verticalalignment() == "center":  # a figure that only says why it is empty
        lines = textwrap.wrap(sentences, 52)
        written.set_text("\n".join([written.get_text(), *lines]))
        figure.set_size_inches(width, height + 0.15 * len(lines))
        return figure
    written.remove()
    figure.set_size_inches(width, height - _room_of(len(written.get_text().splitlines())))
    return _write_note(figure, f"{note} {sentences}")


def _room_of(lines: int) -> float:
    """The height of a note, in inches."""
    return (lines * FONT_SIZE * 1.25 + 4) / 72


def _write_note(figure: Figure, note: str) -> Figure:
    """Write a note below all panels, for which the figure grows."""
    width, height = figure.get_size_inches()
    note = note.replace(" %", "\xa0%").replace(" = ", "\xa0=\xa0")  # no line breaks there
    lines = textwrap.wrap(note, width=int(0.98 * width * 72 / (FONT_SIZE * LETTER)))
    below = _room_of(len(lines))
    height += below
    figure.set_size_inches(width, height)
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0, below / height, 1, 1 - below / height))
    figure.text(0.01, 2 / 72 / height, "\n".join(lines), va="bottom", color="0.25", gid="footnote")
    return figure


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
