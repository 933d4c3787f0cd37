"""The figures of robustness: accuracy on corrupted test images against their severity, and against width."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from isthmus.figures.lines import (
    FRACTION,
    Looks,
    Measure,
    draw_row,
    drawable,
    keys_of,
    lines_note,
    looks_in,
    means_of,
    why_empty,
)
from isthmus.figures.marks import draw_means
from isthmus.figures.panels import (
    Panel,
    choose,
    fewer_panels,
    lay_out,
    nothing,
    panels_of,
    room_for_text,
    rows_of,
    say,
)
from isthmus.figures.style import footnote, label_of, legend_above, paper
from isthmus.recipes.cell_table import axes_in
from isthmus.recipes.cells import cell_name

MOST_WIDTHS = 6  # lines in a panel against severity
MOST_STACKS = {2: 6, 4: 4}  # panels against width, by the axes above each other in each: they fit a page
MOST_DEPTHS = 4  # lines in each
PANEL_HEIGHT = 1.6  # inches
CLEAN, SHIFTED, TOGETHER = "none", "shifted", "mean over corruptions"
ACCURACY = Measure("accuracy", "test accuracy", "accuracy", log=False, limits=FRACTION)
MEAN = Measure("mean_accuracy", "accuracy on\ncorrupted images", "mean accuracy", log=False, limits=FRACTION)
RATIO = Measure("ratio", "corrupted /\nclean accuracy", "ratio", log=False, limits=(0.0, np.inf))
OTHER = Measure("shifted_accuracy", "accuracy on\nshifted data", "accuracy on shifted data", log=False, limits=FRACTION)
OTHER_RATIO = Measure("shifted_ratio", "shifted /\nclean accuracy", "ratio of those", log=False, limits=(0.0, np.inf))
MARKS = "Dots: networks. Lines: means. Bars"
NO_CORRUPTIONS = (
    "No corruptions were asked for. Name some under `corruptions` of the analysis `robustness` to have them."
)


def _words(corruption: str) -> str:
    """The name of a corruption in a figure."""
    return corruption.replace("_", " ").replace("gaussian", "Gaussian").replace("jpeg", "JPEG")


def _combination(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of one combination of the axes beside width, and the sentence that says which.

    It is the one with the most networks that did not diverge, and the first of those.
    """
    others = {cell: cell_name(axes, without=["width"]) for cell, axes in axes_in(rows).items()}
    combination = rows["cell"].map(others)
    networks = (rows["corruption"] == CLEAN) & ~rows["diverged"].astype(bool)
    counts = {key: int(networks[combination == key].sum()) for key in dict.fromkeys(others.values())}
    best = max(counts, key=lambda key: counts[key])
    kept = rows[combination == best].reset_index(drop=True)
    named = ", ".join(f"{label_of(axis)} {kept[axis].iloc[0]}" for axis in ("depth", "batch_size"))
    share = f" (1 of {len(counts)} combinations of the axes beside width)" if len(counts) > 1 else ""
    return kept, f"Shown: {named}{share}."


