"""The figures of robustness say what the table says."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, bars, line, means_figure, note
from invented_cells import NO_MORE, Extra, keys_of, with_cells
from matplotlib.figure import Figure

from isthmus.core.errors import DataError
from isthmus.figures.looks import looks_of
from isthmus.statistics.bootstrap import bootstrap_interval
from isthmus.tables.descriptions import table

DRAW = {name: means_figure(name) for name in ("robustness", "robustness-width")}
CORRUPTIONS = ("gaussian_noise", "contrast", "jpeg")
COLUMNS = [column.name for column in table("robustness").columns]


def frames(
    widths: Sequence[int] = (8, 32, 128),
    depths: Sequence[int] = (1, 3),
    batch_sizes: Sequence[int] = (32, 256),
    seeds: int = 4,
    extra: Extra = NO_MORE,
    diverged: Sequence[tuple[int, int, int]] = ((8, 3, 0),),
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    shifted: bool = False,
) -> dict[str, pd.DataFrame]:
    """An invented but plausible table `robustness`; `diverged` holds (width, depth, seed)."""
    random, rows = np.random.default_rng(0), []
    sets = [("none", 0), *product(corruptions, severities), *([("shifted", 0)] if shifted else [])]
    for more, width, depth, batch, seed in product(extra, widths, depths, batch_sizes, range(seeds)):
        keys = keys_of("digits", width, depth, batch, more) | {"seed": seed}
        lost = (width, depth, seed) in diverged
        clean = 0.97 - 0.3 / width - 0.01 * random.random()
        for name, severity in sets:
            loss = 0.3 if name == "shifted" else (0.02 + 0.02 * len(name) / 5) * severity
            accuracy = clean - loss * (1 + 2 / width) * (1 + 0.1 * random.random()) if loss else clean
            values = {} if lost else {"accuracy": accuracy, "relative_accuracy": accuracy / clean, "loss": 1 - accuracy}
            place = {"corruption": name, "severity": severity, "images": 0 if lost else 360, "parameters": 100 * width}
            row = keys | place | {"diverged": lost} | values
            rows.append({column: row.get(column) for column in COLUMNS})
    return with_cells({"robustness": pd.DataFrame(rows, columns=COLUMNS)}, extra)


def mean_by_network(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy over all corruptions, a row per network."""
    return rows.query("corruption in @CORRUPTIONS").groupby(["width", "depth", "batch_size", "seed"])["accuracy"].mean()


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return frames(shifted=True)


@pytest.fixture(scope="module")
def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    return {name: draw("digits", tables) for name, draw in DRAW.items()}


