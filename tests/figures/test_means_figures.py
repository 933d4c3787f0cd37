"""The figures of means say what the tables say, and the note under them what they leave out."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import invented_curvature
import invented_paths
import invented_training
import numpy as np
import pandas as pd
import pytest
from drawn import (
    Tables,
    assert_laid_out,
    bars,
    line,
    lines_called,
    lines_of,
    means_figure,
    note,
    said,
    summarized,
)
from invented_paths import ALL_KINDS, CURVES
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from running import SCRIPTS

from isthmus.core.errors import DataError
from isthmus.figures import style
from isthmus.figures.looks import KINDS, Look, looks_of, words_of
from isthmus.statistics.bootstrap import summarize
from isthmus.statistics.pairs import summarize_pairs

paths = partial(invented_paths.frames, plane_points=0, fits_diverged=[(8, "polychain")])
curvature = partial(invented_curvature.frames, snapshots=(), spectra=False, sizes={})
MADE = {
    "test-accuracy": invented_training.frames,
    "learning-curves": partial(invented_training.frames, epochs=8),
    "barriers": paths,
    "loss-profiles": paths,
    "path-geometry": paths,
    "curvature": curvature,
    "curvature-and-loss": curvature,
}
BANDS = ("learning-curves", "loss-profiles")
AGAINST_WIDTH = ("test-accuracy", "barriers", "path-geometry", "curvature")
FREE, POSITIVE, SHARE, GEOMETRIC = (-np.inf, np.inf), (0.0, np.inf), (0.0, 1.0), None
# The quantities of each figure: table, expression of its columns, and limits of a mean that is not geometric.
QUANTITIES: dict[str, dict[str, tuple[str, str, tuple[float, float] | None]]] = {
    "test-accuracy": {
        "test_accuracy": ("networks", "test_accuracy", SHARE),
        "generalization_gap": ("networks", "generalization_gap", FREE),
    },
    "learning-curves": {
        "test_loss_curve": ("history", "test_loss", GEOMETRIC),
        "train_loss_curve": ("history", "train_loss", GEOMETRIC),
    },
    "barriers": {
        "train_loss_barrier": ("connections", "barrier_train_loss", POSITIVE),
        "test_error_barrier": ("connections", "barrier_test_error", SHARE),
    },
    "loss-profiles": {
        "train_loss_along": ("paths", "train_loss", GEOMETRIC),
        "test_error_along": ("paths", "1 - test_accuracy", SHARE),
    },
    "path-geometry": {
        "detour": ("connections", "detour", (1.0, np.inf)),
        "turning": ("connections", "turning", POSITIVE),
        "path_sharpness": ("connections", "sharpness_mean", GEOMETRIC),
        "path_sharpness_over_loss": ("connections", "sharpness_over_loss_mean", GEOMETRIC),
    },
    "curvature": {
        "top_eigenvalue": ("curvature", "top_eigenvalue", GEOMETRIC),
        "trace": ("curvature", "trace", GEOMETRIC),
        "gauss_newton_top_eigenvalue": ("curvature", "gauss_newton_top_eigenvalue", GEOMETRIC),
    },
    "curvature-and-loss": {
        "top_eigenvalue": ("curvature", "top_eigenvalue", GEOMETRIC),
        "loss_at_curvature": ("curvature", "loss", GEOMETRIC),
        "top_over_loss": ("curvature", "top_eigenvalue_over_loss", GEOMETRIC),
    },
}
EACH_QUANTITY = [(name, quantity) for name, found in QUANTITIES.items() for quantity in found]
each_figure = pytest.mark.parametrize("name", MADE)


def draw(name: str, tables: Tables, study: str = "digits") -> Figure:
    return means_figure(name)(study, tables)


def rows_behind(name: str, quantity: str, tables: Tables) -> pd.DataFrame:
    """What a figure shows of a quantity: the rows of networks or pairs that did not diverge, with their `value`."""
    table, expression, _ = QUANTITIES[name][quantity]
    rows = tables[table]
    rows = rows.merge(tables["networks"][["cell", "seed", "diverged"]]) if table == "history" else rows
    rows = rows[rows["final"]] if "final" in rows else rows
    rows = rows[rows["kind"].isin(CURVES)] if quantity in ("detour", "turning") else rows
    rows = rows[~rows["diverged"]]
    return rows.assign(value=rows.eval(expression).astype(float))


def panels(name: str, figure: Figure, quantity: str) -> Iterator[tuple[dict[str, int], Axes]]:
    """The axes of each panel that show a quantity, with the values of the axes of the grid in the panel's title."""
    shown = list(QUANTITIES[name])
    for first in range(0, len(figure.axes), len(shown)):
        title = figure.axes[first].get_title("left").replace("\n", " ")
        values = re.findall(r"(depth|batch size|width) (\d+)", title)
        own = {axis.replace(" ", "_"): int(value) for axis, value in values}
        yield own, figure.axes[first + shown.index(quantity)]


