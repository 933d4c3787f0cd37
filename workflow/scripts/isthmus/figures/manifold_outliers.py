"""The figure of trained networks beside the theorem: how many eigenvalues of their Hessians are large."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.axes import decade_axis
from isthmus.figures.looks import GREY, PALETTE, Look, key_of, looks_in
from isthmus.figures.panels import choose, evenly, fewer_panels, nothing, panels_of, rows_of
from isthmus.figures.style import DOUBLE_COLUMN, FONT_SIZE, footnote, legend_above, new_figure, paper

MOST_THEORY = 3
MOST_PANELS = 2  # of trained networks
MOST_WIDTHS = 6
LOWEST = 1e-18  # of the largest eigenvalue, where the axis ends
RESOLVED = 3.0  # standard deviations of its smoothing from which a density tells eigenvalues from zero
SIGNIFICANT = 1e-6  # of the largest eigenvalue: what counts as negative
NOTHING = "All networks diverged, or no eigenvalues were measured."


def counted_above(eigenvalues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The positive `eigenvalues` relative to the largest, falling, and how many are at least as large: 1, 2, ..."""
    positive = np.sort(eigenvalues[eigenvalues > 0])[::-1]
    return positive / positive[0], np.arange(1, len(positive) + 1)


def counted_from_density(spectrum: pd.DataFrame, parameters: int, top: float) -> tuple[np.ndarray, np.ndarray]:
    """The same from a spectral density of mass 1, relative to `top`, as far as its smoothing can tell."""
    spectrum = spectrum.sort_values("eigenvalue")
    value, density = spectrum["eigenvalue"].to_numpy(), spectrum["density"].to_numpy()
    pieces = np.diff(value) * (density[1:] + density[:-1]) / 2
    above = parameters * np.append(np.cumsum(pieces[::-1])[::-1], 0.0)
    seen = (value > RESOLVED * spectrum["smoothing"].iloc[0]) & (above >= 0.5)
    return value[seen][::-1] / top, above[seen][::-1]


def _apart(sizes: list[int]) -> list[int]:
    """A few of the rising `sizes`, each at least twice the one before, so that their labels have room."""
    kept: list[int] = []
    for size in sizes:
        if not kept or size >= 2 * kept[-1]:
            kept.append(size)
    return evenly(kept, MOST_THEORY)


def _draw_theory(axes: Axes, study: str, tables: dict[str, pd.DataFrame]) -> list[float]:
    """The panel of theory networks, one per number of equations; returns the counts it has to show."""
    columns = ["study", "sweep", "data", "activation", "outputs", "depth", "width", "points", "seed"]
    networks = tables["manifold"]
    fit = networks["solved"].astype(bool) & networks["smooth"].astype(bool) & networks["generic"].astype(bool)
    rows = tables["manifold_eigenvalues"]
    rows = rows[(rows["study"] == study) & (rows["matrix"] == "hessian") & (rows["seed"] == 0)]
    rows = rows.merge(networks.loc[fit & (networks["parameters"] > networks["constraints"]), columns], on=columns)
    groups = [part for _, part in rows.groupby(columns, observed=True)]
    groups.sort(key=lambda part: (part["constraints"].iloc[0], part["parameters"].iloc[0]))
    by_size = {int(part["constraints"].iloc[0]): part for part in groups}
    reached = [1.0]
    for number, equations in enumerate(_apart(sorted(by_size))):
        values = by_size[equations]["eigenvalue"].to_numpy()
        colour = PALETTE[(0, 2, 3)[number]]
        axes.step(*counted_above(values), where="post", color=colour)
        axes.axhline(equations, color=colour, linestyle=":", linewidth=0.8)
        words, place = f"$n$ = {len(values)}, $q$ = {equations}", axes.get_yaxis_transform()
        axes.text(0.6, equations * 1.12, words, transform=place, ha="center", fontsize=FONT_SIZE, color=colour)
        reached += [len(values), equations]
    axes.set_title("theory networks\nat zero loss")
    return reached


def _draw_trained(
    axes: Axes, panel: pd.DataFrame, tables: dict[str, pd.DataFrame], looks: dict[int, Look]
) -> list[float]:
    """One panel of trained networks: a line per network, from the dense Hessian where there is one."""
    reached = [1.0]
    for network in panel.itertuples():
        look = looks[int(network.width)]
        eigenvalues, spectrum = (
            table[(table["cell"] == network.cell) & (table["seed"] == network.seed) & (table["study"] == network.study)]
            for table in (tables["eigenvalues"], tables["spectrum"])
        )
        dense = eigenvalues[(eigenvalues["method"] == "dense") & (eigenvalues["matrix"] == "hessian")]
        if not dense.empty and (dense["eigenvalue"] > 0).any():
            x, y = counted_above(dense["eigenvalue"].to_numpy())
            axes.plot(x, y, color=look.colour, linewidth=0.8, alpha=0.8)
        elif not spectrum.empty and network.top_eigenvalue > 0:
            x, y = counted_from_density(spectrum, int(network.parameters), network.top_eigenvalue)
            axes.plot(x, y, color=look.colour, linewidth=0.8, alpha=0.8, linestyle=(0, (4, 1.5)))
        else:
            continue
        reached.append(float(y[-1]) if len(y) else 1.0)
    return reached


