"""The figures of the training stage say what the tables say."""

import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, line, note
from invented_cells import NO_MORE, Extra, keys_of, with_cells
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from running import SCRIPTS

from isthmus.core.errors import DataError
from isthmus.figures import style, train
from isthmus.figures.panels import panels_of, rows_of
from isthmus.figures.style import decade_axis
from isthmus.statistics.bootstrap import bootstrap_interval
from isthmus.tables.parquet import read_table, write_table

DRAW = {
    "test-accuracy": train.draw_test_accuracy,
    "learning-curves": train.draw_learning_curves,
    "interpolation": train.draw_interpolation,
}
EXAMPLES, CLASSES, FEATURES = 1200, 10, 64


def make_tables(
    study: str = "digits",
    widths: Sequence[int] = (8, 16, 32, 64, 128),
    depths: Sequence[int] = (1, 3),
    batch_sizes: Sequence[int] = (32, 256),
    seeds: int = 5,
    extra: Extra = NO_MORE,
    diverged: Sequence[tuple[int, int, int]] = ((8, 3, 0), (128, 3, 1), (128, 3, 4)),
    loss: str = "cross_entropy",
    epochs: int = 30,
) -> dict[str, list[dict[str, Any]]]:
    """Invented but plausible rows of the tables `networks` and `history`.

    `extra` are axes beside these; `diverged` holds (width, depth, seed).
    """
    random = np.random.default_rng(0)
    networks, history = [], []
    for more, width, depth, batch, seed in product(extra, widths, depths, batch_sizes, range(seeds)):
        keys = keys_of(study, width, depth, batch, more) | {"seed": seed}
        parameters = FEATURES * width + (depth - 1) * width * (width + 1) + width * (CLASSES + 1) + CLASSES
        lost = (width, depth, seed) in diverged
        noise = more.get("label_noise", 0.0)
        reach = 1 - np.exp(-((parameters / EXAMPLES) ** 0.9)) * 0.4 * batch / (batch + 100)
        accuracy = min(1.0, float(np.floor((reach + random.normal(0, 0.004)) * EXAMPLES + 3) / EXAMPLES))
        test = accuracy * (0.97 - noise / 2) - 0.06 / np.log2(width) - 0.004 * depth + random.normal(0, 0.006)
        final = 0.3 * (EXAMPLES / parameters) ** 1.5 * (1 + batch / 100) * np.exp(random.normal(0, 0.2))
        floor = 0.35 / np.sqrt(np.log2(width)) * (1 + noise)
        results: dict[str, float | None] = {
            "train_loss": final,
            "train_accuracy": accuracy,
            "train_accuracy_clean": accuracy,
            "test_loss": final + floor,
            "test_accuracy": float(test),
            "generalization_gap": float(accuracy - test),
            "generalization_gap_loss": floor,
            "weight_norm_final": 14.0,
            "movement": 5.0,
            "relative_movement": 0.5,
        }
        row = keys | {
            "dataset": "digits",
            "architecture": "mlp",
            "normalization": "none",
            "activation": "relu",
            "loss": loss,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "weight_decay": 0.0,
            "sharpness_radius": 0.0,
            "sharpness_adaptive": False,
            "averaging": "none",
            "averaged": 0,
            "label_noise": noise,
            "precision": "float32",
            "classes": CLASSES,
            "train_examples": EXAMPLES,
            "test_examples": 400,
            "statistics_examples": 0,
            "parameters": parameters,
            "epochs": float(epochs),
            "steps": epochs * EXAMPLES // batch,
            "seconds": 1.0,
            "stopped": "diverged" if lost else "budget",
            "diverged": lost,
            "weight_norm_initial": 10.0,
        }
        networks.append(row | (dict.fromkeys(results) if lost else results))
        jitter = np.exp(random.normal(0, 0.05))
        for epoch in range(epochs + 1):
            now = final + (2.3 - final) * np.exp(-8 * epoch / epochs) * jitter
            losses = None if lost and epoch > 3 else float(now)
            history.append(
                keys
                | {
                    "epoch": float(epoch),
                    "step": epoch * EXAMPLES // batch,
                    "learning_rate": 0.1,
                    "statistics_examples": 0,
                    "train_loss": losses,
                    "train_accuracy": losses and accuracy,
                    "test_loss": losses and losses + floor * (1 - np.exp(-8 * epoch / epochs)),
                    "test_accuracy": losses and float(test),
                    "weight_norm": losses and 12.0,
                    "movement": losses and 1.0,
                }
            )
    return {"networks": networks, "history": history}


def write_tables(folder: Path, rows: dict[str, list[dict[str, Any]]]) -> list[Path]:
    """Write invented rows as the workflow would, schema checked."""
    paths = [folder / f"{name}.parquet" for name in rows]
    for path in paths:
        write_table(path, path.stem, rows[path.stem])
    return paths


