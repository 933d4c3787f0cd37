"""From tables to panels: the rows of a study, and a panel for each combination of the axes that need one.

A study may have any axes beside width, depth, batch size and seed. They are found in the name of the cell, such as
`width=8,depth=2,batch_size=32,label_noise=0.2`. No figure averages over them: where they vary, each of their
combinations gets panels of its own.
"""

import itertools
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.errors import DataError
from isthmus.figures.style import DOUBLE_COLUMN, FONT_SIZE, LETTER, SINGLE_COLUMN, label_of, new_figure

COMMON_AXES = ("width", "depth", "batch_size", "seed")
MOST_COLUMNS = 4
PANEL_HEIGHT = 1.45  # inches


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


def axes_of(cell: str) -> dict[str, str]:
    """The axes in the name of a cell and their values as text: `width=8,depth=2` is {"width": "8", "depth": "2"}."""
    return dict(part.partition("=")[::2] for part in cell.split(","))


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
    return [list(itertools.chain.from_iterable(blocks))] if all(len(block) == 1 for block in blocks) else blocks


def _split(block: list[Panel], axis: str) -> list[list[Panel]]:
    """The panels of a block by their value of `axis`, unless they fit one line."""
    if len(block) <= MOST_COLUMNS:
        return [block]
    values = dict.fromkeys(panel.rows[axis].iloc[0] for panel in block)
    return _joined([[panel for panel in block if panel.rows[axis].iloc[0] == value] for value in values])


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
    blocks: list[list[Panel]], y_labels: Sequence[str], x_label: str, *, above: float = 0.4
) -> tuple[Figure, list[tuple[Panel, list[Axes]]]]:
    """An empty figure with a column of `len(y_labels)` axes for each panel, wrapped into lines.

    The axes of one y label share their scale in all panels; x scales are the panels' own. `above` inches are added
    for the legend. Returns the figure, and each panel with its axes from top to bottom.
    """
    lines = _lines(blocks)
    columns, stack = max(map(len, lines)), len(y_labels)
    width = {1: SINGLE_COLUMN, 2: 0.75 * DOUBLE_COLUMN}.get(columns, DOUBLE_COLUMN)
    titles = sum(_titled(line[0], width / columns).count("\n") + 1 for line in lines)
    height = len(lines) * stack * PANEL_HEIGHT + titles * FONT_SIZE * 1.2 / 72 + above
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


def axes_only(placed: Iterable[tuple[Panel, list[Axes]]], row: int) -> Iterator[Axes]:
    """The axes at `row` of the stack of every panel."""
    return (stack[row] for _, stack in placed)


def count_note(networks: pd.DataFrame, counts: Iterable[int], marks: str) -> str:
    """The sentence under a figure: networks per point, diverged ones left out, and what `marks` the interval.

    `networks` are the rows of the study, `counts` the numbers of networks behind the points.
    """
    drawn = sorted({int(count) for count in counts if count > 0})
    total, diverged = len(networks), int(networks["diverged"].sum())
    if not drawn:
        return f"All {total} networks diverged: there is nothing to draw."
    several = f"{drawn[0]} to {drawn[-1]}" if len(drawn) > 1 else f"{drawn[0]}"
    note = f"n = {several} network{'s' if drawn[-1] > 1 else ''} per point"
    note += (
        f"; {diverged} of {total} networks diverged and {'is' if diverged == 1 else 'are'} left out" if diverged else ""
    )
    lost = int(networks.groupby("cell", observed=True)["diverged"].all().sum())
    if lost:
        note += f" (all of them in {lost} cell{'s' if lost > 1 else ''})"
    note += f". {marks}: 95 % bootstrap intervals of the mean over networks"
    note += " (none where n = 1)." if drawn[0] == 1 else "."
    note += "" if diverged else f" None of the {total} networks diverged." if total > 1 else ""
    fixed = ", ".join(f"{label_of(name)} {value}" for name, value in constants(networks).items())
    return f"{note} Throughout: {fixed}." if fixed else note
