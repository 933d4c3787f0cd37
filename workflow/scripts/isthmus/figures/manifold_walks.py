"""The figure of walks along the zero set of the loss."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from isthmus.figures.axes import decade_axis, plain
from isthmus.figures.looks import GREY, PALETTE, Look, key_of
from isthmus.figures.manifold_networks import RATIO, share_of
from isthmus.figures.panels import nothing, rows_of, say
from isthmus.figures.style import DOUBLE_COLUMN, finish, new_figure, paper

WALK = ["sweep", "seed", "data", "activation", "outputs", "depth", "width", "points", "kind", "walk"]
ZERO = 1e-20
LEAST_LOSS = 1e-300  # for a place on a log axis where the loss is zero
LOSSES = {"straight_loss": "straight\nline", "worst_between": "between\nthem", "worst_loss": "at the\npoints"}
COLOURS = matplotlib.colormaps["viridis"]
LABEL_SHARE = 0.24  # of the height of a panel: two lines of letters
LABELS = (  # of the panels: title, horizontal and vertical axis
    ("all walks: the loss", "arc length / norm of the weights", "loss"),
    ("straight on: the function", "arc length / norm of the weights", "change of the function off\nthe data / its rms"),
    ("towards another minimum", "arc length / distance of the minima", "distance left / first distance"),
    ("how close they come", RATIO, "closest to the goal\n/ first distance"),
)
NO_WALKS = "No walk was taken: no zero of the loss was found, or `walks` asks for none."
NO_GOAL = "no goal"
OUTCOMES = {
    "arrived": ("arrived", Look(PALETTE[0], "o", "none")),
    "around": ("with detours", Look(PALETTE[2], "^", "none")),
    "length": ("gave up", Look(PALETTE[4], "s", "none")),
    "stuck": ("stuck", Look(PALETTE[1], "D", "none")),
    "lost": ("lost", Look(PALETTE[6], "X", "none")),
}


def _walks(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The points of all walks with a number per walk, `ratio`, n / q, and what is drawn, each divided by its unit.

    Those are `arc` and `change`, and towards a minimum the `way` and what is `left` of the first distance.
    """
    rows = rows_of(study, tables, "walks").astype({"final": bool, "distance_left": float})
    rows["number"] = rows.groupby(WALK, observed=True, sort=False).ngroup()
    rows["ratio"] = rows["parameters"] / rows["constraints"]
    rows["arc"] = rows["arc_length"] / rows["start_norm"]
    rows["change"] = rows["function_change"] / rows["function_rms"]
    first = rows.groupby("number")["distance_left"].transform("first")
    rows["way"], rows["left"] = rows["arc_length"] / first, rows["distance_left"] / first
    return rows.sort_values("ratio", ascending=False, kind="stable")


def _lines(axes: Axes, walks: pd.DataFrame, x: str, y: str, colours: ScalarMappable) -> None:
    for _, walk in walks.groupby("number", sort=False):
        axes.plot(walk[x], walk[y], color=colours.to_rgba(walk["ratio"].iloc[0]), linewidth=0.5, alpha=0.6)
    axes.set_xlim(0, None)


def _draw_losses(axes: Axes, walks: pd.DataFrame, colours: ScalarMappable) -> None:
    """The three losses of each walk, named beside the panel, from the top, at their medians as far as there is room."""
    moved = walks[walks["step"] > 0]  # nothing lies between the points before the first step
    drawn = {column: walks if column == "worst_loss" else moved for column in LOSSES}
    for column, own in drawn.items():
        _lines(axes, own, "arc", column, colours)
    axes.axhline(ZERO, color=GREY, linestyle="--", linewidth=0.8)
    losses = pd.concat([own[column] for column, own in drawn.items()])
    decade_axis(axes.yaxis, [*losses[losses > 0], ZERO * 3])
    low, high = np.log(axes.get_ylim())
    above = 1.0 + LABEL_SHARE
    for column, own in drawn.items():
        if len(own):
            middle = np.log(own[column].clip(lower=LEAST_LOSS)).median()
            above = min((middle - low) / (high - low), above - LABEL_SHARE)
            axes.text(1.02, above, LOSSES[column], transform=axes.transAxes, va="center")


