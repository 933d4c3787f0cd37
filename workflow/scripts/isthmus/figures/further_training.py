"""The figure of further training: accuracies on the second data set, and what is forgotten of the first."""

import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.means import Means, draw_means
from isthmus.figures.panels import rows_of
from isthmus.tables.descriptions import Lines


def draw_further_training(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> Figure:
    """Accuracies before and after, and the accuracy lost on the first data, against the share of weights kept."""
    return draw_means(study, tables, lines, _say_which_data, panel_height=1.7)


def _say_which_data(made: Means) -> None:
    rows = rows_of(made.study, made.tables, "further_training")
    data = ", or ".join(sorted(rows["data"].unique()))
    made.notes.append(f"Second data: {data.replace('_', ' ')}; {rows['epoch'].max():g} epochs.")
