"""The figures of lottery tickets: accuracy, speed, layers, stability and curvature against the weights kept."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.axes import percent_axis, zero_axis
from isthmus.figures.lines import (
    FRACTION,
    Looks,
    Measure,
    apart,
    examples_note,
    keys_of,
    lines_note,
    looks_in,
    measured,
    why_empty,
)
from isthmus.figures.looks import GREY, Look, key_of
from isthmus.figures.panels import (
    Panel,
    choose,
    count_note,
    fewer_panels,
    lay_out,
    nothing,
    panels_of,
    room_for_text,
    rows_of,
    say,
)
from isthmus.figures.style import footnote, legend_above, paper
from isthmus.figures.ticket_layers import draw_ticket_layers
from isthmus.figures.ticket_lines import (
    WEIGHTS_KEPT,
    draw_kind,
    draw_measure,
    few_cells,
    kept_share,
    kinds_above,
    kinds_in,
    per_cell,
    pruning_note,
)
from isthmus.figures.ticket_speed import draw_ticket_speed

__all__ = [
    "draw_ticket_curvature",
    "draw_ticket_layers",
    "draw_ticket_speed",
    "draw_ticket_stability",
    "draw_tickets",
]

MOST_CELLS = 6  # panels: two lines of three
MOST_STACKS = 4  # panels beside each other, where each has several axes above each other
MOST_WIDTHS = 6  # lines in a panel of stability
PANEL_HEIGHT = 1.9  # inches, where there is one row of axes
STABLE = 0.02  # barrier in test error below which Frankle et al. (2020) call a network stable
ACCURACY = Measure("test_accuracy", "test accuracy", "test accuracy", log=False, limits=FRACTION)
CORRUPTED = Measure(
    "corrupted_accuracy", "the same,\ncorrupted images", "accuracy on corrupted images", log=False, limits=FRACTION
)
ERROR_BARRIER = Measure("stability_test_error", "barrier,\ntest error", "barriers in error", False, FRACTION)
LOSS_BARRIER = Measure("stability_train_loss", "barrier,\ntraining loss", "barriers in loss", False, (0.0, np.inf))
TOP = Measure("top_eigenvalue", "top Hessian\neigenvalue", "top eigenvalue")
OVER_LOSS = Measure("top_eigenvalue_over_loss", "top eigenvalue\n/ loss", "top eigenvalue over the loss")
TRACE = Measure("trace", "trace of\nthe Hessian", "trace")
STABLE_LOOK = Look(GREY, "none", (0, (4, 2)))
NO_STABILITY = (
    "No stability was asked for. Set `stability: true` of the analysis `tickets` to train every ticket on a second "
    "order of the data, too."
)
NO_CURVATURE = (
    "No curvature was asked for. Name kinds of networks in `kinds` under `curvature` of the analysis `tickets` to "
    "have it."
)


def draw_tickets(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Test accuracy against the share of weights kept, a line per kind of network and a panel per cell.

    `tables` holds `tickets`. Below, where measured, is the accuracy on corrupted test images. Log axis that falls
    to the right, means over networks with bars for their intervals; a grey line and its band are the dense networks. Of
    many cells some are shown, and the footnote says which. Raises DataError where the study has no network.
    """
    rows = rows_of(study, tables, "tickets")
    corrupted = rows["corrupted_accuracy"].notna().any()
    rows, chosen = few_cells(rows, MOST_STACKS if corrupted else MOST_CELLS)
    kinds, measures = kinds_in(rows), (ACCURACY, CORRUPTED) if corrupted else (ACCURACY,)
    with paper():
        labels = [measure.label for measure in measures]
        figure, placed = per_cell(rows, labels, panel_height=PANEL_HEIGHT, one_line=bool(corrupted))
        summaries = [draw_measure(placed, row, measure, kinds) for row, measure in enumerate(measures)]
        kinds_above(figure, kinds)
        note = count_note(rows, pd.concat(summaries)["count"], "Lines: means. Bars and bands")
        footnote(figure, " ".join(filter(None, (note, pruning_note(rows), chosen))))
    return figure


def _draw_barriers(placed: list[tuple[Panel, list[Axes]]], row: int, measure: Measure, looks: Looks) -> pd.DataFrame:
    """Draw the barriers between twins into one row of the panels, a line per width; returns what is behind it."""
    rows = pd.concat([panel.rows for panel, _ in placed])
    shift, shares, summaries = apart(rows["kept_fraction"], list(looks)), kept_share(rows), []
    for panel, stack in placed:
        axes = stack[row]
        axes.axhline(0, color=GREY, linewidth=0.5, zorder=1)
        if measure is ERROR_BARRIER:
            axes.axhline(STABLE, color=GREY, linestyle=STABLE_LOOK.line, linewidth=0.8, gid="stable", zorder=1)
        found = [
            draw_kind(axes, own, measure, looks[int(width)], shift[int(width)], gid=f"{measure.column} width={width}")
            for width, own in panel.rows.groupby("width")
        ]
        if not any(summary["count"].any() for summary in found):
            say(axes, why_empty(panel.rows, measure.column))
        percent_axis(axes.xaxis, shares)
        summaries += found
    summary = pd.concat(summaries, ignore_index=True)
    values = rows[measure.column].astype(float)
    smallest = values[values > 0].min() if measure is ERROR_BARRIER else 0.0  # about one test example
    threshold = [STABLE] if measure is ERROR_BARRIER else []
    zero_axis(placed[0][1][row], [*summary["mean"], *summary["high"], *threshold], float(np.nan_to_num(smallest)))
    if not summary["count"].any():
        placed[0][1][row].set_yticks([])
    return summary


