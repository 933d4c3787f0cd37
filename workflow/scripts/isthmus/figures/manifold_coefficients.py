"""The figure of local learning coefficients at zeros of the loss, against half the number of equations."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis
from isthmus.figures.looks import GREY, Look, key_of, looks_of
from isthmus.figures.manifold_networks import ACTIVATIONS
from isthmus.figures.marks import draw_markers
from isthmus.figures.panels import nothing, rows_of
from isthmus.figures.style import DOUBLE_COLUMN, finish, new_figure, paper

NETWORK = ["sweep", "seed", "data", "activation", "outputs", "depth", "width", "points"]
TRUSTED = 1.05  # split R-hat, up to which chains agree
QUADRATIC = Look(GREY, "_", "none")
NOT_ASKED = "No local learning coefficient was asked for. Set `learning_coefficient: true` for a sweep to have it."


@paper()
def draw_manifold_coefficients(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Estimates against q / 2, and relative to it against the stiffness, which says how weak the localization is.

    `tables` holds `learning_coefficients`. A marker per theory network, hollow where the chains do not agree. Says so
    where no coefficient was asked for.
    """
    if not (tables["learning_coefficients"]["study"] == study).any():
        return nothing(NOT_ASKED)
    rows = rows_of(study, tables, "learning_coefficients").astype({"smooth": bool, "generic": bool})
    rows = rows.assign(share=rows["coefficient"].astype(float) / rows["predicted"])
    rows["agree"] = rows["r_hat"].astype(float) <= TRUSTED
    best = rows[rows["stiffness"] == rows["stiffness"].max()]
    present = set(rows["activation"])
    looks = {name: look for name, look in looks_of("activation", ACTIVATIONS).items() if name in present}
    figure = new_figure(DOUBLE_COLUMN, 2.3)
    left, right = figure.subplots(1, 2)
    _draw_estimates(left, best, looks)
    _draw_shares(right, rows, looks)
    keys = [*(key_of(name, replace(look, line="none")) for name, look in looks.items())]
    keys += [key_of("chains disagree", Look(GREY, "o", "none", hollow=True))] if not rows["agree"].all() else []
    keys += [key_of("if the loss were quadratic", QUADRATIC)]
    return finish(figure, keys, _note(rows, best))


def _draw_estimates(axes: Any, best: pd.DataFrame, looks: dict[str, Look]) -> None:
    for name, look in looks.items():
        own = best[best["activation"] == name].dropna(subset="coefficient")
        ends: Any = {"color": look.colour, "linewidth": 0.8, "alpha": 0.8, "zorder": 3}
        axes.vlines(own["predicted"], own["low"].astype(float), own["high"].astype(float), **ends)
        for agree, part in own.groupby("agree"):
            own_look = replace(look, hollow=not agree)
            draw_markers(axes, part["predicted"], part["coefficient"].astype(float), own_look, linestyle="none")
    ends = [best["predicted"].min() / 1.3, best[["predicted", "coefficient"]].astype(float).max().max() * 1.3]
    axes.plot(ends, ends, color=GREY, linewidth=0.7, zorder=1, gid="predicted")
    for axis in (axes.xaxis, axes.yaxis):
        decade_axis(axis, ends)
    axes.set(
        xlabel="predicted, q / 2", ylabel="local learning coefficient", title=f"stiffness {best['stiffness'].max():g}"
    )


def _draw_shares(axes: Any, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    """Every network's estimates over q / 2, from left to right in the order of q at each stiffness."""
    order = {
        key: place
        for place, key in enumerate(
            rows.sort_values("predicted")[NETWORK].drop_duplicates().itertuples(index=False, name=None)
        )
    }
    places = np.array([order[key] for key in rows[NETWORK].itertuples(index=False, name=None)])
    spread = np.exp((places / max(len(order) - 1, 1) - 0.5) * 1.2)
    rows = rows.assign(at=rows["stiffness"] * spread)
    axes.plot(
        rows["at"],
        rows["quadratic"] / rows["predicted"],
        QUADRATIC.marker,
        color=GREY,
        markersize=4,
        zorder=2,
        gid="quadratic",
    )
    for name, look in looks.items():
        for agree, part in rows[rows["activation"] == name].groupby("agree"):
            own_look = replace(look, hollow=not agree)
            draw_markers(axes, part["at"], part["share"], own_look, 2.4, linestyle="none", alpha=0.8)
    axes.axhline(1, color=GREY, linewidth=0.7, zorder=1)
    decade_axis(axes.xaxis, rows["at"])
    axes.set(
        xlabel="stiffness: weakest equation / localization",
        ylabel="coefficient / (q / 2)",
        ylim=(0, max(1.15, 1.05 * float(rows["share"].max()))),
    )


def _note(rows: pd.DataFrame, best: pd.DataFrame) -> str:
    shares, acceptance = best["share"].dropna(), rows["acceptance"]
    inside = (
        (best["low"].astype(float) <= best["quadratic"]) & (best["quadratic"] <= best["high"].astype(float))
    ).sum()
    parts = [
        f"n = {rows[NETWORK].drop_duplicates().shape[0]} zeros. At the highest stiffness, the estimate is "
        f"{shares.min():.3f} to {shares.max():.3f} times q / 2 (mean {shares.mean():.3f}), and {inside} of {len(best)} "
        "intervals of 95 %, Student's over chains, contain the value of a quadratic loss",
        f"Largest split R-hat {rows['r_hat'].astype(float).max():.3f}; {acceptance.min():.0%} to "
        f"{acceptance.max():.0%} of steps accepted".replace("%", " %"),
        f"Root mean square distance from the zero: {(rows['distance'] / rows['norm']).min():.1e} to "
        f"{(rows['distance'] / rows['norm']).max():.1e} of the norm of the weights",
    ]
    if outside := int((~(best["smooth"] & best["generic"])).sum()):
        parts.append(f"{outside} networks are outside the assumptions, with kinks or related targets")
    return ". ".join(parts) + "."