def only(rows: pd.DataFrame, **values: Any) -> pd.DataFrame:
    for axis, value in values.items():
        rows = rows[rows[axis] == value]
    return rows


def looks(name: str, tables: Tables) -> dict[Any, Look]:
    hue = lines_of(name).hue
    return looks_of(hue, ALL_KINDS if hue == "kind" else sorted(tables["cells"][hue].unique()))


def band(axes: Axes, colour: str, at: np.ndarray) -> np.ndarray:
    """Positions, and lower and upper ends of the band of one colour there, [positions, 3]."""
    (found,) = (
        each
        for each in axes.collections
        if isinstance(each, PolyCollection) and to_hex(each.get_facecolor()[0][:3]) == colour
    )
    corners = np.vstack([part.vertices for part in found.get_paths()])
    here = {each: corners[corners[:, 0] == each, 1] for each in at}
    return np.array([(each, ends.min(), ends.max()) for each, ends in here.items()])


@pytest.fixture(scope="module")
def tables() -> dict[str, Tables]:
    given = {"widths": (8, 32), "seeds": 4, "diverged": [(8, 3, 0)]}
    made = {id(make): make(**given) for make in MADE.values()}
    return {name: made[id(make)] for name, make in MADE.items()}


@pytest.fixture(scope="module")
def figures(tables: dict[str, Tables]) -> dict[str, Figure]:
    return {name: draw(name, tables[name]) for name in MADE}


@pytest.mark.parametrize(("name", "quantity"), EACH_QUANTITY)
def test_lines_are_means_and_bars_or_bands_their_intervals(
    tables: dict[str, Tables], figures: dict[str, Figure], name: str, quantity: str
) -> None:
    x, hue = lines_of(name).x, lines_of(name).hue
    table, _, limits = QUANTITIES[name][quantity]
    summary_of = summarize_pairs if table in ("connections", "paths") else summarize
    rows = rows_behind(name, quantity, tables[name])
    rows["value"] = np.log(rows["value"]) if limits is GEOMETRIC else rows["value"]
    places = []
    for place, axes in panels(name, figures[name], quantity):
        places.append(place)
        for value, look in looks(name, tables[name]).items():
            own = only(rows, **place | {hue: value})
            if own.empty:
                assert quantity in ("detour", "turning")
                assert not lines_called(axes, f"{quantity} {hue}={value}")
                continue
            expected = summary_of(own, [x], "value", limits=limits or FREE)
            ends = ["mean", "low", "high"]
            expected[ends] = np.exp(expected[ends]) if limits is GEOMETRIC else expected[ends]
            at, means = line(axes, f"{quantity} {hue}={value}")
            # Lines against an axis of the grid are set slightly apart.
            np.testing.assert_allclose(at, expected[x], rtol=0 if name in BANDS else 0.25)
            np.testing.assert_allclose(means, expected["mean"])
            if name == "loss-profiles" and expected["count"].max() <= 3:
                continue  # thin lines are drawn in place of bands
            intervals = expected.assign(at=at)[["at", "low", "high"]].dropna()  # equal values have none
            drawn = band(axes, look.colour, intervals["at"]) if name in BANDS else bars(axes, look.colour)
            np.testing.assert_allclose(drawn[drawn[:, 0].argsort()], intervals, rtol=1e-9, atol=1e-12)
    axes_of_panels = [axis for axis in ("depth", "batch_size", "width") if axis not in (x, hue)]
    values = {"depth": (1, 3), "batch_size": (32, 256), "width": (8, 32)}
    every = product(*(values[axis] for axis in axes_of_panels))
    assert places == [dict(zip(axes_of_panels, each, strict=True)) for each in every]


