"""From tables to panels: the rows of a study, the cells that fit a page, and a panel for each combination of axes.

A study may have any axes besides width, depth, batch size and seed; the table `cells` has them. No figure averages over
them: if they vary, each of their combinations gets panels of its own.
"""

import math
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.core.errors import DataError
from isthmus.figures.looks import GREY, KINDS, words_of
from isthmus.figures.style import DOUBLE_COLUMN, FONT_SIZE, LETTER, SINGLE_COLUMN, label_of, listed, new_figure
from isthmus.recipes.cell_table import CELLS, AxisValues, axes_in, rows_of_study, with_axes
from isthmus.recipes.cells import AXES, spell

Value = TypeVar("Value")

MOST_COLUMNS = 4
MOST_STACKED = 3
PANEL_HEIGHT, PAGE = 1.45, 8.2  # inches
MEAN_OF_ALL = "mean over corruptions"  # a panel that comes last


def rows_of(study: str, tables: dict[str, pd.DataFrame], name: str) -> pd.DataFrame:
    """The rows of `study` in the table `name`, its strings as plain strings.

    Rows of cells are joined with `cells`, if this is among the tables. Raises DataError where there is no row.
    """
    rows = rows_of_study(tables[name], study)
    if rows.empty:
        raise DataError(f"the table {name!r} has no row of the study {study!r}; run the workflow for that study first")
    return with_axes(rows, tables[CELLS], study) if CELLS in tables and "cell" in rows else rows


