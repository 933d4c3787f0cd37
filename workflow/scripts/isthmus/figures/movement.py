"""The figures of movement: how far networks go from their initialization, and how much their tangent kernel changes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from isthmus.figures.axes import log_axis
from isthmus.figures.lines import (
    FRACTION,
    Looks,
    Measure,
    apart,
    draw_line,
    draw_row,
    drawable,
    examples_note,
    headroom,
    keys_of,
    lines_note,
    looks_in,
    why_empty,
)
from isthmus.figures.looks import GREY, LINES, Look, key_of
from isthmus.figures.panels import (
    Panel,
    choose,
    fewer_panels,
    lay_out,
    nothing,
    panels_of,
    room_for_text,
    rows_of,
    say,
)
from isthmus.figures.style import footnote, label_of, legend_above, paper
from isthmus.statistics.power_law import PowerLaw, power_law

MOST_STACKS = 6  # panels, of two axes above each other: two lines on a page
MOST_DEPTHS = 4  # lines in a panel, each with its slope
PANEL_HEIGHT = 1.7  # inches: room for the slopes
SLOPE_SIZE = 6.5  # points
SLOPE_LINE = 0.108  # inches from one slope to the next
AXES_SHARE = 0.8  # of the height of a panel, without labels and gaps
CANNOT_FIT = 0.05  # probability of the lack of fit below which the slopes are marked
RELATIVE = Measure("relative", "relative distance,\n$|w - w_0|\\,/\\,|w_0|$", "relative distance")
DISTANCE = Measure("distance", "distance,\n$|w - w_0|$", "distance")
CHANGE = Measure("relative_change", "relative change,\n$|K - K_0|\\,/\\,|K_0|$", "relative change")
ALIGNMENT = Measure("target_alignment", "alignment of\nkernel and labels", "alignment", log=False, limits=FRACTION)
END, START = LINES[:2]
HOLLOW = Look(GREY, "o", START)
LAZY = Look("#a8a8a8", "none", "-")
MARKS = "Dots: networks. Lines: geometric means. Bars"
NO_KERNELS = (
    "No tangent kernels were asked for. Set `kernel_images` of the analysis `movement` to 1 or more to have them."
)


def fit(rows: pd.DataFrame, measure: Measure) -> PowerLaw | None:
    """The power of the width that the networks in `rows` follow; None with values at fewer than two widths."""
    value = drawable(rows, measure)
    kept = rows.loc[value.notna(), "width"]
    return power_law(kept, value[value.notna()]) if kept.nunique() > 1 else None


def is_no_power(law: PowerLaw) -> bool:
    """Whether the means of the widths lie farther off a line than the networks' scatter explains."""
    return law.lack_of_fit is not None and law.lack_of_fit < CANNOT_FIT


def written(law: PowerLaw) -> str:
    """A slope and its interval, with a star where the widths do not lie on a line."""
    slope, low, high = (f"{round(value, 2) + 0.0:.2f}".replace("-", "−") for value in (law.slope, law.low, law.high))
    interval = f" [{low}, {high}]" if np.isfinite(law.low) else ""
    return f"{slope}{interval}{' *' if is_no_power(law) else ''}"


def _write_slope(axes: Axes, place: int, law: PowerLaw, look: Look) -> None:
    """One slope, the line number `place` from the top of a panel, with the marker and in the colour of `look`."""
    corner = axes.transAxes + ScaledTranslation(0.06, -SLOPE_LINE * (place + 0.5), axes.figure.dpi_scale_trans)
    axes.plot([0], [1], look.marker, color=look.colour, transform=corner, clip_on=False)
    words = axes.annotate(written(law), (0, 1), xycoords=corner, xytext=(6, 0), textcoords="offset points")
    words.set(fontsize=SLOPE_SIZE, color=look.colour, va="center_baseline", gid="slope", zorder=5)
    words.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.3})  # over very long bars


def _draw_slopes(placed: list[tuple[Panel, list[Axes]]], row: int, measure: Measure, looks: Looks) -> list[PowerLaw]:
    """Fit a power of the width per depth and panel, and write the slopes in the room at the top of each panel."""
    fits: list[tuple[Axes, dict[int, PowerLaw]]] = []
    for panel, stack in placed:
        by_depth = {depth: panel.rows[panel.rows["depth"] == depth] for depth in looks}
        laws = {depth: law for depth, rows in by_depth.items() if (law := fit(rows, measure)) is not None}
        fits.append((stack[row], laws))
    most = max(len(laws) for _, laws in fits)
    if most:
        headroom(placed[0][1][row], (most * SLOPE_LINE + 0.04) / (AXES_SHARE * PANEL_HEIGHT))
    for axes, laws in fits:
        for place, (depth, law) in enumerate(laws.items()):
            _write_slope(axes, place, law, looks[depth])
    return [law for _, laws in fits for law in laws.values()]


def _slope_note(laws: list[PowerLaw]) -> str:
    """What the numbers in the panels are, and what a star at them means."""
    if not laws:
        return "No power of the width is fitted: that takes networks of two widths."
    star = " *: no power law, as the widths' means lie farther off a line than networks scatter (p < 0.05)."
    return f"Numbers: fitted power of the width and its 95 % interval.{star if any(map(is_no_power, laws)) else ''}"


