"""Marks: means joined by lines, their intervals as bars or bands, networks as dots or thin lines, and levels.

All take rows with a position `at`, a `value`, and for means its interval, `low` and `high`.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from isthmus.figures.looks import Look
from isthmus.statistics.values import members

FAR = 100.0  # times the greatest value: where a bar without an upper end is cut off


def draw_line(axes: Axes, rows: pd.DataFrame, look: Look, *, gid: str, marker: bool = True) -> None:
    """Join means, in the order of the rows; a position without a network left breaks the line, called `gid`."""
    if rows["value"].isna().all():
        return
    (line,) = axes.plot(rows["at"], rows["value"], color=look.colour, linestyle=look.line, gid=gid, zorder=4)
    line.set(marker=look.marker if marker else "none", markerfacecolor=look.face, markeredgewidth=0.6)


def draw_bars(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw the intervals of means as bars; one without an upper end leaves the panel."""
    open_above = rows["low"].notna() & rows["high"].isna()
    high = rows["high"].astype(float).mask(open_above, FAR * max(rows["value"].max(), 1.0))
    axes.vlines(rows["at"], rows["low"], high, color=look.colour, linewidth=0.8, alpha=0.8, zorder=3)


def draw_band(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw the intervals of means as a band; one that has no neighbour, and so no area there, as a bar."""
    axes.fill_between(rows["at"], rows["low"], rows["high"], color=look.colour, alpha=0.18, linewidth=0, zorder=2)
    known = rows["low"].notna() & rows["high"].notna()
    alone = known & ~known.shift(1, fill_value=False) & ~known.shift(-1, fill_value=False)
    if alone.any():
        draw_bars(axes, rows[alone], look)


def draw_each(axes: Axes, dots: pd.DataFrame, look: Look) -> None:
    """Draw every network or pair as a thin line."""
    for _, own in dots.sort_values("at").groupby(members(dots), observed=True):
        axes.plot(own["at"], own["value"], color=look.colour, linewidth=0.4, alpha=0.6, zorder=2)


def draw_dots(axes: Axes, dots: pd.DataFrame, look: Look) -> None:
    """Draw every network or pair as a faint small marker."""
    faint: dict[str, Any] = {"s": 6, "alpha": 0.35, "linewidth": 0, "zorder": 2}
    axes.scatter(dots["at"], dots["value"], marker=look.marker, color=look.colour, **faint)


def draw_markers(axes: Axes, x: Any, y: Any, look: Look, size: float = 3.2, **style: Any) -> None:
    """Draw markers of some size, in points, at positions; `style` is as in `Axes.plot`."""
    style = {"markeredgewidth": 0.6, "zorder": 4} | style
    axes.plot(x, y, look.marker, color=look.colour, markerfacecolor=look.face, markersize=size, **style)


def draw_hollow(axes: Axes, rows: pd.DataFrame, look: Look, *, small: bool = False) -> None:
    """Draw hollow markers over those of networks, which are small, or of means."""
    size, order = (2.4, 2.5) if small else (3.2, 5)
    draw_markers(axes, rows["at"], rows["value"], replace(look, hollow=True), size, zorder=order, gid="hollow")


def draw_level(axes: Axes, rows: pd.DataFrame, look: Look, *, gid: str) -> None:
    """Draw means, and the bands of their intervals, through the whole panel."""
    for each in rows.dropna(subset="value").itertuples():
        if np.isfinite([each.low, each.high]).all():
            axes.axhspan(each.low, each.high, color=look.colour, alpha=0.22, linewidth=0, gid=f"{gid} band", zorder=0)
        axes.axhline(each.value, color=look.colour, linewidth=1.0, gid=gid, zorder=1)


def why_empty(rows: pd.DataFrame) -> str:
    """Why a panel with these rows of `summaries` shows no mean."""
    if rows["not_positive"].any():
        return "none positive"
    return "all diverged" if rows["diverged"].any() and not rows["missing"].any() else "not measured"