def order(value: Any) -> tuple[bool, float, str]:
    """A key that sorts values of an axis: numbers as numbers, before words."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    return (False, float(value), "") if number else (True, 0.0, spell(value))


def evenly(values: Sequence[Value], most: int) -> list[Value]:
    """At most `most` of the sorted `values`, evenly spread, the first and the last among them; one is the first."""
    places = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int)
    return [values[place] for place in places]


def _values_by_axis(cells: Collection[AxisValues]) -> dict[str, list[Any]]:
    """The values of each axis, batch size first and width and depth last."""
    extra = [name for name in next(iter(cells)) if name not in AXES]
    return {
        name: sorted({axes[name] for axes in cells}, key=order) for name in ("batch_size", *extra, "depth", "width")
    }


def choose(frame: pd.DataFrame, most: dict[str, int]) -> tuple[pd.DataFrame, str]:
    """The rows of a choice of cells, and the sentence that says which values of which axes were left out.

    `most` says how many values of an axis are kept, evenly spread; axes that it lacks keep all. Where one is kept, it
    is the first of those with the most networks, if the frame counts them, as `n`.
    """
    cells = axes_in(frame)
    values = _values_by_axis(cells.values())
    kept = {name: evenly(values[name], most.get(name, len(values[name]))) for name in values}
    if "n" in frame:
        kept |= {name: [_fullest(frame, name, cells)] for name, few in kept.items() if len(few) == 1}
    chosen = {cell: all(axes[name] in few for name, few in kept.items()) for cell, axes in cells.items()}
    shown = [
        f"{label_of(name)} {listed([*map(spell, few)])} ({len(few)} of {len(values[name])} values)"
        for name, few in kept.items()
        if len(few) < len(values[name])
    ]
    sentence = f"Shown: {'; '.join(shown)}." if shown else ""
    return frame[frame["cell"].map(chosen)].reset_index(drop=True), sentence


def _fullest(frame: pd.DataFrame, name: str, cells: dict[str, AxisValues]) -> Any:
    """The value of an axis with the most networks, `n`, in all its cells; the first of several."""
    networks = dict.fromkeys(sorted({axes[name] for axes in cells.values()}, key=order), 0)
    for cell, count in frame.groupby("cell", observed=True)["n"].max().items():
        networks[cells[str(cell)][name]] += int(count)
    return max(networks, key=lambda value: networks[value])


def fewer_panels(
    frame: pd.DataFrame, panels: int, widths: int | None = None, *, together: Sequence[str] = ()
) -> dict[str, int]:
    """How many values of each axis to keep, for `choose`, so that a figure has at most so many panels.

    With `widths`, each width has a panel of its own, of at most so many; without, a panel holds all widths, and all
    values of the axes in `together`, too. Of the other axes, the one with most values loses first.
    """
    values = {name: len(found) for name, found in _values_by_axis(axes_in(frame).values()).items()}
    kept = {name: values.pop(name) for name in ("width", *together)}
    kept["width"] = kept["width"] if widths is None else min(kept["width"], widths)
    room = panels if widths is None else panels // kept["width"]
    while math.prod(values.values()) > max(room, 1):
        values[max(values, key=lambda name: values[name])] -= 1
    return kept | values


def words(axes: AxisValues) -> str:
    """Axes and their values in words: "label noise 0.2, optimizer adam"."""
    return ", ".join(f"{label_of(name)} {spell(value)}" for name, value in axes.items())


def _extra_axes(frame: pd.DataFrame) -> tuple[dict[str, AxisValues], AxisValues]:
    """The axes beyond the common ones: per cell those that vary, and once those that are the same in all cells."""
    extra = {cell: {k: v for k, v in axes.items() if k not in AXES} for cell, axes in axes_in(frame).items()}
    first = next(iter(extra.values()))
    constant = {name: value for name, value in first.items() if len({axes[name] for axes in extra.values()}) == 1}
    return {cell: {k: v for k, v in axes.items() if k not in constant} for cell, axes in extra.items()}, constant


def throughout(frame: pd.DataFrame) -> str:
    """The sentence that names the axes beyond the common ones with one value in the whole study; empty without any."""
    constant = words(_extra_axes(frame)[1])
    return f"Throughout: {constant}." if constant else ""


def _panel_order(value: Any) -> tuple[Any, ...]:
    """A key that sorts kinds as legends do, and the mean of other panels to the end."""
    return value == MEAN_OF_ALL, list(KINDS).index(value) if value in KINDS else -1, order(value)


@dataclass(frozen=True)
class Panel:
    """A panel: its title, and the rows of the table that belong to it."""

    title: str
    rows: pd.DataFrame


def varying(frame: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    """Those of `axes` that have several values, or all where none has."""
    return [axis for axis in axes if frame[axis].nunique() > 1] or list(axes)


def in_all_panels(frame: pd.DataFrame, axes: Sequence[str], said: str = "") -> str:
    """The sentence that says which values all panels share that have brief titles, unless it is `said`."""
    same = [axis for axis in axes if axis not in varying(frame, axes) and f"{label_of(axis)} " not in said]
    shared = ", ".join(f"{label_of(axis)} {value}" for axis in same for value in frame[axis].dropna().unique())
    return f"In all panels: {shared}." if shared else ""


def panels_of(frame: pd.DataFrame, axes: Sequence[str]) -> list[list[Panel]]:
    """Panels by the values of `axes`, in one list per combination of the extra axes.

    Every panel is titled with what sets it apart. A list of more panels than fit a line is split by the first of
    `axes`. Where each list would hold a single panel, they share one list.
    """
    extra, titled = _extra_axes(frame)[0], varying(frame, axes)
    combination = frame["cell"].map(lambda cell: tuple(extra[cell].items()))
    blocks = []
    for key in sorted(set(combination), key=lambda items: [(name, order(value)) for name, value in items]):
        block = []
        found = dict(iter(frame[combination == key].groupby(list(axes), observed=True)))
        for values in sorted(found, key=lambda values: [*map(_panel_order, values)]):
            named = [(axis, value) for axis, value in zip(axes, values, strict=True) if axis in titled]
            title = ", ".join(
                words_of(each) if isinstance(each, str) else f"{label_of(axis)} {each}" for axis, each in named
            )
            block.append(Panel("\n".join(filter(None, (words(dict(key)), title))), found[values]))
        blocks += _split(block, axes[0]) if len(axes) > 1 else [block]
    return _joined(blocks)


def _joined(blocks: list[list[Panel]]) -> list[list[Panel]]:
    """One list where each would hold a single panel."""
    return [list(chain.from_iterable(blocks))] if all(len(block) == 1 for block in blocks) else blocks


def _split(block: list[Panel], axis: str) -> list[list[Panel]]:
    """The panels of a block by their value of `axis`, unless they fit one line."""
    if len(block) <= MOST_COLUMNS:
        return [block]
    values = dict.fromkeys(panel.rows[axis].iloc[0] for panel in block)
    return _joined([[panel for panel in block if panel.rows[axis].iloc[0] == value] for value in values])


def _lines(blocks: list[list[Panel]], most: int) -> list[list[Panel]]:
    """The panels in lines of at most so many, a new line for each block, lines of a block about as long."""
    lines = []
    for block in blocks:
        columns = math.ceil(len(block) / math.ceil(len(block) / most))
        lines += [block[start : start + columns] for start in range(0, len(block), columns)]
    return lines


def _titled(panel: Panel, inches: float) -> str:
    """The title of a panel, broken between axes to fit `inches`."""
    letters = int(inches * 72 / (FONT_SIZE * LETTER))
    joined = [line.replace(", ", ",\n").replace(" ", "\xa0").replace("\n", " ") for line in panel.title.split("\n")]
    wrapped = (textwrap.wrap(line, letters, break_on_hyphens=False) for line in joined)
    return "\n".join(map("\n".join, wrapped)).replace("\xa0", " ")


def lay_out(
    blocks: list[list[Panel]],
    y_labels: Sequence[str],
    x_label: str,
    *,
    panel_height: float = PANEL_HEIGHT,
    columns: int = MOST_COLUMNS,
) -> tuple[Figure, list[tuple[Panel, list[Axes]]]]:
    """An empty figure with a column of `len(y_labels)` axes for each panel, wrapped into lines.

    The axes of one y label share their scale in all panels; x scales are the panels' own. Each has `panel_height`
    inches, labels included, or less where a stack would be taller than a page. A line has at most so many `columns`.
    The axes of a panel that is the only one stand in two columns if they are more than `MOST_STACKED`.
    Returns the figure, and each panel with its axes from top to bottom.
    """
    lines = _lines(blocks, columns)
    columns, stack = max(map(len, lines)), len(y_labels)
    if len(lines) == columns == 1 and stack > MOST_STACKED:
        return _alone(lines[0][0], y_labels, x_label, panel_height)
    width = {1: SINGLE_COLUMN, 2: 0.75 * DOUBLE_COLUMN}.get(columns, DOUBLE_COLUMN)
    titles = sum(_titled(line[0], width / columns).count("\n") + 1 for line in lines)
    height = len(lines) * stack * min(panel_height, PAGE / stack) + titles * FONT_SIZE * 1.2 / 72
    figure = new_figure(width, height)
    grid = figure.add_gridspec(len(lines) * stack, columns)
    placed: list[tuple[Panel, list[Axes]]] = []
    for number, line in enumerate(lines):
        for column, panel in enumerate(line):
            shared = placed[0][1] if placed else [None] * stack
            made = [figure.add_subplot(grid[number * stack + k, column], sharey=shared[k]) for k in range(stack)]
            made[0].set_title(_titled(panel, width / columns))
            for axes, label in zip(made, y_labels, strict=True):
                axes.set(ylabel=label) if column == 0 else axes.tick_params(labelleft=False)
            for axes in made[:-1]:
                axes.tick_params(labelbottom=False)
            if number + 1 == len(lines) or column >= len(lines[number + 1]):
                made[-1].set_xlabel(x_label)
            placed.append((panel, made))
    return figure, placed


def _alone(
    panel: Panel, y_labels: Sequence[str], x_label: str, panel_height: float
) -> tuple[Figure, list[tuple[Panel, list[Axes]]]]:
    """What `lay_out` returns for a single panel with many axes: two columns of them."""
    rows, width = math.ceil(len(y_labels) / 2), 0.75 * DOUBLE_COLUMN
    figure = new_figure(width, rows * min(panel_height, PAGE / rows) + FONT_SIZE * 1.2 / 72)
    grid = figure.add_gridspec(rows, 2)
    made = [figure.add_subplot(grid[divmod(place, 2)]) for place in range(len(y_labels))]
    made[0].set_title(_titled(panel, width))
    for axes, label in zip(made, y_labels, strict=True):
        axes.set(ylabel=label)
    for axes in made[:-2]:
        axes.tick_params(labelbottom=False)
    for axes in made[-2:]:
        axes.set_xlabel(x_label)
    return figure, [(panel, made)]


def say(axes: Axes, text: str) -> None:
    """Write, in grey, into an empty panel why it is empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def nothing(text: str) -> Figure:
    """A small figure that says why it is empty."""
    lines = textwrap.wrap(text, 52)
    figure = new_figure(DOUBLE_COLUMN / 2, 0.8 + 0.15 * (len(lines) - 1))
    figure.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=FONT_SIZE, gid="footnote")
    return figure
