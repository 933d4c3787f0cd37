"""The figures of relations say what the tables say."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, note
from invented import invented_tables
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.analyses.relations.measure import relate
from isthmus.figures import relations, relations_matrices
from isthmus.figures.relations_lines import in_order, true_minus
from isthmus.tables.descriptions import table
from isthmus.tables.quantities import named

DRAW = {
    "correlations": relations.draw_correlations,
    "effects": relations.draw_effects,
    "saturation": relations.draw_saturation,
    "path-relations": relations.draw_path_relations,
}


def related(*names: str, **given: Any) -> dict[str, pd.DataFrame]:
    """The tables of the stage, from invented ones: all, or those that are named."""
    tables = invented_tables(**given)
    chosen = {name: tables[name] for name in ({*names, "cells"} if names else tables)}
    made = relate("digits", chosen, {"interpolation_threshold": 1.0, "fewest_networks": 5})
    frames = {name: pd.DataFrame(rows, columns=[c.name for c in table(name).columns]) for name, rows in made.items()}
    return frames | {"cells": tables["cells"]}


def texts(axes: Axes, gid: str) -> list[Any]:
    return [text for text in axes.texts if text.get_gid() == gid]


def marks(axes: Axes) -> dict[str, Any]:
    """The lines of a panel that have a name, by it."""
    return {line.get_gid(): line for line in axes.lines if line.get_gid()}


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return related(widths=(8, 16, 32), diverged=[(16, 1, 0)])


@pytest.fixture(scope="module")
def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    return {name: draw("digits", tables) for name, draw in DRAW.items()}


def test_numbers_in_the_matrix_are_those_of_the_table(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    rows = tables["correlations"].query("method == 'spearman' and selection == 'all'")
    names, outcomes = in_order(rows["quantity"]), ["test_error", "test_loss", "generalization_gap"]
    for axes, scope in zip(figures["correlations"].axes, ("all", "within"), strict=False):
        placed = rows[rows["scope"] == scope].set_index(["quantity", "outcome"])
        wanted = [placed.loc[(name, outcome)] for name in names for outcome in outcomes]
        wanted = [row for row in wanted if not np.isnan(row["coefficient"])]
        numbers = sorted(texts(axes, "cell"), key=lambda text: text.get_position()[::-1])
        ends = [[true_minus(f"{row[end]:.2f}") for end in ("coefficient", "low", "high")] for row in wanted]
        assert [text.get_text() for text in numbers] == [f"{value}\n[{low}, {high}]" for value, low, high in ends]
        clear = [row["low"] > 0 or row["high"] < 0 for row in wanted]
        assert [text.get_weight() == "bold" for text in numbers] == clear
        (mesh,) = axes.collections
        assert np.ma.compressed(mesh.get_array()).tolist() == [row["coefficient"] for row in wanted]
        assert (mesh.norm.vmin, mesh.norm.vmax) == (-1, 1)


def test_the_matrix_lists_every_quantity_once_from_the_top(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    axes = figures["correlations"].axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [named(name).label for name in in_order(tables["correlations"]["quantity"])]
    assert labels[0] == "training loss"
    low, high = axes.get_ylim()
    assert low > high


def test_what_does_not_vary_within_cells_has_a_dash(figures: dict[str, Figure]) -> None:
    """The norm of the weights, as it was invented, is the same for all networks of a width."""
    everywhere, within = figures["correlations"].axes[:2]
    dashes = [text for text in within.texts if text.get_text() == "–"]
    assert len(dashes) == 3
    assert not [text for text in everywhere.texts if text.get_text() == "–"]
    assert "Dash: too few networks, or nothing varies." in note(figures["correlations"])


def test_effects_and_intervals_are_those_of_the_table(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    (axes,) = figures["effects"].axes
    rows = tables["effects"].query("term != 'width:depth'")
    rows = rows[rows["standardized_low"].notna() | ((rows["selection"] == "all") & rows["standardized"].notna())]
    drawn = marks(axes)
    names = in_order(rows["quantity"])
    assert len(drawn) == len(rows.groupby(["term", "selection"]))
    for (term, selection), own in rows.groupby(["term", "selection"]):
        mark = drawn[f"{term} {selection}"]
        assert mark.get_xdata().tolist() == own["standardized"].tolist()
        assert np.round(mark.get_ydata()).tolist() == [names.index(name) for name in own["quantity"]]
        assert (mark.get_markerfacecolor() == "white") == (selection == "interpolating")
    ends = sorted(tuple(path.vertices[:, 0]) for bars in axes.collections for path in bars.get_paths())
    told = rows[rows["standardized_low"].notna()]
    assert ends == sorted(zip(told["standardized_low"], told["standardized_high"], strict=True))
    verdicts = rows.query("selection == 'all'").drop_duplicates("quantity").set_index("quantity")["opposite"]
    wanted = [verdicts[name] for name in names]
    assert [text.get_text() for text in texts(axes, "verdict")] == wanted
    assert "opposite" in wanted


def test_nothing_is_said_of_width_and_depth_where_one_of_them_does_not_vary(tables: dict[str, pd.DataFrame]) -> None:
    effects = tables["effects"].copy()
    names = in_order(effects["quantity"])
    effects.loc[effects["quantity"] == names[0], "opposite"] = np.nan  # as a null of the table is read
    (axes,) = relations.draw_effects("digits", tables | {"effects": effects}).axes
    first, *others = (text.get_text() for text in texts(axes, "verdict"))
    assert first == ""
    assert all(others)


def test_widths_within_the_noise_are_filled_and_joined(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    (axes,) = figures["saturation"].axes
    rows, drawn = tables["saturation"].query("selection == 'all' and axis == 'width'"), marks(axes)
    compared = rows[rows["quantity"].isin(rows.loc[rows["within_noise"].notna(), "quantity"])]
    for (name, depth), own in compared.groupby(["quantity", "depth"]):
        for state, inside in (("inside", True), ("outside", False)):
            wanted = own[own["within_noise"] == inside]["width"]
            assert drawn[f"{name} depth={depth} {state}"].get_xdata().tolist() == wanted.tolist()
    bars = sorted(tuple(path.vertices[:, 0]) for each in axes.collections for path in each.get_paths())
    saturated = rows.drop_duplicates(["quantity", "depth"])["saturation_level"].dropna()
    assert bars == sorted((width, 32) for width in saturated)


def test_networks_are_counted(figures: dict[str, Figure]) -> None:
    assert "n = 23 networks, within cells 23 in 6 cells; 1 diverged and left out." in note(figures["correlations"])
    assert "n = 23 networks in 6 cells; interpolating only: n = 15 networks in 4 cells." in note(figures["effects"])
    assert "n = 3 to 4 networks per width." in note(figures["saturation"])


def test_other_axes_get_panels_of_their_own_in_saturation() -> None:
    noise = ({"label_noise": 0.0}, {"label_noise": 0.2})
    made = related("networks", widths=(8, 16), depths=(1,), seeds=2, extra=noise)
    titles = [axes.get_title("left").split("\n")[0] for axes in relations.draw_saturation("digits", made).axes]
    assert titles == ["label noise 0.0", "label noise 0.2"]


def test_numbers_of_flat_ends_are_those_of_the_table_and_bold_where_they_are_clear(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    rows = tables["path_relations"].query("selection == 'all'")
    drawn = [axes for axes in figures["path-relations"].axes if texts(axes, "cell")]
    assert len(drawn) == len(relations_matrices.SCOPES)
    for axes, scope in zip(drawn, relations_matrices.SCOPES, strict=True):
        own = rows[(rows["scope"] == scope) & rows["coefficient"].notna()]
        first = [text.get_text().split("\n")[0] for text in texts(axes, "cell")]
        assert sorted(first) == sorted(true_minus(f"{value:.2f}") for value in own["coefficient"])
        bold = [text.get_weight() == "bold" for text in texts(axes, "cell")]
        assert sum(bold) == (own["p_corrected"] <= 0.05).sum()
    assert "n = 23 networks" in note(figures["path-relations"])


def test_two_columns_of_flatness_have_room_for_titles() -> None:
    made = related("networks", "connections", "curvature", widths=(8,), depths=(1,), seeds=5)
    kept = made["path_relations"]["flatness"] == "trace"
    assert_laid_out(relations.draw_path_relations("digits", made | {"path_relations": made["path_relations"][kept]}))


def test_other_axes_have_bars_and_keys_of_their_own() -> None:
    extra = tuple({"label_noise": noise, "learning_rate": rate} for noise in (0.0, 0.2) for rate in (0.1, 0.2))
    made = related("networks", widths=(16,), depths=(1,), seeds=3, extra=extra)
    figure = relations.draw_effects("digits", made)
    assert set(marks(figure.axes[0])) == {
        f"{axis} {which}" for axis in ("label_noise", "learning_rate") for which in ("all", "interpolating")
    }
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["label noise 0 to 0.2", "doubling the learning rate"]
    assert_laid_out(figure)


@pytest.mark.parametrize("diverged", [[], [(8, 1, 0)]])
def test_a_single_network_diverged_or_not_can_be_drawn(diverged: list[tuple[int, int, int]]) -> None:
    tables = related(widths=(8,), depths=(1,), seeds=1, diverged=diverged)
    for draw in DRAW.values():
        figure = draw("digits", tables)
        figure.draw_without_rendering()
        assert note(figure)


@pytest.mark.parametrize("name", DRAW)
def test_panels_and_notes_neither_overlap_nor_leave_the_page(figures: dict[str, Figure], name: str) -> None:
    figure = figures[name]
    assert_laid_out(figure)
    for axes in figure.axes:
        labels = [label.get_window_extent() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        shown = [box for box in labels if box.width > 0]
        assert all(box.count_overlaps(shown[number + 1 :]) == 0 for number, box in enumerate(shown))
