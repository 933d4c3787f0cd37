"""The figures of the zero set of the loss: what is counted there, and what happens at the interpolation boundary."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.figures.lines import FRACTION, Measure, draw_line, extent
from isthmus.figures.manifold_outliers import draw_manifold_outliers
from isthmus.figures.manifold_walks import draw_manifold_walks
from isthmus.figures.panels import evenly, nothing, rows_of, say
from isthmus.figures.style import (
    DOUBLE_COLUMN,
    GREY,
    OKABE_ITO,
    Look,
    decade_axis,
    footnote,
    legend_above,
    legend_key,
    log_axis,
    look_of,
    new_figure,
    paper,
)

__all__ = [
    "draw_manifold_boundary",
    "draw_manifold_counts",
    "draw_manifold_outliers",
    "draw_manifold_spectra",
    "draw_manifold_walks",
]

ACTIVATIONS = ("tanh", "softplus", "gelu", "relu")
RATIO = "parameters per equation, $n / q$"
MOST_SPECTRA = 4
MOST_SCANS = 4  # panels of the boundary
MOST_LINES = 4  # in each
LEAST_SCAN = 4  # ratios n / q that make a line
NEGATIVE = OKABE_ITO[1]
SCAN = ["data", "activation", "depth", "outputs"]
BOUNDARY = (
    Measure("smallest_at_zero", "smallest positive\neigenvalue", "smallest eigenvalue"),
    Measure("relative_distance", "distance from the\nstart / its norm", "distance"),
    Measure("off_data_rms", "rms output\noff the data", "output off the data"),
    Measure("off_data_error", "test error", "test error", log=False, limits=FRACTION),
)


def networks_of(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The theory networks of a study, with `ratio`, n / q, and what the functions for lines over networks want."""
    rows = rows_of(study, tables, "manifold")
    rows["ratio"] = rows["parameters"] / rows["constraints"]
    rows["relative_distance"] = rows["distance"] / rows["start_norm"]
    rows["smallest_at_zero"] = rows["smallest_squared_singular"].where(rows["solved"].astype(bool))
    return rows.assign(diverged=False)


def _sum(condition: pd.Series) -> int:
    return int(condition.astype(bool).sum())


def _found(rows: pd.DataFrame) -> str:
    """Where a zero was found, of the networks that one is expected for."""
    expected = rows["solution_expected"].astype(bool)
    return f"{_sum(rows['solved'].astype(bool) & expected)} of {_sum(expected)}"


def _counts_note(rows: pd.DataFrame) -> str:
    """How many networks were looked at, were solved, and have the predicted counts."""
    smooth, kinked = (rows[rows["smooth"].astype(bool) == kind] for kind in (True, False))
    zeros = smooth[smooth["solved"].astype(bool)]
    right = zeros["positive"] == zeros["predicted_rank"]
    whole = zeros["counted_from"] == "hessian"
    ranked = _sum(zeros["jacobian_rank"] == zeros["predicted_rank"])
    below = smooth[smooth["parameters"] < smooth["constraints"]]
    parts = [
        f"n = {len(smooth)} smooth theory networks. A zero of the loss was found in {_found(smooth)} where one is "
        f"expected, and in {_sum(below['solved'])} of {len(below)} with n < q",
        f"At the {len(zeros)} zeros the positive eigenvalues are as many as predicted in {_sum(right)}, and the "
        f"Jacobian has the predicted rank in {ranked}; {_sum(zeros['negative'] > 0)} have a negative eigenvalue above "
        "the gap",
    ]
    if _sum(~whole):
        parts.append(f"{_sum(~whole)} of the zeros, too large for the Hessian, are counted from the Jacobian")
    written = rows[rows["constructible"].astype(bool)]
    if len(written):
        worst = written[["constructed_loss", "memorized_loss"]].astype(float).max().max()
        parts.append(
            f"Weights written down for {len(written)} networks wider than d have losses of at most {worst:.0e}"
        )
    if len(kinked):
        parts.append(f"Beside them {len(kinked)} ReLU networks, outside the assumptions: {_found(kinked)}")
    return ". ".join(parts) + "."


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
        right.set(xlabel=RATIO, ylabel="gap (decades)", ylim=(0, None))
        keys = [legend_key(name, _dot(look_of("activation", name, ACTIVATIONS))) for name in present]
        if not rows["solved"].all():
            keys.append(legend_key("no zero found", Look(GREY, "o", "none")))
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
        keys = [_marker_key("positive", OKABE_ITO[0], "o"), _marker_key("negative", NEGATIVE, "x")]
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
        for sign, colour, marker in ((1, OKABE_ITO[0], "o"), (-1, NEGATIVE, "x")):
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
    axes.text(0.05, 0.05, words, transform=axes.transAxes, fontsize=7)
    log_axis(axes.xaxis, [1, equations, count], most=8)
    axes.set_xlabel("place in the order")
    kind = "arbitrary targets" if first["data"] == "random" else "images"
    axes.set_title(f"$n$ = {count}, $q$ = {equations}\n{first['activation']}, {kind}")
    return drawn