def draw_ticket_stability(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Barriers between twins, which differ in the order of the data only, against the share of weights kept.

    `tables` holds `tickets`; shown are the dense networks and the tickets. A line per width, a panel per depth and
    batch size; above: test error, a fraction, with a line at the 0.02 of Frankle et al. (2020), below: training loss,
    in its unit. Means over networks with bars for their intervals. Of many widths or panels some are shown, and the
    footnote says which. Says so where it was not asked for. Raises DataError where the study has no network.
    """
    rows = rows_of(study, tables, "tickets")
    rows = rows[rows["kind"].isin(("dense", "ticket"))].reset_index(drop=True)
    measures = (ERROR_BARRIER, LOSS_BARRIER)
    with paper():
        columns = [measure.column for measure in measures]
        if not rows["diverged"].all() and rows[columns].isna().all(axis=None):
            return nothing(NO_STABILITY)
        rows, chosen = choose(rows, fewer_panels(rows, MOST_STACKS) | {"width": MOST_WIDTHS})
        looks = looks_in(tables, "width", rows)
        blocks = panels_of(rows, ["depth", "batch_size"])
        labels = [measure.label for measure in measures]
        figure, placed = lay_out(blocks, labels, WEIGHTS_KEPT, above=room_for_text(blocks))
        summaries = [_draw_barriers(placed, row, measure, looks) for row, measure in enumerate(measures)]
        stable = key_of("0.02: stable below", STABLE_LOOK, marker=False)
        legend_above(figure, [*keys_of("width", looks), stable])
        note = lines_note(rows, pd.concat(summaries), measures, "Lines: means. Bars")
        footnote(figure, " ".join(filter(None, (note, pruning_note(rows), chosen))))
    return figure


def _curved(study: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of the kinds that curvature was measured of, with the top eigenvalue divided by the loss."""
    rows = rows_of(study, tables, "tickets")
    if not rows["diverged"].all():
        has = rows[["top_eigenvalue", "trace"]].notna().any(axis=1)
        rows = rows[rows["kind"].isin({*rows.loc[has, "kind"]})].reset_index(drop=True)
    loss = rows["curvature_loss"].astype(float)
    return rows.assign(top_eigenvalue_over_loss=rows["top_eigenvalue"].astype(float) / loss.where(loss > 0))


def _doubt(rows: pd.DataFrame) -> str:
    """The sentence that counts eigenvalues that are drawn without having converged; empty without any."""
    known = rows.loc[~rows["diverged"].astype(bool) & rows["top_eigenvalue"].notna(), "top_eigenvalue_converged"]
    count = int(known.eq(False).sum())
    tolerance = "Drawn without having converged to the tolerance asked for"
    return f"{tolerance}: {count} of {len(known)} top eigenvalues." if count else ""


def draw_ticket_curvature(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """Top eigenvalue, its quotient with the loss, and trace, against the share of weights kept.

    `tables` holds `tickets`. A line per kind of network that was measured, a panel per cell, log axes in the unit of
    the loss; geometric means over networks with bars for their intervals; a grey line and its band are the dense
    networks. What was not measured has no row of axes; of many cells some are shown, and the footnote says which. Says
    so where no curvature was asked for. Raises DataError where the study has no network.
    """
    rows = _curved(study, tables)
    with paper():
        if rows.empty:
            return nothing(NO_CURVATURE)
        rows, chosen = few_cells(rows, MOST_STACKS)
        measures, others = measured(rows, (TOP, OVER_LOSS, TRACE))
        kinds = kinds_in(rows)
        labels = [measure.label for measure in measures]
        figure, placed = per_cell(rows, labels, panel_height=1.45, one_line=True)
        summaries = [draw_measure(placed, row, measure, kinds) for row, measure in enumerate(measures)]
        kinds_above(figure, kinds)
        note = lines_note(rows, pd.concat(summaries), measures, "Lines: geometric means. Bars and bands")
        images = rows["curvature_images"].dropna().astype(int)
        examples = examples_note(pd.DataFrame({"images": images})) if len(images) else ""
        footnote(figure, " ".join(filter(None, (note, others, _doubt(rows), examples, chosen))))
    return figure
