"""What the tests of figures read off a figure."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures import style
from isthmus.tables.descriptions import table


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


def line(axes: Axes, gid: str) -> tuple[np.ndarray, np.ndarray]:
    """The points of the line called `gid`."""
    (found,) = (line for line in axes.lines if line.get_gid() == gid)
    return np.asarray(found.get_xdata(), dtype=float), np.asarray(found.get_ydata(), dtype=float)


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
