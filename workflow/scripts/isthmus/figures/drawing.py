"""Which function draws a figure, its own or that of all figures of means, and which returns the rows it shows.

A figure has a function of its own where the module of its stage defines `draw_NAME`. If the figure is described by
`lines`, too, that function gets these, and usually calls `draw_means` with something to add. If it shows rows of a
table of statistics, `shown_in_NAME` of the same module returns these.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawn

from isthmus.figures.means import draw_means
from isthmus.figures.numbers import shown_by_lines
from isthmus.tables.descriptions import Figure


def drawer(figure: Figure) -> Callable[..., Drawn]:
    """The function that draws a figure of a study, or of all studies, from tables by name.

    Raises AttributeError where a figure that `lines` do not describe has no function.
    """
    if figure.lines is None:
        return _own(figure, "draw")
    return partial(_own(figure, "draw", draw_means), lines=figure.lines)


def shown_in(figure: Figure) -> Callable[..., pd.DataFrame]:
    """The function that returns the rows of a table that a figure shows; it takes the same as the one that draws it."""
    return partial(shown_by_lines, lines=figure.lines) if figure.lines else _own(figure, "shown_in")


def _own(figure: Figure, what: str, *otherwise: Any) -> Any:
    """A function for this figure in the module of its stage."""
    name = f"isthmus.figures.{figure.stage}"
    module = import_module(name) if find_spec(name) else None
    return getattr(module, f"{what}_{figure.name.replace('-', '_')}", *otherwise)
