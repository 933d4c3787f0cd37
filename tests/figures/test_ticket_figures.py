"""The figures of lottery tickets say what the tables say."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, bars, line, means_figure, note, said, shown_in, summarized
from invented_tickets import ALL_KINDS, frames
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.core.errors import DataError
from isthmus.figures import style
from isthmus.figures.axes import percent, percent_axis
from isthmus.statistics.bootstrap import bootstrap_interval

DRAW = {
    name: means_figure(name)
    for name in ("tickets", "ticket-speed", "ticket-layers", "ticket-stability", "ticket-curvature")
}


def for_all(**given: Any) -> dict[str, pd.DataFrame]:
    """The same with the summaries that the figures share."""
    return summarized(frames(**given), shown_in(*DRAW))


def band(axes: Axes) -> tuple[float, float]:
    """The lower and the upper end of the dense network's band."""
    (found,) = (patch for patch in axes.patches if str(patch.get_gid()).endswith("dense band"))
    box = found.get_extents().transformed(axes.transData.inverted())
    return box.y0, box.y1


def legend(figure: Figure) -> dict[str, tuple[Any, Any, Any]]:
    """Colour, marker and line style of the entries of the legend."""
    (found,) = figure.legends
    looks = [(key.get_color(), key.get_marker(), key.get_linestyle()) for key in found.get_lines()]
    return dict(zip((text.get_text() for text in found.get_texts()), looks, strict=True))


def own(tables: dict[str, pd.DataFrame], width: int, kind: str) -> pd.DataFrame:
    """The networks of a width and a kind that did not diverge."""
    rows = tables["tickets"]
    return rows[(rows["width"] == width) & (rows["kind"] == kind) & ~rows["diverged"]]


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    given = {"seeds": 5, "levels": 11, "diverged": [(8, 0, "dense"), (32, 1, "random")]}
    return for_all(**given)


@pytest.fixture(scope="module")
def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    return {name: draw("digits", tables) for name, draw in DRAW.items()}


