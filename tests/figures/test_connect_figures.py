"""The figures of paths between minima say what the tables say."""

import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, filled, line, note, said
from invented_cells import NO_MORE, Extra, keys_of, with_cells
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from running import SCRIPTS

from isthmus.core.errors import DataError
from isthmus.figures import connect, style
from isthmus.figures.pairs import KIND_LABELS, KINDS
from isthmus.figures.planes import path_on_plane
from isthmus.statistics.pairs import summarize_pairs
from isthmus.tables.descriptions import table
from isthmus.tables.parquet import read_table, write_table

DRAW = {
    "barriers": connect.draw_barriers,
    "loss-profiles": connect.draw_loss_profiles,
    "path-geometry": connect.draw_path_geometry,
    "planes": connect.draw_planes,
}
ALL_KINDS = ("linear", "linear-aligned", "bezier", "polychain", "bezier-aligned")
CURVES = ("bezier", "polychain", "bezier-aligned")
TEST_EXAMPLES = 400
Rows = list[dict[str, Any]]


def _profile(random: np.random.Generator, kind: str, width: int, depth: int, ends: np.ndarray) -> dict[str, Any]:
    """Invented losses and errors along a path, higher in the middle, and lower ones for wide networks and curves."""
    t = np.linspace(0, 1, 61 if kind in CURVES else 25)
    height = {"linear": 1.6, "linear-aligned": 40 * width**-1.8, "polychain": 0.012, "bezier": 0.006}.get(kind, 0.004)
    height *= depth**0.7 * np.exp(random.normal(0, 0.25)) * (1 if kind == "linear" else (8 / width) ** 0.8)
    bump = (4 * t * (1 - t)) ** 2 - (0.05 if kind in CURVES else 0) * np.sin(np.pi * t)
    line = (1 - t) * ends[0] + t * ends[1]
    train = np.maximum(line + height * bump - 0.1 * ends.mean() * np.sin(np.pi * t) * (kind in CURVES), 1e-9)
    error = 0.03 + 0.2 / np.sqrt(width) + 0.55 * np.tanh(0.8 * height * bump) + random.normal(0, 0.002)
    error = np.round(np.clip(error, 0, 1) * TEST_EXAMPLES) / TEST_EXAMPLES
    return {"t": t, "train_loss": train, "test_error": error, "test_loss": train + 0.3}


def _geometry(random: np.random.Generator, kind: str, width: int, bends: bool) -> dict[str, float]:
    chord = 3 * np.sqrt(width) * (0.7 if "aligned" in kind else 1.0) * random.uniform(0.95, 1.05)
    across = chord * random.uniform(0.5, 0.7) * (10 / (width + 10)) ** 0.2 if bends else 0.0
    share = 2 if kind == "polychain" else 1
    leg = np.hypot(chord / 2, across * share / 2)
    length = chord if not bends else float(2 * leg if kind == "polychain" else chord + (2 * leg - chord) * 0.9)
    return {
        "chord": float(chord),
        "length": float(length),
        "detour": float(length / chord),
        "turning": float(2 * np.arctan2(across * share, chord)),
        "bend_along": float(random.normal(0, 0.05) * chord) if bends else 0.0,
        "bend_across": float(across),
    }


def _barrier(values: np.ndarray, t: np.ndarray) -> float:
    return float((values - ((1 - t) * values[0] + t * values[-1])).max())


def _connection(
    keys: dict[str, Any], kind: str, ends: np.ndarray, random: np.random.Generator, sharpness: bool
) -> tuple[dict[str, Any], Rows]:
    """A row of `connections` and its rows of `paths`."""
    width, depth = keys["width"], keys["depth"]
    profile = _profile(random, kind, width, depth, ends)
    geometry = _geometry(random, kind, width, kind in CURVES)
    top = 30 * np.exp(random.normal(0, 0.2)) * depth * {"linear": 3.0}.get(kind, 1.0) * (32 / width) ** 0.3
    measured = {"sharpness_mean": float(top), "sharpness_over_loss_mean": float(top / ends.mean())} if sharpness else {}
    row = {
        "barrier_train_loss": _barrier(profile["train_loss"], profile["t"]),
        "barrier_test_error": _barrier(profile["test_error"], profile["t"]),
        "diverged": False,
        "reason": "measured",
        **geometry,
        **measured,
    }
    points = [
        filled(
            "paths",
            keys
            | {
                "kind": kind,
                "diverged": False,
                "t": float(t),
                "train_loss": float(loss),
                "train_accuracy": 1.0,
                "test_loss": float(test_loss),
                "test_accuracy": float(1 - error),
            },
        )
        for t, loss, error, test_loss in zip(*profile.values(), strict=True)
    ]
    return row, points


