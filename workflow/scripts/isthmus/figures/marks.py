"""Marks: means joined by lines, their intervals as bars or bands, networks as dots or thin lines, and levels.

All take rows with a position `at`, a `value`, and for means its interval, `low` and `high`.
"""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from isthmus.figures.looks import Look
from isthmus.statistics.values import members

FAR = 100.0  # times the greatest value: where a bar without an upper end is cut off


def draw_line(axes: Axes, rows: pd.DataFrame, look: Look, *, gid: str, marker: bool = True) -> None:
    """Join means, in the order of the rows; a position without a network left breaks the line, called `gid`."""
    before = len(axes.lines)
    drawn = rows.assign(segment=rows["value"].isna().cumsum()).dropna(subset=["value", "at"])
    if drawn.empty:
        return
    sns.lineplot(
        drawn,
        x="at",
        y="value",
        units="segment",
        estimator=None,
        sort=False,
        color=look.colour,
        marker=look.marker if marker else "",
        linestyle=look.line,
        markerfacecolor=look.face,
        markeredgecolor=look.colour,
        markeredgewidth=0.6,
        zorder=4,
        legend=False,
        ax=axes,
    )
    for line in axes.lines[before:]:
        line.set_gid(gid)


def draw_bars(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw the intervals of means as bars; one without an upper end leaves the panel."""
    open_above = rows["low"].notna() & rows["high"].isna()
    high = rows["high"].astype(float).mask(open_above, FAR * max(rows["value"].max(), 1.0))
    axes.vlines(rows["at"], rows["low"], high, color=look.colour, linewidth=0.8, alpha=0.8, zorder=3)


def draw_band(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw the intervals of means as a band."""
    axes.fill_between(rows["at"], rows["low"], rows["high"], color=look.colour, alpha=0.18, linewidth=0, zorder=2)


def draw_each(axes: Axes, dots: pd.DataFrame, look: Look) -> None:
    """Draw every network or pair as a thin line."""
    if not dots.empty:
        one = dots[members(dots)].astype(str).agg(" ".join, axis=1)
        thin = {"color": look.colour, "linewidth": 0.4, "alpha": 0.6, "zorder": 2, "legend": False}
        sns.lineplot(dots.assign(one=one), x="at", y="value", units="one", estimator=None, **thin, ax=axes)


def draw_dots(axes: Axes, dots: pd.DataFrame, looks: dict[Any, Look], hue: str) -> None:
    """Draw every network or pair as a faint small marker, of the look of its value in the column `hue`."""
    if not dots.empty:
        colours = {value: look.colour for value, look in looks.items()}
        markers = {value: look.marker for value, look in looks.items()}
        told = {"hue": hue, "hue_order": list(looks), "palette": colours, "style": hue, "markers": markers}
        faint = {"s": 6, "alpha": 0.35, "linewidth": 0, "zorder": 2, "legend": False}
        sns.scatterplot(dots, x="at", y="value", **told, **faint, ax=axes)


def draw_hollow(axes: Axes, rows: pd.DataFrame, look: Look, *, small: bool = False) -> None:
    """Draw hollow markers over those of networks, which are small, or of means."""
    size, width, order = (2.4, 0.5, 2.5) if small else (3.2, 0.6, 5)
    hollow: dict[str, Any] = {
        "color": look.colour,
        "markerfacecolor": "white",
        "markersize": size,
        "markeredgewidth": width,
    }
    axes.plot(rows["at"], rows["value"], look.marker, linestyle="none", **hollow, zorder=order, gid="hollow")


def draw_level(axes: Axes, rows: pd.DataFrame, look: Look, *, gid: str) -> None:
    """Draw means, and the bands of their intervals, through the whole panel."""
    for each in rows.dropna(subset="value").itertuples():
        if np.isfinite([each.low, each.high]).all():
            axes.axhspan(each.low, each.high, color=look.colour, alpha=0.22, linewidth=0, gid=f"{gid} band", zorder=0)
        axes.axhline(each.value, color=look.colour, linewidth=1.0, gid=gid, zorder=1)


def why_empty(rows: pd.DataFrame) -> str:
    """Why a panel with these rows of `summaries` shows no mean."""
    if rows.empty or not rows[["diverged", "missing", "not_positive"]].any(axis=None):
        return "not measured"
    if not rows[["missing", "not_positive"]].any(axis=None):
        return "all diverged"
    return "none positive" if rows["not_positive"].any() else "not measured"
