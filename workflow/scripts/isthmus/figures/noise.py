"""How much the loss rises where the weights are disturbed: on average under noise, and at worst in a ball."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.axes import decade_axis, log_axis, plain
from isthmus.figures.lines import (
    Looks,
    Measure,
    apart,
    draw_line,
    examples_note,
    extent,
    headroom,
    keys_of,
    left_out,
    looks_in,
    why_empty,
)
from isthmus.figures.looks import GREY, LINES, Look
from isthmus.figures.panels import (
    Panel,
    choose,
    count_note,
    evenly,
    fewer_panels,
    lay_out,
    nothing,
    one_line,
    panels_of,
    room_for_text,
    rows_of,
    say,
)
from isthmus.figures.style import footnote, label_of, legend_above, paper

MOST_STACKS = 4  # panels beside each other, as each has up to four axes above each other
MOST_DEPTHS = 3  # lines of each style in a panel
MOST_SIZES = 3  # styles
# What a kind of disturbance is called, and the symbol of its size.
DISTURBANCES = {
    "noise": ("noise", "σ"),
    "relative_noise": ("relative noise", "σ"),
    "worst": ("worst in a ball", "ρ"),
    "adaptive_worst": ("adaptive worst", "ρ"),
}
NO_DISTURBANCES = (
    "No disturbances of the weights were asked for. Give sizes under `noise` of the analysis `curvature` to have them."
)


def _disturbed(networks: pd.DataFrame, perturbations: pd.DataFrame, kind: str, size: float) -> pd.DataFrame:
    """The rise of the loss of all `networks` under one disturbance; null for those that have no such row."""
    rises = perturbations[(perturbations["kind"] == kind) & (perturbations["size"] == size)]
    return networks.merge(rises[["cell", "seed", "relative_rise"]], on=["cell", "seed"], how="left", validate="1:1")


def _sizes(perturbations: pd.DataFrame) -> tuple[dict[str, list[float]], str]:
    """The sizes of each kind of disturbance, not more than have a line style, and the sentence that says which."""
    sizes: dict[str, list[float]] = {}
    left = []
    for kind, (name, symbol) in DISTURBANCES.items():
        found = sorted(perturbations.loc[perturbations["kind"] == kind, "size"].unique())
        if found:
            sizes[kind] = evenly(found, MOST_SIZES)
        if len(found) > MOST_SIZES:
            left.append(f"{MOST_SIZES} of {len(found)} {symbol} of {name}")
    return sizes, f"Shown: {', '.join(left)}." if left else ""


def _size_keys(axes: Axes, sizes: list[float], symbol: str) -> None:
    """A legend of the line styles in the room at the top of a panel."""
    keys = [
        Line2D([], [], color=GREY, linestyle=LINES[place], label=f"{symbol} = {plain(size)}")
        for place, size in enumerate(sizes)
    ]
    legend = axes.legend(
        handles=keys,
        frameon=True,  # a very long bar passes behind it
        edgecolor="none",
        loc="upper left",
        ncols=len(keys),
        fontsize=6,
        handlelength=1.6,
        handletextpad=0.4,
        columnspacing=0.8,
        borderpad=0.1,
        borderaxespad=0.3,
    )
    legend.set_zorder(5)


def _draw_kind(
    placed: list[tuple[Panel, list[Axes]]], row: int, kind: str, sizes: list[float], given: pd.DataFrame, looks: Looks
) -> tuple[pd.DataFrame, str]:
    """The rise under one kind of disturbance against width, a line per depth and size, into one row of the panels.

    `given` are the disturbances of the study. Returns what is behind the points, and the sentence on what is left out.
    """
    name, symbol = DISTURBANCES[kind]
    measure = Measure("relative_rise", "", f"rises under {name}")
    widths = sorted(set().union(*(panel.rows["width"] for panel, _ in placed)))
    shift = apart(widths, list(looks))
    summaries: list[pd.DataFrame] = []
    everything: list[pd.DataFrame] = []
    for panel, stack in placed:
        rows = [_disturbed(panel.rows, given, kind, size) for size in sizes]
        found = []
        for size, line, disturbed in zip(sizes, LINES, rows, strict=False):
            for depth, look in looks.items():
                if not (own := disturbed[disturbed["depth"] == depth]).empty:
                    styled = Look(look.colour, look.marker, line)
                    gid = f"{kind} size={size:g} depth={depth}"
                    found.append(draw_line(stack[row], own, measure, "width", styled, shift[depth], gid=gid))
        if not any(summary["count"].any() for summary in found):
            say(stack[row], why_empty(pd.concat(rows), "relative_rise"))
        log_axis(stack[row].xaxis, widths)
        summaries, everything = summaries + found, everything + rows
    summary, shown = pd.concat(summaries, ignore_index=True), pd.concat(everything)
    decade_axis(placed[0][1][row].yaxis, extent(shown, summary, measure), most=4)
    if not summary["count"].any():
        placed[0][1][row].set_yticks([])
    headroom(placed[0][1][row], 0.14)
    _size_keys(placed[0][1][row], sizes, symbol)
    return summary, left_out(shown, [measure])


def draw_noise_response(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Relative rise of the training loss under disturbed weights against width, a row per kind of disturbance.

    `tables` holds `perturbations` and `curvature`. A line per depth (colour and marker) and size (line style), a panel
    per batch size; log axes, geometric means over networks with bars for their intervals, faint dots for networks. Of
    many depths, batch sizes or sizes some are shown, and the footnote says which. Says so where nothing was asked
    for. Raises DataError where the study has no network.
    """
    networks = rows_of(study, tables, "curvature")
    networks = networks[networks["final"].astype(bool)].reset_index(drop=True)
    given = tables["perturbations"][tables["perturbations"]["study"] == study]
    sizes, fewer = _sizes(given)
    with paper():
        if not sizes:
            return nothing("All networks diverged." if networks["diverged"].all() else NO_DISTURBANCES)
        most = fewer_panels(networks, MOST_STACKS, together=("depth",)) | {"depth": MOST_DEPTHS}
        networks, chosen = choose(networks, most)
        looks = looks_in(tables, "depth", networks)
        blocks = one_line(panels_of(networks, ["batch_size"]))
        labels = [f"rise / loss,\n{DISTURBANCES[kind][0]}" for kind in sizes]
        figure, placed = lay_out(blocks, labels, label_of("width"), above=room_for_text(blocks))
        drawn = [_draw_kind(placed, row, kind, sizes[kind], given, looks) for row, kind in enumerate(sizes)]
        legend_above(figure, keys_of("depth", looks, line=False))
        counts = [count for summary, _ in drawn for count in summary["count"]]
        note = count_note(networks, counts, "Dots: networks. Lines: geometric means. Bars")
        sentences = (note, *(lost for _, lost in drawn), examples_note(given), chosen, fewer)
        footnote(figure, " ".join(filter(None, sentences)))
    return figure
