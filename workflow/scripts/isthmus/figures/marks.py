"""Marks of figures with a layout of their own: means with intervals, networks as dots, and words in empty panels."""

from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from isthmus.figures.looks import GREY, Look


def draw_means(axes: Axes, x: Sequence[float], summary: pd.DataFrame, look: Look) -> Line2D:
    """Draw the means of `statistics.bootstrap.summarize` at `x`, joined by a line, with their intervals as bars.

    A group without a network left breaks the line. Returns the line of the means.
    """
    axes.vlines(x, summary["low"], summary["high"], color=look.colour, linewidth=0.8, alpha=0.8, zorder=3)
    (line,) = axes.plot(
        x, summary["mean"], color=look.colour, marker=look.marker, linestyle=look.line, zorder=4, markeredgewidth=0.6
    )
    return line


def draw_dots(axes: Axes, x: Iterable[float], y: Iterable[float], look: Look, *, hollow: bool = False) -> Line2D:
    """Draw individual networks as faint small markers, `hollow` or filled."""
    (dots,) = axes.plot(
        list(x),
        list(y),
        linestyle="none",
        marker=look.marker,
        markersize=2.4,
        markerfacecolor="none" if hollow else look.colour,
        markeredgecolor=look.colour,
        markeredgewidth=0.5 if hollow else 0.0,
        alpha=0.75 if hollow else 0.35,
        zorder=2,
    )
    return dots


def say_if_empty(axes: Axes, counts: Iterable[int]) -> None:
    """Write "all diverged" into a panel where none of the points or lines has a network left."""
    if not any(counts):
        axes.text(0.5, 0.5, "all diverged", transform=axes.transAxes, ha="center", va="center", color=GREY)
