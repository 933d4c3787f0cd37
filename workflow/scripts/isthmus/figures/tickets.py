"""The figures of lottery tickets: accuracy, speed, layers and stability against the weights kept.

The axis of weights kept falls to the right, as in Frankle and Carbin (2019): the dense network is at the left edge,
and every level of pruning one step to the right of the last.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.looks import Look, key_of
from isthmus.figures.means import Means, draw_means
from isthmus.figures.notes import span
from isthmus.figures.panels import rows_of, say
from isthmus.figures.stable import mark_stable
from isthmus.tables.descriptions import Lines

SCOPES = {"global": "over the whole network", "layerwise": "within every layer"}
FEW = 10  # networks: shares of fewer have no bars
EVEN = Look("#a8a8a8", "none", "-")


def draw_tickets(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Test accuracy against the share of weights kept, on clean and, where measured, on corrupted images."""
    return draw_means(study, tables, lines, _say_how_pruned, panel_height=1.7)


def draw_ticket_layers(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Density of every layer against that of the whole network; a grey line is where all layers are equally dense."""
    return draw_means(study, tables, lines, _add_even, panel_height=1.8)


def draw_ticket_stability(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Barriers between twins that differ in the order of the data only, with a line at 0.02 (Frankle et al. 2020)."""
    return draw_means(study, tables, lines, _add_stable)


def draw_ticket_speed(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Steps to the lowest test loss of the dense network, and the share of networks that get there.

    Some never do, so that the number of steps is censored. A mean over those that do would flatter the slow ones. The
    median counts "never" as longer than anything else and exists as long as most networks get there; where no pruned
    networks do, the share is all there is to see. Of few networks a share has an interval that fills the panel and says
    no more than their number: it is left to the table.
    """
    summaries = tables["summaries"]
    few = (summaries["quantity"] == "reached_dense") & (summaries["n"] < FEW)
    tables = tables | {"summaries": summaries.assign(**{end: summaries[end].mask(few) for end in ("low", "high")})}
    every = rows_of(study, tables, "summaries")
    some = every[(every["quantity"] == "steps_to_dense") & (every["kind"] != "dense")]["value"].notna().any()
    lines = lines if some else replace(lines, rows=("reached_dense",))
    return draw_means(study, tables, lines, _say_who_arrived, panel_height=1.6)


def _say_how_pruned(made: Means) -> None:
    """The sentence that says how the networks were pruned and rewound."""
    rows = rows_of(made.study, made.tables, "tickets")
    scope = " or ".join(SCOPES.get(name, name) for name in sorted(rows["scope"].unique()))
    steps = sorted(rows.loc[rows["kind"] == "ticket", "rewind_step"].unique())
    back = " or ".join("initialization" if step == 0 else f"step {step}" for step in steps)
    made.notes.append(f"Magnitudes ranked {scope}{f'; tickets rewound to {back}' if back else ''}.")


def _add_even(made: Means) -> None:
    """Add the line of equal densities, and to the legend how many weights a layer has, in the cells that are shown."""
    _say_how_pruned(made)
    layers = rows_of(made.study, made.tables, "ticket_layers")
    weights = layers[layers["cell"].isin(made.rows["cell"])].groupby("layer_index")["prunable"]
    for key, layer in zip(made.keys, made.looks, strict=True):
        key.set_label(f"{key.get_label()} ({span(weights.get_group(layer), 'weight')})")
    share = np.geomspace(made.rows["x"].min(), 1, 50)
    for _, (axes,) in made.placed:
        axes.plot(share, share, color=EVEN.colour, linewidth=1.0, gid="even", zorder=1)
    made.keys.append(key_of("all layers alike", EVEN, marker=False))


def _add_stable(made: Means) -> None:
    _say_how_pruned(made)
    mark_stable(made, "ticket_error_barrier")


def _say_who_arrived(made: Means) -> None:
    """Say how many never get there, and where there is no median; the axis of shares is the same everywhere."""
    _say_how_pruned(made)
    pruned = made.rows[(made.rows["quantity"] == "reached_dense") & (made.rows["kind"] != "dense")]
    total = int(pruned["n"].sum())
    never = total - round(float((pruned["n"] * pruned["value"]).sum()))
    made.notes.append(f"{never} of {total} pruned networks never get there.")
    if len(made.shown) == 1:
        made.notes.append("Steps are not drawn: at no level do most of the networks get there, so there is no median.")
    if (pruned["n"] < FEW).any():
        made.notes.append("Shares of so few networks have no bars.")
    for panel, stack in made.placed:
        stack[-1].set(ylim=(-0.08, 1.08), yticks=[0, 0.5, 1])
        rows = panel.rows[(panel.rows["quantity"] == "steps_to_dense") & (panel.rows["kind"] != "dense")]
        if len(stack) > 1 and rows["n"].any() and not rows["value"].notna().any():
            say(stack[0], "most never get there")
