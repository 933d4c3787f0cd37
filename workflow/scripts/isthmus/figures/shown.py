"""What a figure of means shows: which rows of `summaries`, at which positions, with which networks behind them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from isthmus.figures.axes import plain
from isthmus.figures.looks import Look, looks_in, looks_of, words_of
from isthmus.figures.panels import MOST_COLUMNS, PAGE, PANEL_HEIGHT, choose, evenly, fewer_panels, rows_of
from isthmus.figures.style import label_of
from isthmus.recipes.cells import AXES
from isthmus.statistics.values import values
from isthmus.tables.descriptions import Lines
from isthmus.tables.quantities import Quantity, named, quantities

MOST_LINES, MOST_DEPTHS = 6, 4  # in a panel
MOST_AXES = 8  # below each other, as far as the values of a column have axes of their own
NO_BREAK = "\xa0"  # a space at which labels are not broken
STATES = {False: "initialization", True: "end of training"}
MOST_WIDTHS = 4  # side by side
LOG_AXES = ("width", "batch_size")
FEW_NETWORKS, FEW_PAIRS = 2, 3  # whose interval is so wide that its band would cover the panel


def against_what_varies(lines: Lines, rows: pd.DataFrame) -> Lines:
    """The same lines, against an axis that varies if the one that they should be drawn against has a single value."""
    varying = [axis for axis in AXES if rows[axis].nunique() > 1]
    if lines.x not in AXES or lines.x in varying:
        return lines
    x = varying[0] if varying else "width"
    return replace(lines, x=x, hue=lines.hue if lines.hue != x else "depth" if x == "width" else "width")


def one_by_one(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Behind which means there are too few networks or pairs for a band, so that each is a thin line instead."""
    of_pairs = rows["pairs"].notna()
    return rows["pairs"].fillna(rows["n"]).le(of_pairs.map({True: FEW_PAIRS, False: FEW_NETWORKS})) | rows["low"].isna()


def x_quantity(lines: Lines) -> Quantity | None:
    """The quantity whose mean is the position; None for a column."""
    return next((quantity for quantity in quantities() if quantity.name == lines.x), None)


def positions(rows: pd.DataFrame, lines: Lines) -> pd.DataFrame:
    """The rows of `summaries` with their position, `x`, and their place in the `order` of a line.

    Where all networks diverged a quantity has no mean, but the order says where the line is broken.
    """
    quantity = x_quantity(lines)
    if quantity is None:
        return rows.assign(x=rows[lines.x], order=rows[lines.x])
    keys = ["cell", *quantity.by]
    means = rows[rows["quantity"] == quantity.name].drop_duplicates(keys).rename(columns={"value": "x"})
    found = rows.merge(means[[*keys, "x"]], on=keys, how="left", validate="m:1")
    return found.assign(order=found[quantity.by[-1] if quantity.by else "width"])


def drawn_axes(lines: Lines) -> set[str]:
    """The axes of the grid that need no panels; a quantity of whole networks, such as parameters, is like the width."""
    quantity = x_quantity(lines)
    return {lines.x, lines.hue} | ({"width"} if quantity and not quantity.by else set())


def panel_axes(lines: Lines) -> list[str]:
    """The columns that have panels of their own: those described, and every common axis that is not drawn."""
    return [*(axis for axis in ("depth", "batch_size", "width") if axis not in drawn_axes(lines)), *lines.panels]


def few(rows: pd.DataFrame, lines: Lines, **layout: Any) -> tuple[pd.DataFrame, str]:
    """The rows of as many cells and lines as fit a page with this `layout`, and the sentences that say which."""
    rows, cells = choose(rows, _most(rows, lines, **layout))
    if lines.hue in AXES or rows[lines.hue].nunique() <= MOST_LINES:
        return rows, cells
    every = sorted(rows[lines.hue].dropna().unique())
    kept = evenly(every, MOST_LINES)
    listed = ", ".join(words_of(value) if isinstance(value, str) else f"{value:.12g}" for value in kept)
    fewer = f"Shown: {label_of(lines.hue)} {listed} ({len(kept)} of {len(every)})."
    return rows[rows[lines.hue].isin(kept)].reset_index(drop=True), f"{cells} {fewer}".strip()


def _most(
    rows: pd.DataFrame, lines: Lines, *, panel_height: float = PANEL_HEIGHT, columns: int = MOST_COLUMNS
) -> dict[str, int]:
    """How many values of each axis to keep, so that the figure fits a page."""
    panels = columns * max(1, min(3, int(PAGE / (panel_height * rows["axes"].nunique() + 0.4))))
    for column in lines.panels:
        panels //= max(1, len({*rows[column].dropna()} - {lines.shared}))
    together = [axis for axis in (lines.x, lines.hue) if axis in AXES and axis != "width"]
    most = fewer_panels(rows, panels, None if "width" in drawn_axes(lines) else MOST_WIDTHS, together=together)
    return most | ({lines.hue: MOST_DEPTHS if lines.hue == "depth" else MOST_LINES} if lines.hue in AXES else {})


