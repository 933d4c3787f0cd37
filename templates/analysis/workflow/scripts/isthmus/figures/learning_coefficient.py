"""The figure of the local learning coefficient: against width, as it is and in relation to half the parameters."""

import pandas as pd
from matplotlib.figure import Figure

from isthmus.figures.lines import Measure, draw_stack, lines_note
from isthmus.figures.panels import choose, fewer_panels, rows_of
from isthmus.figures.style import footnote, paper

MOST_PANELS = 4  # beside each other
MOST_DEPTHS = 5  # lines in a panel
COEFFICIENT = Measure("coefficient", "local learning\ncoefficient", "coefficient", log=False)
RELATIVE = Measure("relative", "coefficient /\nhalf the parameters", "relative coefficient", log=False)


def draw_learning_coefficient(study: str, tables: dict[str, pd.DataFrame]) -> Figure:
    """The local learning coefficient against width, and the same divided by half the number of parameters.

    `tables` holds `learning_coefficient`. A line per depth, a panel per batch size; lines join means over networks,
    bars are intervals of these, faint dots are networks. Of many depths or batch sizes some are shown, and the footnote
    says which. Raises DataError where the study has no network.
    """
    rows = rows_of(study, tables, "learning_coefficient")
    rows, chosen = choose(rows, fewer_panels(rows, MOST_PANELS, together=("depth",)) | {"depth": MOST_DEPTHS})
    measures = (COEFFICIENT, RELATIVE)
    with paper():
        figure, summary = draw_stack(rows, tables, measures, ("width", "depth", "batch_size"))
        note = lines_note(rows, summary, measures, "Dots: networks. Lines: means. Bars")
        footnote(figure, f"{note} {chosen}".strip())
    return figure