def _scans(rows: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Panels of the boundary: title, what is the same along a line (`points` or `width`), rows; longest first."""
    found = []
    for values, part in rows.groupby(SCAN, observed=True):
        fixed = "points" if part["width"].nunique() >= part["points"].nunique() else "width"
        long = part.groupby(fixed)["ratio"].transform("nunique") >= LEAST_SCAN
        if long.any():
            data, activation, depth, outputs = values
            words = [activation, "arbitrary targets" if data == "random" else "images"]
            words += [f"{depth} layers"] * (depth > 1) + [f"{outputs} outputs"] * (outputs > 1)
            found.append((", ".join(words), fixed, part[long]))
    found.sort(key=lambda scan: -scan[2]["ratio"].nunique())
    return found[:MOST_SCANS]


def _scan_looks(scans: Iterable[tuple[str, str, pd.DataFrame]]) -> dict[tuple[str, int], Look]:
    """A look for each line of all panels, by what is fixed along it and its value."""
    kinds: dict[str, set[int]] = {}
    for _, fixed, part in scans:
        kinds.setdefault(fixed, set()).update(evenly(sorted(int(v) for v in part[fixed].unique()), MOST_LINES))
    everything = [(fixed, value) for fixed, values in sorted(kinds.items()) for value in sorted(values)]
    return {each: look_of("line", number, range(1, len(everything) + 1)) for number, each in enumerate(everything, 1)}


def draw_manifold_boundary(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """What happens where parameters are as many as equations: against n / q, on log axes, a panel per kind of problem.

    `tables` holds `manifold`. From top to bottom: at zeros of the loss the smallest positive eigenvalue of the
    Hessian, which is the smallest squared singular value of the Jacobian; the distance of the minimum from the start;
    the function's size off the data; on images the test error. Lines: means over seeds, geometric on log axes, with
    intervals. Says so where no sweep crosses enough ratios. Raises DataError where the study has no theory network.
    """
    rows = networks_of(study, tables)
    scans = _scans(rows)
    with paper():
        if not scans:
            return nothing(
                f"No sweep has {LEAST_SCAN} ratios n / q of what is otherwise the same: give one more widths."
            )
        images = any(part["off_data_error"].notna().any() for _, _, part in scans)
        measures, looks = BOUNDARY[: 4 if images else 3], _scan_looks(scans)
        figure = new_figure(DOUBLE_COLUMN * {1: 0.5, 2: 0.75}.get(len(scans), 1), 1.35 * len(measures) + 0.9)
        grid = figure.subplots(len(measures), len(scans), sharex="col", sharey="row", squeeze=False)
        counts: set[int] = set()
        for column, scan in enumerate(scans):
            counts |= _draw_scan(grid[:, column], scan, measures, looks)
        for row, measure in zip(grid, measures, strict=True):
            row[0].set_ylabel(measure.label)
            everything = [part.assign(mean=part[measure.column]) for _, _, part in scans]
            whole = pd.concat(everything)
            if measure.log:
                decade_axis(row[0].yaxis, extent(whole, whole.assign(low=whole["mean"], high=whole["mean"]), measure))
            else:
                row[0].set_ylim(0, None)
        keys = [
            legend_key(f"{'d' if fixed == 'points' else fixed} = {value}", look)
            for (fixed, value), look in looks.items()
        ]
        hollow = legend_key("no zero found", Look(GREY, "o", "none"))
        hollow.set_markerfacecolor("none")
        legend_above(figure, [*keys, hollow])
        several = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{min(counts)}"
        note = f"n = {several} networks per point. Dots: networks. Lines: means over seeds, geometric on log axes. "
        note += "Bars: 95 % bootstrap intervals of the mean. Dotted: n = q. Searches start at small random weights."
        footnote(figure, note)
    return figure


def _draw_scan(
    stack: Any, scan: tuple[str, str, pd.DataFrame], measures: Iterable[Measure], looks: dict[tuple[str, int], Look]
) -> set[int]:
    """One column of the boundary; returns the numbers of networks behind its points."""
    title, fixed, part = scan
    counts: set[int] = set()
    for axes, measure in zip(stack, measures, strict=True):
        axes.axvline(1, color=GREY, linewidth=0.7, linestyle=":", zorder=1)
        if part[measure.column].isna().all():
            say(axes, "arbitrary targets:\nno test error")
            continue
        for value in sorted(part[fixed].unique()):
            look = looks.get((fixed, int(value)))
            if look is None:
                continue
            own = part[part[fixed] == value]
            summary = draw_line(axes, own, measure, "ratio", look, gid=f"{measure.column} {fixed}={value}", dots=False)
            counts |= {int(count) for count in summary["count"] if count}
            for solved, dots in own.groupby(own["solved"].astype(bool)):
                axes.plot(
                    *(dots["ratio"], dots[measure.column], look.marker),
                    color=look.colour,
                    markerfacecolor=look.colour if solved else "none",
                    markersize=2.2,
                    markeredgewidth=0.4,
                    alpha=0.45,
                    linestyle="none",
                    zorder=2,
                )
    stack[0].set_title(title)
    stack[-1].set_xlabel(RATIO)
    decade_axis(stack[-1].xaxis, part["ratio"])
    return counts