def apart(rows: pd.DataFrame, lines: Lines) -> pd.DataFrame:
    """The rows with the positions at which they are drawn, `at`: lines that share positions stand slightly apart."""
    names, log = list(looks_of(lines.hue, sorted(set(rows[lines.hue].dropna()) - {lines.level}))), is_log(lines)
    by_line = rows.dropna(subset="x").groupby(["cell", lines.hue], observed=True)["x"].unique()
    several = rows.dropna(subset="x").groupby("x")[lines.hue].nunique() > 1
    if lines.bands or len(names) < 2 or not several.any():
        return rows.assign(at=rows["x"])
    every = np.unique(rows["x"].dropna()) if x_quantity(lines) is None else None
    lines_at = [every] if every is not None else [np.sort(found) for found in by_line]
    gaps = [np.diff(np.log(found) if log else found) for found in lines_at]
    gap = min(np.concatenate([each[each > 0] for each in gaps]), default=0.7)
    # The margins of the axis do not grow with the gap, and positions that are means themselves stay about true.
    step = min(0.4 / len(names), 0.13) * min(gap, 0.3 if every is None else 0.7 if log else 1.0)
    shift = rows[lines.hue].map({name: step * (i - (len(names) - 1) / 2) for i, name in enumerate(names)}).fillna(0.0)
    return rows.assign(at=rows["x"] * np.exp(shift) if log else rows["x"] + shift)


def is_log(lines: Lines) -> bool:
    """Whether the horizontal axis is logarithmic: widths, batch sizes, and whatever is a quantity."""
    return lines.x in LOG_AXES or x_quantity(lines) is not None


def dots_behind(
    study: str, tables: dict[str, pd.DataFrame], quantity: Quantity, rows: pd.DataFrame, lines: Lines
) -> pd.DataFrame:
    """The networks or pairs behind the rows of one quantity, with the columns of these."""
    own = rows[rows["axes"] == quantity.name]
    if not lines.dots:
        return own.iloc[:0]
    found = values(quantity, rows_of(study, tables, quantity.table), rows_of(study, tables, quantity.networks))
    keys = ["cell", *quantity.by]
    dots = found.merge(own.drop(columns=["value", "low", "high"]), on=keys, how="inner", validate="m:1")
    return dots[dots["value"] > 0] if quantity.log else dots[dots["value"].notna()]


def shared(rows: pd.DataFrame, lines: Lines) -> pd.DataFrame:
    """The rows, those of the value of `panels` that all panels share copied to each."""
    if not lines.shared:
        return rows
    (column,) = lines.panels
    common = rows[column] == lines.shared
    copies = [rows[common].assign(**{column: value}) for value in rows.loc[~common, column].dropna().unique()]
    return pd.concat([rows[~common], *copies], ignore_index=True)


def looks_of_lines(tables: dict[str, pd.DataFrame], rows: pd.DataFrame, lines: Lines) -> dict[Any, Look]:
    """The look of each line; kinds that no network has a value of have none."""
    some = rows[rows["n"] > 0] if lines.hue not in AXES and rows["n"].any() else rows
    return looks_in(tables, lines.hue, set(some[lines.hue].dropna()) - {lines.level})


def split(rows: pd.DataFrame, lines: Lines) -> tuple[pd.DataFrame, list[Quantity]]:
    """The rows with the name of what is drawn into the same row of axes, `axes`, and what that is, from the top.

    It is a quantity, or of one that has the column `split` a value of that column, with its name and label.
    """
    parts, found = [], []
    for quantity in (named(name) for name in lines.rows if name in set(rows["quantity"])):
        own = rows[rows["quantity"] == quantity.name]
        every = sorted(own[lines.split].dropna().unique()) if lines.split in quantity.by else []
        for value in evenly(every, max(MOST_AXES // len(lines.rows), 1)):
            is_state = isinstance(value, bool | np.bool_)
            words = STATES[bool(value)] if is_state else f"{label_of(lines.split)} {plain(value)}"
            label = f"{quantity.label}, {words.replace(' ', NO_BREAK)}"
            one = replace(quantity, name=f"{quantity.name} {lines.split}={value}", label=label)
            mine = own[own[lines.split] == value]
            # A cell in which all networks diverged may have a single row, which breaks all lines.
            lost = own[(own["n"] == 0) & ~own["cell"].isin(mine["cell"])].drop_duplicates("cell")
            parts.append(pd.concat([mine, lost]).assign(axes=one.name))
            found.append(one)
        if not every:
            parts.append(own.assign(axes=quantity.name))
            found.append(quantity)
    return pd.concat(parts, ignore_index=True), found
