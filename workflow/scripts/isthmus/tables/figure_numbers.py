"""The numbers that a figure shows, as a CSV file beside it."""

import pandas as pd

from isthmus.tables.descriptions import Figure, table


def figure_numbers(figure: Figure, rows: pd.DataFrame) -> pd.DataFrame:
    """Of the `rows` that one study has in the table `figure.summary`, those that the figure shows.

    A figure of means shows its quantities, and the one that they are drawn against; others show all rows. Columns that
    tell values of other quantities apart are left out.
    """
    shown = rows[rows["quantity"].isin([*figure.lines.rows, figure.lines.x])] if figure.lines else rows
    always = {column.name for column in table(figure.summary).columns}
    return shown[[name for name in shown if name in always or shown[name].notna().any()]]
