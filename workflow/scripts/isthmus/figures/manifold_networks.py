"""The figures of theory networks: positive eigenvalues counted, whole spectra, and the interpolation boundary."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.axes import decade_axis, log_axis
from isthmus.figures.looks import GREY, PALETTE, Look, key_of, looks_of
from isthmus.figures.marks import draw_bars, draw_dots, draw_hollow, draw_line, draw_markers
from isthmus.figures.notes import span
from isthmus.figures.panels import Panel, evenly, lay_out, nothing, rows_of, say
from isthmus.figures.style import DOUBLE_COLUMN, finish, new_figure, paper
from isthmus.statistics.bootstrap import summarize
from isthmus.statistics.proportions import Proportion

ACTIVATIONS = ("tanh", "softplus", "gelu", "relu")
RATIO = "parameters per equation, n / q"
MOST_SPECTRA = 4
NO_ZERO = Look(GREY, "o", "none", hollow=True)
SIGNS = {"positive": Look(PALETTE[0], "o", "none"), "negative": Look(PALETTE[1], "x", "none")}
SCAN = ["data", "activation", "depth", "outputs"]
COMBINATION = ["sweep", *SCAN, "width", "points"]
FLAGS = ("smooth", "generic", "solved", "solution_expected", "constructible")
MOST_SCANS = 4  # panels
MOST_LINES = 4  # that share what is fixed
LEAST_SCAN = 4  # ratios n / q that make a line
BOUNDARY = {
    "smallest_at_zero": "smallest positive\neigenvalue",
    "relative_distance": "distance from the\nstart / its norm",
    "off_data_rms": "rms output\noff the data",
    "off_data_error": "test error",
}
LINEAR = "off_data_error"  # the others vary by factors


def networks_of(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The theory networks of a study, with `ratio`, n / q, and the columns that the boundary is drawn from."""
    rows = rows_of(study, tables, "manifold").astype(dict.fromkeys(FLAGS, bool))
    rows["ratio"] = rows["parameters"] / rows["constraints"]
    rows["relative_distance"] = rows["distance"] / rows["start_norm"]
    rows["smallest_at_zero"] = rows["smallest_squared_singular"].where(rows["solved"])
    return rows


def share_of(those: pd.Series) -> str:
    """How many are true, with exact 95 % limits of their share: `0 of 8 (0 to 37 %)`."""
    if those.empty:
        return "0 of 0"
    low, high = (f"{100 * limit:.3g}" for limit in Proportion(int(those.sum()), len(those)).interval())
    return f"{those.sum()} of {len(those)} ({low} to {high} %)"


def _found(rows: pd.DataFrame) -> str:
    """Where a zero was found, of the networks that one is expected for, and where it has the predicted count."""
    zeros = rows[rows["solved"]]
    return (
        f"A zero of the loss was found in {share_of(rows.loc[rows['solution_expected'], 'solved'])} where one is "
        f"expected; {share_of(zeros['positive'] == zeros['predicted_rank'])} zeros have as many positive eigenvalues "
        "as predicted"
    )


def _counts_note(rows: pd.DataFrame) -> str:
    """How many networks were looked at, were solved, and have the predicted counts."""
    inside = rows[rows["smooth"] & rows["generic"]]
    zeros, below = inside[inside["solved"]], inside[inside["parameters"] < inside["constraints"]]
    parts = [
        f"n = {len(inside)} theory networks within the assumptions. {_found(inside)}, "
        f"{(zeros['jacobian_rank'] == zeros['predicted_rank']).sum()} have a Jacobian of the predicted rank, and "
        f"{share_of(zeros['negative'] > 0)} have a negative eigenvalue above the gap",
        f"With n < q, a zero was found in {share_of(below['solved'])}",
    ]
    if outside := int((zeros["counted_from"] != "hessian").sum()):
        parts.append(f"{outside} of the zeros, too large for the Hessian, are counted from the Jacobian")
    if len(written := rows[rows["constructible"]]):
        worst = written[["constructed_loss", "memorized_loss"]].astype(float).max().max()
        parts.append(f"Weights constructed for {len(written)} networks wider than d have losses of at most {worst:.0e}")
    related, kinked = rows[rows["smooth"] & ~rows["generic"]], rows[~rows["smooth"]]
    for others, words in ((related, "networks on one-hot targets"), (kinked, "ReLU networks")):
        parts += [f"Outside the assumptions, {len(others)} {words}. {_found(others)}"] if len(others) else []
    return ". ".join(parts) + ". In parentheses: exact 95 % limits."


