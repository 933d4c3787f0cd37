"""The figure of trained networks beside the theorem: how many eigenvalues of their Hessians are large."""

from dataclasses import replace
from itertools import chain, islice
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis
from isthmus.figures.choice import choose, evenly, fewer_panels
from isthmus.figures.looks import GREY, PALETTE, Look, key_of, looks_in
from isthmus.figures.notes import span
from isthmus.figures.panels import Panel, in_all_panels, lay_out, nothing, panels_of, rows_of, say
from isthmus.figures.style import finish, listed, paper

PANELS = ("depth", "batch_size")
MOST_THEORY = 3
MOST_PANELS = 2  # of trained networks
MOST_WIDTHS = 6
LOWEST = 1e-18  # of the largest eigenvalue, where the axis ends
RESOLVED = 3.0  # standard deviations of its smoothing from which a density tells eigenvalues from zero
SIGNIFICANT = 1e-6  # of the largest eigenvalue: what counts as negative
WHOLE, FROM_DENSITY = Look(GREY, "none"), Look(GREY, "none", (0, (4, 1.5)))
THEORY = (PALETTE[0], PALETTE[2], PALETTE[3])
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


def _theory(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The Hessian eigenvalues of one theory network at zero loss for each of a few numbers of equations."""
    columns = ["study", "sweep", "data", "activation", "outputs", "depth", "width", "points", "seed"]
    networks, rows = tables["manifold"], tables["manifold_eigenvalues"]
    fit = networks[["solved", "smooth", "generic"]].all(axis=1) & (networks["parameters"] > networks["constraints"])
    rows = rows[(rows["study"] == study) & (rows["matrix"] == "hessian") & (rows["seed"] == 0)]
    rows = rows.merge(networks.loc[fit, columns], on=columns)
    largest = rows.sort_values(["constraints", "parameters"]).drop_duplicates("constraints", keep="last")
    chosen = largest[largest["constraints"].isin(_apart(largest["constraints"].tolist()))]
    return rows.merge(chosen[columns], on=columns)


def _draw_theory(axes: Axes, rows: pd.DataFrame) -> list[float]:
    """The panel of theory networks, one per number of equations; returns the counts it has to show."""
    reached = [1.0]
    for colour, (equations, own) in zip(THEORY, rows.groupby("constraints"), strict=False):
        axes.step(*counted_above(own["eigenvalue"].to_numpy()), where="post", color=colour)
        axes.axhline(equations, color=colour, linestyle=":", linewidth=0.8)
        words, place = f"n = {len(own)}, q = {equations}", axes.get_yaxis_transform()
        axes.text(0.6, equations * 1.12, words, transform=place, ha="center", color=colour)
        reached += [len(own), equations]
    if rows.empty:
        say(axes, "no whole Hessian\nof such a network")
    return reached


def _counts(network: Any, tables: dict[str, pd.DataFrame]) -> tuple[np.ndarray, np.ndarray, Any]:
    """The eigenvalues of a trained network, counted, and the style of its line; empty where none were measured."""
    eigenvalues, spectrum = (
        table[(table["cell"] == network.cell) & (table["seed"] == network.seed) & (table["study"] == network.study)]
        for table in (tables["eigenvalues"], tables["spectrum"])
    )
    dense = eigenvalues[(eigenvalues["method"] == "dense") & (eigenvalues["matrix"] == "hessian")]
    if (dense["eigenvalue"] > 0).any():
        return *counted_above(dense["eigenvalue"].to_numpy()), WHOLE.line
    if spectrum.empty or not network.top_eigenvalue > 0:
        return np.empty(0), np.empty(0), WHOLE.line
    return *counted_from_density(spectrum, int(network.parameters), network.top_eigenvalue), FROM_DENSITY.line


def _draw_trained(axes: Axes, panel: pd.DataFrame, counts: list[Any], looks: dict[int, Look]) -> list[float]:
    """One panel of trained networks, a line each; returns the counts it has to show."""
    reached = [1.0]
    for network, (x, y, line) in zip(panel.itertuples(), counts, strict=True):
        axes.plot(x, y, color=looks[int(network.width)].colour, linewidth=0.8, alpha=0.8, linestyle=line)
        reached += [float(y[-1])] if len(y) else []
    if len(reached) == 1:
        say(axes, "neither whole Hessians\nnor spectral densities")
        return reached
    classes, images = (int(panel[column].iloc[0]) for column in ("classes", "images"))
    for level, words in ((classes, f"{classes} classes"), (images * classes, f"d k = {images * classes}")):
        axes.axhline(level, color=GREY, linestyle=":", linewidth=0.8)
        axes.text(0.98, level * 1.1, words, transform=axes.get_yaxis_transform(), ha="right", color=GREY)
        reached.append(level * 2)
    return reached


@paper()
def draw_manifold_outliers(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """How many Hessian eigenvalues exceed a fraction of the largest: theory networks, and the study's trained ones.

    `tables` holds `manifold`, `manifold_eigenvalues`, `eigenvalues`, `spectrum`, `curvature`, `networks`. Log axes.
    Left, some theory networks at zero loss, with dotted lines at q; then the trained networks, a panel per depth and
    batch size, a line per network: solid from the dense Hessian, dashed from the spectral density. Grey lines are at
    the number of classes and at examples times classes. An empty panel says why. Raises DataError where the study has
    no network.
    """
    networks = rows_of(study, tables, "networks")
    rows = rows_of(study, tables, "curvature").merge(networks[["cell", "seed", "classes"]], on=["cell", "seed"])
    rows = rows[rows["final"].astype(bool) & rows["top_eigenvalue"].notna()].reset_index(drop=True)
    if rows.empty:
        return nothing(NOTHING)
    rows, chosen = choose(rows, fewer_panels(rows, MOST_PANELS) | {"width": MOST_WIDTHS})
    looks = looks_in(tables, "width", rows["width"])
    theory = Panel("theory networks\nat zero loss", _theory(study, tables))
    trained = chain.from_iterable(panels_of(rows, PANELS))
    panels = [theory, *(Panel(f"trained networks\n{panel.title}", panel.rows) for panel in trained)]
    figure, placed = lay_out([panels], ["positive eigenvalues above"], "fraction of the largest", panel_height=2.0)
    reached, without = _draw_theory(placed[0][1][0], theory.rows), 0
    for panel, (axes,) in placed[1:]:
        counts = [_counts(network, tables) for network in panel.rows.itertuples()]
        reached += _draw_trained(axes, panel.rows, counts, looks)
        without += sum(len(y) == 0 for _, y, _ in counts)
    for _, (axes,) in placed:
        decade_axis(axes.xaxis, [LOWEST, 1.0], most=4)
        axes.xaxis.set_inverted(True)
    decade_axis(placed[0][1][0].yaxis, reached)
    keys = [key_of(f"width {width}", replace(look, line="-"), marker=False) for width, look in looks.items()]
    keys += [key_of("whole Hessian", WHOLE), key_of("from density", FROM_DENSITY)]
    note = _note(rows, without, networks, tables["eigenvalues"])
    return finish(figure, keys, " ".join(filter(None, (note, in_all_panels(rows, PANELS, chosen), chosen))))


def _below_zero(rows: pd.DataFrame, eigenvalues: pd.DataFrame) -> str:
    """The sentence on negative eigenvalues of the networks that have all of theirs in the table."""
    dense = eigenvalues[(eigenvalues["method"] == "dense") & (eigenvalues["matrix"] == "hessian")]
    dense = dense.merge(rows[["study", "cell", "seed"]], on=["study", "cell", "seed"])
    if dense.empty:
        return ""
    largest = dense.groupby(["cell", "seed"], observed=True)["eigenvalue"].transform("max")
    below = (dense["eigenvalue"] < -SIGNIFICANT * largest).groupby([dense["cell"], dense["seed"]], observed=True).sum()
    return f"Below -{SIGNIFICANT:g} of the largest: {span(below)} eigenvalues of each whole Hessian. "


def _note(rows: pd.DataFrame, without: int, networks: pd.DataFrame, eigenvalues: pd.DataFrame) -> str:
    """What was trained and how far, and what the lines are."""
    kinds = sorted(networks["loss"].unique())
    sizes = islice(rows.groupby("width")["parameters"].first().items(), MOST_WIDTHS)
    note = f"n = {len(rows) - without} trained networks, a line each"
    note += f"; of {without} more, neither all eigenvalues nor a density were computed" if without else ""
    note += f". Parameters: {', '.join(f'{count} (width {width})' for width, count in sizes)}. Loss on the examples of "
    note += f"the Hessian: {listed([kind.replace('_', ' ') for kind in kinds])}, {rows['loss'].min():.1e} to "
    note += f"{rows['loss'].max():.1e}. "
    if "cross_entropy" in kinds:
        note += "Cross entropy has no zero, and the theorem makes no statement about it. "
    return f"{note}{_below_zero(rows, eigenvalues)}Dotted: q; classes; examples times classes, d k."