def test_accuracies_are_means_of_the_networks_that_did_not_diverge(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    for axes, width in zip(figures["tickets"].axes, (8, 32, 128), strict=True):
        for kind in ALL_KINDS:
            by_level = own(tables, width, kind).groupby("level")
            kept, accuracy = line(axes, f"ticket_accuracy kind={kind}")
            np.testing.assert_allclose(accuracy, by_level["test_accuracy"].mean())
            np.testing.assert_allclose(np.log(kept / by_level["density"].mean()), 0, atol=0.05)
        dense = own(tables, width, "dense")["test_accuracy"]
        assert line(axes, "ticket_accuracy dense")[1][0] == pytest.approx(dense.mean())
        np.testing.assert_allclose(band(axes), bootstrap_interval(dense))


def test_accuracy_on_corrupted_images_has_a_row_where_it_was_measured() -> None:
    made = frames(widths=[8], kinds=["ticket"], seeds=3, levels=2)
    assert len(DRAW["tickets"]("digits", made).axes) == 1
    made["tickets"]["corrupted_accuracy"] = 0.8 * made["tickets"]["test_accuracy"]
    below = DRAW["tickets"]("digits", made).axes[1]
    expected = own(made, 8, "ticket").groupby("level")["corrupted_accuracy"].mean()
    np.testing.assert_allclose(line(below, "ticket_corrupted_accuracy kind=ticket")[1], expected)


@pytest.mark.parametrize("name", DRAW)
def test_weights_kept_fall_to_the_right_and_are_labelled_in_percent(figures: dict[str, Figure], name: str) -> None:
    for axes in figures[name].axes:
        assert axes.get_xscale() == "log"
        left, right = axes.get_xlim()
        assert left > 1 > 0.1 > right
        assert axes.xaxis.get_major_formatter()(0.2) == "20"
    assert figures[name].axes[-1].get_xlabel() == "weights kept (%)"


@pytest.mark.parametrize(
    ("least", "expected"),
    [(0.7, ["100", "90", "80", "70"]), (0.3, ["100", "70", "50", "30"]), (0.08, ["100", "50", "20", "10"])],
)
def test_labels_of_weights_kept_are_round_and_have_room(least: float, expected: list[str]) -> None:
    axis = style.new_figure(3, 2).add_subplot().xaxis
    percent_axis(axis, [least, 1.0])
    assert [percent(tick) for tick in axis.get_majorticklocs()] == expected


def test_what_the_axis_shows_is_the_density_and_not_what_was_asked_for() -> None:
    made = frames(widths=[8], kinds=["ticket"], seeds=2, levels=4)
    made["tickets"]["density"] *= 0.5
    kept, _ = line(DRAW["tickets"]("digits", made).axes[0], "ticket_accuracy kind=ticket")
    np.testing.assert_allclose(kept, own(made, 8, "ticket").groupby("level")["density"].mean())


def test_two_levels_that_keep_as_many_weights_have_a_point_each() -> None:
    made = frames(widths=[8], kinds=["ticket"], seeds=3, levels=3)
    rows = made["tickets"]
    rows.loc[rows["level"] == 3, "density"] = rows.loc[rows["level"] == 2, "density"].to_numpy()
    assert len(line(DRAW["tickets"]("digits", made).axes[0], "ticket_accuracy kind=ticket")[0]) == 3


def test_medians_count_never_as_infinitely_slow(tables: dict[str, pd.DataFrame], figures: dict[str, Figure]) -> None:
    axes = figures["ticket-speed"].axes
    ended = 0
    for panel, width in enumerate((8, 32, 128)):
        for kind in ALL_KINDS:
            by_level = own(tables, width, kind).groupby("level")["steps_to_dense"]
            medians = by_level.apply(lambda steps: float(np.median(steps.astype(float).fillna(np.inf))))
            finite = medians[np.isfinite(medians)]
            np.testing.assert_allclose(line(axes[2 * panel], f"steps_to_dense kind={kind}")[1], finite)
            shares = by_level.apply(lambda steps: float(steps.notna().mean()))
            np.testing.assert_allclose(line(axes[2 * panel + 1], f"reached_dense kind={kind}")[1], shares)
            ended += len(medians) - len(finite)
        dense = own(tables, width, "dense")["early_stopping_step"].to_numpy(dtype=float)
        assert line(axes[2 * panel], "steps_to_dense dense")[1][0] == np.median(dense)
        np.testing.assert_allclose(band(axes[2 * panel]), (dense.min(), dense.max()))
    assert ended > 0
    rows = tables["tickets"].query("kind != 'dense' and not diverged")
    never = int(rows["steps_to_dense"].isna().sum())
    assert f"{never} of {len(rows)} pruned networks never get there" in note(figures["ticket-speed"])


def test_a_bar_without_an_upper_end_leaves_the_panel() -> None:
    made = frames(widths=[8], kinds=["ticket"], seeds=5, levels=1)
    rows = made["tickets"]
    rows.loc[(rows["kind"] == "ticket") & (rows["seed"] < 2), "steps_to_dense"] = None
    axes = DRAW["ticket-speed"]("digits", made).axes[0]
    ((_, low, high),) = bars(axes)
    assert low == rows.loc[rows["kind"] == "ticket", "steps_to_dense"].min()
    assert high > 10 * axes.get_ylim()[1]


def test_where_nobody_gets_there_the_share_is_drawn_alone_and_the_note_says_so() -> None:
    made = frames(widths=[8], seeds=2, levels=2)
    rows = made["tickets"]
    rows.loc[rows["kind"] != "dense", "steps_to_dense"] = None
    figure = DRAW["ticket-speed"]("digits", made)
    (axes,) = figure.axes
    assert not line(axes, "reached_dense kind=ticket")[1].any()
    assert "20 of 20 pruned networks never get there" in note(figure)
    assert "Steps are not drawn: at no level do most of the networks get there" in note(figure)


def test_layers_are_drawn_for_every_width_and_way_of_pruning(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    figure = figures["ticket-layers"]
    titles = [axes.get_title("left").replace("\n", " ") for axes in figure.axes]
    ways = ("ticket", "one-shot", "magnitude at initialization")
    assert titles == [f"width {width}, {way}" for width in (8, 32, 128) for way in ways]
    layers = tables["ticket_layers"].query("width == 128 and layer_index == 2")
    expected = layers[layers["kind"].isin(["dense", "one_shot"])].groupby("level")["density"].mean()
    kept, density = line(figure.axes[7], "layer_density layer_index=2.0")
    np.testing.assert_allclose(density, expected)
    networks = tables["tickets"].query("width == 128 and kind in ('dense', 'one_shot')")
    np.testing.assert_allclose(kept, networks.groupby("level")["density"].mean())
    np.testing.assert_allclose(*line(figure.axes[0], "even"))
    emptied = line(figure.axes[8], "layer_density layer_index=1.0")[1]
    assert (emptied == 0).sum() == (0.8 ** np.arange(12) < 0.12).sum()


def test_of_many_layers_some_are_shown_and_the_note_says_so() -> None:
    made = frames(widths=[8], seeds=2, levels=3, kinds=["ticket"])
    layers = made["ticket_layers"]
    more = [layers.assign(layer_index=layers["layer_index"] + 3 * block) for block in range(7)]
    figure = DRAW["ticket-layers"]("digits", made | {"ticket_layers": pd.concat(more)})
    shown = {each.get_gid() for each in figure.axes[0].lines if str(each.get_gid()).startswith("layer")}
    assert {"layer_density layer_index=1.0", "layer_density layer_index=21.0"} <= shown
    assert len(shown) == 6
    assert "Shown: layer 1, 5, 9, 13, 17, 21 (6 of 21)." in note(figure)


def test_barriers_start_at_the_dense_network(tables: dict[str, pd.DataFrame], figures: dict[str, Figure]) -> None:
    upper, lower = figures["ticket-stability"].axes
    for axes, column in ((upper, "stability_test_error"), (lower, "stability_train_loss")):
        for width in (8, 32, 128):
            rows = pd.concat([own(tables, width, "dense"), own(tables, width, "ticket")])
            barrier = "ticket_error_barrier" if axes is upper else "ticket_loss_barrier"
            kept, drawn = line(axes, f"{barrier} width={width}")
            np.testing.assert_allclose(drawn, rows.groupby("level")[column].mean())
            assert kept[0] == pytest.approx(1, rel=0.05)
    assert set(line(upper, "stable")[1]) == {0.02}
    assert not [each for each in lower.lines if each.get_gid() == "stable"]


def test_eigenvalues_are_divided_by_their_own_loss(tables: dict[str, pd.DataFrame], figures: dict[str, Figure]) -> None:
    axes = figures["ticket-curvature"].axes[0:3]
    rows = own(tables, 8, "ticket").assign(over=lambda rows: rows["top_eigenvalue"] / rows["curvature_loss"])
    columns = (("top_eigenvalue", "ticket_top_eigenvalue"), ("over", "ticket_top_over_loss"), ("trace", "ticket_trace"))
    for each, (column, name) in zip(axes, columns, strict=True):
        expected = np.exp(np.log(rows[column]).groupby(rows["level"]).mean())
        np.testing.assert_allclose(line(each, f"{name} kind=ticket")[1], expected)
        assert each.get_yscale() == "log"
    dense = np.log(own(tables, 8, "dense")["trace"])
    np.testing.assert_allclose(band(axes[2]), np.exp(bootstrap_interval(dense)))


def test_curvature_shows_what_was_measured_and_says_what_was_not() -> None:
    made = frames(widths=[8], seeds=3, levels=3, curvature=["ticket"])
    rows = made["tickets"]
    rows[["trace", "trace_error"]] = None
    rows.loc[(rows["kind"] == "ticket") & (rows["seed"] == 0), "top_eigenvalue_converged"] = False
    rows.loc[(rows["kind"] == "ticket") & (rows["seed"] == 1) & (rows["level"] == 2), "top_eigenvalue"] = -1.0
    figure = DRAW["ticket-curvature"]("digits", made)
    assert len(figure.axes) == 2
    assert list(legend(figure)) == ["ticket", "dense"]
    text = note(figure)
    assert "Not measured: trace of the Hessian." in text
    assert "Drawn without having converged to the precision asked for: top eigenvalue (3 of 11 values)" in text
    assert "top eigenvalue (1 value not positive)" in text
    assert "Measured on 500 examples." in text


def test_a_kind_looks_the_same_whatever_others_there_are(figures: dict[str, Figure]) -> None:
    looks = legend(figures["tickets"])
    assert list(looks) == [
        *("ticket", "one-shot", "magnitude at initialization", "reinitialized", "random mask", "dense")
    ]
    assert len(set(looks.values())) == len(looks)
    few = for_all(widths=[8], kinds=["random", "reinitialized"], curvature=["random"], seeds=2, levels=2)
    for name in ("tickets", "ticket-speed", "ticket-curvature"):
        found = legend(DRAW[name]("digits", few))
        assert found == {label: looks[label] for label in found}
        assert found.keys() <= {"random mask", "reinitialized", "dense"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tickets", "n = 4 to 5 networks per point; 67 of 840 networks diverged and are left out"),
        ("ticket-speed", "n = 4 to 5 networks per point; 67 of 840 networks diverged and are left out"),
        ("ticket-layers", "n = 4 to 5 networks per point; 34 of 510 networks diverged and are left out"),
        ("ticket-stability", "n = 4 to 5 networks per point; 12 of 180 networks diverged and are left out"),
        ("ticket-curvature", "n = 4 to 5 networks per point; 67 of 840 networks diverged and are left out"),
    ],
)
def test_diverged_networks_are_left_out_and_counted(figures: dict[str, Figure], name: str, expected: str) -> None:
    assert expected in note(figures[name])


def test_the_notes_say_how_networks_were_pruned(figures: dict[str, Figure]) -> None:
    for name in ("tickets", "ticket-speed", "ticket-layers", "ticket-stability"):
        assert "Magnitudes ranked over the whole network; tickets rewound to step 100." in note(figures[name])


def test_what_nobody_asked_for_is_said() -> None:
    made = for_all(widths=[8], seeds=2, levels=2, kinds=["random"], stability=False, curvature=[])
    assert note(DRAW["ticket-stability"]("digits", made)).startswith("No stability was asked for. Set `stability")
    assert note(DRAW["ticket-curvature"]("digits", made)).startswith("No curvature was asked for. Name kinds")
    assert note(DRAW["ticket-layers"]("digits", made)).startswith("Nothing to draw: no network was pruned")


@pytest.mark.parametrize(
    ("kinds", "diverged"),
    [
        (ALL_KINDS, []),
        (("ticket",), ALL_KINDS),
        (ALL_KINDS, ["dense"]),
    ],
)
def test_a_single_seed_and_level_diverged_or_not_can_be_drawn(kinds: Sequence[str], diverged: Sequence[str]) -> None:
    lost = [(64, 0, kind) for kind in diverged]
    made = for_all(widths=[64], seeds=1, levels=1, kinds=kinds, diverged=lost)
    for draw in DRAW.values():
        figure = draw("digits", made)
        assert diverged != ["dense"] or set(said(figure)) == {"all diverged"}
        assert diverged or "n = 1 network per point" in note(figure)


def test_other_axes_get_panels_of_their_own() -> None:
    extra = [{"label_noise": noise, "optimizer": "sgd"} for noise in (0.0, 0.2)]
    made = for_all(widths=[8], seeds=2, levels=2, kinds=["ticket"], extra=extra)
    for name in DRAW:
        figure = DRAW[name]("digits", made)
        titles = [title.split("\n")[0] for axes in figure.axes if (title := axes.get_title("left"))]
        assert titles == ["label noise 0.0", "label noise 0.2"]
        assert "Throughout: optimizer sgd." in note(figure)


def test_of_many_cells_some_are_shown_and_the_note_says_which() -> None:
    many = {"widths": [2**k for k in range(3, 11)], "depths": (1, 2, 3), "batch_sizes": (32, 64), "levels": 1}
    made = for_all(**many, seeds=1, kinds=["ticket"])
    for name, lines in (("tickets", 12), ("ticket-curvature", 4), ("ticket-stability", 6)):
        figure = DRAW[name]("digits", made)
        assert len([axes for axes in figure.axes if axes.get_title("left")]) <= lines
        assert f"({6 if name == 'ticket-stability' else 4} of 8 values)" in note(figure)


@pytest.mark.parametrize("name", DRAW)
def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page(figures: dict[str, Figure], name: str) -> None:
    assert_laid_out(figures[name])


@pytest.mark.parametrize("name", DRAW)
def test_a_study_without_rows_is_named(tables: dict[str, pd.DataFrame], name: str) -> None:
    with pytest.raises(DataError, match="'nothing'"):
        DRAW[name]("nothing", tables)
