"""The figures of means draw what the tables say, and the note under them counts what they leave out."""

import re
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import Tables, bars, line, lines_called, lines_of, note, segments, shown_in, summarized
from invented_paths import ALL_KINDS
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from means import (
    AGAINST_WIDTH,
    BANDS,
    EACH_QUANTITY,
    FOR_EACH_TABLE,
    FREE,
    GEOMETRIC,
    MADE,
    QUANTITIES,
    draw,
    made_for,
    only,
    panels,
    paths,
    rows_behind,
)

from isthmus.core.errors import DataError
from isthmus.figures import style
from isthmus.figures.looks import KINDS, Look, looks_of
from isthmus.figures.marks import draw_band
from isthmus.statistics.bootstrap import summarize
from isthmus.statistics.pairs import summarize_pairs

each_figure = pytest.mark.parametrize("name", MADE)


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
    return made_for(*MADE, widths=(8, 32), seeds=4, diverged=[(8, 3, 0)])


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
        found = pd.concat(
            pd.DataFrame(dots.get_offsets().data, columns=["x", "y"]).assign(colour=to_hex(dots.get_facecolor()[0][:3]))
            for dots in axes.collections
            if isinstance(dots, PathCollection)
        )
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
    more = MADE[name](widths=[8], depths=[1], batch_sizes=[32], seeds=5)
    assert "thin lines" not in note(draw(name, more))


@pytest.mark.parametrize(("widths", "depths", "thin"), [([8], [1, 3], True), ([8, 32], [3], False)])
def test_the_note_names_thin_lines_where_a_whole_panel_has_too_few_networks(
    widths: list[int], depths: list[int], thin: bool
) -> None:
    few = [(8, 3, seed) for seed in range(3)]  # of five networks, these diverged
    made = MADE["learning-curves"](widths=widths, depths=depths, batch_sizes=[32], seeds=5, diverged=few)
    figure = draw("learning-curves", made)
    drawn = [any(each.get_linewidth() < 0.5 for each in axes.lines) for axes in figure.axes]
    assert any(drawn) == thin
    assert not all(drawn)
    assert ("few networks are thin lines instead" in note(figure)) == thin


def test_an_interval_without_a_neighbour_is_a_bar_in_place_of_a_band() -> None:
    rows = pd.DataFrame(
        {"at": range(4), "value": 1.0, "low": [0.5, np.nan, 0.25, 0.25], "high": [1.5, np.nan, 2.0, 2.0]}
    )
    axes, look = Figure().subplots(), KINDS["linear"]
    draw_band(axes, rows, look)
    np.testing.assert_allclose(band(axes, look.colour, np.array([2, 3])), [(2, 0.25, 2), (3, 0.25, 2)])
    assert [each.tolist() for each in axes.collections[1].get_segments()] == [[[0, 0.5], [0, 1.5]]]


@pytest.mark.parametrize(("name", "marks"), [("curvature", "Bars"), ("learning-curves", "Bands")])
def test_the_note_says_if_bars_or_bands_go_on_beyond_a_panel(name: str, marks: str) -> None:
    made = summarized(MADE[name](widths=[8, 32], seeds=5), shown_in(name))
    for factor, cut in ((1.0, False), (0.01, True)):
        rows = made["summaries"].assign(low=made["summaries"]["low"] * factor)
        assert (f"{marks} that end at the edge of a panel go on" in note(draw(name, made | {"summaries": rows}))) == cut


@pytest.mark.parametrize("name", AGAINST_WIDTH)
def test_a_cell_whose_networks_all_diverged_breaks_the_lines(name: str) -> None:
    lost = [(16, 1, seed) for seed in range(3)]
    figure = draw(name, MADE[name](widths=[8, 16, 32], depths=[1], batch_sizes=[32], seeds=3, diverged=lost))
    for axes in figure.axes:
        for gid in {each.get_gid() for each in axes.lines}:
            assert [len(part) for part in segments(axes, gid)] == [1, 1]
            np.testing.assert_allclose(line(axes, gid)[0], [8, 32], rtol=0.25)


def test_a_profile_is_broken_where_a_loss_is_not_finite() -> None:
    made = paths(widths=[8], depths=[1], batch_sizes=[32], seeds=4)
    rows = made["paths"]
    middle = (rows["kind"] == "linear") & (rows["t"] == 0.5) & (rows["seed_a"] == 0) & (rows["seed_b"] == 2)
    rows.loc[middle, "train_loss"] = np.nan
    axes = draw("loss-profiles", made).axes[0]
    before, after = (part[:, 0] for part in segments(axes, "train_loss_along kind=linear"))
    assert set(rows.loc[rows["kind"] == "linear", "t"].dropna()) - {*before, *after} == {0.5}
    assert before.max() < 0.5 < after.min()


@pytest.mark.parametrize("name", FOR_EACH_TABLE)
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
    assert "Also left out: barrier, training loss (6 values not finite)." in note(figure)


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
            assert low <= np.nanmin(values) < np.nanmax(values) <= high
    first, second = figures[name].axes[:2]
    if name == "loss-profiles":
        assert first.get_xlim() == (0, 1)
        assert second.get_ylim()[0] == 0
    if name == "learning-curves":
        assert first.get_xlim() == (0, 8)


@each_figure
def test_a_study_without_rows_is_named(tables: dict[str, Tables], name: str) -> None:
    with pytest.raises(DataError, match="'nothing'"):
        draw(name, tables[name], "nothing")
