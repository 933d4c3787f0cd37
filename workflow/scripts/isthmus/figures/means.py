"""Figures of the common kind: means of quantities against an axis, a line for each value of another, with intervals.

What such a figure shows is described with its stage (`isthmus.tables.descriptions.Lines`). The means come from the
table `summaries`; the networks or pairs behind them, drawn as dots, from the table of the quantity. A quantity that
varies by factors has a log axis, on which a value that is not positive has no place.
"""

from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.axes import decade_axis, log_axis, zero_axis
from isthmus.figures.looks import Look, keys_of, looks_of, values_in
from isthmus.figures.notes import note_under
from isthmus.figures.panels import Panel, choose, fewer_panels, lay_out, panels_of, room_for_text, rows_of, say
from isthmus.figures.style import footnote, label_of, legend_above, paper
from isthmus.recipes.cells import AXES
from isthmus.statistics.values import members, values
from isthmus.tables.descriptions import Lines
from isthmus.tables.quantities import Quantity, named

LONGEST_BAR = 3.0  # times the mean, or a part of it: the axis cuts off longer bars and wider bands
FEW_NETWORKS, FEW_PAIRS = 2, 3  # that are drawn one by one in place of a band, which would cover the panel
MOST_LINES = 6  # in a panel
MOST_WIDTHS = 4  # side by side
PAGE = 9.0  # inches
LABEL_LETTERS = 22  # in a line of a label beside a panel
LOG_AXES = ("width", "batch_size")
LOSS = {"cross_entropy": "nats", "squared_error": "mean squared error"}


