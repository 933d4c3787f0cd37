"""From which width on nothing changes any more, for every quantity."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.axes import log_axis
from isthmus.figures.looks import GREY, Look, keys_of, looks_in
from isthmus.figures.notes import span
from isthmus.figures.panels import choose, fewer_panels, lay_out, nothing, panels_of, rows_of
from isthmus.figures.quantity_axis import in_order, line_height, list_quantities, offset
from isthmus.figures.style import footnote, label_of, legend_above, paper
from isthmus.recipes.cell_table import CELLS, with_axes
from isthmus.recipes.cells import JOINT

MOST_PANELS = 4
MOST_DEPTHS = 4
NO_WIDTHS = "Nothing to compare: that takes networks of two widths or more."


def _draw_line(axes: Axes, place: float, rows: pd.DataFrame, look: Look, gid: str) -> None:
    """The widths of one quantity and depth: filled where within the noise of the largest, joined from saturation on."""
    rows = rows.sort_values("width")
    last = rows["width"].max()
    compared, saturated = rows[rows["within_noise"].notna()], rows["saturation_width"].iloc[0]
    for inside, face in ((True, look.colour), (False, "white")):
        own = compared[compared["within_noise"].astype(bool) == inside]
        (marks,) = axes.plot(own["width"], np.full(len(own), place), look.marker, color=look.colour, markersize=3.0)
        marks.set(markerfacecolor=face, markeredgewidth=0.6, zorder=4, gid=f"{gid} {'inside' if inside else 'outside'}")
    if len(compared):
        axes.plot([last], [place], "|", color=look.colour, markersize=5, zorder=3)
    if not np.isnan(saturated):
        axes.hlines(place, saturated, last, color=look.colour, linewidth=1.6, alpha=0.6, zorder=2)


def draw_saturation(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """For every quantity and depth, the widths whose mean is within the noise of that at the largest width.

    `tables` holds `saturation` and `cells`; shown are all networks that did not diverge, a panel per batch size. A bar
    begins at the width from which on all are within the noise. Of many depths or batch sizes some are shown, and the
    footnote says which. Says so where there are not two widths.
    """
    with paper():
        if not (tables["saturation"]["study"] == study).any():
            return nothing(NO_WIDTHS)
        rows = rows_of(study, tables, "saturation")
        rows["cell"] = "width=" + rows["width"].astype(str) + JOINT + rows["line"]
        rows = with_axes(rows, tables[CELLS], study)
        rows = rows[rows["selection"] == "all"].astype({"saturation_width": float}).reset_index(drop=True)
        rows, chosen = choose(rows, fewer_panels(rows, MOST_PANELS, together=("depth",)) | {"depth": MOST_DEPTHS})
        names = in_order(rows.loc[rows["within_noise"].notna(), "quantity"])
        if not names:
            return nothing(NO_WIDTHS)
        looks = {depth: replace(look, line="-") for depth, look in looks_in(tables, "depth", rows).items()}
        height = line_height(len(looks), len(names)) * len(names)
        blocks = panels_of(rows[rows["quantity"].isin(names)], ["batch_size"])
        figure, placed = lay_out(blocks, [""], label_of("width"), above=0.9, panel_height=height + 0.4)
        figure.set_figwidth(figure.get_figwidth() + 1.2)  # for the names of the quantities
        for panel, (axes,) in placed:
            list_quantities(axes, rows, names)
            if axes is not placed[0][1][0]:
                axes.tick_params(labelleft=False)
            for (name, depth), own in panel.rows.groupby(["quantity", "depth"]):
                shift = offset(list(looks).index(depth), len(looks))
                _draw_line(axes, names.index(name) + shift, own, looks[depth], f"{name} depth={depth}")
            log_axis(axes.xaxis, sorted(panel.rows["width"].unique()))
        states = [
            Line2D([], [], color=GREY, marker="o", markerfacecolor=face, linestyle="none") for face in (GREY, "white")
        ]
        states[0].set_label("within the noise of the largest width")
        states[1].set_label("not within it")
        legend_above(figure, [*keys_of("depth", looks), *states])
        used = rows[rows["networks"] > 0]
        note = f"n = {span(used['networks'])} networks per width. Within the noise: the 95 % interval of the difference"
        note += (
            " of means, Welch's, holds 0. Upright: the largest width. Bars: from the width on from which all are. Of"
        )
        note += " few networks, more is noise."
        footnote(figure, f"{note} {chosen}".strip())
    return figure
