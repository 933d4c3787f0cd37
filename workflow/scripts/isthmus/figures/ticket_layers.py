"""Where pruning takes its weights from: the density of every layer against that of the whole network."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.axes import percent_axis
from isthmus.figures.lines import FRACTION, Measure, extent, means_of
from isthmus.figures.looks import GREY, Look, key_of, look_of, words_of
from isthmus.figures.panels import Panel, count_note, evenly, lay_out, nothing, room_for_text, rows_of, say, words
from isthmus.figures.style import footnote, legend_above, paper
from isthmus.figures.ticket_lines import WEIGHTS_KEPT, draw_summary, kept_share, pruning_note
from isthmus.recipes.cell_table import axes_in

SHOWN = ("ticket", "one_shot", "magnitude_at_initialization")  # the others have the ticket's counts per layer
MOST_LAYERS = 8  # lines in a panel
PANEL_HEIGHT = 2.3  # inches
EMPTIED_STEP = 0.045  # of the height of a panel, from the mark of one emptied layer to the next
LAYER_DENSITY = Measure("layer_density", "weights of the layer kept (%)", "density", log=False, limits=FRACTION)
EVEN = Look("#a8a8a8", "none", "-")
NO_MASKS = "Nothing to draw: no network was pruned by magnitude."
KEYS = ["cell", "seed", "kind", "level"]


def widest(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of the widest cell, the deepest of several, and the sentence that says which it is."""
    cells = rows.drop_duplicates("cell").sort_values(
        ["width", "depth", "batch_size", "cell"], ascending=[False, False, True, True]
    )
    cell = cells["cell"].iloc[0]
    which = f" (1 of {len(cells)} cells, the widest)" if len(cells) > 1 else ""
    return rows[rows["cell"] == cell].reset_index(drop=True), f"Shown: {words(axes_in(cells)[cell])}{which}."


def _with_networks(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row per layer and network, with the density of both."""
    networks = rows_of(study, tables, "tickets")[[*KEYS, "density", "diverged", "scope", "rewind_step"]]
    layers = rows_of(study, tables, "ticket_layers").rename(columns={"density": "layer_density"})
    return layers.merge(networks, on=KEYS, validate="many_to_one")


def _mark_emptied(axes: Axes, own: pd.DataFrame, look: Look, place: int, gid: str) -> None:
    """A cross at the bottom of a panel at every level at which the layer is empty in some network."""
    kept = own["layer_density"].astype(float).mask(own["diverged"].astype(bool))
    share = own.assign(share=kept_share(own)).loc[kept == 0].groupby("level")["share"].mean()
    height = np.full(len(share), EMPTIED_STEP * (place + 0.6))
    axes.plot(
        share,
        height,
        "x",
        color=look.colour,
        markersize=3.2,
        markeredgewidth=0.9,
        transform=axes.get_xaxis_transform(),
        gid=gid,
        zorder=5,
    )


def _draw_panel(axes: Axes, rows: pd.DataFrame, looks: dict[int, Look], emptied: list[int]) -> pd.DataFrame:
    """Draw the layers of one kind of network, and marks for the `emptied` ones; returns what is behind the lines."""
    found = []
    for layer, look in looks.items():
        own = rows[rows["layer_index"] == layer]
        summary = means_of(own, ["level"], LAYER_DENSITY)
        some = summary.assign(mean=summary["mean"].where(summary["mean"] > 0))  # 0 has no place on a log axis
        draw_summary(axes, own, some, look, 1.0, f"layer={layer}")
        found.append(summary)
        if layer in emptied:
            _mark_emptied(axes, own, look, emptied.index(layer), f"emptied layer={layer}")
    return pd.concat(found, ignore_index=True)


def _limits(placed: list[tuple[Panel, list[Axes]]], values: list[float], shares: pd.Series, emptied: int) -> None:
    """Set scales and limits, with room for the marks of `emptied` layers; draw where all layers are equally dense."""
    for _, (axes,) in placed:
        percent_axis(axes.xaxis, shares)
        axes.plot([shares.min(), 1], [shares.min(), 1], color=EVEN.colour, linewidth=1.0, gid="even", zorder=1)
    first = placed[0][1][0]
    percent_axis(first.yaxis, values)
    if emptied:
        low, high = first.get_ylim()
        first.set_ylim(high * (low / high) ** (1 / (1 - EMPTIED_STEP * (emptied + 0.4))), high)


def _keys(rows: pd.DataFrame, looks: dict[int, Look], emptied: list[int]) -> list[Line2D]:
    weights = rows.groupby("layer_index")["prunable"].first()
    keys = [key_of(f"layer {layer} ({weights[layer]:,} weights)", look) for layer, look in looks.items()]
    cross = key_of("emptied", Look(GREY, "x", "none"))
    return [*keys, key_of("all layers alike", EVEN, marker=False), *([cross] if emptied else [])]


def draw_ticket_layers(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Density of every layer against that of the whole network, a panel per way of choosing weights by magnitude.

    `tables` holds `ticket_layers` and `tickets`; shown is the widest cell. A line per layer, dark the first and light
    the last; log axes, means over networks with bars for their intervals. A grey line is where all layers are equally
    dense; crosses at the bottom are layers that are empty in some network. Of many layers some are shown, and the
    footnote says which. Says so where nothing was pruned by magnitude. Raises DataError where the study has no network.
    """
    rows, chosen = widest(_with_networks(study, tables))
    kinds = [kind for kind in SHOWN if kind in set(rows["kind"])]
    with paper():
        if not kinds:
            return nothing(NO_MASKS)
        rows = rows[rows["kind"].isin(("dense", *kinds))].reset_index(drop=True)
        layers = sorted(map(int, rows["layer_index"].unique()))
        shown = evenly(layers, MOST_LAYERS)
        looks = {layer: look_of("layer", layer, layers) for layer in shown}
        kept = rows[~rows["diverged"].astype(bool) & rows["layer_index"].isin(shown)]
        emptied = sorted(map(int, kept.loc[kept["layer_density"] == 0, "layer_index"].unique()))
        panels = [Panel(words_of(kind), rows[rows["kind"].isin(("dense", kind))]) for kind in kinds]
        figure, placed = lay_out(
            [panels], [LAYER_DENSITY.label], WEIGHTS_KEPT, above=room_for_text([panels]), panel_height=PANEL_HEIGHT
        )
        summaries = [_draw_panel(axes, panel.rows, looks, emptied) for panel, (axes,) in placed]
        summary = pd.concat(summaries, ignore_index=True)
        for (_, (axes,)), found in zip(placed, summaries, strict=True):
            if not found["count"].any():
                say(axes, "all diverged")
        drawn = extent(rows.iloc[:0], summary.where(summary > 0), LAYER_DENSITY)
        _limits(placed, drawn, kept_share(rows), len(emptied))
        legend_above(figure, _keys(rows, looks, emptied))
        networks = rows.drop_duplicates(KEYS)
        note = count_note(networks, summary["count"], "Lines: means. Bars")
        few = f"Layers shown: {len(shown)} of {len(layers)}, the first and the last among them."
        footnote(
            figure,
            " ".join(filter(None, (note, pruning_note(rows), few if len(shown) < len(layers) else "", chosen))),
        )
    return figure
