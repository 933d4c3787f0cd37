"""What the tests of figures draw, and what they read off a figure."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pandas as pd
from invented_cells import with_cells
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.analyses.summaries.measure import summarize_study
from isthmus.figures import style
from isthmus.figures.drawing import drawer
from isthmus.tables.descriptions import Figure as Described
from isthmus.tables.descriptions import Lines, stages, table
from isthmus.tables.quantities import quantities

Tables = dict[str, pd.DataFrame]
# Quantities that a study has summaries of, whatever else was measured, or that a figure computes with.
BESIDE = ("distance", "top_eigenvalue", "mean_corrupted_accuracy", "corrupted_accuracy", "ticket_accuracy")


def figure_called(name: str) -> Described:
    """The description of the figure called `name`."""
    (found,) = (figure for stage in stages().values() for figure in stage.figures if figure.name == name)
    return found


def lines_of(name: str) -> Lines:
    """What the figure of means called `name` shows."""
    lines = figure_called(name).lines
    assert lines is not None
    return lines


def means_figure(name: str) -> Callable[[str, Tables], Figure]:
    """The function that draws the figure of means called `name` of a study, from invented tables.

    Tables without `summaries` get those that the figure needs; figures that share tables may share `summaries` as well.
    """
    draw = drawer(figure_called(name))
    return lambda study, tables: draw(study, tables if "summaries" in tables else summarized(tables, shown_in(name)))


def shown_in(*names: str) -> list[str]:
    """The quantities whose summaries the figures of means called `names` need."""
    lines = [lines_of(name) for name in names]
    return [*BESIDE, *(quantity for each in lines for quantity in (*each.rows, each.x))]


def summarized(tables: Tables, names: Collection[str]) -> Tables:
    """Invented tables with the summaries of those quantities that `names` has, and with `networks` and `cells`."""
    known = tables if "cells" in tables else with_cells(tables)
    known = known if "networks" in known else known | {"networks": _networks(known)}
    shown = [quantity.name for quantity in quantities() if quantity.name in names and quantity.table in known]
    studies = [summarize_study(study, shown, known) for study in known["cells"]["study"].unique()]
    return known | {"summaries": pd.concat(studies, ignore_index=True)}


def _networks(tables: Tables) -> pd.DataFrame:
    """A minimal table `networks` of the networks in another table."""
    rows = next(table for table in tables.values() if "seed" in table)
    rows = rows.assign(diverged=rows.get("diverged", False), loss=rows.get("loss", "cross_entropy"))
    return rows.groupby(["study", "cell", "seed"], as_index=False, observed=True)[["diverged", "loss"]].first()


def filled(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """A row of the table `name`: its columns in their order, None where there is no value."""
    return {column.name: values.get(column.name) for column in table(name).columns}


def note(figure: Figure) -> str:
    """The footnote, or the message of an empty figure, in one line."""
    (text,) = (text.get_text() for text in figure.texts if text.get_gid() == "footnote")
    return " ".join(text.replace("\xa0", " ").split())


def said(figure: Figure) -> list[str]:
    """What is written into panels."""
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def lines_called(axes: Axes, gid: str) -> list[Line2D]:
    """The lines called `gid`."""
    return [line for line in axes.lines if line.get_gid() == gid]


def segments(axes: Axes, gid: str) -> list[np.ndarray]:
    """The points of the line called `gid`, [points, 2], one array for each part of it that is not broken."""
    parts: list[np.ndarray] = []
    for each in lines_called(axes, gid):
        points = each.get_xydata()
        known = np.isfinite(points).all(axis=1)
        pieces = np.split(points, np.nonzero(~known)[0])
        parts += [piece[np.isfinite(piece).all(axis=1)] for piece in pieces]
    return [part for part in parts if len(part)]


def line(axes: Axes, gid: str) -> tuple[np.ndarray, np.ndarray]:
    """The points of the line called `gid`, of all its segments."""
    found = segments(axes, gid)
    assert found, f"no line is called {gid!r}"
    x, y = np.concatenate(found).T
    return x, y


def bars(axes: Axes, colour: str | None = None) -> np.ndarray:
    """Position, lower and upper end of the interval bars of one colour, or of all, [bars, 3], as they were drawn."""
    found = [each for each in axes.collections if isinstance(each, LineCollection)]
    of_colour = [each for each in found if colour in (None, to_hex(each.get_color()[0][:3]))]
    drawn = [[segment[0, 0], *segment[:, 1]] for each in of_colour for segment in each.get_segments() if len(segment)]
    return np.array(drawn).reshape(-1, 3)


def ends(axes: Axes, number: int = 0) -> np.ndarray:
    """Lower and upper ends of the bars of a collection of a panel, [points, 2]."""
    return np.array([segment[:, 1] for segment in axes.collections[number].get_segments()])


def assert_laid_out(figure: Figure) -> None:
    """Laid out as for a file, panels, legends and the footnote lie on the page, and none on another."""
    style.save(figure, [])
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [legend.get_window_extent() for legend in figure.legends]
    boxes += [text.get_window_extent() for text in figure.texts if text.get_gid() == "footnote"]
    assert len(boxes) > len(figure.axes)
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert box.count_overlaps(boxes[number + 1 :]) == 0