def _plane(keys: dict[str, Any], kind: str, connection: dict[str, Any], points: int) -> Rows:
    """An invented landscape with a valley along the path, steep outside."""
    chord, across = (connection.get("chord") or 1.0), (connection.get("bend_across") or 1.0)
    if connection["diverged"]:
        return [filled("planes", keys | {"plane": kind, "diverged": True})]
    x, y = np.linspace(-0.2 * chord, 1.2 * chord, points), np.linspace(-0.2 * across, 1.2 * across, points)
    floor = 0.3 * keys["width"] ** -1.5
    if kind == "random":
        x = y = np.linspace(-1, 1, points)
        height = (1.5 * x[None, :] ** 2 + (y[:, None] + 0.3 * x[None, :]) ** 2) * 2
    else:
        middle = 2 * (x / chord) * (1 - x / chord) * across
        off = (y[:, None] - middle[None, :]) / across
        beyond = np.maximum(abs(x / chord - 0.5) - 0.5, 0)
        height = 2.5 * np.minimum(off**2, 0.6 + abs(off)) + 12 * beyond[None, :] ** 2 * (1 + off**2)
    loss = floor + height * (1 + 4 * height)
    rows = []
    for j, i in product(range(points), repeat=2):
        finite = not (kind != "random" and i == points - 1 and j > points - 4)
        values = {"train_loss": float(loss[j, i]), "test_accuracy": float(0.9 * np.exp(-2 * height[j, i]) + 0.08)}
        values |= {"train_accuracy": 0.5, "test_loss": 1.0}
        counts = {"train_examples": 1200, "test_examples": TEST_EXAMPLES, "statistics_examples": 0}
        place = {"plane": kind, "diverged": False, "x": float(x[i]), "y": float(y[j])}
        rows.append(filled("planes", keys | place | counts | (values if finite else {"test_accuracy": 0.1})))
    return rows


def make_tables(
    study: str = "digits",
    widths: Sequence[int] = (8, 16, 32, 64, 128),
    depths: Sequence[int] = (1, 3),
    batch_sizes: Sequence[int] = (32, 256),
    seeds: int = 5,
    extra: Extra = NO_MORE,
    kinds: Sequence[str] = ALL_KINDS,
    diverged: Sequence[tuple[int, int, int]] = ((8, 3, 0),),
    fits_diverged: Sequence[tuple[int, str]] = ((16, "polychain"),),
    loss: str = "cross_entropy",
    sharpness: bool = True,
    plane_points: int = 21,
) -> dict[str, Rows]:
    """Invented but plausible rows of `connections`, `paths` and `planes`.

    `extra` are axes beside these; `diverged` holds (width, depth, seed), `fits_diverged` (width, kind), of
    which the fit of the pair (1, 2) at the smallest depth and batch size diverged.
    """
    random = np.random.default_rng(0)
    made: dict[str, Rows] = {"connections": [], "paths": [], "planes": []}
    for more, width, depth, batch in product(extra, widths, depths, batch_sizes):
        cell = keys_of(study, width, depth, batch, more)
        floors = 0.5 * width**-1.5 * batch**0.2 * np.exp(random.normal(0, 0.2, seeds))
        first: dict[str, dict[str, Any]] = {}
        for (a, b), kind in product(combinations(range(seeds), 2), kinds):
            keys = cell | {"seed_a": a, "seed_b": b}
            lost_network = any((width, depth, seed) in diverged for seed in (a, b))
            lost_fit = (width, kind) in fits_diverged and (a, b, depth, batch) == (1, 2, depths[0], batch_sizes[0])
            row, points = _connection(keys, kind, floors[[a, b]], random, sharpness)
            if lost_network or lost_fit:
                row = {"diverged": True, "reason": "network diverged" if lost_network else "fit diverged"}
                points = [filled("paths", keys | {"kind": kind, "diverged": True})]
            row |= {"kind": kind, "dataset": "digits", "architecture": "mlp", "normalization": "none", "loss": loss}
            row |= {"parameters": 100 * width, "points": len(points), "seconds": 1.0}
            counts = {"train_examples": 1200, "test_examples": TEST_EXAMPLES, "statistics_examples": 0}
            row |= counts
            made["connections"].append(filled("connections", keys | row))
            made["paths"] += [point | counts for point in points]
            first.setdefault(kind, keys | row)
        if plane_points and first:
            curved = next((kind for kind in kinds if kind in CURVES), None)
            for kind in filter(None, (curved, "random")):
                connection = first[curved or kinds[0]]
                made["planes"] += _plane(cell | {"seed_a": 0, "seed_b": 1}, kind, connection, plane_points)
    return made


