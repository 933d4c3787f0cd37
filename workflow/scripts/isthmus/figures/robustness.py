"""The figures of robustness: accuracy on corrupted test images against their severity, and against width."""

from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.looks import words_of
from isthmus.figures.means import Means, draw_means
from isthmus.figures.panels import MEAN_OF_ALL, nothing, rows_of
from isthmus.figures.style import listed, paper
from isthmus.tables.descriptions import Lines

PANEL_HEIGHT = 1.6  # inches


@paper()
def draw_robustness(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Accuracy on corrupted test images against severity; the last panel is the mean over the corruptions.

    That mean, the second quantity in `lines`, is drawn as another corruption of the first.
    """
    accuracy, mean = lines.rows
    corruptions = _corrupted(study, tables)["corruption"].unique()
    if not len(corruptions):
        return nothing(lines.absent)
    every = tables["summaries"]
    if len(corruptions) > 1:
        means = every[every["quantity"] == mean].assign(quantity=accuracy, corruption=MEAN_OF_ALL)
        every = pd.concat([every, means])
    return draw_means(study, tables | {"summaries": every}, replace(lines, rows=(accuracy,)), panel_height=PANEL_HEIGHT)


def draw_robustness_width(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Accuracy on corrupted test images against width, and its ratio to clean accuracy; the same of shifted data."""
    return draw_means(study, tables, lines, _say_over_what)


def _corrupted(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of corrupted images."""
    rows = rows_of(study, tables, "robustness")
    return rows[~rows["corruption"].isin(["none", "shifted"])]


def _say_over_what(made: Means) -> None:
    """The sentence that says what the accuracy of a network on corrupted images is a mean over."""
    corrupted = _corrupted(made.study, made.tables)
    if corrupted.empty:
        return
    names, severities = corrupted["corruption"].unique(), [str(each) for each in sorted(corrupted["severity"].unique())]
    several = f"{len(names)} corruptions" if len(names) > 1 else words_of(names[0])
    strengths = f"{'severities' if len(severities) > 1 else 'severity'} {listed(severities)}"
    made.notes.append(f"Corrupted images: mean over {several} at {strengths}.")