@pytest.mark.parametrize(("name", "quantity"), [each for each in EACH_QUANTITY if each[0] not in BANDS])
def test_dots_are_the_networks_or_pairs(
    tables: dict[str, Tables], figures: dict[str, Figure], name: str, quantity: str
) -> None:
    x, hue = lines_of(name).x, lines_of(name).hue
    rows = rows_behind(name, quantity, tables[name])
    for place, axes in panels(name, figures[name], quantity):
        (dots,) = (each for each in axes.collections if isinstance(each, PathCollection))
        found = pd.DataFrame(dots.get_offsets().data, columns=["x", "y"])
        found["colour"] = [to_hex(colour[:3]) for colour in dots.get_facecolor()]
        own = only(rows, **place)
        assert len(found) == len(own)
        for value, look in looks(name, tables[name]).items():
            drawn = found[found["colour"] == look.colour].sort_values(["x", "y"])
            expected = own[own[hue] == value].sort_values([x, "value"])
            np.testing.assert_allclose(drawn["x"], expected[x], rtol=0.25)
            np.testing.assert_allclose(drawn["y"], expected["value"])


@pytest.mark.parametrize("name", BANDS)
def test_few_networks_or_pairs_are_thin_lines_in_place_of_a_band(name: str) -> None:
    seeds, most = (2, 2) if name == "learning-curves" else (3, 3)
    made = MADE[name](widths=[8], depths=[1], batch_sizes=[32], seeds=seeds)
    figure = draw(name, made)
    for quantity in QUANTITIES[name]:
        ((_, axes),) = panels(name, figure, quantity)
        rows = rows_behind(name, quantity, made)
        members = [key for key in ("kind", "seed", "seed_a", "seed_b") if key in rows]
        expected = sorted(own["value"].tolist() for _, own in rows.groupby(members))
        thin = [each for each in axes.lines if each.get_linewidth() < 0.5]
        assert len(thin) == (most if name == "learning-curves" else most * len(ALL_KINDS) - 1)  # a fit diverged
        for drawn, values in zip(sorted(each.get_ydata().tolist() for each in thin), expected, strict=True):
            np.testing.assert_allclose(drawn, values)
        assert not axes.collections
    assert "are thin lines instead" in note(figure)


@pytest.mark.parametrize("name", AGAINST_WIDTH)
def test_a_cell_whose_networks_all_diverged_breaks_the_lines(name: str) -> None:
    lost = [(16, 1, seed) for seed in range(3)]
    figure = draw(name, MADE[name](widths=[8, 16, 32], depths=[1], batch_sizes=[32], seeds=3, diverged=lost))
    for axes in figure.axes:
        for gid in {each.get_gid() for each in axes.lines}:
            assert [len(part.get_xdata()) for part in lines_called(axes, gid)] == [1, 1]
            np.testing.assert_allclose(line(axes, gid)[0], [8, 32], rtol=0.25)