def frames(**given: Any) -> dict[str, pd.DataFrame]:
    """The invented tables as data frames."""
    columns = {name: [column.name for column in table(name).columns] for name in ("connections", "paths", "planes")}
    made = make_tables(**given)
    tables = {name: pd.DataFrame(rows, columns=columns[name]).infer_objects() for name, rows in made.items()}
    return with_cells(tables, given.get("extra", NO_MORE))


def stack_of(figure: Figure, rows: int) -> list[tuple[str, list[Axes]]]:
    """Title of each panel and its axes from top to bottom, for stacks of `rows` axes."""
    axes = figure.axes
    return [(axes[k].get_title("left"), axes[k : k + rows]) for k in range(0, len(axes), rows)]


def bars(axes: Axes, kind: str) -> np.ndarray:
    """Lower and upper ends of the interval bars of one kind of path, [points, 2]."""
    of_kind = [
        lines
        for lines in axes.collections
        if isinstance(lines, LineCollection) and to_hex(lines.get_color()[0][:3]) == KINDS[kind].colour.lower()
    ]
    drawn = [segment[:, 1] for lines in of_kind for segment in lines.get_segments() if len(segment)]
    return np.vstack([np.empty((0, 2)), *drawn])  # none where equal values have no interval


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return frames(widths=(8, 32, 128), batch_sizes=(32,), seeds=4)


@pytest.fixture(scope="module")
def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    return {name: draw("digits", tables) for name, draw in DRAW.items()}


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize(
    ("name", "stack", "row", "column"),
    [
        ("barriers", 2, 0, "barrier_train_loss"),
        ("barriers", 2, 1, "barrier_test_error"),
        ("path-geometry", 4, 0, "detour"),
        ("path-geometry", 4, 1, "turning"),
        ("path-geometry", 4, 2, "sharpness_mean"),
        ("path-geometry", 4, 3, "sharpness_over_loss_mean"),
    ],
)
def test_lines_are_means_over_pairs_and_bars_their_intervals(
    tables: dict[str, pd.DataFrame],
    figures: dict[str, Figure],
    name: str,
    stack: int,
    row: int,
    column: str,
    kind: str,
) -> None:
    panels = stack_of(figures[name], stack)
    assert [title for title, _ in panels] == ["depth 1, batch size 32", "depth 3, batch size 32"]
    connections = tables["connections"]
    for depth, (_, axes) in zip((1, 3), panels, strict=True):
        gids = [line.get_gid() for line in axes[row].lines]
        if column in ("detour", "turning") and kind not in CURVES:
            assert f"{column} kind={kind}" not in gids
            continue
        of_kind = (connections["kind"] == kind) & (connections["depth"] == depth)
        here = connections[of_kind & ~connections["diverged"]].copy()
        logarithmic = column.startswith("sharpness")
        here["value"] = np.log(here[column].astype(float)) if logarithmic else here[column].astype(float)
        limits = {"detour": (1, np.inf), "barrier_test_error": (0, 1)}.get(column, (0, np.inf))
        expected = summarize_pairs(here, ["width"], "value", limits=(-np.inf, np.inf) if logarithmic else limits)
        if logarithmic:
            expected[["mean", "low", "high"]] = np.exp(expected[["mean", "low", "high"]])
        widths, means = line(axes[row], f"{column} kind={kind}")
        np.testing.assert_allclose(widths, [8, 32, 128], rtol=0.25)
        np.testing.assert_allclose(means, expected["mean"])
        ends = expected[["low", "high"]].dropna()  # equal values have no interval
        np.testing.assert_allclose(bars(axes[row], kind), ends, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_profiles_are_means_along_the_paths_with_bands(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure], kind: str
) -> None:
    panels = stack_of(figures["loss-profiles"], 2)
    assert [title.replace("\n", " ") for title, _ in panels] == [
        f"depth {depth}, batch size 32, width {width}" for depth in (1, 3) for width in (8, 32, 128)
    ]
    paths = tables["paths"].query("depth == 3 and width == 32 and kind == @kind")
    loss, error = panels[4][1]
    t, means = line(loss, f"train_loss kind={kind}")
    by_t = paths.groupby("t")
    np.testing.assert_allclose(t, sorted(paths["t"].unique()))
    np.testing.assert_allclose(means, by_t["train_loss"].agg(lambda values: np.exp(np.log(values).mean())))
    np.testing.assert_allclose(line(error, f"test_accuracy kind={kind}")[1], 1 - by_t["test_accuracy"].mean())
    middle = paths[paths["t"] == 0.5].assign(value=lambda rows: 1 - rows["test_accuracy"])
    expected = summarize_pairs(middle, ["t"], "value", limits=(0, 1))
    parts = error.collections[ALL_KINDS.index(kind)].get_paths()  # apart where all values are equal
    band = np.vstack([part.vertices for part in parts])
    ends = np.unique(band[band[:, 0] == 0.5, 1])
    assert (ends[0], ends[-1]) == pytest.approx((expected["low"][0], expected["high"][0]))


