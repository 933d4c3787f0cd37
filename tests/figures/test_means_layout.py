"""The panels, lines, labels and looks of figures of means: which there are, and that nothing overlaps."""

import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import invented_curvature
import invented_paths
import invented_training
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from drawn import Tables, assert_laid_out, line, note, said, summarized
from invented_paths import ALL_KINDS
from means import FOR_EACH_TABLE, MADE, QUANTITIES, curvature, draw, made_for, paths
from running import SCRIPTS

from isthmus.figures.looks import KINDS, words_of
from isthmus.tables.descriptions import stages
from isthmus.tables.parquet import write_arrow

for_each_table = pytest.mark.parametrize("name", FOR_EACH_TABLE)


@for_each_table
@pytest.mark.parametrize("lost", [False, True])
def test_a_single_network_or_pair_diverged_or_not_can_be_drawn(name: str, lost: bool) -> None:
    diverged = [(64, 2, 0)] if lost else []
    given = {"widths": [64], "depths": [2], "batch_sizes": [128], "seeds": 2 if MADE[name] is paths else 1}
    figure = draw(name, MADE[name](**given, diverged=diverged))
    assert said(figure) == ["all diverged"] * len(QUANTITIES[name]) * lost
    if lost:
        which = "All 5 paths" if MADE[name] is paths else "The only network"
        assert note(figure) == f"{which} diverged: there is nothing to draw."
    elif MADE[name] is paths:
        assert "n = 1 pair of 2 networks per point; none of 5 paths diverged." in note(figure)
        assert "(none where n is below 3 networks, or all pairs share one)" in note(figure)
    else:
        assert note(figure).startswith("n = 1 network per point. ")


def test_what_is_not_positive_or_did_not_converge_is_counted() -> None:
    made = curvature(widths=(8, 16), depths=(1,), batch_sizes=(32,), seeds=3, diverged=[])
    rows = made["curvature"]
    rows.loc[rows["final"] & (rows["seed"] == 1), "trace"] = -1.0
    rows.loc[rows["final"] & (rows["seed"] == 2), "top_eigenvalue_converged"] = False
    figure = draw("curvature", made)
    assert "Also left out: trace of the Hessian (2 values not positive)." in note(figure)
    unsure = "Drawn without having converged to the precision asked for: top eigenvalue (2 of 6 values)"
    assert unsure in note(figure)
    kept = rows.query("final and width == 16 and seed != 1")["trace"]
    assert line(figure.axes[1], "trace depth=1")[1][1] == pytest.approx(np.sqrt(kept.prod()))
    rows["trace"] = -1.0
    assert said(draw("curvature", made)) == ["none positive"]  # for the trace


def test_what_was_not_measured_is_said() -> None:
    few = {"widths": (8, 16), "depths": (1,), "batch_sizes": (32,), "seeds": 3, "diverged": []}
    figure = draw("path-geometry", paths(**few, kinds=["linear"], sharpness=False))
    assert said(figure) == ["not measured"] * 2  # the eigenvalues; a straight line has no detour and no turning
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


@for_each_table
def test_other_axes_get_panels_of_their_own(name: str) -> None:
    extra = [{"label_noise": noise, "optimizer": "sgd"} for noise in (0.0, 0.2)]
    figure = draw(name, MADE[name](widths=[8, 16], depths=[1], batch_sizes=[32], seeds=3, extra=extra))
    titles = [axes.get_title("left").split("\n") for axes in figure.axes[:: len(QUANTITIES[name])]]
    each = 2 if name == "loss-profiles" else 1
    assert [title[0] for title in titles] == ["label noise 0.0"] * each + ["label noise 0.2"] * each
    assert all(len(title) > 1 for title in titles)
    assert "Throughout: optimizer sgd." in note(figure)


@pytest.mark.parametrize(
    ("given", "label", "at"),
    [
        ({"batch_sizes": (16, 32, 64), "depths": (2,)}, "batch size", [16, 32, 64]),
        ({"depths": (1, 3)}, "depth", [1, 3]),
    ],
)
def test_a_single_width_gives_way_to_an_axis_that_varies(given: dict[str, Any], label: str, at: list[int]) -> None:
    figure = draw("barriers", paths(**{"widths": (32,), "batch_sizes": (32,), "diverged": [], **given}))
    assert figure.axes[-1].get_xlabel() == label
    assert line(figure.axes[0], "train_loss_barrier kind=bezier")[0] == pytest.approx(at, rel=0.2)
    assert len(figure.axes) == 2


def test_an_axis_with_a_single_value_gives_way_to_the_width() -> None:
    made = curvature(widths=(8, 16), depths=(1, 2), batch_sizes=(32,), seeds=2)
    figure = draw("curvature-and-loss", made)
    assert figure.axes[-1].get_xlabel() == "width"
    np.testing.assert_allclose(line(figure.axes[0], "top_eigenvalue depth=1")[0], [8, 16], rtol=0.1)


@pytest.mark.parametrize(
    ("name", "depths", "batch_sizes", "x"),
    [
        ("path-geometry", (1,), (32,), "width"),
        ("test-accuracy", (1, 2), (32, 64), "depth"),
        ("curvature", (1,), (32, 64), "batch size"),
    ],
)
def test_of_two_axes_that_vary_the_depth_comes_first_and_of_none_the_width(
    name: str, depths: tuple[int, ...], batch_sizes: tuple[int, ...], x: str
) -> None:
    figure = draw(name, MADE[name](widths=(8,), depths=depths, batch_sizes=batch_sizes, seeds=3))
    assert {axes.get_xlabel() for axes in figure.axes} - {""} == {x}


