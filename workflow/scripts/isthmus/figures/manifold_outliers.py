"""The figure of trained networks compared with the theorem: how many eigenvalues of their Hessians are large."""

from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis
from isthmus.figures.looks import GREY, PALETTE, Look, key_of, keys_of, looks_in
from isthmus.figures.manifold_networks import networks_of
from isthmus.figures.notes import span
from isthmus.figures.panels import (
    Panel,
    choose,
    evenly,
    fewer_panels,
    in_all_panels,
    lay_out,
    nothing,
    panels_of,
    rows_of,
    say,
)
from isthmus.figures.style import finish, listed, paper

PANELS = ("depth", "batch_size")
NETWORK = ["study", "cell", "seed"]
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
    networks, rows = networks_of(study, tables), tables["manifold_eigenvalues"]
    fit = networks["solved"] & networks["smooth"] & networks["generic"] & (networks["ratio"] > 1)
    rows = rows[(rows["matrix"] == "hessian") & (rows["seed"] == 0)].merge(networks.loc[fit, columns], on=columns)
    largest = rows.sort_values(["constraints", "parameters"]).drop_duplicates("constraints", keep="last")
    chosen = largest[largest["constraints"].isin(_apart(largest["constraints"].tolist()))]
    return rows.merge(chosen[columns], on=columns)


def _draw_theory(axes: Axes, rows: pd.DataFrame) -> list[float]:
    """The panel of theory networks, one per number of equations; returns the counts it has to show."""
    reached = [1.0]
    for colour, (equations, own) in zip(THEORY, rows.groupby("constraints"), strict=False):
        axes.step(*counted_above(own["eigenvalue"].to_numpy()), where="post", color=colour)
        _draw_level(axes, equations, f"n = {len(own)}, q = {equations}", colour, at=0.75)
        reached += [len(own), equations]
    if rows.empty:
        say(axes, "no whole Hessian\nof such a network")
    return reached


def _draw_level(axes: Axes, level: int, words: str, colour: str, *, at: float) -> None:
    """A dotted line with words on it that end `at` a share of the width of the panel."""
    axes.axhline(level, color=colour, linestyle=":", linewidth=0.8)
    axes.text(at, level * 1.1, words, transform=axes.get_yaxis_transform(), ha="right", color=colour)


def _counts(network: Any, dense: pd.DataFrame, spectrum: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, Any]:
    """The eigenvalues of a trained network, counted, and the style of its line; empty where none were measured."""
    dense, spectrum = (
        table[(table["cell"] == network.cell) & (table["seed"] == network.seed)] for table in (dense, spectrum)
    )
    if (dense["eigenvalue"] > 0).any():
        return *counted_above(dense["eigenvalue"].to_numpy()), WHOLE.line
    if spectrum.empty or not network.top_eigenvalue > 0:
        return np.empty(0), np.empty(0), WHOLE.line
    return *counted_from_density(spectrum, int(network.parameters), network.top_eigenvalue), FROM_DENSITY.line


def _draw_trained(axes: Axes, panel: pd.DataFrame, counts: list[Any], looks: dict[int, Look]) -> list[float]:
    """One panel of trained networks, a line each; returns the counts it has to show."""
    for network, (x, y, line) in zip(panel.itertuples(), counts, strict=True):
        axes.plot(x, y, color=looks[int(network.width)].colour, linewidth=0.8, alpha=0.8, linestyle=line)
    reached = [float(y[-1]) for _, y, _ in counts if len(y)]
    if not reached:
        say(axes, "neither whole Hessians\nnor spectral densities")
        return reached
    classes, images = (int(panel[column].iloc[0]) for column in ("classes", "images"))
    for level, words in ((classes, f"{classes} classes"), (images * classes, f"d k = {images * classes}")):
        _draw_level(axes, level, words, GREY, at=0.98)
        reached.append(level * 2)
    return reached


@paper()
def draw_manifold_outliers(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """How many Hessian eigenvalues exceed a fraction of the largest: theory networks, and the study's trained ones.

    `tables` holds `manifold`, `manifold_eigenvalues`, `eigenvalues`, `spectrum`, `curvature`, `networks`. An empty
    panel says why. Raises DataError where the study has no network.
    """
    networks = rows_of(study, tables, "networks")
    rows = rows_of(study, tables, "curvature").merge(networks[["cell", "seed", "classes"]], on=["cell", "seed"])
    rows = rows[rows["final"].astype(bool) & rows["top_eigenvalue"].notna()].reset_index(drop=True)
    if rows.empty:
        return nothing(NOTHING)
    rows, chosen = choose(rows, fewer_panels(rows, MOST_PANELS) | {"width": MOST_WIDTHS})
    looks = looks_in(tables, "width", rows["width"])
    eigenvalues, spectrum = (tables[name][tables[name]["study"] == study] for name in ("eigenvalues", "spectrum"))
    dense = eigenvalues[(eigenvalues["method"] == "dense") & (eigenvalues["matrix"] == "hessian")]
    theory = Panel("theory networks\nat zero loss", _theory(study, tables))
    trained = chain.from_iterable(panels_of(rows, PANELS))
    panels = [theory, *(Panel(f"trained networks\n{panel.title}", panel.rows) for panel in trained)]
    figure, placed = lay_out([panels], ["positive eigenvalues above"], "fraction of the largest", panel_height=2.0)
    reached, without = _draw_theory(placed[0][1][0], theory.rows), 0
    for panel, (axes,) in placed[1:]:
        counts = [_counts(network, dense, spectrum) for network in panel.rows.itertuples()]
        reached += _draw_trained(axes, panel.rows, counts, looks)
        without += sum(len(y) == 0 for _, y, _ in counts)
    for _, (axes,) in placed:
        decade_axis(axes.xaxis, [LOWEST, 1.0], most=4)
        axes.xaxis.set_inverted(True)
    decade_axis(placed[0][1][0].yaxis, reached)
    keys = keys_of("width", {width: replace(look, line="-") for width, look in looks.items()}, marker=False)
    keys += [key_of("whole Hessian", WHOLE), key_of("from density", FROM_DENSITY)]
    sentences = [_note(rows, without, networks["loss"]), _below_zero(rows, dense), in_all_panels(rows, PANELS, chosen)]
    return finish(figure, keys, " ".join(filter(None, [*sentences, chosen])))


def _below_zero(rows: pd.DataFrame, dense: pd.DataFrame) -> str:
    """The sentence on negative eigenvalues of the networks that have all of theirs in the table."""
    each = [own for _, own in dense.merge(rows[NETWORK], on=NETWORK).groupby(NETWORK, observed=True)["eigenvalue"]]
    below = [int((own < -SIGNIFICANT * own.max()).sum()) for own in each]
    return f"Below -{SIGNIFICANT:g} of the largest: {span(below)} eigenvalues of each whole Hessian." if below else ""


def _note(rows: pd.DataFrame, without: int, losses: pd.Series) -> str:
    """What was trained and how far."""
    note = f"n = {len(rows) - without} trained networks, a line each"
    note += f"; of {without} more, neither all eigenvalues nor a density were computed" if without else ""
    sizes = rows.groupby("width")["parameters"].first().items()
    note += f". Parameters: {', '.join(f'{count} (width {width})' for width, count in sizes)}. Loss on the examples of "
    kinds = listed([kind.replace("_", " ") for kind in sorted(losses.unique())])
    return f"{note}the Hessian: {kinds}, {rows['loss'].min():.1e} to {rows['loss'].max():.1e}."