@pytest.mark.parametrize("name", ["barriers", "loss-profiles", "path-geometry"])
def test_pairs_networks_and_what_diverged_are_counted_under_the_figure(figures: dict[str, Figure], name: str) -> None:
    text = note(figures[name])
    assert "n = 3 to 6 pairs of 3 to 4 networks per point" in text
    assert "15 of 180 paths left out (a network diverged in 15)" in text  # the three pairs of seed 0, of five kinds
    with_fits = frames(widths=(8, 16), depths=(1,), batch_sizes=(32,), seeds=4, fits_diverged=[(16, "bezier")])
    text = note(DRAW[name]("digits", with_fits))
    assert "1 of 60 paths left out (the fit of a bend diverged in 1)" in text


@pytest.mark.parametrize("name", ["barriers", "loss-profiles", "path-geometry"])
def test_numbers_of_diverged_pairs_change_no_mark(name: str) -> None:
    small: dict[str, Any] = {"widths": [8, 16], "depths": [3], "batch_sizes": [32], "seeds": 4}
    tables, wild = frames(**small), frames(**small)
    for table_name, columns in (
        ("connections", ["barrier_train_loss", "barrier_test_error", "detour", "turning", "sharpness_mean"]),
        ("paths", ["train_loss", "test_accuracy", "t"]),
    ):
        wild[table_name].loc[wild[table_name]["diverged"], columns] = -1e6
    for one, other in zip(DRAW[name]("digits", tables).axes, DRAW[name]("digits", wild).axes, strict=True):
        assert one.get_ylim() == other.get_ylim()
        for line_one, line_other in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(line_one.get_ydata(), line_other.get_ydata())


def test_barriers_of_zero_can_be_seen_and_those_that_are_not_finite_are_counted() -> None:
    tables = frames(widths=(8, 32), depths=(1,), batch_sizes=(32,), seeds=4)
    connections = tables["connections"]
    connections.loc[connections["kind"] == "bezier", ["barrier_train_loss", "barrier_test_error"]] = 0.0
    infinite = (connections["kind"] == "linear") & (connections["seed_b"] == 3)
    connections.loc[infinite, "barrier_train_loss"] = np.nan
    figure = connect.draw_barriers("digits", tables)
    style.save(figure, [])  # which lays it out: tick labels
    for axes in figure.axes:
        assert axes.get_yscale() == "symlog"
        assert axes.get_ylim()[0] < 0 < axes.get_ylim()[1]
        assert "0" in [label.get_text() for label in axes.get_yticklabels()]
    assert (line(figure.axes[0], "barrier_train_loss kind=bezier")[1] == 0).all()
    assert len(bars(figure.axes[0], "bezier")) == 0, "values that are all zero have no interval"
    assert "barriers of 6 paths with a loss that is not finite" in note(figure)


