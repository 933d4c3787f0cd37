"""The figure of the interpolation threshold says what the table says."""

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, bars, line, lines_called, means_figure, note, said, segments
from invented_training import CLASSES, EXAMPLES, frames
from matplotlib.figure import Figure

from isthmus.core.errors import DataError
from isthmus.figures.looks import looks_of
from isthmus.statistics.bootstrap import bootstrap_interval

draw_interpolation = means_figure("interpolation")


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return frames()


@pytest.fixture(scope="module")
def figure(tables: dict[str, pd.DataFrame]) -> Figure:
    return draw_interpolation("digits", tables)


def test_interpolation_shows_errors_thresholds_and_who_does_not_interpolate(
    tables: dict[str, pd.DataFrame], figure: Figure
) -> None:
    networks = tables["networks"].query("batch_size == 32 and depth == 1")
    axes, below = figure.axes[:2]
    parameters, means = line(axes, "mean_test_error depth=1")
    expected = 1 - networks.groupby("parameters")["test_accuracy"].mean()
    np.testing.assert_array_equal(parameters, expected.index)
    np.testing.assert_allclose(means, expected)
    _, losses = line(below, "mean_test_loss depth=1")
    np.testing.assert_allclose(losses, networks.groupby("parameters")["test_loss"].mean())
    intervals = [
        bootstrap_interval(1 - group.to_numpy()) for _, group in networks.groupby("parameters")["test_accuracy"]
    ]
    blue = looks_of("depth", [1, 3])[1].colour
    np.testing.assert_allclose(bars(axes, blue)[:, 1:], intervals, atol=1e-12)
    assert set(line(axes, "parameters = training examples")[0]) == {EXAMPLES}
    assert set(line(axes, "parameters = training examples × outputs")[0]) == {EXAMPLES * CLASSES}
    dots = [each for each in lines_called(axes, "hollow") if each.get_markersize() < 3 and each.get_color() == blue]
    hollow = sum(len(each.get_xdata()) for each in dots)
    assert 0 < hollow < len(networks)
    assert hollow == (networks["train_accuracy"] < 1).sum()
    assert "parameters = training examples" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_without_accuracies_nothing_is_said_of_interpolation(tables: dict[str, pd.DataFrame], figure: Figure) -> None:
    def said_of(figure: Figure) -> list[str]:
        return [text.get_text() for text in figure.legends[0].get_texts() if "accuracy" in text.get_text()]

    without = tables["networks"].assign(train_accuracy=np.nan, test_accuracy=np.nan)
    assert said_of(figure) == ["training accuracy below 1"]
    assert said_of(draw_interpolation("digits", tables | {"networks": without})) == []


def test_diverged_networks_are_counted_under_the_figure(figure: Figure) -> None:
    assert "n = 3 to 5 networks per point; 6 of 100 networks diverged and are left out" in note(figure)


def test_numbers_of_diverged_networks_change_no_mark() -> None:
    tables, wild = (frames(widths=[8, 16], depths=[1], batch_sizes=[32], diverged=[(16, 1, 2)]) for _ in range(2))
    wild["networks"].loc[wild["networks"]["diverged"], ["test_accuracy", "train_accuracy", "test_loss"]] = -1e6
    figures = (draw_interpolation("digits", each) for each in (tables, wild))
    for one, other in zip(*(figure.axes for figure in figures), strict=True):
        assert one.get_ylim() == other.get_ylim()
        for line_one, line_other in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(line_one.get_ydata(), line_other.get_ydata())


def test_other_axes_get_panels_of_their_own() -> None:
    extra = [{"label_noise": noise, "optimizer": "sgd"} for noise in (0.0, 0.2)]
    figure = draw_interpolation("digits", frames(widths=[8, 16], depths=[1], seeds=2, extra=extra))
    titles = [axes.get_title("left") for axes in figure.axes[::3]]
    assert titles == [f"label noise {noise}\nbatch size {size}" for noise in (0.0, 0.2) for size in (32, 256)]
    assert "Throughout: optimizer sgd." in note(figure)


@pytest.mark.parametrize("diverged", [[], [(64, 2, 0)]])
def test_a_single_network_diverged_or_not_can_be_drawn(diverged: list[tuple[int, int, int]]) -> None:
    tables = frames(widths=[64], depths=[2], batch_sizes=[128], seeds=1, diverged=diverged)
    figure = draw_interpolation("digits", tables)
    figure.draw_without_rendering()
    assert said(figure) == (["all diverged"] * 3 if diverged else [])
    assert ("there is nothing to draw" if diverged else "n = 1 network per point") in note(figure)


def test_a_cell_that_diverged_as_a_whole_breaks_the_line() -> None:
    lost = [(16, 1, seed) for seed in range(3)]
    tables = frames(widths=[8, 16, 32], depths=[1], batch_sizes=[32], seeds=3, diverged=lost)
    figure = draw_interpolation("digits", tables)
    assert [len(part) for part in segments(figure.axes[0], "mean_test_error depth=1")] == [1, 1]


def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page() -> None:
    many = {"widths": range(8, 30, 2), "depths": range(1, 5), "batch_sizes": [16, 32, 64, 128, 256]}
    assert_laid_out(draw_interpolation("digits", frames(**many, seeds=1, epochs=2)))


def test_a_study_without_rows_is_named(tables: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(DataError, match="'nothing'"):
        draw_interpolation("nothing", tables)
