"""Tables are joined with the axes of their cells, values and types as the configuration has them."""

from typing import Any

import pandas as pd
import pytest
from running import configuration, small_study

from isthmus.core.errors import DataError
from isthmus.recipes.cell_table import axes_by_cell, axes_in, read_tables, with_axes
from isthmus.recipes.cells import cell_name
from isthmus.study.config import load
from isthmus.study.grid import Study
from isthmus.study.schema import axis_columns
from isthmus.tables.parquet import write_table

AXES: dict[str, Any] = {
    "train_size": [None, 300],
    "nesterov": [True, False],
    "label_noise": [0, 0.2],
    "normalization": ["none", "batch"],
    "until_train_loss": [None, 0.25],
}
STUDIES = load(configuration(own=small_study(**AXES), other=small_study(width=[4], learning_rate=[0.05, 1e20]))).studies


def rows_of(*studies: Study) -> list[dict[str, Any]]:
    """Rows of the table `cells`, null for the axes of other studies."""
    cells = [cell for study in studies for cell in study.cells.values()]
    axes = dict.fromkeys(axis for cell in cells for axis in cell.axes)
    return [{"study": cell.study, "cell": cell.name} | axes | cell.axes for cell in cells]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table of both studies, written and read."""
    path, rows = tmp_path_factory.mktemp("tables") / "cells.parquet", rows_of(*STUDIES.values())
    axes = {name: [row[name] for row in rows] for name in rows[0]}
    write_table(path, "cells", rows, axis_columns(axes))
    return read_tables([path])["cells"]


@pytest.mark.parametrize("study", STUDIES)
def test_axes_come_back_as_the_configuration_has_them(cells: pd.DataFrame, study: str) -> None:
    found = axes_by_cell(cells, study)
    assert found == {name: cell.axes for name, cell in STUDIES[study].cells.items()}
    assert all(cell_name(axes) == name for name, axes in found.items()), "300 is an integer, and no float"


def test_columns_of_a_table_stay_beside_axes_of_their_name(cells: pd.DataFrame) -> None:
    first, second = STUDIES["other"].cells
    rows = pd.DataFrame({"cell": [second, first, second], "learning_rate": [1.0, 2.0, 3.0]}, index=[7, 5, 6])
    joined = with_axes(rows, cells, "other")
    pd.testing.assert_frame_equal(joined[list(rows)], rows)
    assert [axes["learning_rate"] for axes in axes_in(joined).values()] == [
        STUDIES["other"].cells[cell].axes["learning_rate"] for cell in (second, first)
    ]
    assert joined["cells.learning_rate"].tolist() == [axes_in(joined)[cell]["learning_rate"] for cell in rows["cell"]]


def test_a_cell_that_is_not_listed_is_named(cells: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="lacks width=99 of the study 'own'"):
        with_axes(pd.DataFrame({"cell": ["width=99"]}), cells, "own")
