"""From tables to panels: the rows of a study, and a panel for each combination of the axes that need one.

A study may have any axes beside width, depth, batch size and seed. They are found in the name of the cell, such as
`width=8+depth=2+batch_size=32+label_noise=0.2`. No figure averages over them: where they vary, each of their
combinations gets panels of its own.
"""

import itertools
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.core.errors import DataError
from isthmus.figures.style import DOUBLE_COLUMN, FONT_SIZE, GREY, LETTER, SINGLE_COLUMN, label_of, new_figure
from isthmus.recipes.cells import axes_of

COMMON_AXES = ("width", "depth", "batch_size", "seed")
MOST_COLUMNS = 4
PANEL_HEIGHT = 1.45  # inches

Value = TypeVar("Value")


def rows_of(study: str, tables: dict[str, pd.DataFrame], name: str) -> pd.DataFrame:
    """The rows of `study` in the table `name`, its strings as plain strings.

    Raises DataError where there is none.
    """
    table = tables[name]
    rows = table[table["study"] == study].copy()
    if rows.empty:
        raise DataError(f"the table {name!r} has no row of the study {study!r}; run the workflow for that study first")
    for column in rows.columns[rows.dtypes == "category"]:
        rows[column] = rows[column].astype(str)
    return rows.reset_index(drop=True)


