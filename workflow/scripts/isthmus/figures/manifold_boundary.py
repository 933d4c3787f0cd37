"""The figure of the interpolation boundary: what happens where parameters are as many as equations."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis
from isthmus.figures.choice import evenly
from isthmus.figures.looks import GREY, Look, key_of, looks_of
from isthmus.figures.manifold_counts import NO_ZERO, RATIO, SCAN, networks_of
from isthmus.figures.marks import draw_bars, draw_dots, draw_hollow, draw_line
from isthmus.figures.notes import span
from isthmus.figures.panels import Panel, lay_out, nothing, say
from isthmus.figures.style import finish, paper
from isthmus.statistics.bootstrap import summarize

MOST_SCANS = 4  # panels
MOST_LINES = 4  # that share what is fixed
LEAST_SCAN = 4  # ratios n / q that make a line
BOUNDARY = {
    "smallest_at_zero": "smallest positive\neigenvalue",
    "relative_distance": "distance from the\nstart / its norm",
    "off_data_rms": "rms output\noff the data",
    "off_data_error": "test error",
}
LINEAR = "off_data_error"  # the others vary by factors


def _scans(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that make up lines along n / q, each with the name of its `line`: what is fixed along it.

    Of a kind of problem that is the data or the width, whichever has fewer values.
    """
    values = rows.groupby(SCAN, observed=True)[["width", "points"]].transform("nunique")
    of_data = values["width"] >= values["points"]
    rows = rows.assign(fixed=np.where(of_data, "d", "width"), size=rows["points"].where(of_data, rows["width"]))
    rows = rows[rows.groupby([*SCAN, "size"], observed=True)["ratio"].transform("nunique") >= LEAST_SCAN]
    few = rows.groupby("fixed")["size"].transform(lambda sizes: sizes.isin(evenly(sorted(set(sizes)), MOST_LINES)))
    return rows[few.astype(bool)].assign(line=rows["fixed"] + " = " + rows["size"].astype(str))


def _panels(rows: pd.DataFrame) -> list[Panel]:
    """A panel per kind of problem, those with most ratios first."""
    found = []
    for (data, activation, depth, outputs), part in rows.groupby(SCAN, observed=True):
        words = [activation, "arbitrary targets" if data == "random" else "images"]
        words += [f"{depth} layers"] * (depth > 1) + [f"{outputs} outputs"] * (outputs > 1)
        found.append(Panel(", ".join(words), part))
    return sorted(found, key=lambda panel: -panel.rows["ratio"].nunique())[:MOST_SCANS]


@paper()
def draw_manifold_boundary(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """What happens where parameters are as many as equations: against n / q, on log axes, a panel per kind of problem.

    `tables` holds `manifold`. From top to bottom: at zeros of the loss the smallest positive eigenvalue of the
    Hessian, which is the smallest squared singular value of the Jacobian; the distance of the minimum from the start;
    the function's size off the data; on images the test error. Lines: means over seeds, geometric on log axes, with
    intervals. Says so where no sweep crosses enough ratios. Raises DataError where the study has no theory network.
    """
    panels = _panels(_scans(networks_of(study, tables)))
    if not panels:
        return nothing(f"No sweep has {LEAST_SCAN} ratios n / q of what is otherwise the same: give one more widths.")
    rows = pd.concat([panel.rows for panel in panels])
    shown = [column for column in BOUNDARY if rows[column].notna().any()]
    looks = looks_of("line", list(rows.sort_values(["fixed", "size"])["line"].unique()))
    figure, placed = lay_out([panels], [BOUNDARY[column] for column in shown], RATIO)
    counts: list[int] = []
    for panel, stack in placed:
        for axes, column in zip(stack, shown, strict=True):
            counts += _draw_lines(axes, panel.rows, column, looks)
            axes.axvline(1, color=GREY, linewidth=0.7, linestyle=":", zorder=1)
            decade_axis(axes.xaxis, panel.rows["ratio"])
    for axes, column in zip(placed[0][1], shown, strict=True):
        axes.set_ylim(0, None) if column == LINEAR else decade_axis(axes.yaxis, rows[column])
    keys = [*(key_of(line, look) for line, look in looks.items()), key_of("no zero found", NO_ZERO)]
    note = f"n = {span(counts, 'network')} per point. Dots: networks. Lines: means over seeds, geometric on log axes. "
    note += "Bars: 95 % bootstrap intervals over networks. Dotted: n = q."
    return finish(figure, keys, note)


def _draw_lines(axes: Axes, rows: pd.DataFrame, column: str, looks: dict[str, Look]) -> list[int]:
    """One column in one panel; returns the numbers of networks behind its points."""
    known, counts = rows.assign(at=rows["ratio"], value=rows[column]).dropna(subset="value"), []
    if known.empty:
        say(axes, "arbitrary targets:\nno test error" if column == LINEAR else "no zero found")
    for line, dots in known.groupby("line", sort=False):
        means, look = _means(dots, log=column != LINEAR), looks[line]
        counts += means["count"].tolist()
        draw_dots(axes, dots, look)
        draw_hollow(axes, dots[~dots["solved"]], look, small=True)
        draw_bars(axes, means, look)
        draw_line(axes, means, look, gid=f"{column} {line}")
    return counts


def _means(dots: pd.DataFrame, *, log: bool) -> pd.DataFrame:
    """Means of `value` over the seeds at each position, geometric on a log axis, with intervals."""
    value = np.log(dots["value"].where(dots["value"] > 0)) if log else dots["value"]
    limits = (-np.inf, np.inf) if log else (0.0, 1.0)
    found = summarize(dots.assign(value=value), ["at"], "value", limits=limits).rename(columns={"mean": "value"})
    ends = ["value", "low", "high"]
    return found.assign(**np.exp(found[ends])) if log else found
