"""The figure of the claims says what the table says."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from invented_claims import SETUP, claim, curvature, judge, networks, with_twins
from matplotlib.figure import Figure

from isthmus.figures import style
from isthmus.figures.claims import LIMITS, MOST_ROWS, draw_claims, measured_text, number, place, shown
from isthmus.tables.parquet import read_table, write_table


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A table of claims with every verdict, on two studies, as it is read from its file."""
    slope = {"kind": "slope", "by": "width"}
    made = [
        claim(setup=SETUP, tolerance=1.0),
        claim(id="A1b", setup=SETUP, expect={"above": 3.5, "below": 4.5}, elsewhere=False),
        claim(id="B1", measure=slope, expect={"above": 0}, published=None, reference=0.5),
        claim(id="B2", measure=slope, expect={"below": -0.495}, published=-0.5),
        *with_twins(id="B3"),
        claim(id="C1", table="manifold"),
    ]
    tables = {"networks": pd.concat([networks(), networks("mnist", "MNIST", scatter=0.1)])}
    tables["curvature"] = curvature(networks(), lambda loss: loss**0.8)
    path = tmp_path_factory.mktemp("table") / "claims.parquet"
    write_table(path, "claims", judge(made, tables))
    return read_table(path).to_pandas()


@pytest.fixture(scope="module")
def figure(claims: pd.DataFrame) -> Figure:
    return draw_claims({"claims": claims})


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def marks(figure: Figure) -> dict[str, Any]:
    return {line.get_gid(): line for line in figure.axes[0].lines if " " in (line.get_gid() or "")}


def test_every_measured_row_has_its_point_its_numbers_and_its_verdict(claims: pd.DataFrame, figure: Figure) -> None:
    measured = claims[claims["direction"] != "not measured"]
    assert set(measured["direction"]) >= {"reproduced", "contradicted", "inconclusive", "depends on the loss"}
    points = {gid: line for gid, line in marks(figure).items() if gid.startswith("measured")}
    assert len(points) == len(measured)
    for row in measured.itertuples():
        name = row.claim if pd.isna(row.twin) else f"{row.claim} {row.twin}"
        wanted = np.clip(place(row, row.value), LIMITS[0] + 0.15, LIMITS[1] - 0.15)
        assert points[f"measured {name} {row.study}"].get_xdata()[0] == pytest.approx(wanted)
        assert measured_text(row) in texts(figure)
        assert f"{row.settings_for}/{row.settings_against}/{row.settings}" in texts(figure)
    for verdict, count in measured["direction"].value_counts().items():
        assert (
            sum(text == verdict or text.startswith((f"{verdict},", f"{verdict} (")) for text in texts(figure)) == count
        )
    assert "reproduced, as published" in texts(figure)


def test_twins_stand_below_their_claim(figure: Figure) -> None:
    at = {text.get_text().strip(): text.get_position()[1] for text in figure.texts}
    assert at["the top eigenvalue falls"] > at["with the loss divided out"] > at["at equal training loss"]


def test_what_a_claim_would_read_by_itself_stands_beside_it(claims: pd.DataFrame) -> None:
    row = claims[claims["direction"] == "inconclusive"].head(1).assign(alone="reproduced")
    assert "inconclusive (reproduced alone)" in texts(draw_claims({"claims": row}))


def test_the_published_value_lies_at_one_and_is_filled_in_its_own_setup_only(figure: Figure) -> None:
    found = {gid: line for gid, line in marks(figure).items() if gid.startswith("published")}
    assert {gid: line.get_markerfacecolor() for gid, line in found.items() if "A1" in gid} == {
        "published A1a digits": "white",
        "published A1a mnist": "black",
        "published A1b mnist": "black",
    }
    assert all(line.get_xdata() == [1.0] for line in found.values())


def test_a_band_covers_what_the_claim_says(claims: pd.DataFrame, figure: Figure) -> None:
    bands = [patch for patch in figure.axes[0].patches if patch.get_gid() == "band"]
    rows = claims[claims["direction"] != "not measured"].reset_index(drop=True)
    by_claim = {row.claim: bands[row.Index] for row in rows.itertuples()}
    assert by_claim["A1a"].get_x() == pytest.approx(0)
    assert by_claim["A1a"].get_x() + by_claim["A1a"].get_width() == pytest.approx(LIMITS[1])
    assert by_claim["A1b"].get_x() == pytest.approx(np.log(3.5) / np.log(4))
    assert by_claim["A1b"].get_x() + by_claim["A1b"].get_width() == pytest.approx(np.log(4.5) / np.log(4))
    assert by_claim["B2"].get_x() == pytest.approx(0.99), "downwards is to the right where the claim says so"


def test_claims_that_were_not_measured_are_listed_with_the_reason(figure: Figure) -> None:
    assert {"Not measured", "C1", "no study makes the table `manifold`"} <= set(texts(figure))
    (note,) = (text.get_text() for text in figure.texts if text.get_gid() == "footnote")
    assert "n\xa0=\xa08 to 12 networks per row" in note


def test_of_many_studies_the_published_setup_and_a_few_others_are_drawn(claims: pd.DataFrame) -> None:
    one = claims[(claims["claim"] == "A1a") & (claims["study"] == "digits")]
    many = pd.concat(
        [one.assign(study=f"study-{number:03}", as_published=number == 90) for number in range(MOST_ROWS + 40)]
    )
    more = pd.concat([many, one.assign(claim="A2")])
    kept, left_out = shown(more)
    assert (len(kept), left_out) == (MOST_ROWS, 41)
    assert "study-090" in set(kept["study"])
    assert "A2" in set(kept["claim"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(11.27, "11"), (0.0, "0"), (-0.0123, "−0.012"), (1932.0, "1900"), (0.000012, "1.2e−5"), (np.nan, "")],
)
def test_numbers_have_two_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_no_two_texts_overlap_and_none_leaves_the_page(tmp_path: Path, figure: Figure) -> None:
    style.save(figure, [tmp_path / "figure.png", tmp_path / "figure.pdf"])
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    boxes.append(figure.axes[0].get_window_extent())
    for number_, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert box.count_overlaps(boxes[number_ + 1 :]) == 0


def test_tables_without_a_measured_claim_can_be_drawn(claims: pd.DataFrame) -> None:
    figure = draw_claims({"claims": claims[claims["direction"] == "not measured"]})
    figure.draw_without_rendering()
    assert "nothing was measured" in figure.texts[-1].get_text()
