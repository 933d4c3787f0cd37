"""The figures of what is counted at zeros of the loss: positive eigenvalues, and the whole spectra."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.axes import decade_axis, log_axis
from isthmus.figures.looks import GREY, PALETTE, Look, key_of, look_of
from isthmus.figures.panels import evenly, nothing, rows_of
from isthmus.figures.style import DOUBLE_COLUMN, FONT_SIZE, footnote, legend_above, new_figure, paper

ACTIVATIONS = ("tanh", "softplus", "gelu", "relu")
RATIO = "parameters per equation, $n / q$"
MOST_SPECTRA = 4
NEGATIVE = PALETTE[1]
SCAN = ["data", "activation", "depth", "outputs"]


def networks_of(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The theory networks of a study, with `ratio`, n / q, and what the functions for lines over networks want."""
    rows = rows_of(study, tables, "manifold")
    rows["ratio"] = rows["parameters"] / rows["constraints"]
    rows["relative_distance"] = rows["distance"] / rows["start_norm"]
    rows["smallest_at_zero"] = rows["smallest_squared_singular"].where(rows["solved"].astype(bool))
    return rows.assign(diverged=False)


def _sum(condition: pd.Series) -> int:
    return int(condition.astype(bool).sum())


def share_of(count: int, total: int) -> str:
    """A proportion with its exact 95 % limits (Clopper & Pearson 1934), such as `0 of 8 (0 to 37 %)`."""
    if not total:
        return "0 of 0"
    from scipy.stats import binomtest

    limits = binomtest(count, total).proportion_ci(confidence_level=0.95, method="exact")
    low, high = (f"{100 * limit:.3g}" for limit in (limits.low, limits.high))
    return f"{count} of {total} ({low} to {high} %)"


def _found(rows: pd.DataFrame) -> str:
    """Where a zero was found, of the networks that one is expected for."""
    expected = rows["solution_expected"].astype(bool)
    return share_of(_sum(rows["solved"].astype(bool) & expected), _sum(expected))


def _counts_note(rows: pd.DataFrame) -> str:
    """How many networks were looked at, were solved, and have the predicted counts."""
    inside = rows["smooth"].astype(bool) & rows["generic"].astype(bool)
    smooth, kinked = rows[inside], rows[~rows["smooth"].astype(bool)]
    related = rows[rows["smooth"].astype(bool) & ~rows["generic"].astype(bool)]
    zeros = smooth[smooth["solved"].astype(bool)]
    right = zeros["positive"] == zeros["predicted_rank"]
    whole = zeros["counted_from"] == "hessian"
    ranked = _sum(zeros["jacobian_rank"] == zeros["predicted_rank"])
    below = smooth[smooth["parameters"] < smooth["constraints"]]
    parts = [
        f"n = {len(smooth)} theory networks within the assumptions. A zero of the loss was found in {_found(smooth)} "
        f"where one is expected, and in {share_of(_sum(below['solved']), len(below))} with n < q",
        f"The positive eigenvalues are as many as predicted at {share_of(_sum(right), len(zeros))} zeros, and the "
        f"Jacobian has the predicted rank at {ranked}; {share_of(_sum(zeros['negative'] > 0), len(zeros))} have a "
        "negative eigenvalue above the gap",
    ]
    if _sum(~whole):
        parts.append(f"{_sum(~whole)} of the zeros, too large for the Hessian, are counted from the Jacobian")
    written = rows[rows["constructible"].astype(bool)]
    if len(written):
        worst = written[["constructed_loss", "memorized_loss"]].astype(float).max().max()
        parts.append(
            f"Weights written down for {len(written)} networks wider than d have losses of at most {worst:.0e}"
        )
    if len(related):
        found = related[related["solved"].astype(bool)]
        parts.append(
            f"Beside them {len(related)} networks on one-hot targets, which are not generic: {_found(related)}, and "
            f"{share_of(_sum(found['positive'] == found['predicted_rank']), len(found))} zeros with the predicted count"
        )
    if len(kinked):
        parts.append(f"Beside them {len(kinked)} ReLU networks, which are not smooth: {_found(kinked)}")
    return ". ".join(parts) + ". In parentheses: exact 95 % limits, which take networks for independent."


