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
from isthmus.figures.manifold_counts import RATIO, share_of
from isthmus.figures.panels import nothing, rows_of, say
from isthmus.figures.style import DOUBLE_COLUMN, finish, new_figure, paper

WALK = ["sweep", "seed", "data", "activation", "outputs", "depth", "width", "points", "kind", "walk"]
ZERO = 1e-20
LEAST_LOSS = 1e-300  # for a place on a log axis where the loss is zero
LOSSES = {
    "worst_loss": "at the\npoints",
    "worst_between": "between\nthem",
    "straight_loss": "straight\nline",
}
COLOURS = "viridis"
LABEL_SHARE = 0.24  # of the height of a panel: two lines of letters
LABELS = (  # of the panels: title, horizontal and vertical axis
    ("all walks: the loss", "arc length / norm of the weights", "loss"),
    ("straight on: the function", "arc length / norm of the weights", "change of the function off\nthe data / its rms"),
    ("towards another minimum", "arc length / distance of the minima", "distance left / first distance"),
    ("how near they come", RATIO, "nearest to the goal\n/ first distance"),
)
NO_WALKS = "No walk was taken: no zero of the loss was found, or `walks` asks for none."
OUTCOMES = {
    "arrived": ("arrived", Look(PALETTE[0], "o", "none")),
    "around": ("with detours", Look(PALETTE[2], "^", "none")),
    "length": ("gave up", Look(PALETTE[4], "s", "none")),
    "stuck": ("stuck", Look(PALETTE[1], "D", "none")),
    "lost": ("lost", Look(PALETTE[6], "X", "none")),
}