def test_a_profile_is_broken_where_a_loss_is_not_finite() -> None:
    made = paths(widths=[8], depths=[1], batch_sizes=[32], seeds=4)
    rows = made["paths"]
    middle = (rows["kind"] == "linear") & (rows["t"] == 0.5) & (rows["seed_a"] == 0) & (rows["seed_b"] == 2)
    rows.loc[middle, "train_loss"] = np.nan
    axes = draw("loss-profiles", made).axes[0]
    before, after = (part.get_xdata() for part in lines_called(axes, "train_loss_along kind=linear"))
    assert set(rows.loc[rows["kind"] == "linear", "t"].dropna()) - {*before, *after} == {0.5}
    assert before.max() < 0.5 < after.min()


@each_figure
def test_numbers_of_diverged_networks_change_no_mark(name: str) -> None:
    made, wild = (MADE[name](widths=[8, 16], depths=[3], batch_sizes=[32], seeds=4) for _ in range(2))
    for table, expression, _ in QUANTITIES[name].values():
        rows = wild[table]
        # `history` lacks that column.
        lost = rows["diverged"] if "diverged" in rows else (rows["width"] == 8) & (rows["seed"] == 0)
        assert lost.any()
        rows.loc[lost, re.findall("[a-z_]+", expression)] = 1e6
    for one, other in zip(draw(name, made).axes, draw(name, wild).axes, strict=True):
        assert one.get_ylim() == other.get_ylim()
        for mark_one, mark_other in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(mark_one.get_xydata(), mark_other.get_xydata())
        for marks_one, marks_other in zip(one.collections, other.collections, strict=True):
            np.testing.assert_array_equal(marks_one.get_offsets(), marks_other.get_offsets())
            for path_one, path_other in zip(marks_one.get_paths(), marks_other.get_paths(), strict=True):
                np.testing.assert_array_equal(path_one.vertices, path_other.vertices)


@each_figure
def test_the_note_counts_networks_or_pairs_and_what_diverged(figures: dict[str, Figure], name: str) -> None:
    if MADE[name] is paths:  # of five kinds: three pairs of seed 0 in each of two cells, and one fit
        assert note(figures[name]).startswith(
            "n = 3 to 6 pairs of 3 to 4 networks per point; 31 of 240 paths diverged and are left out."
        )
    else:
        assert note(figures[name]).startswith(
            "n = 3 to 4 networks per point; 2 of 32 networks diverged and are left out."
        )


@pytest.mark.parametrize(
    ("name", "examples"),
    [
        ("barriers", "1200 training and 400 test"),
        ("loss-profiles", "1200 training and 400 test"),
        ("curvature", "1000"),
        ("curvature-and-loss", "1000"),
    ],
)
def test_the_note_says_on_how_many_examples_was_measured(figures: dict[str, Figure], name: str, examples: str) -> None:
    assert f"Measured on {examples} examples." in note(figures[name])


@each_figure
@pytest.mark.parametrize("lost", [False, True])
def test_a_single_network_or_pair_diverged_or_not_can_be_drawn(name: str, lost: bool) -> None:
    diverged = [(64, 2, 0)] if lost else []
    given = {"widths": [64], "depths": [2], "batch_sizes": [128], "seeds": 2 if MADE[name] is paths else 1}
    figure = draw(name, MADE[name](**given, diverged=diverged))
    style.save(figure, [])
    assert said(figure) == ["all diverged"] * len(QUANTITIES[name]) * lost
    if lost:
        which = "All 5 paths" if MADE[name] is paths else "The only network"
        assert note(figure) == f"{which} diverged: there is nothing to draw."
    elif MADE[name] is paths:
        assert "n = 1 pair of 2 networks per point; none of 5 paths diverged." in note(figure)
        assert "(none where n is below 3 networks, or all pairs share one)" in note(figure)
    else:
        assert note(figure).startswith("n = 1 network per point. ")