def draw_manifold_counts(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Positive eigenvalues at the minima found against min(n, q), and the gap that separates them, against n / q.

    `tables` holds `manifold`. A marker per theory network, its colour the activation, hollow where no zero of the loss
    was found. Log axes; the gap is in decades. Raises DataError where the study has none.
    """
    rows = networks_of(study, tables)
    with paper():
        figure = new_figure(DOUBLE_COLUMN * 0.8, 3.0)
        left, right = figure.subplots(1, 2)
        present = [name for name in ACTIVATIONS if name in set(rows["activation"])]
        for name in present:
            look = look_of("activation", name, ACTIVATIONS)
            own = rows[rows["activation"] == name]
            for solved, part in own.groupby(own["solved"].astype(bool)):
                _markers(left, part["predicted_rank"], part["positive"], look, solved)
                _markers(right, part["ratio"], part["gap"], look, solved)
        ends = [rows["predicted_rank"].min() / 1.3, max(rows["predicted_rank"].max(), rows["positive"].max()) * 1.3]
        left.plot(ends, ends, color=GREY, linewidth=0.7, zorder=1, gid="predicted")
        for axis in (left.xaxis, left.yaxis):
            decade_axis(axis, ends)
        left.set(xlabel="predicted, min$(n, q)$", ylabel="positive eigenvalues, counted", aspect="equal")
        decade_axis(right.xaxis, rows["ratio"])
        right.axvline(1, color=GREY, linewidth=0.7, linestyle=":", zorder=1)
        right.set(
            xlabel=RATIO, ylabel="gap (decades)", ylim=(0, 1.08 * rows["gap"].max() if rows["gap"].any() else None)
        )
        keys = [key_of(name, _dot(look_of("activation", name, ACTIVATIONS))) for name in present]
        if not rows["solved"].all():
            keys.append(key_of("no zero found", Look(GREY, "o", "none")))
            keys[-1].set_markerfacecolor("none")
        legend_above(figure, keys)
        footnote(figure, _counts_note(rows))
    return figure


def _dot(look: Look) -> Look:
    return Look(look.colour, look.marker, "none")


def _markers(axes: Axes, x: pd.Series, y: pd.Series, look: Look, filled: bool) -> None:
    axes.plot(
        *(x, y, look.marker),
        color=look.colour,
        markerfacecolor=look.colour if filled else "none",
        markeredgewidth=0.6,
        markersize=3.2,
        alpha=0.6 if filled else 0.9,
        linestyle="none",
        zorder=3 if filled else 2,
    )


def _spectra_shown(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The zeros of a few combinations, evenly spread over the ratios n / q; of equal ratios that of most seeds."""
    whole = rows[rows["solved"].astype(bool) & rows["smooth"].astype(bool) & (rows["counted_from"] == "hessian")]
    kinds = [part for _, part in whole.groupby(["sweep", *SCAN, "width", "points"], observed=True)]
    kinds.sort(key=lambda part: (len(part), part["parameters"].iloc[0]))
    by_ratio = {round(float(part["ratio"].iloc[0]), 1): part for part in kinds}
    return evenly([by_ratio[ratio] for ratio in sorted(by_ratio)], MOST_SPECTRA)


def draw_manifold_spectra(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """All Hessian eigenvalues at zeros of the loss, by magnitude, a panel for each of a few ratios n / q.

    `tables` holds `manifold` and `manifold_eigenvalues`. Log axes; a line of dots per seed, negative eigenvalues in
    another colour; the dotted line is at q, the predicted number of positive ones. Raises DataError where the study
    has no theory network.
    """
    rows = networks_of(study, tables)
    with paper():
        shown = _spectra_shown(rows)
        if not shown:
            return nothing("No zero of the loss was found whose whole Hessian was computed.")
        spectra = rows_of(study, tables, "manifold_eigenvalues")
        spectra = spectra[spectra["matrix"] == "hessian"]
        figure = new_figure(DOUBLE_COLUMN * (1 if len(shown) > 2 else 0.7), 2.7)
        drawn: list[float] = []
        places = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, part in zip(places, shown, strict=True):
            drawn += _draw_spectra(axes, part, spectra)
        decade_axis(places[0].yaxis, drawn)
        places[0].set_ylabel("magnitude of the eigenvalue")
        keys = [_marker_key("positive", PALETTE[0], "o"), _marker_key("negative", NEGATIVE, "x")]
        legend_above(figure, [*keys, Line2D([], [], color=GREY, linestyle=":", label="predicted, $q$")])
        counts = sorted({part["seed"].nunique() for part in shown})
        several = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        note = f"n = {several} networks per panel, all drawn; gap: least and greatest, in decades."
        footnote(
            figure, f"{note} Eigenvalues that are zero in exact arithmetic come out at rounding level, of either sign."
        )
    return figure


def _marker_key(label: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", label=label)


def _draw_spectra(axes: Axes, part: pd.DataFrame, spectra: pd.DataFrame) -> list[float]:
    """The eigenvalues of one combination; returns the magnitudes drawn."""
    first, drawn = part.iloc[0], []
    columns = ["sweep", *SCAN, "width", "points"]
    own = spectra[(spectra[columns] == first[columns]).all(axis=1) & spectra["seed"].isin(part["seed"])]
    for _, each in own.groupby("seed"):
        each = each.reindex(each["eigenvalue"].abs().sort_values(ascending=False).index)
        place, value = np.arange(1, len(each) + 1), each["eigenvalue"].to_numpy()
        for sign, colour, marker in ((1, PALETTE[0], "o"), (-1, NEGATIVE, "x")):
            chosen = sign * value > 0
            axes.plot(
                *(place[chosen], np.abs(value[chosen]), marker),
                color=colour,
                markersize=1.6,
                markeredgewidth=0.4,
                alpha=0.5,
                linestyle="none",
                zorder=3 if sign < 0 else 2,
            )
        drawn += list(np.abs(value[value != 0]))
    equations, count = int(first["constraints"]), int(first["parameters"])
    axes.axvline(equations + 0.5, color=GREY, linestyle=":", linewidth=0.9, zorder=1)
    low, high = part["gap"].min(), part["gap"].max()
    words = f"gap {low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"gap {low:.1f} to {high:.1f}"
    axes.text(0.05, 0.05, words, transform=axes.transAxes, fontsize=FONT_SIZE)
    log_axis(axes.xaxis, [1, equations, count], most=8)
    axes.set_xlabel("place in the order")
    kind = "arbitrary targets" if first["data"] == "random" else "images"
    axes.set_title(f"$n$ = {count}, $q$ = {equations}\n{first['activation']}, {kind}")
    return drawn
