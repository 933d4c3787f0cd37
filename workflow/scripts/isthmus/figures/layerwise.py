"""The figure of barriers layer by layer."""

import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.means import Means, draw_means
from isthmus.tables.descriptions import Lines


def draw_layer_barriers(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """How far loss and error rise halfway, against the layer: one layer alone, all but one, and a level for all."""
    return draw_means(study, tables, lines, _end_with_the_layers)


def _end_with_the_layers(made: Means) -> None:
    """Let the axes begin and end with the layers; all layers together have no position among them."""
    last = made.rows["layer_index"].max()
    for _, stack in made.placed:
        for axes in stack:
            axes.set_xlim(0.5, last + 0.5)
            axes.axhline(0, color="black", linewidth=0.4, zorder=0)