def _draw_nearest(axes: Axes, walks: pd.DataFrame) -> None:
    """How near each walk comes to its goal, with a legend that counts how they end."""
    around = (walks["outcome"] == "arrived") & (walks["detours"] > 0)
    ends = walks.assign(outcome=walks["outcome"].mask(around, "around")).groupby("number")
    ends = ends.agg(ratio=("ratio", "first"), outcome=("outcome", "first"), left=("left", "min"))
    small: Any = {"markersize": 3, "markeredgewidth": 0, "alpha": 0.6}
    keys = []
    for outcome, (words, look) in OUTCOMES.items():
        if len(own := ends[ends["outcome"] == outcome]):
            axes.plot(own["ratio"], own["left"], look.marker, color=look.colour, **small)
            keys.append(key_of(f"{words} ({len(own)})", look))
    decade_axis(axes.xaxis, ends["ratio"])
    axes.axvline(1, color=GREY, linestyle=":", linewidth=0.7)
    axes.set_ylim(-0.03, 1.05)
    axes.legend(handles=keys, loc="upper right", handletextpad=0.2, borderaxespad=0.1)


def _note(walks: pd.DataFrame, kinked: pd.DataFrame) -> str:
    ends = walks[walks["final"]]
    ahead, towards = (ends.loc[ends["kind"] == kind, "outcome"] for kind in ("ahead", "towards"))
    without, orders = int((ends["outcome"] == NO_GOAL).sum()), ends["between_order"].dropna().astype(float)
    parts = [
        f"{share_of(ahead == 'length')} walks straight on went their whole length, and "
        f"{share_of(towards[towards != NO_GOAL] == 'arrived')} walks towards another minimum arrived (in parentheses: "
        "exact 95 % limits)"
    ]
    parts += [f"For {without} no other minimum was found"] if without else []
    worst, between = walks["worst_loss"].max(), walks["worst_between"].max()
    parts.append(f"Largest loss at any point of any walk: {worst:.1e}; on any segment between two: {between:.1e}")
    if len(orders):
        parts.append(
            f"Halving the step divides the loss between points by 2 to the power {orders.median():.2f} (median of "
            f"{len(orders)}, from {orders.min():.2f} to {orders.max():.2f}; 4 on a smooth zero set)"
        )
    if len(kinked):
        kept = kinked.loc[kinked["final"], "outcome"].isin(["length", "arrived"])
        parts.append(
            f"Not drawn: {len(kept)} walks of ReLU networks, outside the assumptions, of which {kept.sum()} did not "
            "get lost"
        )
    return ". ".join(parts) + "."


@paper()
def draw_manifold_walks(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Walks at zero loss: loss, change of the function, distance from another minimum, all against arc length.

    `tables` holds `walks`. A line per walk of a smooth network, coloured by n / q. Says so where no walk was taken.
    """
    if not (tables["walks"]["study"] == study).any():
        return nothing(NO_WALKS)
    every = _walks(study, tables)
    smooth = every["activation"] != "relu"
    if not smooth.any():
        return nothing("All walks are of ReLU networks, whose zero set has kinks.")
    walks = every[smooth & (every["outcome"] != NO_GOAL)]
    ahead, towards = (walks[walks["kind"] == kind] for kind in ("ahead", "towards"))
    colours = ScalarMappable(LogNorm(every.loc[smooth, "ratio"].min(), every.loc[smooth, "ratio"].max()), COLOURS)
    figure = new_figure(DOUBLE_COLUMN, 3.8)
    losses, changes, approach, nearest = figure.subplots(2, 2).flat
    for axes, (title, x, y) in zip(figure.axes, LABELS, strict=True):
        axes.set(title=title, xlabel=x, ylabel=y)
    _draw_losses(losses, walks, colours)
    _lines(changes, ahead, "arc", "change", colours)
    decade_axis(changes.yaxis, ahead.loc[ahead["step"] > 0, "change"])
    if ahead.empty:
        say(changes, "no walks straight on")
    if towards.empty:
        say(approach, "no walks towards minima")
        say(nearest, "no walks towards minima")
    else:
        approach.plot([0, 1], [1, 0], color=GREY, linestyle=":", linewidth=0.9, zorder=3)
        _lines(approach, towards, "way", "left", colours)
        approach.set_ylim(-0.03, None)
        _draw_nearest(nearest, towards)
    ticks: Any = {"ticks": LogLocator(subs=(1, 2, 5)), "format": FuncFormatter(lambda value, _: plain(value))}
    figure.colorbar(colours, ax=figure.axes, label=RATIO, shrink=0.6, aspect=30, **ticks).minorticks_off()
    return finish(figure, [], _note(every[smooth], every[~smooth]))