def _extra_axes(cells: Iterable[str]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The axes beyond the common ones: per cell those that vary, and once those that are the same in all cells."""
    extra = {cell: {k: v for k, v in axes_of(cell).items() if k not in COMMON_AXES} for cell in cells}
    names = list(dict.fromkeys(name for axes in extra.values() for name in axes))
    fixed = [name for name in names if len({axes.get(name) for axes in extra.values()}) == 1]
    constant = {name: next(iter(extra.values()))[name] for name in fixed}
    return {cell: {k: v for k, v in axes.items() if k not in fixed} for cell, axes in extra.items()}, constant


def constants(frame: pd.DataFrame) -> dict[str, str]:
    """The axes beyond the common ones that have one value in the whole study."""
    return _extra_axes(frame["cell"].unique())[1]


def _order(text: str) -> tuple[bool, float, str]:
    """A key that sorts numbers as numbers, before words."""
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text


@dataclass(frozen=True)
class Panel:
    """A panel: its title, and the rows of the table that belong to it."""

    title: str
    rows: pd.DataFrame


def panels_of(frame: pd.DataFrame, axes: Sequence[str]) -> list[list[Panel]]:
    """Panels by the values of `axes`, in one list per combination of the extra axes.

    Every panel is titled with what sets it apart. A list of more panels than fit a line is split by the first of
    `axes`. Where each list would hold a single panel, they share one list.
    """
    extra, _ = _extra_axes(frame["cell"].unique())
    combination = frame["cell"].map(lambda cell: tuple(extra[cell].items()))
    blocks = []
    for key in sorted(set(combination), key=lambda items: [(name, _order(value)) for name, value in items]):
        heading = ", ".join(f"{label_of(name)} {value}" for name, value in key)
        block = []
        for values, rows in frame[combination == key].groupby(list(axes), observed=True):
            titled = ", ".join(f"{label_of(axis)} {value}" for axis, value in zip(axes, values, strict=True))
            block.append(Panel("\n".join(filter(None, (heading, titled))), rows))
        blocks += _split(block, axes[0]) if len(axes) > 1 else [block]
    return _joined(blocks)


def _joined(blocks: list[list[Panel]]) -> list[list[Panel]]:
    """One list where each would hold a single panel."""
    return one_line(blocks) if all(len(block) == 1 for block in blocks) else blocks


def _split(block: list[Panel], axis: str) -> list[list[Panel]]:
    """The panels of a block by their value of `axis`, unless they fit one line."""
    if len(block) <= MOST_COLUMNS:
        return [block]
    values = dict.fromkeys(panel.rows[axis].iloc[0] for panel in block)
    return _joined([[panel for panel in block if panel.rows[axis].iloc[0] == value] for value in values])


def one_line(blocks: list[list[Panel]]) -> list[list[Panel]]:
    """The panels of all blocks beside each other, for tall stacks of axes; there are few of them."""
    return [list(itertools.chain.from_iterable(blocks))]


def panels_by_width(frame: pd.DataFrame) -> list[list[Panel]]:
    """A panel per cell, in a line for all widths of what is otherwise the same."""
    lines: dict[tuple[tuple[str, str], ...], list[Panel]] = {}
    for panel in itertools.chain.from_iterable(panels_of(frame, ["depth", "batch_size", "width"])):
        others = tuple((k, v) for k, v in axes_of(panel.rows["cell"].iloc[0]).items() if k != "width")
        lines.setdefault(others, []).append(panel)
    return _joined(list(lines.values()))


def _lines(blocks: list[list[Panel]]) -> list[list[Panel]]:
    """The panels in lines of at most `MOST_COLUMNS`, a new line for each block, lines of a block about as long."""
    lines = []
    for block in blocks:
        columns = math.ceil(len(block) / math.ceil(len(block) / MOST_COLUMNS))
        lines += [block[start : start + columns] for start in range(0, len(block), columns)]
    return lines


def _titled(panel: Panel, inches: float) -> str:
    """The title of a panel, broken between axes to fit `inches`."""
    letters = int(inches * 72 / (FONT_SIZE * LETTER))
    joined = [line.replace(", ", ",\n").replace(" ", "\xa0").replace("\n", " ") for line in panel.title.split("\n")]
    return "\n".join("\n".join(textwrap.wrap(line, letters)) for line in joined).replace("\xa0", " ")


def lay_out(
    blocks: list[list[Panel]],
    y_labels: Sequence[str],
    x_label: str,
    *,
    above: float = 0.4,
    panel_height: float = PANEL_HEIGHT,
) -> tuple[Figure, list[tuple[Panel, list[Axes]]]]:
    """An empty figure with a column of `len(y_labels)` axes for each panel, wrapped into lines.

    The axes of one y label share their scale in all panels; x scales are the panels' own. Each has `panel_height`
    inches, labels included, and `above` inches are added for the legend. Returns the figure, and each panel with its
    axes from top to bottom.
    """
    lines = _lines(blocks)
    columns, stack = max(map(len, lines)), len(y_labels)
    width = {1: SINGLE_COLUMN, 2: 0.75 * DOUBLE_COLUMN}.get(columns, DOUBLE_COLUMN)
    titles = sum(_titled(line[0], width / columns).count("\n") + 1 for line in lines)
    height = len(lines) * stack * panel_height + titles * FONT_SIZE * 1.2 / 72 + above
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


def room_for_text(blocks: Sequence[Sequence[Panel]]) -> float:
    """Inches for the legend and the footnote: in a narrow figure, of few panels in a line, they have more lines."""
    return {1: 1.1, 2: 0.7}.get(max(map(len, blocks)), 0.5)


def axes_only(placed: Iterable[tuple[Panel, list[Axes]]], row: int) -> Iterator[Axes]:
    """The axes at `row` of the stack of every panel."""
    return (stack[row] for _, stack in placed)


def say(axes: Axes, text: str) -> None:
    """Write, in grey, into an empty panel why it is empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def nothing(text: str) -> Figure:
    """A small figure that says why it is empty."""
    lines = textwrap.wrap(text, 52)
    figure = new_figure(DOUBLE_COLUMN / 2, 0.8 + 0.15 * (len(lines) - 1))
    figure.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=FONT_SIZE, gid="footnote")
    return figure


def _sorted(values: Iterable[str]) -> list[str]:
    """Values of an axis in the name of a cell, numbers as numbers."""
    try:
        return sorted(values, key=float)
    except ValueError:
        return sorted(values)