BATCHES = "batch size 16, 64, 256 and 1024 (4 of 5 values)"
SIX = "width 8, 16, 32, 128, 256 and 512 (6 of 7 values)"
TWO = "batch size 16 and 1024 (2 of 5 values)"


@pytest.fixture(scope="module")
def many() -> dict[str, Tables]:
    grid = {"widths": (8, 16, 32, 64, 128, 256, 512), "batch_sizes": (16, 64, 128, 256, 1024), "diverged": []}
    training = made_for("test-accuracy", "learning-curves", **grid, depths=(1, 2, 3), seeds=1)
    of_pairs = {"depths": (1, 2, 3), "seeds": 2, "kinds": ["linear", "bezier"]}
    connected = made_for("barriers", "loss-profiles", "path-geometry", **grid, **of_pairs)
    return training | connected | made_for("curvature", "curvature-and-loss", **grid, depths=(1,), seeds=1)


@pytest.mark.parametrize(
    ("name", "count", "shown"),
    [
        ("test-accuracy", 5, ""),
        ("learning-curves", 6, f"{TWO}; {SIX}"),
        ("barriers", 6, TWO),
        ("loss-profiles", 8, "batch size 16 (1 of 5 values); depth 1 and 3 (2 of 3 values); width"),
        ("path-geometry", 4, f"{TWO}; depth 1 and 3 (2 of 3 values)"),
        ("curvature", 4, BATCHES),
        ("curvature-and-loss", 1, SIX),
    ],
)
def test_of_many_panels_and_lines_some_are_shown_and_the_note_says_which(
    many: dict[str, Tables], name: str, count: int, shown: str
) -> None:
    figure = draw(name, many[name])
    assert len(figure.axes) == count * len(QUANTITIES[name])
    assert f"Shown: {shown}" in note(figure) if shown else "Shown" not in note(figure)


@pytest.mark.parametrize("kinds", [["polychain", "linear"], list(ALL_KINDS)])
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
    ("name", "row", "label", "loss"),
    [
        ("learning-curves", 0, "test loss", "cross_entropy"),
        ("learning-curves", 0, "test loss", "squared_error"),
        ("barriers", 0, "barrier, training loss", "squared_error"),
        ("loss-profiles", 0, "training loss", "cross_entropy"),
        ("curvature-and-loss", 1, "training loss", "squared_error"),
    ],
)
def test_losses_have_units(name: str, row: int, label: str, loss: str) -> None:
    made = MADE[name](widths=[8], depths=[1], batch_sizes=[32], seeds=2, loss=loss)
    unit = {"cross_entropy": "nats", "squared_error": "mean squared error"}[loss]
    assert draw(name, made).axes[row].get_ylabel().replace("\n", " ") == f"{label} ({unit})"


ONE = {"widths": (8,), "depths": (1,), "batch_sizes": (32,), "loss": "squared_error"}
SOME = {"widths": (8, 16, 32, 64), "depths": (1, 2), "batch_sizes": (16, 64, 256)}
MANY = {"widths": range(8, 30, 2), "depths": range(1, 5), "batch_sizes": (16, 32, 64, 128, 256)}


FAST = [("test-accuracy", "some"), ("loss-profiles", "some"), ("path-geometry", "one")]
EXHAUSTIVE = pytest.mark.exhaustive
GRIDS: dict[str, dict[str, Any]] = {"one": ONE, "some": SOME, "many": MANY}


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        pytest.param(*each, marks=[] if each in FAST else pytest.mark.slow if each[1] == "one" else EXHAUSTIVE)
        for each in product(MADE, GRIDS)
    ],
)
def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page(name: str, grid: str) -> None:
    more = {"epochs": 2} if name == "learning-curves" else {}
    assert_laid_out(draw(name, MADE[name](**GRIDS[grid], **more, seeds=2 if MADE[name] is paths else 1)))


PROGRAM = """
import sys
from pathlib import Path
from typing import Any
from isthmus.figures.drawing import drawer
from isthmus.figures.style import save
from isthmus.recipes.cell_table import read_tables
from isthmus.tables.descriptions import stages
stage, to = sys.argv[1], Path(sys.argv[2])
tables = read_tables(to.parent.glob("*.parquet"))
for figure in stages()[stage].figures:
    save(drawer(figure)("digits", tables), [to / f"{figure.name}.pdf", to / f"{figure.name}.png"])
assert not {"torch", "sklearn"} & set(sys.modules), "figures must not import these"
"""


@EXHAUSTIVE
@pytest.mark.parametrize("stage", ["train", "connect", "curvature"])
def test_drawing_again_gives_the_same_bytes_and_never_imports_torch(tmp_path: Path, stage: str) -> None:
    make = {"train": invented_training, "connect": invented_paths, "curvature": invented_curvature}[stage]
    shown = [figure.lines for figure in stages()[stage].figures if figure.lines]
    names = [quantity for lines in shown for quantity in (*lines.rows, lines.x)]
    for name, table in summarized(make.frames(widths=[8, 16], depths=[1], batch_sizes=[32], seeds=3), names).items():
        write_arrow(tmp_path / f"{name}.parquet", pa.Table.from_pandas(table, preserve_index=False))
    for number in (1, 2):
        environment = {"PYTHONPATH": str(SCRIPTS), "PYTHONHASHSEED": str(number)}
        subprocess.run([sys.executable, "-c", PROGRAM, stage, tmp_path / str(number)], check=True, env=environment)
        time.sleep(1.1)  # a date in a file would differ
    files = sorted((tmp_path / "1").iterdir())
    assert len(files) == 2 * len(stages()[stage].figures)
    for file in files:
        assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes(), file.name