@paper()
def draw_manifold_counts(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Positive eigenvalues at the minima found against min(n, q), and the gap that separates them, against n / q.

    `tables` holds `manifold`. A marker per theory network, hollow where no zero of the loss was found. Raises DataError
    where the study has none.
    """
    rows = networks_of(study, tables)
    figure = new_figure(DOUBLE_COLUMN * 0.8, 2.2)
    left, right = figure.subplots(1, 2)
    present = set(rows["activation"])
    looks = {name: look for name, look in looks_of("activation", ACTIVATIONS).items() if name in present}
    for (name, solved), own in rows.groupby(["activation", "solved"]):
        look, alpha, order = replace(looks[name], hollow=not solved), 0.6 if solved else 0.9, 3 if solved else 2
        for axes, x, y in ((left, "predicted_rank", "positive"), (right, "ratio", "gap")):
            draw_markers(axes, own[x], own[y], look, alpha=alpha, zorder=order, linestyle="none")
    ends = [rows["predicted_rank"].min() / 1.3, rows[["predicted_rank", "positive"]].max().max() * 1.3]
    left.plot(ends, ends, color=GREY, linewidth=0.7, zorder=1, gid="predicted")
    for axis in (left.xaxis, left.yaxis):
        decade_axis(axis, ends)
    left.set(xlabel="predicted, min(n, q)", ylabel="positive eigenvalues, counted", aspect="equal")
    decade_axis(right.xaxis, rows["ratio"])
    right.axvline(1, color=GREY, linewidth=0.7, linestyle=":", zorder=1)
    right.set(xlabel=RATIO, ylabel="gap (decades)", ylim=(0, 1.08 * rows["gap"].max() if rows["gap"].any() else None))
    keys = [key_of(name, Look(look.colour, look.marker, "none")) for name, look in looks.items()]
    keys += [] if rows["solved"].all() else [key_of("no zero found", NO_ZERO)]
    return finish(figure, keys, _counts_note(rows))


def _spectra_shown(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The zeros of a few combinations, evenly spread over the ratios n / q; of equal ratios that of most seeds."""
    whole = rows[rows["solved"] & rows["smooth"] & (rows["counted_from"] == "hessian")]
    kinds = [part for _, part in whole.groupby(COMBINATION, observed=True)]
    kinds.sort(key=lambda part: (len(part), part["parameters"].iloc[0]))
    by_ratio = {round(float(part["ratio"].iloc[0]), 1): part for part in kinds}
    return evenly([by_ratio[ratio] for ratio in sorted(by_ratio)], MOST_SPECTRA)


@paper()
def draw_manifold_spectra(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """All Hessian eigenvalues at zeros of the loss, by magnitude, a panel for each of a few ratios n / q.

    `tables` holds `manifold` and `manifold_eigenvalues`. Says so where no whole Hessian was computed at a zero. Raises
    DataError where the study has no theory network.
    """
    shown = _spectra_shown(networks_of(study, tables))
    if not shown:
        return nothing("No zero of the loss was found whose whole Hessian was computed.")
    spectra = rows_of(study, tables, "manifold_eigenvalues")
    spectra = spectra[spectra["matrix"] == "hessian"]
    panels = [Panel(_title(part), part) for part in shown]
    figure, placed = lay_out([panels], ["magnitude of the\neigenvalue"], "place in the order", panel_height=1.9)
    drawn = pd.concat([_draw_spectra(axes, panel.rows, spectra) for panel, (axes,) in placed])
    decade_axis(placed[0][1][0].yaxis, drawn)
    keys = [*(key_of(sign, look) for sign, look in SIGNS.items()), key_of("predicted, q", Look(GREY, "none", ":"))]
    note = f"n = {span([part['seed'].nunique() for part in shown])} networks per panel, all drawn; gap: least and "
    return finish(figure, keys, f"{note}greatest, in decades.")


def _title(part: pd.DataFrame) -> str:
    """What was solved, and how wide the gap in the spectra is."""
    first, (low, high) = part.iloc[0], (f"{end:.1f}" for end in (part["gap"].min(), part["gap"].max()))
    targets = "arbitrary targets" if first["data"] == "random" else "images"
    gap = low if low == high else f"{low} to {high}"
    sizes = f"n = {first['parameters']}, q = {first['constraints']}"
    return f"{sizes}\n{first['activation']}, {targets}\ngap {gap}"


def _draw_spectra(axes: Axes, part: pd.DataFrame, spectra: pd.DataFrame) -> pd.Series:
    """The eigenvalues of one combination; returns the magnitudes drawn."""
    own = spectra.merge(part[[*COMBINATION, "seed"]], on=[*COMBINATION, "seed"])
    own["magnitude"] = own["eigenvalue"].abs()
    own["place"] = own.groupby("seed")["magnitude"].rank(ascending=False, method="first")
    for (name, look), sign in zip(SIGNS.items(), (1, -1), strict=True):
        drawn = own[sign * own["eigenvalue"] > 0]
        small: Any = {"markersize": 1.6, "markeredgewidth": 0.4, "alpha": 0.5}
        axes.plot(drawn["place"], drawn["magnitude"], look.marker, color=look.colour, **small, gid=name)
    count, equations = part[["parameters", "constraints"]].iloc[0]
    axes.axvline(equations + 0.5, color=GREY, linestyle=":", linewidth=0.9, zorder=1)
    log_axis(axes.xaxis, [1, equations, count], most=8)
    return own.loc[own["magnitude"] > 0, "magnitude"]


def _scans(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that make up lines along n / q, each with the name of its `line`: what is fixed along it.

    Of a kind of problem that is the data or the width, whichever has fewer values.
    """
    values = rows.groupby(SCAN, observed=True)[["width", "points"]].transform("nunique")
    of_data = values["width"] >= values["points"]
    rows = rows.assign(fixed=np.where(of_data, "d", "width"), size=rows["points"].where(of_data, rows["width"]))
    rows = rows[rows.groupby([*SCAN, "size"], observed=True)["ratio"].transform("nunique") >= LEAST_SCAN]
    few = rows.groupby("fixed")["size"].transform(lambda sizes: sizes.isin(evenly(sorted(set(sizes)), MOST_LINES)))
    return rows[few.astype(bool)].assign(line=rows["fixed"] + " = " + rows["size"].astype(str))


def _panels(rows: pd.DataFrame) -> list[Panel]:
    """A panel per kind of problem, those with most ratios first."""
    found = []
    for (data, activation, depth, outputs), part in rows.groupby(SCAN, observed=True):
        words = [activation, "arbitrary targets" if data == "random" else "images"]
        words += [f"{depth} layers"] * (depth > 1) + [f"{outputs} outputs"] * (outputs > 1)
        found.append(Panel(", ".join(words), part))
    return sorted(found, key=lambda panel: -panel.rows["ratio"].nunique())[:MOST_SCANS]


@paper()
def draw_manifold_boundary(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """What happens where parameters are as many as equations: against n / q, on log axes, a panel per kind of problem.

    `tables` holds `manifold`. Says so where no sweep crosses enough ratios. Raises DataError where the study has no
    theory network.
    """
    panels = _panels(_scans(networks_of(study, tables)))
    if not panels:
        return nothing(f"No sweep has {LEAST_SCAN} ratios n / q with everything else equal: give a sweep more widths.")
    rows = pd.concat([panel.rows for panel in panels])
    shown = [column for column in BOUNDARY if rows[column].notna().any()]
    looks = looks_of("line", list(rows.sort_values(["fixed", "size"])["line"].unique()))
    figure, placed = lay_out([panels], [BOUNDARY[column] for column in shown], RATIO)
    drawn: dict[str, list[pd.DataFrame]] = {column: [] for column in shown}
    for panel, stack in placed:
        for axes, column in zip(stack, shown, strict=True):
            drawn[column] += _draw_lines(axes, panel.rows, column, looks)
            axes.axvline(1, color=GREY, linewidth=0.7, linestyle=":", zorder=1)
            decade_axis(axes.xaxis, panel.rows["ratio"])
    means = {column: pd.concat(of_lines) for column, of_lines in drawn.items()}
    for axes, column in zip(placed[0][1], shown, strict=True):
        ends = (*rows[column], *means[column]["low"], *means[column]["high"])
        axes.set_ylim(0, None) if column == LINEAR else decade_axis(axes.yaxis, ends)
    keys = [*(key_of(line, look) for line, look in looks.items()), key_of("no zero found", NO_ZERO)]
    counts = pd.concat(means.values())["count"]
    note = f"n = {span(counts, 'network')} per point. Dots: networks. Lines: means over seeds, geometric on log axes. "
    note += "Bars: 95 % bootstrap intervals over networks. Dotted: n = q."
    return finish(figure, keys, note)


def _draw_lines(axes: Axes, rows: pd.DataFrame, column: str, looks: dict[str, Look]) -> list[pd.DataFrame]:
    """One column in one panel; returns the means of its lines, with their intervals and numbers of networks."""
    known, drawn = rows.assign(at=rows["ratio"], value=rows[column]).dropna(subset="value"), []
    if known.empty:
        say(axes, "arbitrary targets:\nno test error" if column == LINEAR else "no zero found")
    for line, dots in known.groupby("line", sort=False):
        means, look = _means(dots, log=column != LINEAR), looks[line]
        drawn.append(means)
        draw_dots(axes, dots, look)
        draw_hollow(axes, dots[~dots["solved"]], look, small=True)
        draw_bars(axes, means, look)
        draw_line(axes, means, look, gid=f"{column} {line}")
    return drawn


def _means(dots: pd.DataFrame, *, log: bool) -> pd.DataFrame:
    """Means of `value` over the seeds at each position, geometric on a log axis, with intervals."""
    value = np.log(dots["value"].where(dots["value"] > 0)) if log else dots["value"]
    limits = (-np.inf, np.inf) if log else (0.0, 1.0)
    found = summarize(dots.assign(value=value), ["at"], "value", limits=limits).rename(columns={"mean": "value"})
    ends = ["value", "low", "high"]
    return found.assign(**np.exp(found[ends])) if log else found