def test_barriers_of_zero_can_be_seen_and_those_that_are_not_finite_are_counted() -> None:
    made = paths(widths=(8, 32), depths=(1,), batch_sizes=(32,), seeds=4)
    rows = made["connections"]
    rows.loc[rows["kind"] == "bezier", ["barrier_train_loss", "barrier_test_error"]] = 0.0
    infinite = (rows["kind"] == "linear") & (rows["seed_b"] == 3)
    rows.loc[infinite, "barrier_train_loss"] = np.nan
    figure = draw("barriers", made)
    style.save(figure, [])  # which lays it out: tick labels
    for axes in figure.axes:
        assert axes.get_yscale() == "symlog"
        assert axes.get_ylim()[0] < 0 < axes.get_ylim()[1]
        assert "0" in [label.get_text() for label in axes.get_yticklabels()]
    assert (line(figure.axes[0], "train_loss_barrier kind=bezier")[1] == 0).all()
    assert len(bars(figure.axes[0], KINDS["bezier"].colour)) == 0, "values that are all zero have no interval"
    assert "Also left out: 6 of barrier, training loss (no finite value)." in note(figure)


def test_what_is_not_positive_or_did_not_converge_is_counted() -> None:
    made = curvature(widths=(8, 16), depths=(1,), batch_sizes=(32,), seeds=3, diverged=[])
    rows = made["curvature"]
    rows.loc[rows["final"] & (rows["seed"] == 1), "trace"] = -1.0
    rows.loc[rows["final"] & (rows["seed"] == 2), "top_eigenvalue_converged"] = False
    figure = draw("curvature", made)
    assert "Also left out: 2 of trace of the Hessian (not positive)." in note(figure)
    unsure = "Drawn without having converged to the precision asked for: 2 of 6 of top eigenvalue."
    assert unsure in note(figure)
    kept = rows.query("final and width == 16 and seed != 1")["trace"]
    assert line(figure.axes[1], "trace depth=1")[1][1] == pytest.approx(np.sqrt(kept.prod()))
    rows["trace"] = -1.0
    assert said(draw("curvature", made)) == ["none positive"]  # for the trace


def test_what_was_not_measured_is_said() -> None:
    few = {"widths": (8, 16), "depths": (1,), "batch_sizes": (32,), "seeds": 3, "diverged": []}
    figure = draw("path-geometry", paths(**few, kinds=["linear"], sharpness=False))
    assert said(figure) == ["not measured"] * 4
    assert note(figure).startswith("Nothing to draw: nothing was measured.")
    figure = draw("path-geometry", paths(**few, sharpness=False))
    assert len(figure.axes) == 2
    assert said(figure) == []
    assert "Not measured: top eigenvalue, top eigenvalue / loss." in note(figure)
    made = curvature(**few)
    made["curvature"]["gauss_newton_top_eigenvalue"] = None
    figure = draw("curvature", made)
    assert len(figure.axes) == 2
    assert "Not measured: top Gauss–Newton eigenvalue." in note(figure)


@each_figure
def test_other_axes_get_panels_of_their_own(name: str) -> None:
    extra = [{"label_noise": noise, "optimizer": "sgd"} for noise in (0.0, 0.2)]
    figure = draw(name, MADE[name](widths=[8, 16], depths=[1], batch_sizes=[32], seeds=3, extra=extra))
    titles = [axes.get_title("left").split("\n") for axes in figure.axes[:: len(QUANTITIES[name])]]
    each = 2 if name == "loss-profiles" else 1
    assert [title[0] for title in titles] == ["label noise 0.0"] * each + ["label noise 0.2"] * each
    assert all(len(title) > 1 for title in titles)
    assert "Throughout: optimizer sgd." in note(figure)


def test_an_axis_with_a_single_value_gives_way_to_the_width() -> None:
    made = curvature(widths=(8, 16), depths=(1, 2), batch_sizes=(32,), seeds=2)
    figure = draw("curvature-and-loss", made)
    assert figure.axes[-1].get_xlabel() == "width"
    np.testing.assert_allclose(line(figure.axes[0], "top_eigenvalue depth=1")[0], [8, 16], rtol=0.1)