def _mean(corrupted: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The mean accuracy in each group, in the column `accuracy`; null where one of the accuracies in it is."""
    groups = corrupted.assign(value=drawable(corrupted, ACCURACY)).groupby(by, observed=True)["value"]
    return groups.mean().where(groups.count() == groups.size()).rename("accuracy").reset_index()


def _draw_severities(axes: Axes, rows: pd.DataFrame, clean: pd.DataFrame, looks: Looks) -> list[pd.DataFrame]:
    """Accuracy under one corruption against severity, a line per width from the accuracy on the `clean` images on.

    Lines are set slightly apart. Returns what is behind them.
    """
    summaries = []
    step = min(0.5 / len(looks), 0.1)
    together = pd.concat([clean, rows])
    for place, (width, look) in enumerate(looks.items()):
        summary = means_of(together[together["width"] == width], ["severity"], ACCURACY)
        at = summary["severity"] + step * (place - (len(looks) - 1) / 2)
        draw_means(axes, at, summary, look).set_gid(f"{rows['corruption'].iloc[0]} width={width}")
        summaries.append(summary)
    if not any(summary["count"].any() for summary in summaries):
        say(axes, why_empty(together, "accuracy"))
        axes.set_yticks([])
    axes.set_xlim(-0.5, 5.5)
    axes.xaxis.set_major_locator(FixedLocator(range(6)))
    return summaries


def draw_robustness(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Accuracy on corrupted test images against severity, a panel per corruption, a line per width.

    The last panel shows the mean over the corruptions. `tables` holds `robustness`. Lines join means over networks,
    bars are their intervals; severity 0 is the clean test set. Shown is one combination of depth, batch size and other
    axes, which the footnote names. Says so where no corruptions were asked for. Raises DataError where the study has no
    network.
    """
    rows, combination = _combination(rows_of(study, tables, "robustness"))
    rows, fewer = choose(rows, {"width": MOST_WIDTHS})
    clean = rows[rows["corruption"] == CLEAN]
    corrupted = rows[~rows["corruption"].isin([CLEAN, SHIFTED])]
    with paper():
        if corrupted.empty:
            return nothing(NO_CORRUPTIONS)
        looks = looks_in(tables, "width", rows)
        names = dict.fromkeys(corrupted["corruption"])
        if len(names) > 1:
            mean = _mean(corrupted, ["cell", "seed", "width", "diverged", "severity"]).assign(corruption=TOGETHER)
            corrupted, names = pd.concat([corrupted, mean]), names | {TOGETHER: None}
        blocks = [[Panel(_words(name), corrupted[corrupted["corruption"] == name]) for name in names]]
        figure, placed = lay_out(
            blocks,
            [ACCURACY.label],
            "severity (0: clean)",
            above=room_for_text(blocks) + 0.1,
            panel_height=PANEL_HEIGHT,
        )
        summaries = []
        for panel, (axes,) in placed:
            summaries += _draw_severities(axes, panel.rows, clean, looks)
        legend_above(figure, keys_of("width", looks))
        note = lines_note(clean, pd.concat(summaries), [ACCURACY], "Lines: means. Bars")
        footnote(figure, " ".join(filter(None, (note, _images(rows), combination, fewer))))
    return figure


def _images(rows: pd.DataFrame) -> str:
    """The sentence that says on how many test images the rows were measured."""
    images = sorted(rows.loc[~rows["diverged"].astype(bool), "images"].unique())
    return f"On {' or '.join(map(str, images))} test images." if images else ""


def _by_network(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per network: its clean accuracy, the mean over all its corruptions, that on shifted data, and ratios."""
    keys = ["cell", "seed"]
    networks = rows[rows["corruption"] == CLEAN].rename(columns={"accuracy": "clean_accuracy"})
    means = _mean(rows[~rows["corruption"].isin([CLEAN, SHIFTED])], keys).rename(columns={"accuracy": "mean_accuracy"})
    shifted = rows[rows["corruption"] == SHIFTED].rename(columns={"accuracy": "shifted_accuracy"})
    networks = networks.merge(means, on=keys, how="left", validate="1:1")
    networks = networks.merge(shifted[[*keys, "shifted_accuracy"]], on=keys, how="left", validate="1:1")
    clean = networks["clean_accuracy"].where(networks["clean_accuracy"] > 0)
    return networks.assign(ratio=networks["mean_accuracy"] / clean, shifted_ratio=networks["shifted_accuracy"] / clean)


def _what(rows: pd.DataFrame) -> str:
    """The sentence that says what the means are over."""
    corrupted = rows[~rows["corruption"].isin([CLEAN, SHIFTED])]
    count, severities = corrupted["corruption"].nunique(), sorted(corrupted["severity"].unique())
    if not count:
        return ""
    several = f"{count} corruptions" if count > 1 else _words(corrupted["corruption"].iloc[0])
    words = ", ".join(map(str, severities))
    if len(severities) > 2 and severities[-1] - severities[0] == len(severities) - 1:
        words = f"{severities[0]} to {severities[-1]}"
    strengths = f"the severities {words}" if len(severities) > 1 else f"severity {words}"
    return f"Accuracy of a network on corrupted images: mean over {several} at {strengths}."


def draw_robustness_width(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Mean accuracy on corrupted test images, and its ratio to clean accuracy, against width; the same of shifted data.

    `tables` holds `robustness`. A line per depth, a panel per batch size and further axis. Lines join means over
    networks, bars are their intervals, faint dots are networks. Of many depths or batch sizes some are shown, and the
    footnote says which. Says so where nothing but the clean test set was asked for. Raises DataError where the study
    has no network.
    """
    rows = rows_of(study, tables, "robustness")
    asked = set(rows["corruption"]) - {CLEAN}
    measures = [MEAN, RATIO] * bool(asked - {SHIFTED}) + [OTHER, OTHER_RATIO] * (SHIFTED in asked)
    networks = _by_network(rows)
    most = fewer_panels(networks, MOST_STACKS[max(len(measures), 2)], together=("depth",)) | {"depth": MOST_DEPTHS}
    networks, chosen = choose(networks, most)
    with paper():
        if not measures:
            return nothing(NO_CORRUPTIONS)
        looks = looks_in(tables, "depth", networks)
        blocks = panels_of(networks, ["batch_size"])
        labels, above = [measure.label for measure in measures], room_for_text(blocks) + 0.1
        figure, placed = lay_out(blocks, labels, label_of("width"), above=above)
        summaries = [draw_row(placed, row, measure, "width", "depth", looks) for row, measure in enumerate(measures)]
        legend_above(figure, keys_of("depth", looks))
        note = lines_note(networks, pd.concat(summaries), measures, MARKS)
        footnote(figure, " ".join(filter(None, (note, _what(rows), _images(rows), chosen))))
    return figure