def frames(**given: Any) -> dict[str, pd.DataFrame]:
    """The invented tables as data frames."""
    tables = {name: pd.DataFrame(rows).infer_objects() for name, rows in make_tables(**given).items()}
    return with_cells(tables, given.get("extra", NO_MORE))


ROWS = {"interpolation": 3}  # axes above each other, where they are not two


def points(figure: Figure, row: int, stack: int = 2) -> list[tuple[str, Any]]:
    """Title of each panel and its axes at `row` of the stack of `stack` axes."""
    axes = figure.axes
    return [(axes[k].get_title("left"), axes[k + row]) for k in range(0, len(axes), stack)]


def bars(axes: Any, colour: str) -> np.ndarray:
    """Lower and upper ends of the interval bars of one colour, [points, 2]."""
    of_colour = [
        lines
        for lines in axes.collections
        if isinstance(lines, LineCollection) and matplotlib.colors.to_hex(lines.get_color()[0][:3]) == colour.lower()
    ]
    return np.vstack([segment[:, 1] for lines in of_colour for segment in lines.get_segments()])


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return frames()


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(("row", "column"), [(0, "test_accuracy"), (1, "generalization_gap")])
def test_accuracy_shows_means_and_intervals_of_the_table(
    tables: dict[str, pd.DataFrame], row: int, column: str, depth: int
) -> None:
    figure = train.draw_test_accuracy("digits", tables)
    networks = tables["networks"]
    for batch_size, (title, axes) in zip((32, 256), points(figure, row), strict=True):
        assert title == f"batch size {batch_size}"
        here = networks[(networks["batch_size"] == batch_size) & (networks["depth"] == depth) & ~networks["diverged"]]
        samples = [group[column].to_numpy() for _, group in here.groupby("width")]
        _, means = line(axes, f"{column} depth={depth}")
        np.testing.assert_allclose(means, [sample.mean() for sample in samples])
        drawn = bars(axes, style.colour_of("depth", depth, [1, 3]))
        np.testing.assert_allclose(drawn, [bootstrap_interval(sample) for sample in samples], atol=1e-12)


def test_learning_curves_show_means_and_intervals_of_the_table(tables: dict[str, pd.DataFrame]) -> None:
    figure = train.draw_learning_curves("digits", tables)
    titles = [title for title, _ in points(figure, 0)]
    assert titles == [f"depth {depth}, batch size {batch}" for depth in (1, 3) for batch in (32, 256)]
    axes = points(figure, 1)[2][1]  # depth 3, batch size 32: seeds 1 and 4 of width 128 diverged
    history = tables["history"]
    here = history[(history["cell"] == "width=128+depth=3+batch_size=32") & history["seed"].isin([0, 2, 3])]
    curves = here.pivot(index="epoch", columns="seed", values="train_loss")
    epochs, means = line(axes, "train_loss width=128")
    np.testing.assert_allclose(epochs, curves.index)
    np.testing.assert_allclose(means, np.exp(np.log(curves).mean(axis=1)))
    last = np.exp(bootstrap_interval(np.log(curves.iloc[-1].to_numpy())))
    band = axes.collections[-1].get_paths()[0].vertices
    ends = np.unique(band[band[:, 0] == epochs[-1], 1])
    assert (ends[0], ends[-1]) == pytest.approx(last)


def test_a_network_that_stopped_early_keeps_its_last_loss() -> None:
    tables = frames(widths=[8], depths=[1], batch_sizes=[32], seeds=3, diverged=[])
    history = tables["history"]
    tables["history"] = history[(history["seed"] != 0) | (history["epoch"] <= 10)]
    axes = points(train.draw_learning_curves("digits", tables), 0)[0][1]
    at = history.set_index(["seed", "epoch"])["test_loss"]
    _, means = line(axes, "test_loss width=8")
    assert means[-1] == pytest.approx((at[0, 10.0] * at[1, 30.0] * at[2, 30.0]) ** (1 / 3))