def test_a_profile_is_broken_where_a_loss_is_not_finite() -> None:
    tables = frames(widths=(8,), depths=(1,), batch_sizes=(32,), seeds=4)
    paths = tables["paths"]
    middle = (paths["kind"] == "linear") & (paths["t"] == 0.5) & (paths["seed_a"] == 0) & (paths["seed_b"] == 2)
    paths.loc[middle, "train_loss"] = np.nan
    t, means = line(connect.draw_loss_profiles("digits", tables).axes[0], "train_loss kind=linear")
    assert t[np.isnan(means)].tolist() == [0.5]


def test_path_and_bend_lie_where_the_table_says(tables: dict[str, pd.DataFrame], figures: dict[str, Figure]) -> None:
    figure = figures["planes"]
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
    tables = frames(widths=(8, 16, 32), depths=(1, 2, 3), batch_sizes=(32, 64), diverged=())
    figure = connect.draw_planes("digits", tables)
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
    figure = connect.draw_planes("digits", tables)
    assert said(figure) == ["diverged"] * 4
    assert "2 of 4 planes diverged" in note(figure)


def test_where_no_planes_were_asked_for_the_figure_says_so() -> None:
    figure = connect.draw_planes("digits", frames(widths=(8,), plane_points=0))
    assert note(figure) == "No planes were asked for."
    figure.draw_without_rendering()


def test_what_was_not_asked_for_is_said() -> None:
    tables = frames(widths=(8, 16), depths=(1,), batch_sizes=(32,), kinds=["linear"], sharpness=False)
    figure = connect.draw_path_geometry("digits", tables)
    assert said(figure) == ["no curves asked for"] * 2 + ["not measured"] * 2
    assert "Nothing to draw: nothing was measured." in note(figure)
    for name in ("barriers", "loss-profiles", "planes"):
        figure = DRAW[name]("digits", tables)
        figure.draw_without_rendering()
        assert said(figure) == []


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("diverged", [[], [(64, 2, 0)]])
def test_a_single_pair_diverged_or_not_can_be_drawn(name: str, diverged: list[tuple[int, int, int]]) -> None:
    tables = frames(widths=[64], depths=[2], batch_sizes=[128], seeds=2, diverged=diverged)
    figure = DRAW[name]("digits", tables)
    figure.draw_without_rendering()
    if diverged:
        assert {text.removeprefix("all ") for text in said(figure)} == {"diverged"}
    elif name != "planes":
        assert "n = 1 pair of 2 networks per point; none of 5 paths diverged." in note(figure)
        where = "at most 3 pairs" if name == "loss-profiles" else "n is below 3 networks"
        assert where in note(figure)


@pytest.mark.parametrize(("name", "stack"), [("barriers", 2), ("loss-profiles", 2), ("path-geometry", 4)])
def test_other_axes_get_panels_of_their_own(name: str, stack: int) -> None:
    extra = [{"label_noise": noise, "optimizer": "sgd"} for noise in (0.0, 0.2)]
    tables = frames(widths=[8, 16], depths=[1], batch_sizes=[32], seeds=3, extra=extra)
    figure = DRAW[name]("digits", tables)
    titles = [title.split("\n")[0] for title, _ in stack_of(figure, stack)]
    each = 2 if name == "loss-profiles" else 1
    assert titles == ["label noise 0.0"] * each + ["label noise 0.2"] * each
    assert "Throughout: optimizer sgd." in note(figure)


def test_of_many_panels_some_are_shown_and_the_note_says_which() -> None:
    tables = frames(widths=(8, 16, 32, 64, 128), depths=(1, 2, 3), batch_sizes=(16, 64, 256), seeds=2, diverged=())
    figure = connect.draw_loss_profiles("digits", tables)
    titles = {title.replace("\n", " ") for title, _ in stack_of(figure, 2)}
    assert len(titles) == 8
    assert {title.split("width ")[1] for title in titles} == {"8", "16", "64", "128"}
    shown = (
        "Shown: batch size 16 (1 of 3 values); depth 1 and 3 (2 of 3 values); width 8, 16, 64 and 128 (4 of 5 values)."
    )
    assert note(figure).endswith(shown)
    panels = stack_of(connect.draw_path_geometry("digits", tables), 4)
    assert [title for title, _ in panels] == [
        f"depth {depth}, batch size {size}" for depth in (1, 3) for size in (16, 256)
    ]


