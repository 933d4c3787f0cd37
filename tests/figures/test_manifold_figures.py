"""The figures of the manifold say what the tables say."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, bars, line, note, said
from invented_cells import keys_of, with_cells
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.core.errors import DataError
from isthmus.figures import manifold
from isthmus.figures.manifold_networks import share_of
from isthmus.figures.manifold_outliers import counted_above, counted_from_density
from isthmus.tables.descriptions import table

Rows = list[dict[str, Any]]
NAMES = (
    "manifold",
    "manifold_eigenvalues",
    "walks",
    "learning_coefficients",
    "curvature",
    "eigenvalues",
    "spectrum",
    "networks",
)
DRAW = {
    "counts": manifold.draw_manifold_counts,
    "spectra": manifold.draw_manifold_spectra,
    "boundary": manifold.draw_manifold_boundary,
    "walks": manifold.draw_manifold_walks,
    "coefficients": manifold.draw_manifold_coefficients,
    "outliers": manifold.draw_manifold_outliers,
}


def whole(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """A row of a table: `values`, and for what they lack a value of its type."""
    blank = {"string": "", "int64": 0, "float64": 1.0, "bool": False}
    return {c.name: values.get(c.name, None if c.nullable else blank[c.type]) for c in table(name).columns}


def theory(width: int, seed: int, activation: str = "tanh", data: str = "random") -> dict[str, Any]:
    """The row of a theory network with 7 width + 1 weights for 20 points; as predicted where that exceeds 20."""
    count, points = 7 * width + 1, 20
    solved = count > points
    sizes = {"width": width, "depth": 1, "points": points, "outputs": 1, "activation": activation, "data": data}
    keys = {"study": "s", "sweep": "a", "seed": seed, "parameters": count, "constraints": points}
    rank = min(count, points)
    counts = {"predicted_rank": rank, "jacobian_rank": rank, "positive": rank, "zero": count - rank, "negative": 0}
    found = {"solved": solved, "solution_expected": solved, "loss": 1e-28 if solved else 0.3, "counted_from": "hessian"}
    smooth = {
        "smooth": activation != "relu",
        "generic": True,
        "gap": 12.0 if solved else 5.0,
        "constructible": width > points,
    }
    boundary = {"smallest_squared_singular": 1e-3 * count / points, "distance": 40.0 / width, "start_norm": 2.0}
    error = {"off_data_error": 0.2 if data == "images" else None}
    written = {"constructed_loss": 1e-29, "memorized_loss": 3e-29} if width > points else {}
    return whole("manifold", keys | sizes | counts | found | smooth | boundary | error | written)


def spectrum_of(row: dict[str, Any]) -> Rows:
    values = [*np.geomspace(100, 0.1, 20), *(1e-14 * (-1.0) ** np.arange(row["parameters"] - 20))]
    return [
        whole("manifold_eigenvalues", row | {"matrix": "hessian", "index": index, "eigenvalue": float(value)})
        for index, value in enumerate(values)
    ]


def walk_of(row: dict[str, Any], kind: str, outcome: str, detours: int = 0) -> Rows:
    """A walk in four points; one that arrives loses all its distance, another a quarter."""
    lost = 4.0 if outcome == "arrived" else 1.0
    return [
        whole(
            "walks",
            {key: row[key] for key in row if key in {column.name for column in table("walks").columns}}
            | {"kind": kind, "walk": 0, "step": 10 * step, "final": step == 3, "outcome": outcome, "detours": detours}
            | {"arc_length": 2.0 * step / 3, "distance": step / 2, "start_norm": 2.0, "worst_loss": 10.0 ** (step - 28)}
            | {"distance_left": 4 - lost * step / 3 if kind == "towards" else None}
            | {"function_change": 0.1 * step, "function_rms": 1.0, "between_order": 4.0 + 0.1 * row["seed"]}
            | {"worst_between": 10.0 ** (step - 10) if step else 1e-28, "straight_loss": 10.0 ** (step - 3)},
        )
        for step in range(4)
    ]


def coefficients_of(row: dict[str, Any]) -> Rows:
    """Three estimates of one zero, as if its loss were quadratic and all its equations alike."""
    sizes = ("width", "depth", "points", "outputs", "activation", "data", "parameters", "constraints", "smooth")
    own = {key: row[key] for key in (*sizes, "generic", "study", "sweep", "seed")} | {"predicted": 10.0, "norm": 2.0}
    rows = []
    for stiffness in (0.01, 1.0, 100.0):
        value = 10 * stiffness / (1 + stiffness)
        found = {"coefficient": value, "low": 0.9 * value, "high": 1.1 * value, "quadratic": value, "distance": 0.002}
        found |= {"r_hat": 1.2 if row["width"] == 4 and stiffness == 100 else 1.01, "acceptance": 0.6}
        rows.append(whole("learning_coefficients", own | {"stiffness": stiffness} | found))
    return rows


def trained(width: int, seed: int, dense: bool) -> dict[str, Rows]:
    keys = keys_of("s", width, 2, 32, {}) | {"seed": seed}
    own = keys | {"parameters": 40, "classes": 10, "images": 5, "final": True, "top_eigenvalue": 8.0, "loss": 0.1}
    values = np.geomspace(8, 1e-9, 30)
    hessian = {"matrix": "hessian", "method": "dense", "end": "largest"}
    grid = np.linspace(-1, 8, 100)
    density = np.exp(-np.abs(grid))
    return {
        "curvature": [whole("curvature", own)],
        "networks": [whole("networks", own | {"loss": "cross_entropy"})],
        "eigenvalues": [whole("eigenvalues", keys | hessian | {"eigenvalue": float(v)}) for v in values if dense],
        "spectrum": [
            whole("spectrum", keys | {"eigenvalue": float(x), "density": float(y), "smoothing": 0.05})
            for x, y in zip(grid, density, strict=True)
        ],
    }


def frames(activations: tuple[str, ...] = ("tanh", "gelu"), data: str = "random") -> dict[str, pd.DataFrame]:
    made: dict[str, Rows] = {name: [] for name in NAMES}
    for activation in activations:
        for width in (1, 2, 4, 8, 24):
            for seed in range(3):
                row = theory(width, seed, activation, data)
                made["manifold"].append(row)
                if row["solved"]:
                    made["manifold_eigenvalues"] += spectrum_of(row)
                    made["learning_coefficients"] += coefficients_of(row)
                    made["walks"] += walk_of(row, "ahead", "length")
                    outcome = "stuck" if width == 4 and seed == 0 else "arrived"
                    made["walks"] += walk_of(row, "towards", outcome, detours=int(seed == 1))
    for width, seed in ((4, 0), (4, 1), (16, 0)):
        for name, rows in trained(width, seed, width == 4).items():
            made[name] += rows
    columns = {name: [column.name for column in table(name).columns] for name in NAMES}
    return with_cells({name: pd.DataFrame(rows, columns=columns[name]) for name, rows in made.items()})


def points(axes: Axes) -> set[tuple[float, float]]:
    """The points of all lines without a name: markers."""
    return {
        (float(x), float(y))
        for line in axes.lines
        if str(line.get_label()).startswith("_") and line.get_linestyle() == "None"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)  # type: ignore[arg-type]
    }


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return frames()


@pytest.fixture(scope="module")
def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    return {name: draw("s", tables) for name, draw in DRAW.items()}


def test_counts_and_gaps_are_those_of_the_table(tables: dict[str, pd.DataFrame], figures: dict[str, Figure]) -> None:
    rows = tables["manifold"]
    left, right = figures["counts"].axes
    assert points(left) == set(zip(rows["predicted_rank"], rows["positive"], strict=True))
    assert points(right) == set(zip(rows["parameters"] / rows["constraints"], rows["gap"], strict=True))
    text = note(figures["counts"])
    assert (
        "n = 30 theory networks within the assumptions. A zero of the loss was found in 18 of 18 (81.5 to 100 %) where "
        "one is expected; 18 of 18 (81.5 to 100 %) zeros have as many positive eigenvalues as predicted, 18 have a "
        "Jacobian of the predicted rank, and 0 of 18 (0 to 18.5 %) have a negative eigenvalue above the gap" in text
    )
    assert "With n < q, a zero was found in 0 of 12 (0 to 26.5 %)" in text
    assert "Weights constructed for 6 networks wider than d have losses of at most 3e-29" in text


def test_relu_networks_are_counted_apart() -> None:
    text = note(manifold.draw_manifold_counts("s", frames(("tanh", "relu"))))
    assert "n = 15 theory networks within the assumptions" in text
    assert "Outside the assumptions, 15 ReLU networks. A zero of the loss was found in 9 of 9 (66.4 to 100 %)" in text
    walks = note(manifold.draw_manifold_walks("s", frames(("tanh", "relu"))))
    assert "Not drawn: 18 walks of ReLU networks" in walks


def test_spectra_show_every_eigenvalue_and_the_gap(figures: dict[str, Figure]) -> None:
    panels = figures["spectra"].axes
    titles = [f"n = {count}, q = 20\ntanh, arbitrary targets\ngap 12.0" for count in (29, 57, 169)]
    assert [panel.get_title("left") for panel in panels] == titles
    for panel, count in zip(panels, (29, 57, 169), strict=True):
        assert len({x for x, _ in points(panel)}) == count


def test_the_boundary_shows_means_and_leaves_minima_that_are_no_zeros_out_of_the_eigenvalues(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    eigenvalue, distance, _ = figures["boundary"].axes[:3]
    at, _ = line(eigenvalue, "smallest_at_zero d = 20")
    np.testing.assert_allclose(at, np.array([29, 57, 169]) / 20)  # none is a zero at 8 and 15
    _, distances = line(distance, "relative_distance d = 20")
    np.testing.assert_allclose(distances, 20 / np.array([1.0, 2, 4, 8, 24]))


def test_the_boundary_shows_bars_to_their_ends() -> None:
    made = frames(("tanh",))
    scatter = np.random.default_rng(0).lognormal(sigma=2.0, size=len(made["manifold"]))
    made["manifold"]["smallest_squared_singular"] *= scatter
    axes = manifold.draw_manifold_boundary("s", made).axes[0]
    ends, (bottom, top) = bars(axes)[:, 1:], axes.get_ylim()
    assert len(ends) > 2
    assert (ends > bottom).all()
    assert (ends < top).all()


def test_test_errors_are_shown_for_images_only(figures: dict[str, Figure]) -> None:
    assert "test error" not in [axes.get_ylabel() for axes in figures["boundary"].axes]
    images = manifold.draw_manifold_boundary("s", frames(("tanh",), "images"))
    assert images.axes[-1].get_ylabel() == "test error"


def test_a_sweep_that_crosses_nothing_says_so() -> None:
    few = frames(("tanh",))
    few["manifold"] = few["manifold"][few["manifold"]["width"] == 8]
    assert "No sweep has 4 ratios" in note(manifold.draw_manifold_boundary("s", few))


def test_walks_are_counted_by_how_they_end(figures: dict[str, Figure]) -> None:
    text = note(figures["walks"])
    assert "18 of 18 (81.5 to 100 %) walks straight on went their whole length" in text
    assert "16 of 18 (65.3 to 98.6 %) walks towards another minimum arrived" in text
    assert "Largest loss at any point of any walk: 1.0e-25; on any segment between two: 1.0e-07" in text
    assert "2 to the power 4.10 (median of 36, from 4.00 to 4.20; 4 on a smooth zero set)" in text
    nearest = figures["walks"].axes[3]
    legend = nearest.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["arrived (10)", "with detours (6)", "stuck (2)"]
    assert {y for _, y in points(nearest)} == {0.0, 0.75}


def test_losses_are_drawn_at_the_points_between_them_and_on_a_straight_line(figures: dict[str, Figure]) -> None:
    losses = figures["walks"].axes[0]
    ends = [float(np.asarray(line.get_ydata())[-1]) for line in losses.lines if len(np.asarray(line.get_xdata())) > 2]
    assert sorted(set(ends)) == [1e-25, 1e-7, 1.0]
    assert len(ends) == 3 * 36
    low, high = losses.get_ylim()
    assert low < 1e-28
    assert high >= 1


def test_coefficients_are_those_of_the_table_and_hollow_where_chains_disagree(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure]
) -> None:
    left, right = figures["coefficients"].axes
    assert {(x, round(y, 6)) for x, y in points(left)} == {(10.0, round(1000 / 101, 6))}
    assert {round(y, 6) for _, y in points(right)} == {round(s / (1 + s), 6) for s in (0.01, 1.0, 100.0)}
    faces = {line.get_markerfacecolor() for line in left.lines if line.get_linestyle() == "None"}
    assert "white" in faces
    assert len(faces) == 3  # of two activations, filled where chains agree
    text = note(figures["coefficients"])
    assert "n = 18 zeros. At the highest stiffness, the estimate is 0.990 to 0.990 times q / 2 (mean 0.990)" in text
    assert "18 of 18 intervals of 95" in text.replace("\xa0", " ")
    assert "Largest split R-hat 1.200; 60 % to 60 % of steps accepted" in text


@pytest.mark.parametrize(
    ("count", "total", "limits"),
    [(0, 8, "0 to 36.9"), (0, 72, "0 to 4.99"), (8, 8, "63.1 to 100"), (1, 1, "2.5 to 100"), (4, 10, "12.2 to 73.8")],
)
def test_a_proportion_has_exact_limits_of_some_width(count: int, total: int, limits: str) -> None:
    """Those of Clopper and Pearson: of none of n, 1 - 0.025^(1/n); 4 of 10 from their tables."""
    assert share_of(pd.Series(range(total)) < count) == f"{count} of {total} ({limits} %)"


def test_no_walks_and_no_zeros_say_so(tables: dict[str, pd.DataFrame]) -> None:
    none = tables | {"walks": tables["walks"].iloc[:0], "manifold": tables["manifold"].assign(solved=False)}
    assert "No walk was taken" in note(manifold.draw_manifold_walks("s", none))
    assert "No zero of the loss was found" in note(manifold.draw_manifold_spectra("s", none))


def test_eigenvalues_are_counted_from_the_largest() -> None:
    fraction, count = counted_above(np.array([-3.0, 1.0, 4.0, 0.5, 0.0]))
    assert fraction.tolist() == [1, 0.25, 0.125]
    assert count.tolist() == [1, 2, 3]


def test_a_density_counts_as_many_eigenvalues_as_its_mass() -> None:
    grid = np.linspace(-1, 10, 2001)
    peak = np.exp(-((grid - 5) ** 2) / (2 * 0.1**2)) / (0.1 * np.sqrt(2 * np.pi))
    spectrum = pd.DataFrame({"eigenvalue": grid, "density": 0.2 * peak, "smoothing": 0.1})
    fraction, count = counted_from_density(spectrum, 100, 5.0)
    assert count[-1] == pytest.approx(20, rel=1e-3)  # a fifth of a hundred
    assert np.interp(1.0, fraction[::-1], count[::-1]) == pytest.approx(10, rel=0.05)
    assert fraction[-1] * 5 > 3 * 0.1


def test_trained_networks_stand_beside_theory(figures: dict[str, Figure]) -> None:
    left, right = figures["outliers"].axes
    assert len(left.lines) == 2  # the largest network of each number of equations, and its q
    assert [text.get_text() for text in right.texts] == ["10 classes", "d k = 50"]
    solid = [line for line in right.lines if line.get_linestyle() == "-"]
    assert [len(np.asarray(line.get_xdata())) for line in solid] == [30, 30]
    assert "n = 3 trained networks" in note(figures["outliers"])
    assert "Below -1e-06 of the largest: 0 eigenvalues of each whole Hessian" in note(figures["outliers"])


@pytest.mark.parametrize("name", DRAW)
def test_a_study_without_rows_is_an_error_that_names_it(name: str, tables: dict[str, pd.DataFrame]) -> None:
    if name in ("walks", "coefficients"):
        assert ("No walk" if name == "walks" else "was asked for") in note(DRAW[name]("other", tables))
        return
    with pytest.raises(DataError, match="no row of the study 'other'"):
        DRAW[name]("other", tables)


def test_a_panel_without_a_line_says_why(tables: dict[str, pd.DataFrame]) -> None:
    few = tables | {name: tables[name].iloc[:0] for name in ("eigenvalues", "spectrum")}
    figure = manifold.draw_manifold_outliers("s", few | {"manifold": tables["manifold"].assign(solved=False)})
    assert said(figure) == ["no whole Hessian\nof such a network", "neither whole Hessians\nnor spectral densities"]
    assert "n = 0 trained networks, a line each; of 3 more, neither" in note(figure)


@pytest.mark.parametrize("name", DRAW)
def test_panels_legend_and_notes_neither_overlap_nor_leave_the_page(name: str, figures: dict[str, Figure]) -> None:
    assert_laid_out(figures[name])
