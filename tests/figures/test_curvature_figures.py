"""The figures of spectra, noise and sharpness in training say what the tables say."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, bars, line, lines_of, means_figure, note, said
from invented_curvature import IMAGES, SIZES, frames
from matplotlib.figure import Figure

from isthmus.core.errors import DataError
from isthmus.figures import curvature
from isthmus.figures.curvature import mean_density
from isthmus.statistics.bootstrap import bootstrap_interval

DRAW = {
    "spectra": curvature.draw_spectra,
    "noise-response": means_figure("noise-response"),
    "sharpness-in-training": means_figure("sharpness-in-training"),
}


def geometric(samples: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Geometric means of samples, and the intervals of these."""
    logarithms = [np.log(sample) for sample in samples]
    means = np.exp([sample.mean() for sample in logarithms])
    return means, np.exp([bootstrap_interval(sample) for sample in logarithms])


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return frames(widths=(8, 32), diverged=[(8, 3, 0)], seeds=4)


@pytest.fixture(scope="module")
def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    return {name: draw("digits", tables) for name, draw in DRAW.items()}


def test_densities_are_means_over_networks(tables: dict[str, pd.DataFrame], figures: dict[str, Figure]) -> None:
    axes = figures["spectra"].axes[0]
    assert axes.get_title("left").replace("\n", " ") == "depth 1, batch size 32, width 8"
    cell = tables["spectrum"].query("width == 8 and depth == 1 and batch_size == 32")
    grid, densities = mean_density(cell)
    assert densities.shape[1] == 4
    np.testing.assert_allclose(np.trapezoid(densities, grid, axis=0), 1, atol=0.03)
    x, y = axes.lines[0].get_data()
    assert axes.lines[0].get_gid() == "density"
    np.testing.assert_array_equal(x, grid)
    mean = densities.mean(axis=1)
    np.testing.assert_allclose(y[np.isfinite(y)], mean[np.isfinite(y)])
    (one,) = set(line(axes, "one eigenvalue")[1])
    parameters = tables["curvature"].query("width == 8 and depth == 1")["parameters"].iloc[0]
    smoothing = np.exp(np.log(cell.groupby("seed")["smoothing"].first()).mean())
    assert one == pytest.approx(1 / (parameters * smoothing * np.sqrt(2 * np.pi)))
    assert (mean[np.isnan(y)] < one / 30).all()
    (ticks,) = (each for each in axes.collections if each.get_gid() == "top eigenvalues")
    tops = tables["curvature"].query("final and width == 8 and depth == 1 and batch_size == 32")["top_eigenvalue"]
    np.testing.assert_allclose([segment[0, 0] for segment in ticks.get_segments()], tops)


def test_networks_with_one_grid_keep_it() -> None:
    grid = np.linspace(-1, 2, 7)
    rows = [{"seed": s, "eigenvalue": x, "density": 1 + s * x**2, "smoothing": 0.1} for s in (0, 1) for x in grid]
    found, densities = mean_density(pd.DataFrame(rows))
    np.testing.assert_array_equal(found, grid)
    np.testing.assert_allclose(densities, np.column_stack([np.ones(7), 1 + grid**2]))