def test_interpolation_shows_errors_thresholds_and_who_does_not_interpolate(tables: dict[str, pd.DataFrame]) -> None:
    figure = train.draw_interpolation("digits", tables)
    networks = tables["networks"].query("batch_size == 32 and depth == 1")
    axes = points(figure, 0, 3)[0][1]
    parameters, means = line(axes, "test_accuracy depth=1")
    expected = 1 - networks.groupby("parameters")["test_accuracy"].mean()
    np.testing.assert_array_equal(parameters, expected.index)
    np.testing.assert_allclose(means, expected)
    _, losses = line(points(figure, 1, 3)[0][1], "test_loss depth=1")
    np.testing.assert_allclose(losses, networks.groupby("parameters")["test_loss"].mean())
    intervals = [
        bootstrap_interval(1 - group.to_numpy()) for _, group in networks.groupby("parameters")["test_accuracy"]
    ]
    np.testing.assert_allclose(bars(axes, style.colour_of("depth", 1, [1, 3])), intervals, atol=1e-12)
    assert set(line(axes, "parameters = training examples")[0]) == {EXAMPLES}
    assert set(line(axes, "parameters = training examples × classes")[0]) == {EXAMPLES * CLASSES}
    blue = style.colour_of("depth", 1, [1, 3])
    dots = [line for line in axes.lines if line.get_markersize() < 3 and line.get_markeredgecolor() == blue]
    hollow = sum(len(line.get_xdata()) for line in dots if line.get_markerfacecolor() == "none")
    assert 0 < hollow < len(networks)
    assert hollow == (networks["train_accuracy"] < 1).sum()
    assert "parameters = training examples" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", DRAW)
def test_diverged_networks_are_counted_under_the_figure(tables: dict[str, pd.DataFrame], name: str) -> None:
    text = note(DRAW[name]("digits", tables))
    assert "n = 3 to 5 networks per point" in text
    assert "6 of 100 networks diverged and are left out" in text


@pytest.mark.parametrize("name", DRAW)
def test_numbers_of_diverged_networks_change_no_mark(name: str) -> None:
    diverged = [(16, 1, 2)]
    small = {"widths": [8, 16], "depths": [1], "batch_sizes": [32], "diverged": diverged}
    tables, without = frames(**small), frames(**small)
    wild = without["networks"]["diverged"]
    for column in ("test_accuracy", "train_accuracy", "generalization_gap"):
        without["networks"].loc[wild, column] = -1e6
    lost = (without["history"]["width"] == 16) & (without["history"]["seed"] == 2)
    without["history"].loc[lost, ["test_loss", "train_loss"]] = 1e6
    for one, other in zip(DRAW[name]("digits", tables).axes, DRAW[name]("digits", without).axes, strict=True):
        assert one.get_ylim() == other.get_ylim()
        for line_one, line_other in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(line_one.get_ydata(), line_other.get_ydata())


@pytest.mark.parametrize("name", DRAW)
def test_other_axes_get_panels_of_their_own(name: str) -> None:
    extra = [{"label_noise": noise, "optimizer": "sgd"} for noise in (0.0, 0.2)]
    tables = frames(widths=[8, 16], depths=[1], seeds=2, extra=extra)
    figure = DRAW[name]("digits", tables)
    titles = [title for title, _ in points(figure, 0, ROWS.get(name, 2))]
    assert len(titles) == 4
    assert [title.split("\n")[0] for title in titles] == ["label noise 0.0"] * 2 + ["label noise 0.2"] * 2
    assert all("batch size" in title for title in titles)
    assert "Throughout: optimizer sgd." in note(figure)


def test_panels_are_ordered_as_numbers_and_keep_every_row() -> None:
    extra = [{"train_size": size} for size in (1000, 200, 50)]
    networks = rows_of("digits", frames(widths=[8], depths=[1], seeds=1, extra=extra), "networks")
    blocks = panels_of(networks, ["batch_size"])
    assert [[panel.title.split("\n")[0] for panel in block] for block in blocks] == [
        [f"train size {size}"] * 2 for size in (50, 200, 1000)
    ]
    assert sum(len(panel.rows) for block in blocks for panel in block) == len(networks)


@pytest.mark.parametrize("low", [9.2, 3e-5, 0.11, 0.95])
@pytest.mark.parametrize("span", [1.02, 1.7, 3.0, 8.0, 60.0, 1e6])
def test_a_log_axis_has_labels_however_little_it_spans(low: float, span: float) -> None:
    axis = Figure().add_subplot().yaxis
    decade_axis(axis, [low, low * span])
    bottom, top = axis.get_view_interval()
    labels = [axis.get_major_formatter()(tick) for tick in axis.get_majorticklocs() if bottom <= tick <= top]
    assert 2 <= len(labels) <= 8
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) <= 20


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("diverged", [[], [(64, 2, 0)]])
def test_a_single_network_diverged_or_not_can_be_drawn(name: str, diverged: list[tuple[int, int, int]]) -> None:
    tables = frames(widths=[64], depths=[2], batch_sizes=[128], seeds=1, diverged=diverged)
    figure = DRAW[name]("digits", tables)
    figure.draw_without_rendering()
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert said == (["all diverged"] * ROWS.get(name, 2) if diverged else [])
    assert ("nothing to draw" if diverged else "n = 1 network per point") in note(figure)


def test_a_cell_that_diverged_as_a_whole_breaks_the_line() -> None:
    lost = [(16, 1, seed) for seed in range(3)]
    tables = frames(widths=[8, 16, 32], depths=[1], batch_sizes=[32], seeds=3, diverged=lost)
    figure = train.draw_test_accuracy("digits", tables)
    _, means = line(figure.axes[0], "test_accuracy depth=1")
    assert np.isnan(means).tolist() == [False, True, False]
    assert "(all of them in 1 cell)" in note(figure)


