"""The figure of stability: barriers between twins against the step from which they see different data orders."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from isthmus.figures.axes import plain
from isthmus.figures.means import Means, draw_means
from isthmus.figures.stable import mark_stable
from isthmus.tables.descriptions import Lines


def draw_stability(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Barriers between twins against the step, on a log axis that has a place for step 0, with a line at 0.02."""
    return draw_means(study, tables, lines, _finish)


def _finish(made: Means) -> None:
    mark_stable(made, "stability_error")
    steps = sorted({int(step) for step in made.rows["x"].dropna()})
    later = [step for step in steps if step > 0]
    if not later:
        return
    for _, stack in made.placed:
        for axes in stack:
            axes.set_xscale("symlog", linthresh=later[0], linscale=0.5)
            axes.set_xlim(-0.2 * later[0] if steps[0] == 0 else later[0] / 1.25, 1.25 * later[-1])
            axes.xaxis.set_major_locator(FixedLocator(steps))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
