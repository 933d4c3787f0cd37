"""The figures of movement say what the tables say."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, bars, filled, line, means_figure, note
from invented_cells import NO_MORE, Extra, keys_of, with_cells
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.core.errors import DataError
from isthmus.figures import movement
from isthmus.figures.looks import looks_of
from isthmus.statistics.bootstrap import bootstrap_interval
from isthmus.statistics.power_law import power_law
from isthmus.tables.descriptions import table

DRAW = {name: means_figure(name) for name in ("movement", "kernel-change")}
Rows = list[dict[str, Any]]


def make_tables(
    study: str = "digits",
    widths: Sequence[int] = (8, 16, 32, 64, 128),
    depths: Sequence[int] = (1, 3),
    batch_sizes: Sequence[int] = (32, 256),
    seeds: int = 5,
    extra: Extra = NO_MORE,
    diverged: Sequence[tuple[int, int, int]] = ((8, 3, 0),),
    kernels: bool = True,
    bend: float = 0.0,
    scatter: float = 0.08,
) -> dict[str, Rows]:
    """Invented but plausible rows of `movement` and `kernels`: powers of the width, with some scatter.

    `extra` are ends of cell names, `diverged` holds (width, depth, seed); `bend` makes the powers no powers.
    """
    random = np.random.default_rng(0)
    made: dict[str, Rows] = {"movement": [], "kernels": []}
    for more, width, depth, batch, seed in product(extra, widths, depths, batch_sizes, range(seeds)):
        keys = keys_of(study, width, depth, batch, more) | {"seed": seed}
        lost = (width, depth, seed) in diverged
        keys |= {"diverged": lost, "parameters": 100 * width}
        if lost:
            everything = {"final": True, "epoch": 4.0, "layer": "all", "layer_index": 0, "images": 50}
            made["movement"].append(filled("movement", keys | everything))
            made["kernels"] += [filled("kernels", keys | everything)] if kernels else []
            continue
        relative = 1.2 * (width / 8) ** (-0.4 + bend * np.log(width / 8)) * (32 / batch) ** 0.1 / depth**0.2
        relative *= np.exp(random.normal(0, scatter))
        for epoch, share in ((5.0, 0.6), (30.0, 1.0)):
            for index, layer in enumerate(("all", "1", "3")):
                norm = 3 * np.sqrt(width * depth) * (1 if layer == "all" else 0.6)
                distance = share * relative * norm
                values = {"distance": distance, "norm_initial": norm, "norm": np.hypot(norm, distance)}
                place = {"final": epoch == 30, "epoch": epoch, "layer": layer, "layer_index": index}
                made["movement"].append(filled("movement", keys | place | values | {"relative": distance / norm}))
        if kernels:
            change = 3 * (width / 8) ** -0.7 * depth**0.5 * (32 / batch) ** 0.2 * np.exp(random.normal(0, 0.15))
            start, gain = 0.12 + random.normal(0, 0.01), 0.5 * width**-0.15 + random.normal(0, 0.02)
            for epoch, share in ((0.0, 0.0), (5.0, 0.6), (30.0, 1.0)):
                values = {"relative_change": share * change, "target_alignment": start + share * gain, "images": 50}
                made["kernels"].append(filled("kernels", keys | values | {"final": epoch == 30, "epoch": epoch}))
    return made


def frames(**given: Any) -> dict[str, pd.DataFrame]:
    """The invented tables as data frames."""
    columns = {name: [column.name for column in table(name).columns] for name in ("movement", "kernels")}
    tables = {name: pd.DataFrame(rows, columns=columns[name]) for name, rows in make_tables(**given).items()}
    return with_cells(tables, given.get("extra", NO_MORE))


def slopes(axes: Axes) -> list[str]:
    """The powers of the width that are written into a panel."""
    return [text.get_text() for text in axes.texts if text.get_gid() == "slope"]


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return frames(widths=(8, 32, 128), seeds=4)


@pytest.fixture(scope="module")
def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    return {name: draw("digits", tables) for name, draw in DRAW.items()}


@pytest.mark.parametrize(
    ("name", "row", "quantity", "column"),
    [
        ("movement", 0, "relative_distance", "relative"),
        ("movement", 1, "distance", "distance"),
        ("kernel-change", 0, "kernel_change", "relative_change"),
    ],
)
def test_lines_slopes_and_intervals_are_those_of_the_table(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure], name: str, row: int, quantity: str, column: str
) -> None:
    table = tables["movement"].query("layer == 'all'") if name == "movement" else tables["kernels"]
    for panel, batch_size in enumerate((32, 256)):
        axes = figures[name].axes[{"movement": 2, "kernel-change": 3}[name] * panel + row]
        written = []
        for depth in (1, 3):
            own = table.query("final and not diverged")
            own = own[(own["depth"] == depth) & (own["batch_size"] == batch_size)]
            samples = [np.log(sample.to_numpy()) for _, sample in own.groupby("width")[column]]
            np.testing.assert_allclose(line(axes, f"{quantity} depth={depth}")[1], [np.exp(x.mean()) for x in samples])
            if depth == 1:
                blue = bars(axes, looks_of("depth", [1, 3])[1].colour)[:, 1:]
                np.testing.assert_allclose(blue, np.exp([bootstrap_interval(sample) for sample in samples]))
            law = power_law(own["width"], own[column])
            written.append(f"{law.slope:.2f} [{law.low:.2f}, {law.high:.2f}]".replace("-", "−"))
        assert [text.removesuffix(" *") for text in slopes(axes)] == written


def test_the_lazy_line_falls_as_one_over_the_root_of_the_width(figures: dict[str, Figure]) -> None:
    width, value = line(figures["movement"].axes[0], "width^-1/2")
    assert width.tolist() == [8, 128]
    assert value[1] / value[0] == pytest.approx((128 / 8) ** -0.5)
    assert not [each for each in figures["movement"].axes[1].lines if each.get_gid() == "width^-1/2"]


def test_alignment_is_shown_before_and_after_training(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    kernels = tables["kernels"].query("depth == 1 and batch_size == 32")
    before, after = figures["kernel-change"].axes[1:3]
    for axes, final, rows in ((before, False, kernels.query("epoch == 0")), (after, True, kernels.query("final"))):
        means = rows.groupby("width")["target_alignment"].mean()
        np.testing.assert_allclose(line(axes, f"kernel_alignment_then_and_now final={final} depth=1")[1], means)
    assert before.get_ylim() == after.get_ylim()


def test_a_star_says_where_no_power_law_holds() -> None:
    given = {"widths": (8, 16, 32, 64), "depths": (1,), "batch_sizes": (32,), "scatter": 0.02}
    straight = DRAW["movement"]("digits", frames(**given))
    bent = DRAW["movement"]("digits", frames(**given, bend=0.1))
    assert not slopes(straight.axes[0])[0].endswith("*")
    assert slopes(bent.axes[0])[0].endswith(" *")
    assert "*" not in note(straight)
    assert "*: no power law, as the widths' means lie farther from a line than networks scatter" in note(bent)


def test_numbers_are_written_with_a_true_minus_and_no_negative_zero() -> None:
    law = power_law([8, 8, 16, 16], [1, 1.1, 1.1, 1])
    assert movement.written(law).startswith("0.00 [−")
    assert movement.written(power_law([8, 32], [2, 1])) == "−0.50"


@pytest.mark.parametrize("name", DRAW)
def test_diverged_networks_are_left_out_and_counted(figures: dict[str, Figure], name: str) -> None:
    assert "n = 3 to 4 networks per point; 2 of 48 networks diverged and are left out" in note(figures[name])
    assert "Numbers: fitted power of the width and its 95 % interval." in note(figures[name])


def test_a_network_that_did_not_move_is_counted() -> None:
    tables = frames(widths=(8, 16), depths=(1,), batch_sizes=(32,), seeds=3)
    rows = tables["movement"]
    rows.loc[(rows["layer"] == "all") & rows["final"] & (rows["seed"] == 0), ["distance", "relative"]] = 0.0
    text = note(DRAW["movement"]("digits", tables))
    assert "relative distance from initialization (2 values not positive), distance from initialization (2 v" in text


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("diverged", [[], [(64, 2, 0)]])
def test_a_single_network_diverged_or_not_can_be_drawn(name: str, diverged: list[tuple[int, int, int]]) -> None:
    figure = DRAW[name]("digits", frames(widths=[64], depths=[2], batch_sizes=[128], seeds=1, diverged=diverged))
    figure.draw_without_rendering()
    assert "No power of the width is fitted" in note(figure)
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert texts == ({"all diverged"} if diverged else set())


@pytest.mark.parametrize("name", DRAW)
def test_other_axes_get_panels_of_their_own(name: str) -> None:
    extra = [{"label_noise": noise, "optimizer": "sgd"} for noise in (0.0, 0.2)]
    figure = DRAW[name]("digits", frames(widths=[8, 16], depths=[1], batch_sizes=[32], seeds=2, extra=extra))
    titles = [title.split("\n")[0] for axes in figure.axes if (title := axes.get_title("left"))]
    assert titles == ["label noise 0.0", "label noise 0.2"]
    assert "Throughout: optimizer sgd." in note(figure)


def test_of_many_depths_and_batch_sizes_some_are_shown() -> None:
    tables = frames(widths=(8, 16), depths=range(1, 6), batch_sizes=[2**k for k in range(3, 11)], seeds=1, diverged=[])
    figure = DRAW["movement"]("digits", tables)
    assert len(figure.axes) == 2 * 6
    assert [len(slopes(axes)) for axes in figure.axes] == [4] * 12
    assert "(6 of 8 values); depth 1, 2, 4 and 5 (4 of 5 values)." in note(figure)


def test_where_no_kernels_were_asked_for_the_figure_says_so() -> None:
    figure = DRAW["kernel-change"]("digits", frames(widths=(8,), kernels=False))
    assert note(figure).startswith("No tangent kernels were asked for. Set `kernel_images`")


@pytest.mark.parametrize("name", DRAW)
def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page(figures: dict[str, Figure], name: str) -> None:
    figure = figures[name]
    assert_laid_out(figure)


def test_slopes_stand_above_the_data(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        figure.draw_without_rendering()
        for axes in figure.axes:
            texts = [text.get_window_extent() for text in axes.texts if text.get_gid() == "slope"]
            marks = [each for each in axes.lines if each.get_gid() and "depth" in each.get_gid()]
            highest = max(axes.transData.transform(np.column_stack(each.get_data()))[:, 1].max() for each in marks)
            assert all(box.y0 > highest for box in texts)


@pytest.mark.parametrize("name", DRAW)
def test_a_study_without_rows_is_named(tables: dict[str, pd.DataFrame], name: str) -> None:
    with pytest.raises(DataError, match="'nothing'"):
        DRAW[name]("nothing", tables)