def walks_of(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The points of the walks of smooth networks, with `ratio`, n / q, and a number per walk."""
    rows = rows_of(study, tables, "walks")
    rows["ratio"] = rows["parameters"] / rows["constraints"]
    rows["number"] = rows.groupby(WALK, observed=True, sort=False).ngroup()
    return rows


def _colours(ratios: pd.Series) -> ScalarMappable:
    low, high = float(ratios.min()), float(ratios.max())
    norm = LogNorm(low, high) if high > low else LogNorm(low / 2, high * 2)
    return ScalarMappable(norm, matplotlib.colormaps[COLOURS])


def _lines(axes: Axes, walks: pd.DataFrame, x: str, y: str, colours: ScalarMappable) -> None:
    for _, walk in walks.sort_values("ratio", ascending=False, kind="stable").groupby("number", sort=False):
        colour = colours.to_rgba(walk["ratio"].iloc[0])
        axes.plot(walk[x], walk[y], color=colour, linewidth=0.5, alpha=0.6)


def _draw_losses(axes: Axes, walks: pd.DataFrame, colours: ScalarMappable) -> None:
    walks = walks.assign(arc=walks["arc_length"] / walks["start_norm"])
    moved = walks[walks["step"] > 0]  # nothing lies between the points before the first step
    heights: dict[str, float] = {}
    for column, words in LOSSES.items():
        own = walks if column == "worst_loss" else moved
        _lines(axes, own, "arc", column, colours)
        if not own.empty:
            heights[words] = float(np.exp(np.log(own[column].clip(lower=LEAST_LOSS)).median()))
    axes.axhline(ZERO, color=GREY, linestyle="--", linewidth=0.8)
    drawn = pd.concat([walks["worst_loss"], *(moved[column] for column in LOSSES)])
    decade_axis(axes.yaxis, [*drawn[drawn > 0], ZERO * 3])
    low, high = axes.get_ylim()
    above = 1.0 + LABEL_SHARE
    for words, height in sorted(heights.items(), key=lambda item: -item[1]):
        above = min(float(np.log(height / low) / np.log(high / low)), above - LABEL_SHARE)
        axes.text(1.02, above, words, transform=axes.transAxes, va="center")
    axes.set_xlim(0, None)


def _draw_changes(axes: Axes, walks: pd.DataFrame, colours: ScalarMappable) -> None:
    walks = walks.assign(
        arc=walks["arc_length"] / walks["start_norm"], change=walks["function_change"] / walks["function_rms"]
    )
    _lines(axes, walks, "arc", "change", colours)
    axes.set_xlim(0, None)
    decade_axis(axes.yaxis, walks.loc[walks["step"] > 0, "change"])


def _draw_approach(axes: Axes, walks: pd.DataFrame, colours: ScalarMappable) -> None:
    walks = walks.assign(arc=walks["arc_length"] / walks["first"], left=walks["distance_left"] / walks["first"])
    _lines(axes, walks, "arc", "left", colours)
    axes.plot([0, 1], [1, 0], color=GREY, linestyle=":", linewidth=0.9)
    axes.set(xlim=(0, None), ylim=(-0.03, None))


def _draw_nearest(axes: Axes, walks: pd.DataFrame) -> None:
    around = (walks["outcome"] == "arrived") & (walks["detours"] > 0)
    walks = walks.assign(outcome=walks["outcome"].mask(around, "around"))
    ends = walks.groupby("number").agg(
        ratio=("ratio", "first"), outcome=("outcome", "first"), left=("distance_left", "min"), first=("first", "first")
    )
    keys = []
    for outcome, (words, look) in OUTCOMES.items():
        own = ends[ends["outcome"] == outcome]
        if not own.empty:
            small: Any = {"markersize": 3, "markeredgewidth": 0, "alpha": 0.6}
            axes.plot(own["ratio"], own["left"] / own["first"], look.marker, color=look.colour, **small)
            keys.append(key_of(f"{words} ({len(own)})", look))
    decade_axis(axes.xaxis, ends["ratio"])
    axes.axvline(1, color=GREY, linestyle=":", linewidth=0.7)
    axes.set_ylim(-0.03, 1.05)
    axes.legend(handles=keys, loc="upper right", handletextpad=0.2, borderaxespad=0.1)


def _note(walks: pd.DataFrame, kinked: pd.DataFrame) -> str:
    ahead, towards = (walks[walks["kind"] == kind] for kind in ("ahead", "towards"))
    ends = walks[walks["final"].astype(bool)]
    whole = ends[(ends["kind"] == "ahead") & (ends["outcome"] == "length")]
    arrived = ends[(ends["kind"] == "towards") & (ends["outcome"] == "arrived")]
    without = int((ends["outcome"] == "no goal").sum())
    worst, between = walks["worst_loss"].max(), walks["worst_between"].max()
    parts = [
        f"{share_of(len(whole), ahead['number'].nunique())} walks straight on went their whole length, and "
        f"{share_of(len(arrived), towards['number'].nunique() - without)} walks towards another minimum arrived (in "
        "parentheses: exact 95 % limits, which take walks for independent)"
    ]
    if without:
        parts.append(f"For {without} no other minimum was found")
    parts.append(f"Greatest loss of any point of any walk: {worst:.1e}; of any segment between two: {between:.1e}")
    orders = ends["between_order"].dropna().astype(float)
    if len(orders):
        parts.append(
            f"Halving the step divides the loss between points by 2 to the power {orders.median():.2f} (median of "
            f"{len(orders)}, from {orders.min():.2f} to {orders.max():.2f}; 4 on a smooth zero set)"
        )
    parts.append("Dashed: the bound, 1e-20. Dotted: a straight line")
    if len(kinked):
        ends = kinked[kinked["final"].astype(bool)]
        full = ends["outcome"].isin(["length", "arrived"]).sum()
        parts.append(
            f"Not drawn: {len(ends)} walks of ReLU networks, outside the assumptions, of which {full} did not get lost"
        )
    return ". ".join(parts) + "."


@paper()
def draw_manifold_walks(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Walks at zero loss: loss, change of the function, distance from another minimum, all against arc length.

    `tables` holds `walks`. A thin line per walk of a smooth network, coloured by n / q. The losses are the greatest so
    far at the points and on the segments between them, and that of the straight line in which the walk set out. Says
    so where no walk was taken.
    """
    if not (tables["walks"]["study"] == study).any():
        return nothing(NO_WALKS)
    everything = walks_of(study, tables)
    kinks = everything["activation"] == "relu"
    walks = everything[~kinks]
    if walks.empty:
        return nothing("All walks are of ReLU networks, whose zero set has kinks.")
    colours = _colours(walks["ratio"])
    figure = new_figure(DOUBLE_COLUMN, 3.8)
    losses, changes, approach, nearest = figure.subplots(2, 2).flat
    for axes, (title, x, y) in zip(figure.axes, LABELS, strict=True):
        axes.set(title=title, xlabel=x, ylabel=y)
    ahead, towards = (walks[walks["kind"] == kind] for kind in ("ahead", "towards"))
    towards = towards[towards["outcome"] != "no goal"]
    towards = towards.assign(first=towards.groupby("number")["distance_left"].transform("first"))
    _draw_losses(losses, walks[walks["outcome"] != "no goal"], colours)
    if ahead.empty:
        say(changes, "no walks straight on")
    else:
        _draw_changes(changes, ahead, colours)
    if towards.empty:
        say(approach, "no walks towards minima")
        say(nearest, "no walks towards minima")
    else:
        _draw_approach(approach, towards, colours)
        _draw_nearest(nearest, towards)
    ticks: Any = {"ticks": LogLocator(subs=(1, 2, 5)), "format": FuncFormatter(lambda value, _: plain(value))}
    figure.colorbar(colours, ax=figure.axes, label=RATIO, shrink=0.6, aspect=30, **ticks).minorticks_off()
    return finish(figure, [], _note(walks, everything[kinks]))