def test_a_panel_per_corruption_starts_from_the_clean_accuracy(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    panels = figures["robustness"].axes
    names = ("contrast", "gaussian_noise", "jpeg")
    titles = ["contrast", "Gaussian noise", "JPEG", "mean over corruptions"]
    drawn = [axes.get_title("left").replace("\n", " ") for axes in panels]
    assert drawn == [f"depth {depth}, {title}" for depth in (1, 3) for title in titles]
    own = tables["robustness"].query("depth == 1 and batch_size == 32")
    for axes, name in zip(panels[:3], names, strict=True):
        for width, look in looks_of("width", [8, 32, 128]).items():
            rows = own[own["corruption"].isin([name, "none"]) & (own["width"] == width)]
            samples = [sample.to_numpy() for _, sample in rows.groupby("severity")["accuracy"]]
            at, means = line(axes, f"corrupted_accuracy width={width}")
            np.testing.assert_allclose(means, [sample.mean() for sample in samples])
            np.testing.assert_array_equal(at.round(), range(6))
            expected = [bootstrap_interval(sample, limits=(0, 1)) for sample in samples]
            np.testing.assert_allclose(bars(axes, look.colour)[:, 1:], expected)


def test_the_last_panel_is_the_mean_over_the_corruptions_of_each_network(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    own = tables["robustness"].query("depth == 1 and batch_size == 32 and width == 32 and corruption in @CORRUPTIONS")
    networks = own.groupby(["severity", "seed"])["accuracy"].mean()
    samples = [sample.to_numpy() for _, sample in networks.groupby("severity")]
    axes = figures["robustness"].axes[3]
    np.testing.assert_allclose(line(axes, "corrupted_accuracy width=32")[1][1:], [each.mean() for each in samples])
    found = bars(axes, looks_of("width", [8, 32, 128])[32].colour)[1:, 1:]
    np.testing.assert_allclose(found, [bootstrap_interval(each, limits=(0, 1)) for each in samples])


def test_means_and_ratios_against_width_are_those_of_the_table(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    rows = tables["robustness"].query("not diverged")
    keys = ["width", "depth", "batch_size", "seed"]
    clean, shifted = (rows[rows["corruption"] == name].set_index(keys)["accuracy"] for name in ("none", "shifted"))
    corrupted = mean_by_network(rows)
    expected = {
        "mean_corrupted_accuracy": corrupted,
        "corrupted_over_clean": corrupted / clean,
        "shifted_accuracy": shifted,
        "shifted_over_clean": shifted / clean,
    }
    for panel, batch_size in enumerate((32, 256)):
        for row, (column, values) in enumerate(expected.items()):
            axes = figures["robustness-width"].axes[4 * panel + row]
            for depth in (1, 3):
                own = values.xs((depth, batch_size), level=("depth", "batch_size"))
                np.testing.assert_allclose(line(axes, f"{column} depth={depth}")[1], own.groupby("width").mean())


def test_rows_of_the_second_data_set_are_drawn_where_it_was_asked_for() -> None:
    small = {"widths": (8, 16), "depths": (1,), "batch_sizes": (32,), "seeds": 2, "diverged": []}
    assert len(DRAW["robustness-width"]("digits", frames(**small)).axes) == 2
    figure = DRAW["robustness-width"]("digits", frames(**small, corruptions=(), shifted=True))
    assert len(figure.axes) == 2
    assert "Corrupted images: mean" not in note(figure)


@pytest.mark.parametrize("name", DRAW)
def test_where_no_corruptions_were_asked_for_the_figure_says_so(name: str) -> None:
    assert note(DRAW[name]("digits", frames(corruptions=()))).startswith("No corruptions were asked for. Name some")


def test_notes_count_networks_and_say_what_is_shown(figures: dict[str, Figure]) -> None:
    text = note(figures["robustness"])
    assert "n = 3 to 4 networks per point; 1 of 24 networks diverged and is left out." in text
    assert "Shown: batch size 32 (1 of 2 values)." in text
    text = note(figures["robustness-width"])
    assert "n = 3 to 4 networks per point; 2 of 48 networks diverged and are left out" in text
    assert "Measured on 360 examples. Corrupted images: mean over 3 corruptions at severities 1, 2, 3, 4 and 5." in text


@pytest.mark.parametrize(
    ("severities", "words"),
    [((1, 3, 5), "severities 1, 3 and 5"), ((3,), "severity 3")],
)
def test_the_note_names_the_severities(severities: Sequence[int], words: str) -> None:
    tables = frames(widths=(8, 16), depths=(1,), batch_sizes=(32,), seeds=2, severities=severities)
    assert f"mean over 3 corruptions at {words}." in note(DRAW["robustness-width"]("digits", tables))
    figure = DRAW["robustness"]("digits", tables)
    assert line(figure.axes[1], "corrupted_accuracy width=8")[0].round().tolist() == [0, *severities]


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("diverged", [[], [(64, 2, 0)]])
def test_a_single_network_diverged_or_not_can_be_drawn(name: str, diverged: list[tuple[int, int, int]]) -> None:
    figure = DRAW[name]("digits", frames(widths=[64], depths=[2], batch_sizes=[128], seeds=1, diverged=diverged))
    figure.draw_without_rendering()
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert texts == ({"all diverged"} if diverged else set())
    assert ("The only network diverged" if diverged else "n = 1 network per point") in note(figure)


def test_other_axes_get_panels_of_their_own() -> None:
    extra = [{"label_noise": noise, "optimizer": "sgd"} for noise in (0.0, 0.2)]
    tables = frames(widths=[8, 16], depths=[1], batch_sizes=[32], seeds=2, extra=extra)
    figure = DRAW["robustness-width"]("digits", tables)
    assert [axes.get_title("left") for axes in figure.axes[::2]] == [
        f"label noise {noise}\nbatch size 32" for noise in ("0.0", "0.2")
    ]
    titles = [axes.get_title("left").split("\n")[0] for axes in DRAW["robustness"]("digits", tables).axes]
    assert titles == ["label noise 0.0"] * 4 + ["label noise 0.2"] * 4


def test_of_many_widths_depths_and_batch_sizes_some_are_shown() -> None:
    many = {"depths": range(1, 6), "batch_sizes": [2**k for k in range(3, 13)], "seeds": 1, "severities": (1,)}
    figure = DRAW["robustness-width"]("digits", frames(widths=(8, 16), diverged=[], **many))
    assert len(figure.axes) == 2 * 8
    assert "(8 of 10 values); depth 1, 2, 4 and 5 (4 of 5 values)." in note(figure)
    figure = DRAW["robustness"]("digits", frames(widths=range(1, 10), depths=[1], batch_sizes=[32], seeds=2))
    assert "(6 of 9 values)" in note(figure)
    assert len({each.get_gid() for each in figure.axes[0].lines}) == 6


@pytest.fixture(scope="module")
def many_corruptions() -> dict[str, pd.DataFrame]:
    names = ("gaussian_noise", "shot_noise", "impulse_noise", "gaussian_blur", "brightness", "contrast", "pixelate")
    return frames(shifted=True, corruptions=(*names, "jpeg", "translation", "rotation"), widths=(8, 16, 32, 64, 128))


@pytest.mark.parametrize("name", ["robustness", pytest.param("robustness-width", marks=pytest.mark.slow)])
def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page(
    many_corruptions: dict[str, pd.DataFrame], name: str
) -> None:
    assert_laid_out(DRAW[name]("digits", many_corruptions))


@pytest.mark.parametrize("name", DRAW)
def test_a_study_without_rows_is_named(tables: dict[str, pd.DataFrame], name: str) -> None:
    with pytest.raises(DataError, match="'nothing'"):
        DRAW[name]("nothing", tables)