BATCHES = "batch size 16, 64, 256 and 1024 (4 of 5 values)"
SIX = "width 8, 16, 32, 128, 256 and 512 (6 of 7 values)"
TWO = "batch size 16 and 1024 (2 of 5 values)"


@pytest.mark.parametrize(
    ("name", "depths", "count", "shown"),
    [
        ("test-accuracy", (1, 2, 3), 5, ""),
        ("learning-curves", (1, 2, 3), 6, f"{TWO}; {SIX}"),
        ("barriers", (1, 2, 3), 6, TWO),
        ("loss-profiles", (1, 2, 3), 8, "batch size 16 (1 of 5 values); depth 1 and 3 (2 of 3 values); width"),
        ("path-geometry", (1, 2, 3), 4, f"{TWO}; depth 1 and 3 (2 of 3 values)"),
        ("curvature", (1,), 4, BATCHES),
        ("curvature-and-loss", (1,), 1, SIX),
    ],
)
def test_of_many_panels_and_lines_some_are_shown_and_the_note_says_which(
    name: str, depths: tuple[int, ...], count: int, shown: str
) -> None:
    many = {"widths": (8, 16, 32, 64, 128, 256, 512), "batch_sizes": (16, 64, 128, 256, 1024)}
    more = {"seeds": 2, "kinds": ["linear", "bezier"]} if MADE[name] is paths else {"seeds": 1}
    figure = draw(name, MADE[name](**many, **more, depths=depths, diverged=[]))
    assert len(figure.axes) == count * len(QUANTITIES[name])
    assert f"Shown: {shown}" in note(figure) if shown else "Shown" not in note(figure)


@pytest.mark.parametrize("kinds", [["bezier", "linear"], ["polychain"], list(ALL_KINDS)])
def test_a_kind_looks_the_same_whichever_others_there_are(kinds: list[str]) -> None:
    made = paths(widths=(8, 16), depths=(1,), batch_sizes=(32,), seeds=2, kinds=kinds)
    for name in ("barriers", "loss-profiles", "path-geometry"):
        handles = {each.get_label(): each.get_color() for each in draw(name, made).legends[0].get_lines()}
        assert handles == {words_of(kind): KINDS[kind].colour for kind in kinds}


def test_a_value_looks_the_same_whatever_study_it_is_in() -> None:
    one, two = curvature(widths=[8, 16], seeds=1), curvature(study="other", widths=[16, 64], depths=[2, 3], seeds=1)
    both = {name: pd.concat([one[name], two[name]]) for name in one}
    for name, label in (("curvature-and-loss", "width 16"), ("curvature", "depth 3")):
        legends = [draw(name, both, study).legends[0].get_lines() for study in ("digits", "other")]
        colours = [{each.get_label(): each.get_color() for each in legend} for legend in legends]
        assert colours[0][label] == colours[1][label]
        assert len({*colours[0].values(), *colours[1].values()}) == 3


@pytest.mark.parametrize(
    ("name", "x_scale", "y_scales"),
    [
        ("test-accuracy", "log", ["linear", "linear"]),
        ("learning-curves", "linear", ["log", "log"]),
        ("barriers", "log", ["symlog", "symlog"]),
        ("loss-profiles", "linear", ["log", "linear"]),
        ("path-geometry", "log", ["linear", "linear", "log", "log"]),
        ("curvature", "log", ["log"] * 3),
        ("curvature-and-loss", "log", ["log"] * 3),
    ],
)
def test_axes_are_logarithmic_where_means_are_geometric_and_show_all_means_and_dots(
    figures: dict[str, Figure], name: str, x_scale: str, y_scales: list[str]
) -> None:
    for number, axes in enumerate(figures[name].axes):
        assert (axes.get_xscale(), axes.get_yscale()) == (x_scale, y_scales[number % len(y_scales)])
        dots = [each.get_offsets().data for each in axes.collections if isinstance(each, PathCollection)]
        shown = np.vstack([each.get_xydata() for each in axes.lines] + dots)
        for (low, high), values in zip((axes.get_xlim(), axes.get_ylim()), shown.T, strict=True):
            assert low <= values.min() < values.max() <= high
    first, second = figures[name].axes[:2]
    if name == "loss-profiles":
        assert first.get_xlim() == (0, 1)
        assert second.get_ylim()[0] == 0
    if name == "learning-curves":
        assert first.get_xlim() == (0, 8)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize(
    ("name", "row", "label"),
    [
        ("learning-curves", 0, "test loss"),
        ("barriers", 0, "barrier, training loss"),
        ("loss-profiles", 0, "training loss"),
        ("curvature-and-loss", 1, "training loss"),
    ],
)
def test_losses_have_units(name: str, row: int, label: str, loss: str) -> None:
    made = MADE[name](widths=[8], depths=[1], batch_sizes=[32], seeds=2, loss=loss)
    unit = {"cross_entropy": "nats", "squared_error": "mean squared error"}[loss]
    assert draw(name, made).axes[row].get_ylabel().replace("\n", " ") == f"{label} ({unit})"


