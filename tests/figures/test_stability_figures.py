"""The figures of stability and of further training say what their tables say."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, filled, line, lines_called, means_figure, note, shown_in, summarized
from invented_cells import NO_MORE, keys_of, with_cells
from matplotlib.figure import Figure

from isthmus.tables.descriptions import table

STEPS = (0, 10, 1000)
NAMES = ("stability", "stable-from")
FROM = {8: [1000, None, 1000, None, None], 32: [0, 10, 0, 10, 10]}
"""The step from which the networks of each width are stable."""


def stability_tables() -> dict[str, Any]:
    """Invented rows of `stability` of two widths with five networks each, of which one twin diverged."""
    random, rows = np.random.default_rng(0), []
    for width, seed, step in product(FROM, range(5), STEPS):
        keys = keys_of("digits", width, 2, 32, NO_MORE[0]) | {"seed": seed}
        lost, first = (width, seed, step) == (32, 4, 10), FROM[width][seed]
        stable = first is not None and step >= first
        error = random.uniform(0, 0.01) if stable else random.uniform(0.1, 0.4)
        row = keys | {"step": step, "points": 25, "train_examples": 1000, "test_examples": 300, "diverged": lost}
        measured = {"barrier_test_error": error, "barrier_train_loss": 4 * error, "stable": stable}
        rows.append(filled("stability", row | {"stable_from": first} | ({} if lost else measured)))
    made = pd.DataFrame(rows, columns=[column.name for column in table("stability").columns])
    return summarized(with_cells({"stability": made}), shown_in(*NAMES))


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return stability_tables()


@pytest.fixture(scope="module")
def figures(tables: dict[str, Any]) -> dict[str, Figure]:
    return {name: means_figure(name)("digits", tables) for name in NAMES}


def test_barriers_are_means_against_the_step_with_a_place_for_step_0(
    tables: dict[str, Any], figures: dict[str, Figure]
) -> None:
    axes = figures["stability"].axes[0]
    own = tables["stability"].query("not diverged and width == 32")
    at, values = line(axes, "stability_error width=32")
    np.testing.assert_allclose(values, own.groupby("step")["barrier_test_error"].mean())
    assert at.tolist() == list(STEPS) == axes.get_xticks().tolist()
    low, high = axes.transAxes.inverted().transform(axes.transData.transform([(0, 0), (1000, 0)]))[:, 0]
    assert 0 <= low < 0.2 < 0.8 < high <= 1
    (stable,) = lines_called(axes, "stable")
    assert set(np.asarray(stable.get_ydata())) == {0.02}


def test_the_step_is_a_median_in_which_never_is_later_than_all(figures: dict[str, Figure]) -> None:
    steps, share = figures["stable-from"].axes
    at, values = line(steps, "stable_from depth=2")
    assert values.tolist() == [10]  # most networks of width 8 never become stable
    assert at.tolist() == [32]
    assert line(share, "becomes_stable depth=2")[1].tolist() == [0.4, 1.0]
    assert steps.get_ylim()[0] < 0  # 0 has a place


def further_tables(levels: int = 3) -> dict[str, Any]:
    """Invented rows of `further_training` of one width with three networks."""
    random, rows = np.random.default_rng(0), []
    for seed, (kind, level) in product(range(3), [("dense", 0), *product(("ticket", "random"), range(1, levels + 1))]):
        keys = keys_of("digits", 8, 2, 32, NO_MORE[0]) | {"seed": seed, "diverged": False, "data": "digits, contrast 3"}
        place = {"kind": kind, "level": level, "density": 0.5**level, "kept_fraction": 0.5**level, "test_examples": 300}
        for epoch in (0.0, 1.0, 2.0):
            accuracy = 0.5 + 0.2 * epoch - 0.05 * level - random.uniform(0, 0.05)
            row = keys | place | {"epoch": epoch, "final": epoch == 2, "test_accuracy": accuracy}
            rows.append(filled("further_training", row | ({"forgotten": 0.1 * level} if epoch == 2 else {})))
    made = pd.DataFrame(rows, columns=[column.name for column in table("further_training").columns])
    return summarized(with_cells({"further_training": made}), shown_in("further-training"))


def test_accuracies_before_and_after_are_at_the_weights_kept() -> None:
    tables = further_tables()
    figure = means_figure("further-training")("digits", tables)
    rows = tables["further_training"].query("kind == 'ticket'")
    for axes, name, chosen, column in zip(
        figure.axes,
        ("further_before", "further_after", "further_forgotten"),
        (rows["epoch"] == 0, rows["final"], rows["final"]),
        ("test_accuracy", "test_accuracy", "forgotten"),
        strict=True,
    ):
        kept, values = line(axes, f"{name} kind=ticket")
        np.testing.assert_allclose(values, rows[chosen].groupby("level")[column].mean().astype(float))
        np.testing.assert_allclose(np.log2(kept), [-1, -2, -3], atol=0.1)
    assert "Second data: digits, contrast 3; 2 epochs." in note(figure)


def test_nothing_overlaps(figures: dict[str, Figure]) -> None:
    for figure in (*figures.values(), means_figure("further-training")("digits", further_tables())):
        assert_laid_out(figure)
