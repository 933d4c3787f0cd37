"""The figure of barriers layer by layer says what the table says."""

from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, filled, line, means_figure, note
from invented_cells import NO_MORE, keys_of, with_cells

from isthmus.tables.descriptions import table

DRAW = means_figure("layer-barriers")
EXAMPLES = 400


def frames(widths: tuple[int, ...] = (8, 32), depths: tuple[int, ...] = (1, 3), lost: int = -1) -> dict[str, Any]:
    """Invented rows of `layers` of networks of four seeds, of which the one called `lost` diverged in every cell."""
    random, rows, networks = np.random.default_rng(0), [], []
    for width, depth in product(widths, depths):
        keys = keys_of("digits", width, depth, 32, NO_MORE[0])
        networks += [keys | {"seed": seed, "diverged": seed == lost, "loss": "cross_entropy"} for seed in range(4)]
        counts = {"train_examples": 1200, "test_examples": EXAMPLES, "statistics_examples": 0, "points": 13}
        for first, second in combinations(range(4), 2):
            pair = keys | counts | {"seed_a": first, "seed_b": second, "diverged": lost in (first, second)}
            moved = [("all", "all", 0, 1.0)]
            for index in range(1, depth + 2):
                moved += [("alone", str(index), index, 0.05 * index), ("all_but", str(index), index, 1 - 0.1 * index)]
            for what, layer, index, height in moved[: 1 if pair["diverged"] else None]:
                rise = height * random.uniform(0.9, 1.1)
                measured = {"halfway_train_loss": 3 * rise, "halfway_test_error": round(rise * EXAMPLES / 2) / EXAMPLES}
                place = {"what": what, "layer": layer, "layer_index": index, "parameters": 100}
                rows.append(filled("layers", pair | place | (measured if not pair["diverged"] else {})))
    made = {"layers": pd.DataFrame(rows, columns=[column.name for column in table("layers").columns])}
    return with_cells(made | {"networks": pd.DataFrame(networks)}, NO_MORE)


def test_lines_are_means_of_pairs_against_the_layer_beside_the_level_of_all_layers() -> None:
    tables = frames()
    figure = DRAW("digits", tables)
    rows = tables["layers"].query("width == 8 and depth == 1")
    for what in ("alone", "all_but"):
        at, values = line(figure.axes[0], f"layer_halfway_loss what={what}")
        expected = rows[rows["what"] == what].groupby("layer_index")["halfway_train_loss"].mean()
        assert np.round(at).tolist() == [1, 2]
        np.testing.assert_allclose(values, expected)
    (level,) = (each for each in figure.axes[0].lines if each.get_gid() == "layer_halfway_loss all")
    expected = rows.loc[rows["what"] == "all", "halfway_train_loss"].mean()
    np.testing.assert_allclose(np.unique(level.get_ydata()), expected)


def test_axes_begin_with_the_first_layer_and_end_with_the_last() -> None:
    assert {axes.get_xlim() for axes in DRAW("digits", frames()).axes} == {(0.5, 4.5)}


@pytest.mark.parametrize(
    ("lost", "words"),
    [(-1, "n = 6 pairs of 4 networks per point; none of 24 pairs diverged."),
     (2, "n = 3 pairs of 3 networks per point; 12 of 24 pairs diverged and are left out.")],
)  # fmt: skip
def test_the_note_counts_pairs(lost: int, words: str) -> None:
    assert words in note(DRAW("digits", frames(lost=lost)))


@pytest.mark.parametrize("widths", [(8,), (8, 16, 32, 64, 128)])
@pytest.mark.parametrize("depths", [(1,), (1, 3)])
def test_nothing_overlaps(widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
    assert_laid_out(DRAW("digits", frames(widths, depths)))