def test_rises_have_a_row_of_axes_per_kind_and_size(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    quantities = dict(zip(SIZES, lines_of("noise-response").rows, strict=True))
    each = [(kind, size) for kind, sizes in SIZES.items() for size in sizes]
    figure = figures["noise-response"]
    assert len(figure.axes) == 2 * len(each)
    for row, (kind, size) in enumerate(each):
        axes, intervals = figure.axes[len(each) + row], []
        for depth in (1, 3):
            given = tables["perturbations"].query("batch_size == 256 and kind == @kind and size == @size")
            samples = given[given["depth"] == depth].groupby("width")["relative_rise"]
            means, ends = geometric([sample.to_numpy() for _, sample in samples])
            np.testing.assert_allclose(line(axes, f"{quantities[kind]} size={size:g} depth={depth}")[1], means)
            intervals.append(ends)
        drawn, expected = bars(axes)[:, 1:], np.vstack(intervals)
        np.testing.assert_allclose(drawn[drawn[:, 0].argsort()], expected[expected[:, 0].argsort()])
        label = " ".join(figure.axes[row].get_ylabel().split())
        assert label.endswith(f"size {size:g}")


def test_sharpness_in_training_shows_means_intervals_and_the_threshold(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    axes = figures["sharpness-in-training"].axes[2]
    assert axes.get_title("left") == "depth 3, batch size 32"
    rows = tables["curvature"].query("depth == 3 and batch_size == 32")
    here = rows.query("width == 8 and not diverged").groupby("epoch")["top_eigenvalue"]
    means, ends = geometric([sample.to_numpy() for _, sample in here])
    epochs, drawn = line(axes, "top_eigenvalue_in_training width=8")
    assert epochs.tolist() == [0, 1, 3, 10, 20, 30]
    np.testing.assert_allclose(drawn, means)
    band = axes.collections[0].get_paths()[0].vertices
    last = band[band[:, 0] == 30, 1]
    np.testing.assert_allclose((last.min(), last.max()), ends[-1])
    threshold = rows.groupby("epoch")["stability_threshold"].first()
    np.testing.assert_allclose(line(axes, "threshold")[1], threshold)
    assert "2 / learning rate" in [text.get_text() for text in figures["sharpness-in-training"].legends[0].get_texts()]


def test_a_network_that_stopped_early_keeps_its_last_sharpness() -> None:
    tables = frames(widths=[8], depths=[1], batch_sizes=[32], seeds=3, diverged=[])
    rows = tables["curvature"]
    rows = rows[(rows["seed"] != 0) | (rows["epoch"] <= 10)].copy()
    rows.loc[(rows["seed"] == 0) & (rows["epoch"] == 10), "final"] = True
    rows["stability_threshold"] = None  # momentum, say
    figure = DRAW["sharpness-in-training"]("digits", tables | {"curvature": rows})
    at = rows.set_index(["seed", "epoch"])["top_eigenvalue"]
    _, means = line(figure.axes[0], "top_eigenvalue_in_training width=8")
    assert means[-1] == pytest.approx((at[0, 10.0] * at[1, 30.0] * at[2, 30.0]) ** (1 / 3))
    assert not [each for each in figure.axes[0].lines if each.get_gid() == "threshold"]


def test_a_threshold_far_above_is_said_and_not_drawn() -> None:
    tables = frames(widths=[8], depths=[1], batch_sizes=[32], seeds=2)
    tables["curvature"]["stability_threshold"] *= 1e4
    figure = DRAW["sharpness-in-training"]("digits", tables)
    assert "2 / learning rate is above the panels: 200k or more." in note(figure)
    assert figure.axes[0].get_ylim()[1] < 1e4


@pytest.mark.parametrize("name", DRAW)
def test_diverged_networks_are_left_out_and_counted(figures: dict[str, Figure], name: str) -> None:
    text = note(figures[name])
    assert "n = 3 to 4 networks per point; 2 of 32 networks diverged and are left out" in text
    assert f"n {5000 if name == 'noise-response' else IMAGES} " in text


def test_rises_that_are_not_finite_are_counted() -> None:
    tables = frames(widths=(8, 16), depths=(1,), batch_sizes=(32,), seeds=3, diverged=[])
    rises = tables["perturbations"]
    rises.loc[(rises["kind"] == "noise") & (rises["seed"] == 0), "relative_rise"] = None
    text = note(DRAW["noise-response"]("digits", tables))
    assert "Also left out: loss rise / loss, noise (4 values not finite)." in text


def test_what_nobody_asked_for_is_said() -> None:
    few = {"widths": (8,), "depths": (1,), "batch_sizes": (32,), "seeds": 2, "diverged": []}
    tables = frames(**few, snapshots=(), spectra=False, sizes={})
    assert note(curvature.draw_spectra("digits", tables)).startswith("No spectra were asked for. Set `probes`")
    assert note(DRAW["noise-response"]("digits", tables)).startswith("No perturbations of the weights were asked")
    text = note(DRAW["sharpness-in-training"]("digits", tables))
    assert text.startswith("No snapshots were asked for, or the networks were trained elsewhere.")
    assert all(name in text for name in ("`during_training: true`", "`curvature`", "`snapshots`", "`training`"))


@pytest.mark.parametrize("diverged", [[], [(64, 2, 0)]])
def test_a_single_network_diverged_or_not_can_be_drawn(diverged: list[tuple[int, int, int]]) -> None:
    tables = frames(widths=[64], depths=[2], batch_sizes=[128], seeds=1, diverged=diverged)
    for name, draw in DRAW.items():
        figure = draw("digits", tables)
        figure.draw_without_rendering()
        if not diverged:
            assert "n = 1 network per point" in note(figure)
        elif name in ("spectra", "noise-response"):
            assert note(figure) == "All networks diverged."
        else:
            assert set(said(figure)) == {"all diverged"}


@pytest.mark.parametrize("name", DRAW)
def test_other_axes_get_panels_of_their_own(name: str) -> None:
    extra = [{"label_noise": noise, "optimizer": "sgd"} for noise in (0.0, 0.2)]
    tables = frames(widths=[8, 16], depths=[1], batch_sizes=[32], seeds=2, extra=extra, snapshots=(1,))
    figure = DRAW[name]("digits", tables)
    titles = [axes.get_title("left").split("\n")[0] for axes in figure.axes if axes.get_title("left")]
    each = 2 if name == "spectra" else 1
    assert titles == ["label noise 0.0"] * each + ["label noise 0.2"] * each
    assert "Throughout: optimizer sgd." in note(figure)


def test_of_many_panels_and_lines_some_are_shown_and_the_note_says_which() -> None:
    many = {"widths": (8, 16, 32, 64, 128, 256, 512), "depths": (1,), "batch_sizes": (16, 32, 64, 128, 256)}
    tables = frames(**many, seeds=1, snapshots=(1,), diverged=[])
    figures = {name: draw("digits", tables) for name, draw in DRAW.items()}
    shown = {name: (len(figure.axes), note(figure)) for name, figure in figures.items()}
    batches = "batch size 16, 32, 128 and 256 (4 of 5 values)"
    assert shown["spectra"][0] <= 12
    assert "width 8, 32, 128 and 512 (4 of 7 values)" in shown["spectra"][1]
    assert shown["noise-response"][0] == 4 * sum(map(len, SIZES.values()))
    assert f"Shown: {batches}." in shown["noise-response"][1]
    assert shown["sharpness-in-training"][0] <= 12
    assert "(6 of 7 values)" in shown["sharpness-in-training"][1]


@pytest.mark.parametrize("name", DRAW)
def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page(figures: dict[str, Figure], name: str) -> None:
    figure = figures[name]
    assert_laid_out(figure)


@pytest.mark.parametrize("name", DRAW)
def test_a_study_without_rows_is_named(tables: dict[str, pd.DataFrame], name: str) -> None:
    with pytest.raises(DataError, match="'nothing'"):
        DRAW[name]("nothing", tables)