ONE = {"widths": (8,), "depths": (1,), "batch_sizes": (32,), "loss": "squared_error"}
SOME = {"widths": (8, 16, 32, 64), "depths": (1, 2), "batch_sizes": (16, 64, 256)}
MANY = {"widths": range(8, 30, 2), "depths": range(1, 5), "batch_sizes": (16, 32, 64, 128, 256)}


@each_figure
@pytest.mark.parametrize("grid", [ONE, SOME, pytest.param(MANY, marks=pytest.mark.slow)], ids=["one", "some", "many"])
def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page(name: str, grid: dict[str, Any]) -> None:
    more = {"epochs": 2} if name == "learning-curves" else {}
    assert_laid_out(draw(name, MADE[name](**grid, **more, seeds=2 if MADE[name] is paths else 1)))


@each_figure
def test_a_study_without_rows_is_named(tables: dict[str, Tables], name: str) -> None:
    with pytest.raises(DataError, match="'nothing'"):
        draw(name, tables[name], "nothing")


PROGRAM = """
import sys
from importlib import import_module
from pathlib import Path
from isthmus.figures.means import draw_means
from isthmus.figures.style import save
from isthmus.recipes.cell_table import read_tables
from isthmus.tables.descriptions import stages
stage, to = sys.argv[1], Path(sys.argv[2])
tables = read_tables(to.parent.glob("*.parquet"))
for figure in stages()[stage].figures:
    if figure.lines:
        drawn = draw_means("digits", tables, figure.lines)
    else:
        draw = getattr(import_module(f"isthmus.figures.{stage}"), "draw_" + figure.name.replace("-", "_"))
        drawn = draw("digits", tables)
    save(drawn, [to / f"{figure.name}.pdf", to / f"{figure.name}.png"])
assert not {"torch", "sklearn"} & set(sys.modules), "figures must not import these"
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train", "connect", "curvature"])
def test_drawing_again_gives_the_same_bytes_and_never_imports_torch(tmp_path: Path, stage: str) -> None:
    make = {"train": invented_training, "connect": invented_paths, "curvature": invented_curvature}[stage]
    names = [quantity for found in QUANTITIES.values() for quantity in found]
    for name, table in summarized(make.frames(widths=[8, 16], depths=[1], seeds=3), names).items():
        table.to_parquet(tmp_path / f"{name}.parquet", index=False)
    for number in (1, 2):
        environment = {"PYTHONPATH": str(SCRIPTS), "PYTHONHASHSEED": str(number)}
        subprocess.run([sys.executable, "-c", PROGRAM, stage, tmp_path / str(number)], check=True, env=environment)
        time.sleep(1.1)  # a date in a file would differ
    files = sorted((tmp_path / "1").iterdir())
    assert len(files) == {"train": 6, "connect": 8, "curvature": 10}[stage]
    for file in files:
        assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes(), file.name
