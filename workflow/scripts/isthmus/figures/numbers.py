"""The numbers that a figure shows, which go into a CSV file beside it.

They are apart from `isthmus.figures.drawing`, which imports modules by computed names and so has no digest.
"""

import pandas as pd

from isthmus.recipes.cell_table import rows_of_study
from isthmus.tables.descriptions import Figure, Lines, table


def shown_by_lines(study: str, tables: dict[str, pd.DataFrame], lines: Lines) -> pd.DataFrame:
    """The summaries of a study for the quantities of a figure of means, and for the one that they are drawn against."""
    rows = rows_of_study(tables["summaries"], study)
    return rows[rows["quantity"].isin([*lines.rows, lines.x])]


def numbers(figure: Figure, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the table `figure.summary` that a figure shows, without columns that are about other quantities."""
    always = {column.name for column in table(figure.summary).columns}
    return rows[[name for name in rows if name in always or rows[name].notna().any()]]