@pytest.fixture(scope="module")
def grid() -> dict[str, pd.DataFrame]:
    return frames(widths=range(8, 30, 2), depths=range(1, 5), batch_sizes=[16, 32, 64, 128, 256], seeds=1, epochs=2)


@pytest.mark.parametrize("name", DRAW)
def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page(grid: dict[str, pd.DataFrame], name: str) -> None:
    assert_laid_out(DRAW[name]("digits", grid))


@pytest.mark.parametrize("name", DRAW)
def test_a_study_without_rows_is_named(tables: dict[str, pd.DataFrame], name: str) -> None:
    with pytest.raises(DataError, match="'nothing'"):
        DRAW[name]("nothing", tables)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_losses_have_units(loss: str) -> None:
    tables = frames(widths=[8], depths=[1], batch_sizes=[32], loss=loss)
    labels = [axes.get_ylabel() for axes in train.draw_learning_curves("digits", tables).axes]
    unit = {"cross_entropy": "loss (nats)", "squared_error": "mean squared error"}[loss]
    assert labels == [f"test {unit}", f"training {unit}"]


def test_a_value_looks_the_same_whatever_study_it_is_in() -> None:
    one, two = frames(widths=[8, 16], depths=[1, 3]), frames(study="other", widths=[16, 64], depths=[2, 3])
    both = {name: pd.concat([one[name], two[name]]) for name in one}
    keys = [
        {
            text.get_text(): handle.get_color()
            for text, handle in zip(legend.get_texts(), legend.get_lines(), strict=True)
        }
        for legend in (train.draw_learning_curves(study, both).legends[0] for study in ("digits", "other"))
    ]
    assert keys[0]["width 16"] == keys[1]["width 16"]
    assert len(rows_of("digits", both, "networks")) == len(one["networks"])


@pytest.mark.parametrize("kind", ["width", "depth", "batch_size", "path_kind"])
def test_values_of_an_axis_are_told_apart(kind: str) -> None:
    values = ["bezier", "linear", "polychain"] if kind == "path_kind" else [1, 2, 8, 14, 20]
    looks = [style.look_of(kind, value, values) for value in values]
    assert len({look.colour for look in looks}) == len({(look.marker, look.line) for look in looks}) == len(values)
    assert style.colour_of("depth", 1, [1, 2]) == style.colour_of("depth", 1, [1, 3, 8])
    with pytest.raises(ValueError, match="not one of"):
        style.look_of(kind, "absent", values)


def test_numbers_are_written_plainly() -> None:
    written = [style.plain(value) for value in (0.01, 0.5, 1, 512, 1000, 1024, 16384, 20000, 1.5e6)]
    assert written == ["0.01", "0.5", "1", "512", "1k", "1024", "16384", "20k", "1.5M"]
    assert style.power(1e-5) == "$10^{-5}$"


PROGRAM = """
import sys
from pathlib import Path
from isthmus.figures import train, style
from isthmus.tables.parquet import read_table
folder, to = map(Path, sys.argv[1:])
tables = {name: read_table(folder / f"{name}.parquet").to_pandas() for name in ("networks", "history")}
for name in ("test_accuracy", "learning_curves", "interpolation"):
    style.save(getattr(train, "draw_" + name)("digits", tables), [to / f"{name}.pdf", to / f"{name}.png"])
assert not {"torch", "sklearn", "matplotlib.pyplot"} & set(sys.modules), "figures must not import these"
"""


@pytest.mark.slow
def test_drawing_again_gives_the_same_bytes_and_never_imports_torch(tmp_path: Path) -> None:
    write_tables(tmp_path, make_tables(widths=[8, 16], seeds=3))
    environment = {"PYTHONPATH": str(SCRIPTS), "PYTHONHASHSEED": "5"}
    subprocess.run([sys.executable, "-c", PROGRAM, tmp_path, tmp_path / "one"], check=True, env=environment)
    time.sleep(1.1)  # a date in a file would differ
    tables = {name: read_table(tmp_path / f"{name}.parquet").to_pandas() for name in ("networks", "history")}
    for draw in DRAW.values():
        name = draw.__name__.removeprefix("draw_")
        style.save(draw("digits", tables), [tmp_path / "two" / f"{name}.pdf", tmp_path / "two" / f"{name}.png"])
    files = sorted((tmp_path / "one").iterdir())
    assert len(files) == 6
    for file in files:
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_figures_are_saved_as_pdf_or_png_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="saved as"):
        style.save(style.new_figure(1, 1), [tmp_path / "figure.svg"])
    assert list(tmp_path.iterdir()) == []