def draw_manifold_outliers(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """How many Hessian eigenvalues exceed a fraction of the largest: theory networks, and the study's trained ones.

    `tables` holds `manifold`, `manifold_eigenvalues`, `eigenvalues`, `spectrum`, `curvature`, `networks`. Log axes.
    Left, some theory networks at zero loss, with dotted lines at q; then the trained networks, a panel per depth and
    batch size, a line per network: solid from the dense Hessian, dashed from the spectral density. Grey lines are at
    the number of classes and at examples times classes. Raises DataError where the study has no network.
    """
    rows = rows_of(study, tables, "curvature")
    networks = rows_of(study, tables, "networks").set_index(["cell", "seed"])
    rows = rows[rows["final"].astype(bool) & rows["top_eigenvalue"].notna()].reset_index(drop=True)
    with paper():
        if rows.empty:
            return nothing(NOTHING)
        rows["classes"] = [
            int(networks.loc[(cell, seed), "classes"]) for cell, seed in zip(rows["cell"], rows["seed"], strict=True)
        ]
        rows, chosen = choose(rows, fewer_panels(rows, MOST_PANELS) | {"width": MOST_WIDTHS})
        looks = looks_in(tables, "width", rows)
        panels = list(itertools.chain.from_iterable(panels_of(rows, ["depth", "batch_size"])))
        figure = new_figure(DOUBLE_COLUMN * (0.75 if len(panels) == 1 else 1), 3.2)
        places = figure.subplots(1, 1 + len(panels), sharex=True, sharey=True, squeeze=False)[0]
        reached = _draw_theory(places[0], study, tables)
        for axes, panel in zip(places[1:], panels, strict=True):
            reached += _draw_trained(axes, panel.rows, tables, looks)
            classes, images = (int(panel.rows[column].iloc[0]) for column in ("classes", "images"))
            for level, words in ((classes, f"{classes} classes"), (images * classes, f"d k = {images * classes}")):
                axes.axhline(level, color=GREY, linestyle=":", linewidth=0.8)
                axes.text(
                    0.98,
                    level * 1.1,
                    words,
                    transform=axes.get_yaxis_transform(),
                    ha="right",
                    fontsize=FONT_SIZE,
                    color=GREY,
                )
                reached.append(level * 2)
            axes.set_title(f"trained networks\n{panel.title}")
        decade_axis(places[0].xaxis, [LOWEST, 1.0])
        places[0].invert_xaxis()
        decade_axis(places[0].yaxis, reached)
        places[0].set_ylabel("positive eigenvalues above")
        for axes in places:
            axes.set_xlabel("fraction of the largest")
        keys = [key_of(f"width {width}", Look(look.colour, "none", "-"), marker=False) for width, look in looks.items()]
        states = [
            Line2D([], [], color=GREY, label="whole Hessian"),
            Line2D([], [], color=GREY, linestyle=(0, (4, 1.5)), label="from density"),
        ]
        legend_above(figure, [*keys, *states])
        footnote(figure, f"{_note(rows, networks, tables['eigenvalues'])} {chosen}".strip())
    return figure


def _below_zero(rows: pd.DataFrame, eigenvalues: pd.DataFrame) -> str:
    """The sentence on negative eigenvalues of the networks that have all of theirs in the table."""
    dense = eigenvalues[(eigenvalues["method"] == "dense") & (eigenvalues["matrix"] == "hessian")]
    dense = dense.merge(rows[["study", "cell", "seed"]].astype(str).astype({"seed": int}), on=["study", "cell", "seed"])
    counts = [
        int((part["eigenvalue"] < -SIGNIFICANT * part["eigenvalue"].max()).sum())
        for _, part in dense.groupby(["cell", "seed"], observed=True)
    ]
    if not counts:
        return ""
    several = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
    return f"Below -{SIGNIFICANT:g} of the largest: {several} eigenvalues of each whole Hessian."


def _note(rows: pd.DataFrame, networks: pd.DataFrame, eigenvalues: pd.DataFrame) -> str:
    """What was trained and how far, and what the lines are."""
    kinds = sorted({str(kind) for kind in networks["loss"].unique()})
    per_width = ", ".join(
        f"{int(count)} (width {int(width)})"
        for width, count in itertools.islice(rows.groupby("width")["parameters"].first().items(), MOST_WIDTHS)
    )
    words = " and ".join(kind.replace("_", " ") for kind in kinds)
    reached = f"{rows['loss'].min():.1e} to {rows['loss'].max():.1e}"
    sentences = [
        f"n = {len(rows)} trained networks, a line each; parameters: {per_width}",
        f"Loss on the examples of the Hessian: {words}, {reached}",
    ]
    if "cross_entropy" in kinds:
        sentences.append("Cross entropy has no zero, and the theorem makes no statement about it")
    return f"{'. '.join(sentences)}. {_below_zero(rows, eigenvalues)} Dotted: q; classes; examples times classes, d k."
