"""The figure of saturation: the width from which on a quantity no longer changes."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.axes import log_axis
from isthmus.figures.looks import GREY, Look, key_of, keys_of, looks_in
from isthmus.figures.marks import draw_markers
from isthmus.figures.notes import span
from isthmus.figures.panels import choose, fewer_panels, lay_out, nothing, panels_of
from isthmus.figures.relations_lines import in_order, line_height, list_quantities, offset
from isthmus.figures.style import finish, label_of, paper
from isthmus.recipes.cell_table import CELLS, rows_of_study, with_axes

MOST_PANELS = 4
MOST_DEPTHS = 4
NO_WIDTHS = "Nothing to compare: this needs networks of two widths or more."


def _draw_line(axes: Axes, place: float, rows: pd.DataFrame, look: Look, gid: str) -> None:
    """The widths of one quantity and depth: filled where within the noise of the largest, joined from saturation on."""
    rows = rows.sort_values("width")
    last = rows["width"].max()
    compared, saturated = rows[rows["within_noise"].notna()], rows["saturation_level"].iloc[0]
    for inside, words in ((True, "inside"), (False, "outside")):
        at = compared.loc[compared["within_noise"].astype(bool) == inside, "width"]
        draw_markers(axes, at, np.full(len(at), place), replace(look, hollow=not inside), 3.0, gid=f"{gid} {words}")
    if len(compared):
        axes.plot([last], [place], "|", color=look.colour, markersize=5, zorder=3)
    if not np.isnan(saturated):
        axes.hlines(place, saturated, last, color=look.colour, linewidth=1.6, alpha=0.6, zorder=2)


def shown_in_saturation(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of the table that the figure shows."""
    return _chosen(study, tables)[0]


def _chosen(study: str, tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    """As many rows of the table as fit the figure, with the axes of their cells, and the sentence that says which."""
    rows = with_axes(rows_of_study(tables["saturation"], study), tables[CELLS], study)
    rows = (
        rows[(rows["selection"] == "all") & (rows["axis"] == "width")]
        .astype({"saturation_level": float})
        .reset_index(drop=True)
    )
    rows = rows[rows["quantity"].isin(rows.loc[rows["within_noise"].notna(), "quantity"])]
    if rows.empty:
        return rows, ""
    return choose(rows, fewer_panels(rows, MOST_PANELS, together=("depth",)) | {"depth": MOST_DEPTHS})


@paper()
def draw_saturation(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """For every quantity and depth, the widths whose mean is within the noise of that at the largest width.

    `tables` holds `saturation` and `cells`; shown are all networks that did not diverge, a panel per batch size. A bar
    begins at the width from which on all are within the noise. Of many depths or batch sizes some are shown, and the
    note says which. Says so where there are not two widths.
    """
    rows, chosen = _chosen(study, tables)
    if rows.empty:
        return nothing(NO_WIDTHS)
    names = in_order(rows["quantity"])
    looks = looks_in(tables, "depth", rows["depth"])
    height = line_height(len(looks), len(names)) * len(names)
    figure, placed = lay_out(panels_of(rows, ["batch_size"]), [""], label_of("width"), panel_height=height + 0.4)
    figure.set_figwidth(figure.get_figwidth() + 1.2)  # for the names of the quantities
    for panel, (axes,) in placed:
        list_quantities(axes, rows, names)
        axes.tick_params(labelleft=axes is placed[0][1][0])
        for (name, depth), own in panel.rows.groupby(["quantity", "depth"]):
            shift = offset(list(looks).index(depth), len(looks))
            _draw_line(axes, names.index(name) + shift, own, looks[depth], f"{name} depth={depth}")
        log_axis(axes.xaxis, sorted(panel.rows["width"].unique()))
    keys = keys_of("depth", {depth: replace(look, line="-") for depth, look in looks.items()})
    keys.append(key_of("within the noise of the largest width", Look(GREY, "o", "none")))
    keys.append(key_of("not within it", Look(GREY, "o", "none", hollow=True)))
    note = f"n = {span(rows.loc[rows['networks'] > 0, 'networks'])} networks per width. Within the noise: the 95 % "
    note += f"interval of the difference contains 0. Upright: the largest width. {chosen}"
    return finish(figure, keys, note)
