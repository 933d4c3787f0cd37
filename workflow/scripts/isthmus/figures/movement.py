"""The figures of movement: how far networks go from their initialization, and how much their tangent kernel changes.

Quantities that vary by factors have a fitted power of the width for each depth and panel.
"""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from isthmus.figures.axes import headroom
from isthmus.figures.looks import Look, key_of
from isthmus.figures.means import Means, draw_means
from isthmus.statistics.power_law import PowerLaw, power_law
from isthmus.tables.descriptions import Lines

LAYOUT = {"panel_height": 1.8, "columns": 3}  # inches, and panels in a line: room for the slopes
SLOPE_LINE = 0.125  # inches from one slope to the next
AXES_SHARE = 0.8  # of the height of a panel, without labels and gaps
CANNOT_FIT = 0.05  # probability of the lack of fit below which the slopes are marked
LAZY = Look("#a8a8a8", "none", "-")


def draw_movement(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Distance of trained from initial weights, relative and absolute; a grey line is the -1/2 of the lazy limit."""
    return draw_means(study, tables, lines, partial(_add_slopes, lazy=True), **LAYOUT)


def draw_kernel_change(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Relative change of the tangent kernel, and its alignment with the labels before and after training."""
    return draw_means(study, tables, lines, _add_slopes, **LAYOUT)


def is_no_power(law: PowerLaw) -> bool:
    """Whether the means of the widths lie farther from a line than the networks' scatter explains."""
    return law.lack_of_fit is not None and law.lack_of_fit < CANNOT_FIT


def written(law: PowerLaw) -> str:
    """A slope and its interval, with a star where the widths do not lie on a line."""
    slope, low, high = (f"{round(value, 2) + 0.0:.2f}".replace("-", "−") for value in (law.slope, law.low, law.high))
    interval = f" [{low}, {high}]" if np.isfinite(law.low) else ""
    return f"{slope}{interval}{' *' if is_no_power(law) else ''}"


def _add_slopes(made: Means, *, lazy: bool = False) -> None:
    """Fit a power of the width to every line with a log axis, and write it above; draw the `lazy` limit on top."""
    found: list[PowerLaw] = []
    for place, quantity in enumerate(made.shown):
        if not quantity.log:
            continue
        panels = []
        for panel, stack in made.placed:
            dots = made.of(panel, quantity)[1]
            own = {depth: dots[dots["depth"] == depth] for depth in made.looks}
            laws = {
                depth: power_law(rows["width"], rows["value"])
                for depth, rows in own.items()
                if rows["width"].nunique() > 1
            }
            panels.append((stack[place], laws))
            if lazy and place == 0 and dots["width"].nunique() > 1:
                _draw_lazy(stack[place], dots)
        if most := max(len(laws) for _, laws in panels):
            headroom(made.placed[0][1][place], (most * SLOPE_LINE + 0.04) / (AXES_SHARE * LAYOUT["panel_height"]))
        for axes, laws in panels:
            for line, (depth, law) in enumerate(laws.items()):
                _write_slope(axes, line, law, made.looks[depth])
            found += laws.values()
    made.keys += [key_of("width$^{-1/2}$", LAZY)] if lazy and found else []
    star = " *: no power law, as the widths' means lie farther from a line than networks scatter (p < 0.05)."
    made.notes.append(
        f"Numbers: fitted power of the width and its 95 % interval.{star if any(map(is_no_power, found)) else ''}"
        if found
        else "No power of the width is fitted: this needs networks of two widths."
    )


def _write_slope(axes: Axes, place: int, law: PowerLaw, look: Look) -> None:
    """One slope, the line number `place` from the top of a panel, with the marker and in the colour of `look`."""
    corner = axes.transAxes + ScaledTranslation(0.06, -SLOPE_LINE * (place + 0.5), axes.figure.dpi_scale_trans)
    axes.plot([0], [1], look.marker, color=look.colour, transform=corner, clip_on=False)
    words = axes.annotate(written(law), (0, 1), xycoords=corner, xytext=(6, 0), textcoords="offset points")
    words.set(color=look.colour, va="center_baseline", gid="slope", zorder=5)
    words.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.3})  # over very long bars


def _draw_lazy(axes: Axes, dots: pd.DataFrame) -> None:
    """A line that falls as width^-1/2 through the middle of all networks of a panel."""
    ends = np.array([dots["width"].min(), dots["width"].max()], dtype=float)
    middle = np.exp(np.log(dots["width"]).mean()), np.exp(np.log(dots["value"]).mean())
    axes.plot(ends, middle[1] * (ends / middle[0]) ** -0.5, color=LAZY.colour, gid="width^-1/2", zorder=1)
