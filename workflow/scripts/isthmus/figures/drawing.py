"""Which function draws a figure, its own or that of all figures of means, and the numbers that the figure shows.

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
from isthmus.recipes.cell_table import rows_of_study
from isthmus.tables.descriptions import Figure, table


def drawer(figure: Figure) -> Callable[..., Drawn]:
    """The function that draws a figure of a study, or of all studies, from tables by name.

    Raises AttributeError where a figure that `lines` do not describe has no function.
    """
    if figure.lines is None:
        return _own(figure, "draw")
    return partial(_own(figure, "draw", draw_means), lines=figure.lines)


def numbers(figure: Figure, *given: Any) -> pd.DataFrame:
    """The rows of the table `figure.summary` that a figure shows.

    given: the study, or nothing for a figure of all studies, and tables by name. Of `summaries`, these are the rows of
    the figure's quantities, and of the one that they are drawn against; columns that tell values of other quantities
    apart are left out.
    """
    every = given[-1][figure.summary]
    if figure.lines:
        rows = rows_of_study(every, given[0])
        rows = rows[rows["quantity"].isin([*figure.lines.rows, figure.lines.x])]
    else:
        rows = _own(figure, "shown_in")(*given)
    always = {column.name for column in table(figure.summary).columns}
    return rows[[name for name in every if name in always or rows[name].notna().any()]]


def _own(figure: Figure, what: str, *otherwise: Any) -> Any:
    """A function for this figure in the module of its stage."""
    name = f"isthmus.figures.{figure.stage}"
    module = import_module(name) if find_spec(name) else None
    return getattr(module, f"{what}_{figure.name.replace('-', '_')}", *otherwise)
