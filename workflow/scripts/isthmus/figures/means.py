"""Figures of the common kind: means of quantities against an axis, a line for each value of another, with intervals.

What such a figure shows is described with its stage (`isthmus.tables.descriptions.Lines`). The means come from the
table `summaries`; the networks or pairs behind them, drawn as dots, from the table of the quantity. A quantity that
varies by factors has a log axis, on which a value that is not positive has no place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from isthmus.figures.axes import decade_axis, log_axis, percent, percent_axis, zero_axis
from isthmus.figures.looks import KINDS, Look, key_of, keys_of, words_of
from isthmus.figures.marks import draw_band, draw_bars, draw_dots, draw_each, draw_level, draw_line, why_empty
from isthmus.figures.notes import note_under
from isthmus.figures.panels import Panel, lay_out, nothing, panels_of, rows_of, say
from isthmus.figures.shown import (
    LOG_AXES,
    against_what_varies,
    apart,
    dots_behind,
    few,
    looks_of_lines,
    one_by_one,
    panel_axes,
    positions,
    shared,
    split,
    x_quantity,
)
from isthmus.figures.style import finish, label_of, loss_unit, paper
from isthmus.tables.descriptions import Lines
from isthmus.tables.quantities import Quantity, named

LONGEST_BAR = 3.0  # times the mean, or a part of it: the axis cuts off longer bars and wider bands
LABEL_LETTERS = 20  # in a line of a label beside a panel


@dataclass
class Means:
    """A figure of means: what is drawn where, for what a figure adds of its own.

    shown: what each row of axes shows. rows: the rows of `summaries` that are drawn, with the name of what their axes
    show, `axes`, their position before lines are set apart, `x`, and as drawn, `at`. dots: the networks or pairs behind
    them, with their `value`, `x` and `at`. looks: those of the lines. placed: panels with their axes, one for each of
    `shown`.
    """

    study: str
    tables: dict[str, pd.DataFrame]
    lines: Lines
    shown: list[Quantity]
    rows: pd.DataFrame
    dots: pd.DataFrame
    looks: dict[Any, Look]
    figure: Figure
    placed: list[tuple[Panel, list[Axes]]]
    keys: list[Line2D]
    notes: list[str]

    def finish(self) -> Figure:
        """The figure with its legend and its note."""
        notes = [*self.notes, self._cut_off()]
        return finish(self.figure, self.keys, note_under(self.tables, self.study, self.rows, self.lines, notes))

    def _cut_off(self) -> str:
        """A sentence if an axis cuts off bars or bands."""
        for panel, stack in self.placed:
            for axes, quantity in zip(stack, self.shown, strict=True):
                rows, (bottom, top) = self.of(panel, quantity)[0], axes.get_ylim()
                if ((rows["low"] < bottom) | (rows["high"] > top)).any():
                    return f"{'Bands' if self.lines.bands else 'Bars'} that end at the edge of a panel go on beyond it."
        return ""

    def of(self, panel: Panel, quantity: Quantity) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The rows and the dots of a quantity in a panel, in the order of lines."""
        rows = panel.rows[panel.rows["axes"] == quantity.name].sort_values("order", kind="stable")
        dots = self.dots[(self.dots["axes"] == quantity.name) & self.dots["cell"].isin(rows["cell"])]
        for column in self.lines.panels:
            dots = dots[dots[column].isin(rows[column])]
        return rows, dots


@paper()
def draw_means(
    study: str,
    tables: dict[str, pd.DataFrame],
    lines: Lines,
    add: Callable[[Means], None] = lambda _: None,
    **layout: Any,
) -> Figure:
    """A figure of means as `lines` describe it. Raises DataError where the study has no summary at all.

    tables: `summaries`, `cells`, `networks` and the tables of the quantities. add: draws what else the figure shows.
    layout: options of `lay_out`.
    """
    rows = rows_of(study, tables, "summaries")
    own = rows[rows["quantity"].isin(lines.rows)]
    own = own[own[lines.panels[0]] != lines.shared] if lines.shared and not own.empty else own
    if own.empty and rows_of(study, tables, "networks")["diverged"].all():
        return nothing("All networks diverged.")
    if own.empty or (lines.absent and not own[["n", "diverged", "not_positive"]].any(axis=None)):
        return nothing(lines.absent or "Nothing to draw: nothing was measured.")
    made = means(study, tables, lines, **layout)
    add(made)
    return made.finish()


def means(study: str, tables: dict[str, pd.DataFrame], lines: Lines, **layout: Any) -> Means:
    """The same without legend and note; to be called within `isthmus.figures.style.paper`."""
    rows = rows_of(study, tables, "summaries")
    lines = against_what_varies(lines, rows[rows["quantity"].isin(lines.rows)])
    rows, every = split(positions(rows, lines), lines)
    known = set(rows.loc[(rows["n"] > 0) | (rows["not_positive"] > 0), "axes"])
    shown = [quantity for quantity in every if quantity.name in known] or every
    names = [quantity.name.split()[0] for quantity in shown]  # less the value of a quantity that is split
    without = [named(name).label for name in lines.rows if name not in names]
    rows, chosen = few(rows[rows["axes"].isin([quantity.name for quantity in shown])], lines, **layout)
    rows = apart(rows, lines)
    dots = pd.concat([dots_behind(study, tables, quantity, rows, lines) for quantity in shown], ignore_index=True)
    rows = shared(rows, lines)
    looks = looks_of_lines(tables, rows, lines)
    rows = rows[rows[lines.hue].isin([*looks, lines.level]) | rows[lines.hue].isna()].reset_index(drop=True)
    blocks = panels_of(rows, panel_axes(lines))
    labels = [_label(quantity, tables, study) for quantity in shown]
    quantity = x_quantity(lines)
    x_label = _with_unit(quantity.label, _unit(quantity, tables, study)) if quantity else label_of(lines.x)
    figure, placed = lay_out(blocks, labels, x_label, **layout)
    for above, below in pairwise(range(len(shown))):  # values of one quantity share a scale, unless it is logarithmic
        if names[above] == names[below] and not shown[below].log:
            placed[0][1][below].sharey(placed[0][1][above])
    keys = keys_of(lines.hue, looks, marker=not lines.bands)
    keys += [key_of(words_of(lines.level), KINDS[lines.level], marker=False, band=True)] if lines.level else []
    left = f"Not measured: {', '.join(without)}." if known and without else ""
    made = Means(study, tables, lines, shown, rows, dots, looks, figure, placed, keys, [chosen, left])
    for place, quantity in enumerate(shown):
        _draw_row(made, place, quantity)
    return made


