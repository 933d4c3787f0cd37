"""The maps of planes through paths between minima say what the tables say."""

import numpy as np
import pytest
from drawn import Tables, assert_laid_out, line, note, said
from invented_paths import frames

from isthmus.core.errors import DataError
from isthmus.figures.connect import draw_planes, path_on_plane


@pytest.fixture(scope="module")
def tables() -> Tables:
    return frames(widths=(8, 32), batch_sizes=(32,), seeds=2, diverged=())


def test_path_and_bend_lie_where_the_table_says(tables: Tables) -> None:
    figure = draw_planes("digits", tables)
    first = tables["connections"].query("kind == 'bezier' and width == 8 and depth == 1").iloc[0]
    chord, along, across = first[["chord", "bend_along", "bend_across"]]
    for axes in figure.axes[:2]:
        np.testing.assert_allclose(np.column_stack(line(axes, "networks")), [[0, 0], [chord, 0]])
        np.testing.assert_allclose(np.column_stack(line(axes, "bend")), [[chord / 2 + along, across]])
        x, y = line(axes, "path bezier")
        # de Casteljau's middle of a quadratic Bézier curve: half of the bend, a quarter of each end
        assert (x[50], y[50]) == pytest.approx((0.5 * (chord / 2 + along) + 0.25 * chord, 0.5 * across))
        assert axes.get_aspect() == 1
    assert np.column_stack(line(figure.axes[2], "networks")).tolist() == [[0, 0]]


@pytest.mark.parametrize("kind", ["bezier", "polychain", "bezier-aligned"])
def test_paths_on_planes_are_those_of_the_library(kind: str) -> None:
    torch = pytest.importorskip("torch")
    from isthmus.landscape.paths import bump

    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    share = bump("polychain" if kind == "polychain" else "bezier", t).numpy()
    expected = t.numpy()[:, None] * [4.0, 0.0] + share[:, None] * [0.3, 2.5]
    np.testing.assert_allclose(path_on_plane(kind, 4.0, 0.3, 2.5), expected, atol=1e-12)


def test_planes_show_the_corners_of_the_grid_with_the_same_colours_and_blanks_where_not_finite() -> None:
    tables = frames(widths=(8, 16, 32), depths=(1, 2, 3), batch_sizes=(32, 64), seeds=2, diverged=())
    figure = draw_planes("digits", tables)
    maps = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert [axes.get_title("left") for axes in maps[::4]] == [
        f"depth {depth}, width {width}" for depth in (1, 3) for width in (8, 32)
    ]
    shown = "Shown: batch size 32 (1 of 2 values); depth 1 and 3 (2 of 3 values); width 8 and 32 (2 of 3 values)."
    assert shown in note(figure)
    assert "n = 1 pair per cell, networks 0 and 1" in note(figure)
    losses = [next(each for each in axes.collections if each.filled) for axes in maps[::4]]
    assert len({tuple(each.levels) for each in losses}) == 1
    steps = np.diff(np.log(losses[0].levels))
    np.testing.assert_allclose(steps, steps[0])
    planes = tables["planes"].query("plane == 'bezier' and width == 8 and depth == 1 and batch_size == 32")
    assert planes["train_loss"].isna().any()
    for x in sorted(planes["x"].unique())[:: len(planes["x"].unique()) - 1]:  # the upper corners: one is finite
        corner = 0.99 * np.array([x, planes["y"].max()])
        finite = planes.query("x == @x and y == y.max()")["train_loss"].notna().item()
        assert any(path.contains_point(corner) for path in losses[0].get_paths()) == finite


def test_a_pair_that_diverged_has_no_map() -> None:
    tables = frames(widths=(8, 16), depths=(3,), batch_sizes=(32,), diverged=[(8, 3, 1)])
    figure = draw_planes("digits", tables)
    assert said(figure) == ["diverged"] * 4
    assert "2 of 4 planes diverged" in note(figure)


def test_where_no_planes_were_asked_for_the_figure_says_so() -> None:
    figure = draw_planes("digits", frames(widths=(8,), plane_points=0))
    assert note(figure).startswith("No planes were asked for. Set `points` to 2 or more under `planes` of")
    figure.draw_without_rendering()


@pytest.mark.parametrize("diverged", [[], [(64, 2, 0)]])
def test_a_single_pair_diverged_or_not_can_be_drawn(diverged: list[tuple[int, int, int]]) -> None:
    tables = frames(widths=[64], depths=[2], batch_sizes=[128], seeds=2, diverged=diverged)
    figure = draw_planes("digits", tables)
    figure.draw_without_rendering()
    assert set(said(figure)) == ({"diverged"} if diverged else set())


def test_planes_can_be_drawn_where_only_lines_were_asked_for() -> None:
    figure = draw_planes("digits", frames(widths=(8,), depths=(1,), batch_sizes=(32,), seeds=2, kinds=["linear"]))
    figure.draw_without_rendering()
    assert said(figure) == []


MANY = ((8, 16, 32, 64, 128, 256), (1, 2, 3), (32, 256))


@pytest.mark.parametrize(
    ("widths", "depths", "batch_sizes"),
    [((8,), (1,), (32,)), ((8, 16), (1, 2), (32,)), pytest.param(*MANY, marks=pytest.mark.slow)],
    ids=["one", "some", "many"],
)
def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page(
    widths: tuple[int, ...], depths: tuple[int, ...], batch_sizes: tuple[int, ...]
) -> None:
    tables = frames(widths=widths, depths=depths, batch_sizes=batch_sizes, seeds=2)
    assert_laid_out(draw_planes("digits", tables))


def test_errors_of_real_targets_are_not_measured() -> None:
    tables = frames(widths=(8,), depths=(1,), batch_sizes=(32,), seeds=2, loss="losses.py:pseudo_huber")
    tables["planes"]["test_accuracy"] = np.nan
    figure = draw_planes("digits", tables)
    assert said(figure) == ["not measured", "not measured"]
    assert "training loss (pseudo huber)" in [axes.get_xlabel() for axes in figure.axes]


def test_a_study_without_rows_is_named(tables: Tables) -> None:
    with pytest.raises(DataError, match="'nothing'"):
        draw_planes("nothing", tables)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_losses_have_units(loss: str) -> None:
    tables = frames(widths=[8], depths=[1], batch_sizes=[32], seeds=2, loss=loss)
    unit = {"cross_entropy": "nats", "squared_error": "mean squared error"}[loss]
    assert f"training loss ({unit})" in [axes.get_xlabel() for axes in draw_planes("digits", tables).axes]
