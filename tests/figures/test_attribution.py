"""Notes under figures of measurements made elsewhere, and of barriers on few points of a path."""

import pytest
from drawn import Tables, assert_laid_out, note
from means import draw, paths

from isthmus.figures.panels import nothing
from isthmus.figures.style import FONT_SIZE, attribute

SENTENCES = "Measured by Yang et al. 2021, not here. Eigenvalues are of 200 images, the loss behind them that of all."


@pytest.fixture(scope="module")
def tables() -> Tables:
    return paths(widths=(8, 32), batch_sizes=(32,), seeds=3, diverged=())


def test_what_is_added_to_a_note_stands_below_the_panels_which_keep_their_size(tables: Tables) -> None:
    plain, figure = draw("barriers", tables), attribute(draw("barriers", tables), SENTENCES)
    assert note(figure) == f"{note(plain)} {SENTENCES}"
    assert figure.get_figheight() > plain.get_figheight()
    assert {text.get_fontsize() for text in figure.texts} == {FONT_SIZE}
    assert_laid_out(figure)
    assert_laid_out(plain)
    heights = [[axes.get_position().height * each.get_figheight() for axes in each.axes] for each in (plain, figure)]
    assert heights[0] == pytest.approx(heights[1], rel=0.01)


def test_an_empty_figure_says_whose_measurements_it_lacks() -> None:
    figure = attribute(nothing("Nothing to draw."), SENTENCES)
    assert note(figure) == f"Nothing to draw. {SENTENCES}"
    assert_laid_out(figure)


def test_barriers_on_few_points_of_a_path_are_marked(tables: Tables) -> None:
    words = "of a path: between these it may rise further."
    connections = tables["connections"]
    few = connections["kind"] == "bezier"
    marked = tables | {"connections": connections.assign(points=few.map({True: 5, False: 25}))}
    assert f"Barriers on 5 points {words}" in note(draw("barriers", marked))
    assert words not in note(draw("barriers", tables | {"connections": connections.assign(points=25)}))
    assert words not in note(draw("path-geometry", marked))