@dataclass
class Means:
    """A figure of means: what is drawn where, for what a figure adds of its own.

    rows: the rows of `summaries` that are shown, with their position `at`. dots: the networks or pairs behind them,
    with their `value` and `at`. looks: those of the lines. placed: panels with their axes, one for each of `shown`.
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
        legend_above(self.figure, self.keys)
        footnote(self.figure, note_under(self.tables, self.study, self.rows, self.lines, self.notes))
        return self.figure


def draw_means(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """A figure of means as `lines` describe it. Raises DataError where the study has no summary of its quantities.

    tables: `summaries`, `cells`, `networks` and the tables of the quantities.
    """
    with paper():
        return means(study, tables, lines).finish()


def means(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Means:
    """The same without legend and note; to be called within `isthmus.figures.style.paper`."""
    rows = rows_of(study, tables, "summaries")
    lines = _against_what_varies(lines, rows[rows["quantity"].isin(lines.rows)])
    rows = rows[rows["quantity"].isin(lines.rows)].assign(at=rows[lines.x])
    known = set(rows.loc[(rows["n"] > 0) | (rows["not_positive"] > 0), "quantity"])
    shown = [named(name) for name in lines.rows if name in known]
    without = [named(name).label for name in lines.rows if name not in known]
    shown = shown or [named(name) for name in lines.rows]
    rows, chosen = choose(rows[rows["quantity"].isin([quantity.name for quantity in shown])], _most(rows, lines))
    dots = pd.concat([_dots(study, tables, quantity, rows) for quantity in shown], ignore_index=True)
    present = sorted(rows[lines.hue].dropna().unique(), key=str if rows[lines.hue].dtype == object else None)
    every = values_in({"summaries": tables["summaries"]}, lines.hue) if lines.hue in AXES else present
    looks = {value: look for value, look in looks_of(lines.hue, every).items() if value in present}
    blocks = panels_of(rows, _panel_axes(lines))
    figure, placed = lay_out(
        blocks, [_label(each, tables, study) for each in shown], _x_label(lines), above=room_for_text(blocks)
    )
    keys = keys_of(lines.hue, looks, marker=not lines.bands)
    left = f"Not measured: {', '.join(without)}." if without and len(without) < len(lines.rows) else ""
    made = Means(study, tables, lines, shown, rows, dots, looks, figure, placed, keys, [chosen, left])
    for place, quantity in enumerate(shown):
        _draw_row(made, place, quantity)
    return made


def _against_what_varies(lines: Lines, rows: pd.DataFrame) -> Lines:
    """The same lines, against the width if the axis that they should be drawn against has a single value."""
    single = lines.x in AXES and lines.x != "width" and rows[lines.x].nunique() == 1
    return replace(lines, x="width", hue="depth") if single else lines


def _panel_axes(lines: Lines) -> list[str]:
    """The columns that have panels of their own: those described, and every common axis that is not drawn."""
    return [*(axis for axis in ("depth", "batch_size", "width") if axis not in (lines.x, lines.hue)), *lines.panels]


def _most(rows: pd.DataFrame, lines: Lines) -> dict[str, int]:
    """How many values of each axis to keep, so that the figure fits a page."""
    panels = 4 * max(1, min(3, int(PAGE / (1.45 * len(lines.rows) + 0.4))))
    together = [axis for axis in (lines.x, lines.hue) if axis in AXES]
    widths = None if "width" in together else MOST_WIDTHS
    most = fewer_panels(rows, panels, widths, together=[axis for axis in together if axis != "width"])
    return most | ({lines.hue: MOST_LINES} if lines.hue in AXES else {})


def _dots(study: str, tables: dict[str, pd.DataFrame], quantity: Quantity, rows: pd.DataFrame) -> pd.DataFrame:
    """The networks or pairs behind the rows of one quantity, with the columns of these."""
    found = values(quantity, rows_of(study, tables, quantity.table), rows_of(study, tables, "networks"))
    keys = ["cell", *quantity.by]
    own = rows[rows["quantity"] == quantity.name]
    dots = found.merge(own.drop(columns=["value", "low", "high"]), on=keys, how="inner", validate="m:1")
    return dots[dots["value"] > 0] if quantity.log else dots[dots["value"].notna()]


def _label(quantity: Quantity, tables: dict[str, pd.DataFrame], study: str) -> str:
    """The label of an axis of values, with its unit, in lines as long as a panel is high."""
    unit = quantity.unit
    if unit == "loss":
        kinds = sorted(set(rows_of(study, tables, "networks")["loss"]))
        unit = " or ".join(LOSS.get(kind, kind) for kind in kinds)
    label = f"{quantity.label} ({unit})" if unit else quantity.label
    parts = [label] if len(label) <= LABEL_LETTERS or not unit else [quantity.label, f"({unit})"]
    return "\n".join("\n".join(wrap(part, LABEL_LETTERS)) for part in parts)


def _x_label(lines: Lines) -> str:
    """The label of the horizontal axis."""
    return "position on the path, t" if lines.x == "t" else label_of(lines.x)


def _draw_row(made: Means, place: int, quantity: Quantity) -> None:
    """Draw one quantity into its row of axes, and set their scales and limits."""
    lines, rows = made.lines, made.rows[made.rows["quantity"] == quantity.name]
    dots = made.dots[made.dots["quantity"] == quantity.name]
    for panel, stack in made.placed:
        axes, own = stack[place], panel.rows[panel.rows["quantity"] == quantity.name]
        behind = dots[dots["cell"].isin(own["cell"])]
        for column in lines.panels:
            behind = behind[behind[column].isin(own[column])]
        axes.autoscale(not (quantity.log or lines.zero))
        _draw_panel(made, axes, own, behind, quantity)
        if not own["n"].any():
            say(axes, why_empty(own))
        _x_axis(axes, lines, rows["at"].dropna())
    first = made.placed[0][1][place]
    drawn = extent(rows, dots if not lines.bands else dots.iloc[:0], quantity.log)
    if not rows["n"].any():
        first.set_yticks([])
    elif lines.zero:
        zero_axis(first, drawn)
    elif quantity.log:
        decade_axis(first.yaxis, drawn)
    elif quantity.limits[0] in (0.0, 1.0) and lines.bands:
        first.set_ylim(quantity.limits[0], quantity.limits[0] + 1.05 * max(max(drawn) - quantity.limits[0], 1e-3))


def _x_axis(axes: Axes, lines: Lines, at: pd.Series) -> None:
    """Scale, limits and ticks of a horizontal axis with values at `at`."""
    if at.empty:
        return
    if lines.x in LOG_AXES:
        log_axis(axes.xaxis, at)
    elif lines.x == "t":
        axes.set(xlim=(0, 1), xticks=[0, 0.5, 1])
    else:
        margin = 0.0 if lines.bands else 0.5
        axes.set_xlim(at.min() - margin, max(at.max(), 1e-9) + margin)


def _draw_panel(made: Means, axes: Axes, rows: pd.DataFrame, dots: pd.DataFrame, quantity: Quantity) -> None:
    """Draw the lines of one panel, with what lies behind them."""
    lines, labels = made.lines, {"xlabel": axes.get_xlabel(), "ylabel": axes.get_ylabel()}
    rows = _apart(rows, made)
    if lines.bands:
        few = rows["pairs"].fillna(rows["n"]).max() <= (FEW_PAIRS if quantity.of_pairs else FEW_NETWORKS)
        if few or rows["low"].isna().all():
            draw_each(axes, dots, made.looks, lines)
        else:
            draw_bands(axes, rows, made.looks, lines)
        rows = rows.assign(value=rows["value"].mask(rows["missing"] > 0)) if quantity.of_pairs else rows
    else:
        draw_dots(axes, _apart(dots, made), made.looks, lines)
        draw_bars(axes, rows, made.looks, lines)
    draw_lines(axes, rows, made.looks, lines, gid=quantity.name)
    axes.set(**labels)  # seaborn writes the names of columns where there is no label


def _apart(rows: pd.DataFrame, made: Means) -> pd.DataFrame:
    """The rows, those of different lines moved slightly apart so that dots and bars stand side by side."""
    if made.lines.bands or rows.empty:
        return rows
    names, log = list(made.looks), made.lines.x in LOG_AXES
    positions = np.unique(made.rows["at"].dropna())
    gap = min(np.diff(np.log(positions) if log else positions), default=0.7)
    # A factor of 2 between positions at most: the margins of the axis do not grow with the gap.
    step = min(0.4 / max(len(names), 1), 0.13) * min(gap, 0.7 if log else 1.0)
    shift = rows[made.lines.hue].map({name: step * (i - (len(names) - 1) / 2) for i, name in enumerate(names)})
    return rows.assign(at=rows["at"] * np.exp(shift) if log else rows["at"] + shift)


def _styled(looks: dict[Any, Look], lines: Lines) -> dict[str, Any]:
    """How seaborn is told the looks of lines."""
    return {
        "hue": lines.hue,
        "hue_order": list(looks),
        "palette": {value: look.colour for value, look in looks.items()},
        "legend": False,
    }


def draw_lines(axes: Axes, rows: pd.DataFrame, looks: dict[Any, Look], lines: Lines, *, gid: str) -> None:
    """Join the means of each line; a position without a network left breaks it. Lines are called `gid hue=value`."""
    for value, look in looks.items():
        own = rows[rows[lines.hue] == value].sort_values("at")
        before, drawn = len(axes.lines), own.assign(segment=own["value"].isna().cumsum()).dropna(subset="value")
        if drawn.empty:
            continue
        sns.lineplot(
            drawn,
            x="at",
            y="value",
            units="segment",
            estimator=None,
            color=look.colour,
            marker="" if lines.bands else look.marker,
            linestyle=look.line,
            markeredgecolor=look.colour,
            markeredgewidth=0.6,
            zorder=4,
            legend=False,
            ax=axes,
        )
        for line in axes.lines[before:]:
            line.set_gid(f"{gid} {lines.hue}={value}")


def draw_bars(axes: Axes, rows: pd.DataFrame, looks: dict[Any, Look], lines: Lines) -> None:
    """Draw the intervals of means as bars."""
    for value, look in looks.items():
        own = rows[rows[lines.hue] == value]
        axes.vlines(own["at"], own["low"], own["high"], color=look.colour, linewidth=0.8, alpha=0.8, zorder=3)


def draw_bands(axes: Axes, rows: pd.DataFrame, looks: dict[Any, Look], lines: Lines) -> None:
    """Draw the intervals of means as bands."""
    for value, look in looks.items():
        own = rows[rows[lines.hue] == value].sort_values("at")
        axes.fill_between(own["at"], own["low"], own["high"], color=look.colour, alpha=0.18, linewidth=0, zorder=2)


def draw_each(axes: Axes, dots: pd.DataFrame, looks: dict[Any, Look], lines: Lines) -> None:
    """Draw every network or pair as a thin line."""
    if not dots.empty:
        one = dots[members(dots)].astype(str).agg(" ".join, axis=1)
        styled = _styled(looks, lines)
        sns.lineplot(
            dots.assign(one=one), x="at", y="value", units="one", estimator=None, **styled, linewidth=0.4, alpha=0.6,
            zorder=2, ax=axes,
        )  # fmt: skip


def draw_dots(axes: Axes, dots: pd.DataFrame, looks: dict[Any, Look], lines: Lines) -> None:
    """Draw every network or pair as a faint small marker."""
    if not dots.empty:
        markers = {value: look.marker for value, look in looks.items()}
        styled = _styled(looks, lines) | {"style": lines.hue, "markers": markers}
        sns.scatterplot(dots, x="at", y="value", **styled, s=6, alpha=0.35, linewidth=0, zorder=2, ax=axes)


def why_empty(rows: pd.DataFrame) -> str:
    """Why a panel with these rows of `summaries` shows no mean."""
    if rows.empty or not rows[["diverged", "missing", "not_positive"]].any(axis=None):
        return "not measured"
    if not rows[["missing", "not_positive"]].any(axis=None):
        return "all diverged"
    return "none positive" if rows["not_positive"].any() else "not measured"


def extent(rows: pd.DataFrame, dots: pd.DataFrame, log: bool) -> list[float]:
    """What an axis has to show: all dots, and the intervals as far as they are not very long."""
    low, high, mean = (rows[name].astype(float) for name in ("low", "high", "value"))
    if log:
        low, high = np.fmax(low, mean / LONGEST_BAR), np.fmin(high, mean * LONGEST_BAR)
    return [*dots["value"].dropna(), *mean.dropna(), *low.dropna(), *high.dropna()]
