"""The verdicts on the page are those of the table `claims`."""

from typing import Any

import pandas as pd
import pytest

from isthmus.overview.verdicts import claims_not_measured, measured_claims, verdict_sentence

NUMBERS: dict[str, Any] = {"value": -0.5, "low": -0.75, "high": -0.25, "published": None, "networks": 6}
SETTINGS = {"settings": 4, "settings_for": 3, "settings_against": 1}


def claims(*rows: dict[str, Any]) -> pd.DataFrame:
    """The table `claims`: rows with a claim and a verdict, and whatever else they give."""
    always = {
        "twin": None,
        "study": "s",
        "statement": "s",
        "source": "a",
        "size": None,
        "alone": None,
        "measure": "mean",
        "comparison": None,
        "reason": None,
        "measured_by": None,
    }
    return pd.DataFrame([always | {"as_published": True} | NUMBERS | SETTINGS | row for row in rows])


ROWS = (
    {"claim": "A1", "direction": "inconclusive"},
    {"claim": "A1", "direction": "reproduced", "study": "t", "size": "smaller"},
    {"claim": "A1", "direction": "contradicted", "twin": "over_loss"},
    {
        "claim": "A2",
        "direction": "contradicted",
        "published": 0.0123,
        "as_published": False,
        "comparison": "batch_size 1 - 2",
    },
    {"claim": "B1", "direction": "not measured", "study": None, "reason": "too few widths"},
)


def test_claims_and_tests_are_counted_without_twins() -> None:
    assert verdict_sentence(claims(*ROWS)) == (
        "Of 3 published claims, 2 were tested, in 3 tests of a claim in a study: 1 reproduced, 1 contradicted, "
        "1 inconclusive. 1 was not tested."
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (ROWS[4:], "Of 1 published claims, 0 were tested. 1 was not tested."),
        (ROWS[3:4], "Of 1 published claims, 1 was tested, in 1 test of a claim in a study: 1 contradicted."),
    ],
)
def test_none_and_all_are_said_as_well(rows: tuple[dict[str, Any], ...], expected: str) -> None:
    assert verdict_sentence(claims(*rows)) == expected


def test_a_changed_verdict_changes_the_sentence() -> None:
    changed = claims(*ROWS)
    changed.loc[0, "direction"] = "reproduced"
    assert "2 reproduced, 1 contradicted. 1 was not tested." in verdict_sentence(changed)


def test_tests_come_with_their_verdict_and_numbers_the_clearest_first() -> None:
    shown = list(measured_claims(claims(*ROWS)))
    assert [(row["claim"], row["verdict"]) for row in shown] == [
        ("A1", "reproduced, smaller"),
        ("A2", "contradicted"),
        ("A1", "inconclusive"),
    ]
    assert [row["measured"] for row in shown] == ["−0.5 (−0.75 to −0.25)"] * 3
    assert [row["measure"] for row in shown] == ["mean", "mean, batch size 1 - 2", "mean"]
    assert {row["holds"] for row in shown} == {"holds in 3 of 4 settings, the opposite in 1"}
    assert [row["twins"] for row in shown] == [
        [],
        [],
        ["with the loss divided out: −0.5 (−0.75 to −0.25), contradicted"],
    ]
    assert [row["published"] for row in shown] == ["", "0.012", ""]
    assert [row["as_published"] for row in shown] == [True, False, True]


def test_categories_as_parquet_gives_them_make_no_difference() -> None:
    rows = claims(*ROWS)
    text = dict.fromkeys(("claim", "twin", "study", "direction", "size"), "category")
    assert verdict_sentence(rows.astype(text)) == verdict_sentence(rows)
    assert list(measured_claims(rows.astype(text))) == list(measured_claims(rows))


def test_a_value_without_an_interval_stands_alone() -> None:
    (row,) = measured_claims(claims({"claim": "A1", "direction": "inconclusive", "low": None, "high": None}))
    assert row["measured"] == "−0.5"


def test_claims_that_no_study_tests_come_with_the_reason() -> None:
    assert claims_not_measured(claims(*ROWS)) == [{"claim": "B1", "statement": "s", "reason": "too few widths"}]
