"""The figures of curvature: sharpness against the grid, with and without the loss, in training, spectra, and noise."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.lines import Measure, draw_stack, examples_note, lines_note, loss_label, measured
from isthmus.figures.noise import draw_noise_response
from isthmus.figures.panels import choose, fewer_panels, rows_of
from isthmus.figures.sharpness import draw_sharpness_in_training
from isthmus.figures.spectra import draw_spectra
from isthmus.figures.style import footnote, paper

__all__ = [
    "draw_curvature",
    "draw_curvature_and_loss",
    "draw_noise_response",
    "draw_sharpness_in_training",
    "draw_spectra",
]

MOST_STACKS = 4  # panels beside each other, as each has three axes above each other
MOST_LINES = 5  # in a panel
TOP = Measure("top_eigenvalue", "top Hessian\neigenvalue", "top eigenvalue")
TRACE = Measure("trace", "trace of\nthe Hessian", "trace")
GAUSS_NEWTON = Measure("gauss_newton_top_eigenvalue", "top Gauss–Newton\neigenvalue", "Gauss–Newton eigenvalue")
OVER_LOSS = Measure("top_eigenvalue_over_loss", "top eigenvalue\n/ loss", "top eigenvalue over the loss")
MARKS = "Dots: networks. Lines: geometric means. Bars"


def _final(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The networks of a study at the end of training."""
    rows = rows_of(study, tables, "curvature")
    return rows[rows["final"].astype(bool)].reset_index(drop=True)


def _note(rows: pd.DataFrame, summary: pd.DataFrame, measures: Sequence[Measure], *others: str) -> str:
    """The note under a figure of curvature: `lines_note`, the examples, and what is drawn without having converged."""
    kept = rows[~rows["diverged"].astype(bool)]
    unsure = []
    for column, words in (("top_eigenvalue", "top eigenvalues"), ("trace", "traces")):
        if column in {measure.column for measure in measures}:
            count = int((kept[f"{column}_converged"].eq(False) & kept[column].notna()).sum())
            unsure += [f"{count} of {len(kept)} {words}"] if count else []
    doubt = f"Drawn without having converged to the tolerance asked for: {', '.join(unsure)}." if unsure else ""
    note = lines_note(rows, summary, measures, MARKS)
    return " ".join(filter(None, (note, doubt, examples_note(rows), *others)))


def draw_curvature(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Top Hessian eigenvalue, trace, and top Gauss-Newton eigenvalue against width, at the end of training.

    `tables` holds `curvature`. A line per depth, a panel per batch size, log axes, in the unit of the loss. Lines join
    geometric means over networks, bars are intervals of these, faint dots are networks. A row that nobody asked for is
    left out, and of many depths or batch sizes some are shown; the footnote says so. Raises DataError where the
    study has no network.
    """
    rows = _final(study, tables)
    rows, chosen = choose(rows, fewer_panels(rows, MOST_STACKS, together=("depth",)) | {"depth": MOST_LINES})
    measures, others = measured(rows, (TOP, TRACE, GAUSS_NEWTON))
    with paper():
        figure, summary = draw_stack(rows, tables, measures, ("width", "depth", "batch_size"))
        footnote(figure, _note(rows, summary, measures, others, chosen))
    return figure


def draw_curvature_and_loss(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Top Hessian eigenvalue, the loss it was measured at, and their quotient, at the end of training.

    `tables` holds `curvature`, and `networks` for the unit of the loss. Against batch size, a line per width and a
    panel per depth; with a single batch size against width, a line per depth. Log axes, geometric means over networks
    and their intervals. Of many widths or depths some are shown, and the footnote says which. Raises DataError where
    the study has no network.
    """
    rows = _final(study, tables)
    if rows["batch_size"].nunique() > 1:
        axes = ("batch_size", "width", "depth")
        most = fewer_panels(rows, MOST_STACKS, together=("batch_size",)) | {"width": MOST_LINES}
    else:
        axes = ("width", "depth", "batch_size")
        most = fewer_panels(rows, MOST_STACKS, together=("depth",)) | {"depth": MOST_LINES}
    rows, chosen = choose(rows, most)
    networks = rows_of(study, tables, "networks")
    loss = Measure("loss", f"training\n{loss_label(networks['loss'])}", "loss")
    with paper():
        figure, summary = draw_stack(rows, tables, (TOP, loss, OVER_LOSS), axes)
        footnote(figure, _note(rows, summary, (TOP, loss, OVER_LOSS), chosen))
    return figure
