"""The figure of the claims says what the table says."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import assert_laid_out, note
from invented_claims import SETUP, claim, curvature, judge, networks, with_twins
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.figures.claims import LIMITS, MOST_ROWS, draw_claims, place, shown_in_claims
from isthmus.tables.claim_words import verdict_words
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


def marks(figure: Figure) -> dict[str, Any]:
    return {gid: line for axes in figure.axes for line in axes.lines if " " in (gid := line.get_gid() or "")}


def verdicts(figure: Figure) -> list[str]:
    return [text for axes in figure.axes for text in texts(axes, "verdict")]


def texts(axes: Axes, gid: str) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_gid() == gid]


def labels(figure: Figure) -> list[str]:
    return [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]


def test_every_measured_row_has_its_point_and_its_verdict(claims: pd.DataFrame, figure: Figure) -> None:
    measured = shown_in_claims({"claims": claims})
    assert set(measured["direction"]) >= {"reproduced", "contradicted", "inconclusive", "depends on the loss"}
    points = {gid: line for gid, line in marks(figure).items() if gid.startswith("measured")}
    assert len(points) == len(measured) == (claims["direction"] != "not measured").sum()
    for row in measured.itertuples():
        name = f"{row.claim} {row.twin}" if row.twin else row.claim
        wanted = np.clip(place(row, row.value), LIMITS[0] + 0.15, LIMITS[1] - 0.15)
        assert points[f"measured {name} {row.study}"].get_xdata()[0] == pytest.approx(wanted)
    told = zip(measured["direction"], measured["size"], measured["alone"], measured["study"], strict=True)
    assert verdicts(figure) == [f"{verdict_words(*verdict)} · {study}" for *verdict, study in told]
    assert "reproduced, as published · mnist" in verdicts(figure)


def test_statements_stand_once_and_twins_below_their_claim(figure: Figure) -> None:
    found = [label for label in labels(figure) if label]
    assert len(set(found)) == len(found)
    claim = next(place for place, label in enumerate(found) if label.endswith("B3"))
    assert found[claim + 1 : claim + 3] == ["with the loss divided out", "at equal training loss"]


def test_what_a_claim_would_read_by_itself_stands_beside_it(claims: pd.DataFrame) -> None:
    row = claims[claims["direction"] == "inconclusive"].head(1).assign(alone="reproduced")
    assert verdicts(draw_claims({"claims": row})) == ["inconclusive (reproduced alone)"]


def test_the_published_value_lies_at_one_and_is_filled_in_its_own_setup_only(figure: Figure) -> None:
    found = {gid: line for gid, line in marks(figure).items() if gid.startswith("published")}
    assert {gid: line.get_markerfacecolor() for gid, line in found.items() if "A1" in gid} == {
        "published A1a digits": "white",
        "published A1a mnist": "black",
        "published A1b mnist": "black",
    }
    assert all(line.get_xdata() == [1.0] for line in found.values())


def test_a_band_covers_what_the_claim_says(claims: pd.DataFrame, figure: Figure) -> None:
    bands = [patch for axes in figure.axes for patch in axes.patches if patch.get_gid() == "band"]
    by_claim = {row.claim: bands[row.Index] for row in shown_in_claims({"claims": claims}).itertuples()}
    assert by_claim["A1a"].get_x() == pytest.approx(0)
    assert by_claim["A1a"].get_x() + by_claim["A1a"].get_width() == pytest.approx(LIMITS[1])
    assert by_claim["A1b"].get_x() == pytest.approx(np.log(3.5) / np.log(4))
    assert by_claim["A1b"].get_x() + by_claim["A1b"].get_width() == pytest.approx(np.log(4.5) / np.log(4))
    assert by_claim["B2"].get_x() == pytest.approx(0.99), "downwards is to the right where the claim says so"


def test_the_note_counts_networks_and_names_the_claims_that_were_not_tested(figure: Figure) -> None:
    assert "n = 8 to 12 networks per row" in note(figure)
    assert note(figure).endswith("Not tested: C1.")


def test_of_many_studies_the_published_setup_and_a_few_others_are_drawn(claims: pd.DataFrame) -> None:
    one = claims[(claims["claim"] == "A1a") & (claims["study"] == "digits")]
    many = [one.assign(study=f"study-{number:03}", as_published=number == 90) for number in range(MOST_ROWS + 40)]
    every = {"claims": pd.concat([*many, one.assign(claim="A2")])}
    kept = shown_in_claims(every)
    assert len(kept) == MOST_ROWS
    assert "study-090" in set(kept["study"])
    assert "A2" in set(kept["claim"])
    assert note(draw_claims(every)).endswith("Not drawn: 41 rows of further studies.")


def test_rows_legend_and_note_neither_overlap_nor_leave_the_page(figure: Figure) -> None:
    assert_laid_out(figure)
    for axes in figure.axes:
        shown = [text for text in (*axes.get_yticklabels(), *axes.texts, axes.title) if text.get_text()]
        boxes = [text.get_window_extent() for text in shown]
        assert all(box.count_overlaps(boxes[number + 1 :]) == 0 for number, box in enumerate(boxes))


def test_where_no_claim_was_tested_the_figure_says_so(claims: pd.DataFrame) -> None:
    figure = draw_claims({"claims": claims[claims["direction"] == "not measured"]})
    assert note(figure).startswith("No claim was tested")


def test_the_note_says_whose_measurements_a_study_is_made_of(claims: pd.DataFrame) -> None:
    given = claims.assign(measured_by=claims["study"].astype(object).map({"mnist": "Yang et al. 2021"}))
    assert "mnist was measured by Yang et al. 2021, not here." in note(draw_claims({"claims": given}))
    assert "measured by" not in note(draw_claims({"claims": claims}))