def evenly(values: Sequence[Value], most: int) -> list[Value]:
    """At most `most` of the sorted `values`, evenly spread, the first and the last among them; one is the first."""
    places = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int)
    return [values[place] for place in places]


def _values_by_axis(frame: pd.DataFrame) -> dict[str, list[str]]:
    """The values of each axis in the names of the cells, batch size first and width and depth last."""
    cells = [axes_of(cell) for cell in frame["cell"].unique()]
    extra = dict.fromkeys(name for cell in cells for name in cell if name not in COMMON_AXES)
    names = ("batch_size", *extra, "depth", "width")
    return {name: _sorted({cell[name] for cell in cells if name in cell}) for name in names}


def choose(frame: pd.DataFrame, most: dict[str, int]) -> tuple[pd.DataFrame, str]:
    """The rows of a choice of cells, and the sentence that says which values of which axes were left out.

    `most` says how many values of an axis are kept, evenly spread; axes that it lacks keep all.
    """
    values = _values_by_axis(frame)
    kept = {name: evenly(values[name], most.get(name, len(values[name]))) for name in values}
    cells = {
        cell: all(axes_of(cell).get(name, few[0]) in few for name, few in kept.items())
        for cell in frame["cell"].unique()
    }
    shown = [
        f"{label_of(name)} {_listed(few)} ({len(few)} of {len(values[name])} values)"
        for name, few in kept.items()
        if len(few) < len(values[name])
    ]
    sentence = f"Shown: {'; '.join(shown)}." if shown else ""
    return frame[frame["cell"].map(cells)].reset_index(drop=True), sentence


def fewer_panels(
    frame: pd.DataFrame, panels: int, widths: int | None = None, *, together: Sequence[str] = ()
) -> dict[str, int]:
    """How many values of each axis to keep, for `choose`, so that a figure has at most so many panels.

    With `widths`, each width has a panel of its own, of at most so many; without, a panel holds all widths, and all
    values of the axes in `together`, too. Of the other axes, the one with most values loses first.
    """
    values = {name: len(found) for name, found in _values_by_axis(frame).items()}
    kept = {name: values.pop(name) for name in ("width", *together)}
    kept["width"] = kept["width"] if widths is None else min(kept["width"], widths)
    room = panels if widths is None else panels // kept["width"]
    while math.prod(values.values()) > max(room, 1):
        values[max(values, key=lambda name: values[name])] -= 1
    return kept | values


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def count_note(
    networks: pd.DataFrame, counts: Iterable[int], marks: str, intervals: str = "bootstrap intervals of the mean"
) -> str:
    """The sentence under a figure: networks per point, diverged ones left out, and what `marks` the interval.

    `networks` are the rows of the study, `counts` the numbers of networks behind the points, `intervals` their kind.
    """
    drawn = sorted({int(count) for count in counts if count > 0})
    total, diverged = len(networks), int(networks["diverged"].sum())
    if not drawn:
        return (
            f"All {total} networks diverged: there is nothing to draw."
            if diverged == total
            else "Nothing to draw: nothing was measured."
        )
    several = f"{drawn[0]} to {drawn[-1]}" if len(drawn) > 1 else f"{drawn[0]}"
    note = f"n = {several} network{'s' if drawn[-1] > 1 else ''} per point"
    note += (
        f"; {diverged} of {total} networks diverged and {'is' if diverged == 1 else 'are'} left out" if diverged else ""
    )
    lost = int(networks.groupby("cell", observed=True)["diverged"].all().sum())
    if lost:
        note += f" (all of them in {lost} cell{'s' if lost > 1 else ''})"
    note += f". {marks}: 95 % {intervals} over networks"
    note += " (none where n = 1)." if drawn[0] == 1 else "."
    note += "" if diverged else f" None of the {total} networks diverged." if total > 1 else ""
    fixed = ", ".join(f"{label_of(name)} {value}" for name, value in constants(networks).items())
    return f"{note} Throughout: {fixed}." if fixed else note