@pytest.mark.parametrize("kinds", [["bezier", "linear"], ["polychain"], list(ALL_KINDS)])
def test_a_kind_looks_the_same_whichever_others_there_are(kinds: list[str]) -> None:
    tables = frames(widths=(8, 16), depths=(1,), batch_sizes=(32,), seeds=2, kinds=kinds)
    for name in ("barriers", "loss-profiles", "path-geometry"):
        figure = DRAW[name]("digits", tables)
        handles = {handle.get_label(): handle.get_color() for handle in figure.legends[0].get_lines()}
        assert handles == {KIND_LABELS[kind]: KINDS[kind].colour for kind in kinds}
    looks = list(KINDS.values())
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == len(looks)


MANY = ((8, 16, 32, 64, 128, 256), (1, 2, 3))


@pytest.fixture(
    scope="module",
    params=[((8,), (1,)), ((8, 16), (1, 2)), pytest.param(MANY, marks=pytest.mark.slow)],
    ids=["one", "some", "many"],
)
def grid(request: pytest.FixtureRequest) -> dict[str, pd.DataFrame]:
    widths, depths = request.param
    return frames(widths=widths, depths=depths, batch_sizes=(32, 256) if len(depths) > 2 else (32,), seeds=2)


@pytest.mark.parametrize("name", DRAW)
def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page(grid: dict[str, pd.DataFrame], name: str) -> None:
    assert_laid_out(DRAW[name]("digits", grid))


@pytest.mark.parametrize("name", DRAW)
def test_a_study_without_rows_is_named(tables: dict[str, pd.DataFrame], name: str) -> None:
    with pytest.raises(DataError, match="'nothing'"):
        DRAW[name]("nothing", tables)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_losses_have_units(loss: str) -> None:
    tables = frames(widths=[8], depths=[1], batch_sizes=[32], seeds=2, loss=loss)
    unit = {"cross_entropy": "loss (nats)", "squared_error": "mean squared error"}[loss]
    barrier, _ = (axes.get_ylabel() for axes in connect.draw_barriers("digits", tables).axes)
    assert barrier == f"barrier, training\n{unit}"
    assert connect.draw_loss_profiles("digits", tables).axes[0].get_ylabel() == f"training {unit}"
    assert f"training {unit}" in [axes.get_xlabel() for axes in connect.draw_planes("digits", tables).axes]


PROGRAM = """
import sys
from pathlib import Path
from isthmus.figures import connect, style
from isthmus.tables.parquet import read_table
folder, to = map(Path, sys.argv[1:])
tables = {path.stem: read_table(path).to_pandas() for path in folder.glob("*.parquet")}
for name in ("barriers", "loss_profiles", "path_geometry", "planes"):
    style.save(getattr(connect, "draw_" + name)("digits", tables), [to / f"{name}.pdf", to / f"{name}.png"])
assert not {"torch", "sklearn", "matplotlib.pyplot"} & set(sys.modules), "figures must not import these"
"""


@pytest.mark.slow
def test_drawing_again_gives_the_same_bytes_and_never_imports_torch(tmp_path: Path) -> None:
    rows = make_tables(widths=[8, 16], depths=[1], batch_sizes=[32], seeds=3, plane_points=11)
    for name in rows:
        write_table(tmp_path / f"{name}.parquet", name, rows[name])
    environment = {"PYTHONPATH": str(SCRIPTS), "PYTHONHASHSEED": "5"}
    subprocess.run([sys.executable, "-c", PROGRAM, tmp_path, tmp_path / "one"], check=True, env=environment)
    time.sleep(1.1)  # a date in a file would differ
    tables = {name: read_table(tmp_path / f"{name}.parquet").to_pandas() for name in rows}
    for draw in DRAW.values():
        name = draw.__name__.removeprefix("draw_")
        style.save(draw("digits", tables), [tmp_path / "two" / f"{name}.pdf", tmp_path / "two" / f"{name}.png"])
    files = sorted((tmp_path / "one").iterdir())
    assert len(files) == 8
    for file in files:
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
