"""The figures of curvature say what the tables say."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, filled, line, note, said
from invented_cells import NO_MORE, Extra, keys_of, with_cells
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from running import SCRIPTS

from isthmus.core.errors import DataError
from isthmus.figures import curvature, style
from isthmus.figures.spectra import mean_density
from isthmus.statistics.bootstrap import bootstrap_interval
from isthmus.tables.descriptions import table
from isthmus.tables.parquet import read_table, write_table

DRAW = {
    "curvature": curvature.draw_curvature,
    "curvature-and-loss": curvature.draw_curvature_and_loss,
    "spectra": curvature.draw_spectra,
    "noise-response": curvature.draw_noise_response,
    "sharpness-in-training": curvature.draw_sharpness_in_training,
}
NAMES = ("networks", "curvature", "spectrum", "perturbations")
SIZES = {"noise": (0.005, 0.02), "relative_noise": (0.05, 0.2), "worst": (0.05,), "adaptive_worst": (0.5,)}
RISES = {"noise": 20.0, "relative_noise": 4.0, "worst": 30.0, "adaptive_worst": 1.5}
IMAGES = 1000
Rows = list[dict[str, Any]]


def _spectrum(random: np.random.Generator, top: float, parameters: int) -> tuple[np.ndarray, np.ndarray, float]:
    """An invented spectrum: a bulk at 0, negative and positive tails, and ten eigenvalues that stand out."""
    nodes = np.concatenate([[0.0], random.normal(0, 0.02 * top, 12), top * np.linspace(0.25, 1, 10) ** 1.6])
    weights = np.concatenate([[0.9], np.full(12, 0.1 / 12), np.full(10, 1 / parameters)])
    width = 0.01 * (nodes.max() - nodes.min())
    grid = np.linspace(nodes.min() - 5 * width, nodes.max() + 5 * width, 200)
    bells = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return grid, bells @ weights, float(width)


def _measured(random: np.random.Generator, width: int, depth: int, batch: int, share: float) -> dict[str, float]:
    """Invented curvature after a `share` of training: it rises, and falls with the loss at the end."""
    loss = 2.3 * np.exp(-6 * share) + 0.05 * share * (8 / width) ** 1.2 * (batch / 32) ** 0.3
    loss *= np.exp(random.normal(0, 0.1))
    top = 6 * depth * (1 + 9 * np.tanh(6 * share)) * (32 / batch) ** 0.4 * (loss / 0.05) ** (0.8 * share)
    top *= (16 / width) ** 0.3 * np.exp(random.normal(0, 0.15))
    return {
        "loss": loss,
        "top_eigenvalue": top,
        "top_eigenvalue_over_loss": top / loss,
        "gauss_newton_top_eigenvalue": top * (0.97 if share else 0.8),
        "trace": top * (6 + 3 * np.log2(width)) * np.exp(random.normal(0, 0.05)),
    }


def make_tables(
    study: str = "digits",
    widths: Sequence[int] = (8, 16, 32, 64, 128),
    depths: Sequence[int] = (1, 3),
    batch_sizes: Sequence[int] = (32, 256),
    seeds: int = 5,
    extra: Extra = NO_MORE,
    diverged: Sequence[tuple[int, int, int]] = ((8, 3, 0),),
    snapshots: Sequence[int] = (0, 1, 3, 10, 20),
    epochs: float = 30.0,
    spectra: bool = True,
    sizes: dict[str, tuple[float, ...]] = SIZES,
    loss: str = "cross_entropy",
) -> dict[str, Rows]:
    """Invented but plausible rows of the tables that the figures are drawn from.

    `extra` are ends of cell names, `diverged` holds (width, depth, seed), `snapshots` are epochs before the end.
    """
    random = np.random.default_rng(0)
    made: dict[str, Rows] = {name: [] for name in NAMES}
    for more, width, depth, batch, seed in product(extra, widths, depths, batch_sizes, range(seeds)):
        keys = keys_of(study, width, depth, batch, more) | {"seed": seed}
        lost, parameters = (width, depth, seed) in diverged, 75 * width + (depth - 1) * width**2
        common = keys | {"diverged": lost, "dataset": "digits", "architecture": "mlp", "parameters": parameters}
        made["networks"].append(common | {"loss": loss})
        final: dict[str, float] = {}
        for epoch in (*map(float, snapshots), epochs):
            values = _measured(random, width, depth, batch, epoch / epochs)
            rate = 0.1 * max(np.cos(np.pi / 2 * epoch / (epochs + 1)), 0)
            row = common | {"final": epoch == epochs, "epoch": epoch, "images": IMAGES, "learning_rate": 0.1}
            row |= {"statistics_examples": 0, "products": 30, "seconds": 1.0, "stability_threshold": float(2 / rate)}
            flags = {"top_eigenvalue_converged": True, "trace_converged": True}
            made["curvature"].append(filled("curvature", row | ({} if lost else values | flags)))
            final = values
        if lost:
            continue
        if spectra:
            for place, density, smoothing in zip(*_spectrum_columns(random, final, parameters), strict=True):
                point = {"eigenvalue": place, "density": density, "spread": density / 10, "smoothing": smoothing}
                made["spectrum"].append(filled("spectrum", keys | point))
        for kind in sizes:
            for size in sizes[kind]:
                rise = RISES[kind] * (size / max(SIZES[kind])) ** 2 * (16 / width) ** 0.4 * depth
                rise *= float(np.exp(random.normal(0, 0.3)))
                undisturbed = final["loss"]
                change = {"kind": kind, "size": size, "images": 5000, "draws": 5, "loss": undisturbed}
                change |= {
                    "rise": rise * undisturbed,
                    "relative_rise": rise,
                    "disturbed_loss": (1 + rise) * undisturbed,
                }
                made["perturbations"].append(filled("perturbations", keys | change))
    return made


def _spectrum_columns(random: np.random.Generator, final: dict[str, float], parameters: int) -> list[list[float]]:
    grid, density, width = _spectrum(random, final["top_eigenvalue"], parameters)
    return [grid.tolist(), density.tolist(), [width] * len(grid)]


def frames(**given: Any) -> dict[str, pd.DataFrame]:
    """The invented tables as data frames."""
    columns = {name: [column.name for column in table(name).columns] for name in NAMES[1:]}
    tables = {name: pd.DataFrame(rows, columns=columns.get(name)) for name, rows in make_tables(**given).items()}
    return with_cells(tables, given.get("extra", NO_MORE))


def bars(axes: Axes) -> np.ndarray:
    """Lower and upper ends of the interval bars in a panel, [points, 2]."""
    drawn = [lines for lines in axes.collections if isinstance(lines, LineCollection)]
    return np.vstack([segment[:, 1] for lines in drawn for segment in lines.get_segments()])


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


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("name", ["curvature", "curvature-and-loss"])
def test_lines_are_geometric_means_over_networks_and_bars_their_intervals(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure], name: str, row: int
) -> None:
    column, against, by, panel = {
        "curvature": (("top_eigenvalue", "trace", "gauss_newton_top_eigenvalue"), "width", "depth", "batch_size"),
        "curvature-and-loss": (("top_eigenvalue", "loss", "top_eigenvalue_over_loss"), "batch_size", "width", "depth"),
    }[name]
    final = tables["curvature"].query("final and not diverged")
    for number, (value, rows) in enumerate(final.groupby(panel)):
        axes = figures[name].axes[3 * number + row]
        if row == 0:
            assert axes.get_title("left") == f"{style.label_of(panel)} {value}"
        intervals = []
        for each, own in rows.groupby(by):
            samples = [sample.to_numpy() for _, sample in own.groupby(against)[column[row]]]
            means, ends = geometric(samples)
            np.testing.assert_allclose(line(axes, f"{column[row]} {by}={each}")[1], means)
            intervals.append(ends)
        np.testing.assert_allclose(bars(axes), np.vstack(intervals))


def test_curvature_and_loss_is_drawn_against_width_where_there_is_one_batch_size() -> None:
    tables = frames(widths=(8, 16), depths=(1, 2), batch_sizes=(32,), seeds=2)
    figure = curvature.draw_curvature_and_loss("digits", tables)
    widths = sorted(line(figure.axes[0], "top_eigenvalue depth=1")[0])
    assert figure.axes[-1].get_xlabel() == "width"
    np.testing.assert_allclose(widths, [8, 16], rtol=0.1)  # depths are set apart


def test_densities_are_means_over_networks(tables: dict[str, pd.DataFrame], figures: dict[str, Figure]) -> None:
    axes = figures["spectra"].axes[0]
    assert axes.get_title("left") == "depth 1, batch size 32, width 8"
    cell = tables["spectrum"].query("width == 8 and depth == 1 and batch_size == 32")
    grid, densities = mean_density(cell)
    assert densities.shape[1] == 4
    np.testing.assert_allclose(np.trapezoid(densities, grid, axis=0), 1, atol=0.03)
    x, y = line(axes, "density")
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


@pytest.mark.parametrize(("row", "kind"), list(enumerate(SIZES)))
def test_rises_are_drawn_by_kind_and_size(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure], row: int, kind: str
) -> None:
    given, intervals = tables["perturbations"].query("batch_size == 256 and kind == @kind"), []
    axes = figures["noise-response"].axes[4 + row]
    for size, styled in zip(SIZES[kind], style.LINES, strict=False):
        for depth in (1, 3):
            samples = given[(given["size"] == size) & (given["depth"] == depth)].groupby("width")["relative_rise"]
            means, ends = geometric([sample.to_numpy() for _, sample in samples])
            gid = f"{kind} size={size:g} depth={depth}"
            np.testing.assert_allclose(line(axes, gid)[1], means)
            (drawn,) = (each for each in axes.lines if each.get_gid() == gid)
            assert drawn.get_linestyle() == ("-" if styled == "-" else "--")
            intervals.append(ends)
    np.testing.assert_allclose(bars(axes), np.vstack(intervals))
    legend = figures["noise-response"].axes[row].get_legend()
    assert [text.get_text()[4:] for text in legend.get_texts()] == [f"{size:g}" for size in SIZES[kind]]


def test_sharpness_in_training_shows_means_intervals_and_the_threshold(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    axes = figures["sharpness-in-training"].axes[2]
    assert axes.get_title("left") == "depth 3, batch size 32"
    rows = tables["curvature"].query("depth == 3 and batch_size == 32")
    here = rows.query("width == 8 and not diverged").groupby("epoch")["top_eigenvalue"]
    means, ends = geometric([sample.to_numpy() for _, sample in here])
    epochs, drawn = line(axes, "top_eigenvalue width=8")
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
    figure = curvature.draw_sharpness_in_training("digits", tables | {"curvature": rows})
    at = rows.set_index(["seed", "epoch"])["top_eigenvalue"]
    _, means = line(figure.axes[0], "top_eigenvalue width=8")
    assert means[-1] == pytest.approx((at[0, 10.0] * at[1, 30.0] * at[2, 30.0]) ** (1 / 3))
    assert not [each for each in figure.axes[0].lines if each.get_gid() == "threshold"]


def test_a_threshold_far_above_is_said_and_not_drawn() -> None:
    tables = frames(widths=[8], depths=[1], batch_sizes=[32], seeds=2)
    tables["curvature"]["stability_threshold"] *= 1e4
    figure = curvature.draw_sharpness_in_training("digits", tables)
    assert "2 / learning rate is above the panels: 200k or more." in note(figure)
    assert figure.axes[0].get_ylim()[1] < 1e4


@pytest.mark.parametrize("name", DRAW)
def test_diverged_networks_are_left_out_and_counted(figures: dict[str, Figure], name: str) -> None:
    text = note(figures[name])
    assert "n = 3 to 4 networks per point; 2 of 32 networks diverged and are left out" in text
    assert f"On {5000 if name == 'noise-response' else IMAGES} training examples." in text


def test_what_is_not_positive_or_did_not_converge_is_counted() -> None:
    tables = frames(widths=(8, 16), depths=(1,), batch_sizes=(32,), seeds=3, diverged=[])
    rows, rises = tables["curvature"], tables["perturbations"]
    rows.loc[rows["final"] & (rows["seed"] == 1), "trace"] = -1.0
    rows.loc[rows["final"] & (rows["seed"] == 2), "top_eigenvalue_converged"] = False
    rises.loc[(rises["kind"] == "noise") & (rises["seed"] == 0), "relative_rise"] = None
    figure = curvature.draw_curvature("digits", tables)
    assert "Values left out, too: 2 of the trace (not positive)." in note(figure)
    assert "Drawn without having converged to the tolerance asked for: 2 of 6 top eigenvalues." in note(figure)
    kept = rows.query("final and width == 16 and seed != 1")["trace"]
    assert line(figure.axes[1], "trace depth=1")[1][1] == pytest.approx(np.sqrt(kept.prod()))
    text = note(curvature.draw_noise_response("digits", tables))
    assert "Values left out, too: 4 of the rises under noise (no finite number)." in text


def test_what_nobody_asked_for_is_said() -> None:
    few = {"widths": (8,), "depths": (1,), "batch_sizes": (32,), "seeds": 2, "diverged": []}
    tables = frames(**few, snapshots=(), spectra=False, sizes={})
    assert note(curvature.draw_spectra("digits", tables)).startswith("No spectra were asked for. Set `probes`")
    assert note(curvature.draw_noise_response("digits", tables)).startswith("No disturbances of the weights were asked")
    text = note(curvature.draw_sharpness_in_training("digits", tables))
    assert text.startswith("No snapshots were asked for.")
    assert all(name in text for name in ("`during_training: true`", "`curvature`", "`snapshots`", "`training`"))
    tables["curvature"]["gauss_newton_top_eigenvalue"] = None
    figure = curvature.draw_curvature("digits", tables)
    assert len(figure.axes) == 2
    assert "Not measured: Gauss–Newton eigenvalue." in note(figure)


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
    assert shown["curvature"][0] == 12
    assert shown["curvature"][1].endswith(f"Shown: {batches}.")
    assert shown["curvature-and-loss"][0] == 3
    assert shown["curvature-and-loss"][1].endswith("Shown: width 8, 32, 64, 128 and 512 (5 of 7 values).")
    assert shown["spectra"][0] <= 12
    assert "width 8, 32, 128 and 512 (4 of 7 values)" in shown["spectra"][1]
    assert shown["noise-response"][0] == 16
    assert shown["noise-response"][1].endswith(f"Shown: {batches}.")
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


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_the_loss_has_a_unit(loss: str) -> None:
    tables = frames(widths=[8], depths=[1], batch_sizes=[32], seeds=1, loss=loss)
    unit = {"cross_entropy": "loss (nats)", "squared_error": "mean squared error"}[loss]
    assert curvature.draw_curvature_and_loss("digits", tables).axes[1].get_ylabel() == f"training\n{unit}"


PROGRAM = """
import sys
from pathlib import Path
from isthmus.figures import curvature, movement, style
from isthmus.tables.parquet import read_table
table, to = map(Path, sys.argv[1:])
style.save(curvature.draw_curvature("digits", {"curvature": read_table(table).to_pandas()}), [to])
assert not {"torch", "sklearn", "matplotlib.pyplot"} & set(sys.modules), "figures must not import these"
"""


@pytest.mark.slow
def test_drawing_again_gives_the_same_bytes_and_never_imports_torch(tmp_path: Path) -> None:
    path = tmp_path / "curvature.parquet"
    write_table(path, "curvature", make_tables(widths=[8, 16], depths=[1], batch_sizes=[32], seeds=3)["curvature"])
    environment = {"PYTHONPATH": str(SCRIPTS), "PYTHONHASHSEED": "5"}
    subprocess.run([sys.executable, "-c", PROGRAM, path, tmp_path / "one.pdf"], check=True, env=environment)
    figure = curvature.draw_curvature("digits", {"curvature": read_table(path).to_pandas()})
    style.save(figure, [tmp_path / "two.pdf"])
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()
