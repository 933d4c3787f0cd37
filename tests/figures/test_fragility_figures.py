"""The figures of fragility during training say what the table says."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, filled, line, means_figure, note
from invented_cells import NO_MORE, keys_of, with_cells
from matplotlib.figure import Figure

from isthmus.tables.descriptions import table

DRAW = {name: means_figure(name) for name in ("fragility", "fragility-and-loss")}
EPOCHS = (0.0, 1.0, 5.0, 20.0)


def frames(
    widths: tuple[int, ...] = (8, 32), depths: tuple[int, ...] = (1, 3), lost: int = -1, corrupted: bool = True
) -> dict[str, Any]:
    """Invented rows of `fragility` of networks of four seeds, of which the one called `lost` diverged in every cell."""
    random, rows, networks = np.random.default_rng(0), [], []
    for width, depth, seed in product(widths, depths, range(4)):
        keys = keys_of("digits", width, depth, 32, NO_MORE[0]) | {"seed": seed, "diverged": seed == lost}
        networks.append(keys | {"loss": "cross_entropy"})
        if seed == lost:
            rows.append(filled("fragility", keys | {"final": True, "epoch": EPOCHS[-1], "images": 0}))
            continue
        for epoch in EPOCHS:
            loss = 2.3 * np.exp(-0.2 * epoch) * (8 / width) ** 0.3 * random.uniform(0.9, 1.1)
            rise = 0.1 * depth * loss**0.7 * random.uniform(0.8, 1.2) - 0.2 * (epoch == 0 and seed == 0)
            measured = {"loss": loss, "noise_rise": rise, "worst_rise": 3 * abs(rise), "noise_error_rise": 0.02 * depth}
            measured |= (
                {"corrupted_accuracy": 0.6, "corruption_drop": 0.3 * random.uniform(0.8, 1)} if corrupted else {}
            )
            place = {"final": epoch == EPOCHS[-1], "epoch": epoch, "images": 1000, "test_images": 300}
            rows.append(filled("fragility", keys | place | measured))
    made = {"fragility": pd.DataFrame(rows, columns=[column.name for column in table("fragility").columns])}
    return with_cells(made | {"networks": pd.DataFrame(networks)}, NO_MORE)


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return frames(widths=(8, 32, 128), lost=3)


@pytest.fixture(scope="module")
def figures(tables: dict[str, Any]) -> dict[str, Figure]:
    return {name: draw("digits", tables) for name, draw in DRAW.items()}


def test_lines_are_means_at_epochs_or_at_the_mean_loss_there(
    tables: dict[str, Any], figures: dict[str, Figure]
) -> None:
    rows = tables["fragility"].query("width == 8 and depth == 1 and not diverged")
    rises, losses = (
        np.exp(np.log(values[values > 0]).groupby(rows["epoch"]).mean())
        for values in (rows["noise_rise"].astype(float), rows["loss"].astype(float))
    )
    for name, expected in (("fragility", EPOCHS), ("fragility-and-loss", losses)):
        at, values = line(figures[name].axes[0], "noise_rise_in_training width=8")
        np.testing.assert_allclose(values, rises)
        np.testing.assert_allclose(at, expected, rtol=0.2)  # lines are set apart


def test_the_axis_of_losses_has_their_unit(figures: dict[str, Figure]) -> None:
    figure = figures["fragility-and-loss"]
    labels = [axes.get_xlabel() for axes in figure.axes] + [text.get_text() for text in figure.texts]
    assert "training loss (nats)" in [*labels, figure.get_supxlabel()]


def test_the_note_counts_what_is_left_out(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        words = note(figure)
        assert "6 of 24 networks diverged and are left out" in words
        assert "not positive" in words
        assert_laid_out(figure)


def test_without_corruptions_their_axes_are_left_out() -> None:
    figure = DRAW["fragility"]("digits", frames((8,), (1,), corrupted=False))
    assert len(figure.axes) == 3
    assert "Not measured: accuracy lost to corruptions, accuracy on corrupted images." in note(figure)