def _with_unit(label: str, unit: str) -> str:
    return f"{label} ({unit})" if unit else label


def _unit(quantity: Quantity, tables: dict[str, pd.DataFrame], study: str) -> str:
    """The unit of a quantity; where it is that of the loss, the one that the study's loss has."""
    return loss_unit(rows_of(study, tables, "networks")["loss"]) if quantity.unit == "loss" else quantity.unit


def _label(quantity: Quantity, tables: dict[str, pd.DataFrame], study: str) -> str:
    """The label of an axis of values, with its unit."""
    unit = _unit(quantity, tables, study)
    label = _with_unit(quantity.label, unit)
    parts = [label] if len(label) <= LABEL_LETTERS or len(unit) < 4 else [quantity.label, f"({unit})"]
    return "\n".join("\n".join(wrap(part, LABEL_LETTERS)) for part in parts)


def _draw_row(made: Means, place: int, quantity: Quantity) -> None:
    """Draw one quantity into its row of axes, and set their scales and limits."""
    lines, every = made.lines, made.rows[made.rows["axes"] == quantity.name]
    for panel, stack in made.placed:
        axes, (rows, dots) = stack[place], made.of(panel, quantity)
        axes.autoscale(not (quantity.log or lines.zero))
        _draw_panel(made, axes, rows, dots, quantity)
        if not rows["n"].any():
            say(axes, why_empty(rows))
        _x_axis(axes, lines, made.rows["at" if x_quantity(lines) else "x"].dropna())
    if every["n"].any():
        _y_axis(made.placed[0][1][place], lines, quantity, extent(made, quantity))
    else:
        made.placed[0][1][place].set_yticks([])


def _x_axis(axes: Axes, lines: Lines, at: pd.Series) -> None:
    """Scale, limits and ticks of a horizontal axis with values at `at`."""
    quantity = x_quantity(lines)
    if at.empty:
        return
    if quantity:
        (percent_axis if quantity.unit == "%" else decade_axis)(axes.xaxis, at)
    elif lines.x in LOG_AXES:
        log_axis(axes.xaxis, at)
    elif lines.x == "t":
        axes.set(xlim=(0, 1), xticks=[0, 0.5, 1])
    else:
        margin = 0.0 if lines.bands else 0.5
        axes.set_xlim(at.min() - margin, max(at.max(), 1e-9) + margin)
        if (at == at.round()).all():
            most = 6 if at.max() < 100 else 4  # a number chosen by the layout might change the layout
            axes.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=True))


def _y_axis(axes: Axes, lines: Lines, quantity: Quantity, drawn: list[float]) -> None:
    """Scale and limits of an axis of values that has to show what is `drawn`."""
    if lines.zero:
        zero_axis(axes, drawn, written=percent if quantity.unit == "%" else None)
    elif quantity.log:
        decade_axis(axes.yaxis, drawn, most=4)
    elif quantity.limits[0] in (0.0, 1.0) and lines.bands:
        axes.set_ylim(quantity.limits[0], quantity.limits[0] + 1.05 * max(max(drawn) - quantity.limits[0], 1e-3))


def _draw_panel(made: Means, axes: Axes, rows: pd.DataFrame, dots: pd.DataFrame, quantity: Quantity) -> None:
    """Draw the lines of one panel, with what lies behind them."""
    lines = made.lines
    few_of_them = one_by_one(rows).all()
    if lines.level:
        draw_level(axes, rows[rows[lines.hue] == lines.level], KINDS[lines.level], gid=f"{quantity.name} {lines.level}")
    for value, look in made.looks.items():
        own, each = (part[part[lines.hue] == value] for part in (rows, dots))
        if not lines.bands:
            draw_dots(axes, each, look)
            draw_bars(axes, own, look)
        elif few_of_them:
            draw_each(axes, each, look)
        else:
            draw_band(axes, own, look)
            own = own.assign(value=own["value"].mask(own["missing"] > 0)) if quantity.of_pairs else own
        draw_line(axes, own, look, gid=f"{quantity.name} {lines.hue}={value}", marker=not lines.bands)


def extent(made: Means, quantity: Quantity) -> list[float]:
    """What an axis has to show: all dots, and the intervals as far as they are not very long."""
    rows, dots = (part[part["axes"] == quantity.name] for part in (made.rows, made.dots))
    low, high, mean = (rows[name].astype(float) for name in ("low", "high", "value"))
    if quantity.log:
        low, high = np.fmax(low, mean / LONGEST_BAR), np.fmin(high, mean * LONGEST_BAR)
    networks = [] if made.lines.bands else dots["value"].dropna()
    return [*networks, *mean.dropna(), *low.dropna(), *high.dropna()]