def _draw_lazy(axes: Axes, rows: pd.DataFrame) -> None:
    """A line that falls as width^-1/2 through the middle of all networks of a panel, where there are two widths."""
    value = drawable(rows, RELATIVE).dropna()
    widths = rows.loc[value.index, "width"]
    if widths.nunique() > 1:
        ends = np.array([widths.min(), widths.max()], dtype=float)
        middle = np.exp(np.log(widths).mean()), np.exp(np.log(value).mean())
        axes.plot(ends, middle[1] * (ends / middle[0]) ** -0.5, color=LAZY.colour, gid="width^-1/2", zorder=1)


def _few(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of as many cells as have room, and the sentence that says which."""
    return choose(rows, fewer_panels(rows, MOST_STACKS, together=("depth",)) | {"depth": MOST_DEPTHS})


def draw_movement(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Distance of the trained weights from the initial ones, relative to their norm and absolute, against width.

    `tables` holds `movement`; shown is the whole network at the end of training. A line per depth, a panel per batch
    size, log axes in the unit of the weights; geometric means over networks with bars for their intervals, faint dots
    for networks. The fitted power of the width stands in the panels, a grey line is the -1/2 of the lazy limit. Of
    many depths or batch sizes some are shown, and the footnote says which. Raises DataError where the study has no
    network.
    """
    rows = rows_of(study, tables, "movement")
    rows = rows[rows["final"].astype(bool) & (rows["layer"] == "all")].reset_index(drop=True)
    rows, chosen = _few(rows)
    measures = (RELATIVE, DISTANCE)
    with paper():
        looks = looks_in(tables, "depth", rows)
        blocks = panels_of(rows, ["batch_size"])
        labels, above = [measure.label for measure in measures], room_for_text(blocks)
        figure, placed = lay_out(blocks, labels, label_of("width"), above=above, panel_height=PANEL_HEIGHT)
        summaries, laws = [], []
        for row, measure in enumerate(measures):
            summaries.append(draw_row(placed, row, measure, "width", "depth", looks))
            laws += _draw_slopes(placed, row, measure, looks)
        for panel, (upper, _) in placed:
            _draw_lazy(upper, panel.rows)
        lazy = [key_of("width$^{-1/2}$", LAZY)] if laws else []
        legend_above(figure, [*keys_of("depth", looks), *lazy])
        note = lines_note(rows, pd.concat(summaries), measures, MARKS)
        footnote(figure, " ".join(filter(None, (note, _slope_note(laws), chosen))))
    return figure


def _draw_alignment(placed: list[tuple[Panel, list[Axes]]], row: int, start: pd.DataFrame, looks: Looks) -> None:
    """Alignment at initialization, from the rows `start`, beside that at the end: dashed lines with hollow markers."""
    for panel, stack in placed:
        axes = stack[row]
        here = start[start["cell"].isin(panel.rows["cell"].unique())]
        shift = apart(panel.rows["width"], list(looks))
        for depth, look in looks.items():
            own, before = (rows[rows["depth"] == depth] for rows in (panel.rows, here))
            if not own.empty:
                draw_line(axes, own, ALIGNMENT, "width", look, shift[depth], gid=f"target_alignment depth={depth}")
            if not before.empty:
                styled, gid = Look(look.colour, look.marker, START), f"initial target_alignment depth={depth}"
                draw_line(axes, before, ALIGNMENT, "width", styled, shift[depth], gid=gid, dots=False)
                next(line for line in axes.lines if line.get_gid() == gid).set_markerfacecolor("white")
        log_axis(axes.xaxis, sorted(panel.rows["width"].unique()))
        if not drawable(panel.rows, ALIGNMENT).notna().any():
            say(axes, why_empty(panel.rows, "target_alignment"))
    if not any(drawable(panel.rows, ALIGNMENT).notna().any() for panel, _ in placed):
        placed[0][1][row].set_yticks([])


def draw_kernel_change(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Relative change of the tangent kernel and its alignment with the labels against width.

    `tables` holds `kernels` and `movement`. A line per depth, a panel per batch size. Above: change in training on log
    axes, with geometric means over networks and the fitted power of the width; below: alignment, between 0 and 1, at
    initialization and at the end, with means. Bars are intervals, faint dots networks. Of many depths or batch sizes
    some are shown, and the footnote says which. Says so where no kernels were asked for. Raises DataError where the
    study has no network.
    """
    rows_of(study, tables, "movement")
    with paper():
        if not (tables["kernels"]["study"] == study).any():
            return nothing(NO_KERNELS)
        kernels, chosen = _few(rows_of(study, tables, "kernels"))
        final = kernels["final"].astype(bool)
        rows, start = kernels[final].reset_index(drop=True), kernels[~final & (kernels["epoch"] == 0)]
        looks = {depth: Look(look.colour, look.marker, END) for depth, look in looks_in(tables, "depth", rows).items()}
        blocks = panels_of(rows, ["batch_size"])
        labels, above = [CHANGE.label, ALIGNMENT.label], room_for_text(blocks)
        figure, placed = lay_out(blocks, labels, label_of("width"), above=above, panel_height=PANEL_HEIGHT)
        summary = draw_row(placed, 0, CHANGE, "width", "depth", looks)
        laws = _draw_slopes(placed, 0, CHANGE, looks)
        _draw_alignment(placed, 1, start, looks)
        states = [key_of("end of training", Look(GREY, "o", END)), key_of("initialization", HOLLOW)]
        states[1].set_markerfacecolor("white")
        legend_above(figure, [*keys_of("depth", looks), *states])
        marks = "Dots: networks. Lines: means, geometric ones of the change. Bars"
        note = lines_note(rows, summary, (CHANGE, ALIGNMENT), marks)
        footnote(figure, " ".join(filter(None, (note, _slope_note(laws), examples_note(rows), chosen))))
    return figure
