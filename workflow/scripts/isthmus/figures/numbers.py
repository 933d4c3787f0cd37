"""The numbers that a figure shows, which go into a CSV file beside it."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from isthmus.recipes.cell_table import rows_of_study
from isthmus.tables.descriptions import Figure, table


def numbers(figure: Figure, shown: Callable[..., pd.DataFrame] | None, *given: Any) -> pd.DataFrame:
    """The rows of the table `figure.summary` that a figure shows.

    shown: returns these rows; None for a figure that `lines` describe, which shows the summaries of its quantities and
    of the one that they are drawn against. given: the study, or nothing for a figure of all studies, and tables by
    name. Columns that tell values of other quantities apart are left out.
    """
    every = given[-1][figure.summary]
    if shown:
        rows = shown(*given)
    else:
        rows = rows_of_study(every, given[0])
        drawn = [*figure.lines.rows, figure.lines.x] if figure.lines else []
        rows = rows[rows["quantity"].isin(drawn)]
    always = {column.name for column in table(figure.summary).columns}
    return rows[[name for name in every if name in always or rows[name].notna().any()]]
