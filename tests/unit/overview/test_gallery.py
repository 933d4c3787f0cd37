"""Pages of the gallery: every number on them is one of a table, and they can be made from what is kept."""

import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import gallery
from isthmus.core.errors import UserError
from isthmus.overview.gallery import (
    KEPT,
    Rows,
    across,
    kept_claims,
    measured,
    page,
    scoreboard,
    verdict,
    verdicts_by_preset,
)

EFFECTS = pd.DataFrame(
    {
        "study": ["one", "one", "two"],
        "term": ["width", "depth", "width"],
        "coefficient": [1.0, -0.1234567890123456, np.nan],
        "low": [0.5, np.nan, np.nan],
        "high": [1.5, np.nan, np.nan],
        "networks": [12, 12, 3],
    }
)
TEMPLATE = """{{ found("effects", study="one", term="width").factor }}, {{ found("effects", term="depth") }}
{{ verdict("A1", "one") }} ({{ cost }})
"""
NUMBERS: dict[str, Any] = {"value": -0.5, "low": -0.75, "high": -0.25, "networks": 6, "settings": 4, "settings_for": 3}


def claims(*rows: dict[str, Any]) -> pd.DataFrame:
    """The table `claims` with these rows, as far as pages keep it."""
    always = dict.fromkeys(KEPT) | {"study": "one", "statement": "falls", "measure": "slope", "settings_against": 0}
    return pd.DataFrame([always | NUMBERS | {"as_published": False} | row for row in rows])


TESTED = claims(
    {"claim": "A1", "direction": "reproduced", "size": "smaller", "published": 0.25},
    {"claim": "A1", "direction": "mixed", "study": "two"},
    {"claim": "A1", "direction": "contradicted", "twin": "over_loss"},
    {"claim": "B2", "direction": "not measured", "study": None},
)


def test_a_page_is_the_same_from_what_was_kept_of_its_tables(tmp_path: Path) -> None:
    kept, rows = kept_claims(TESTED), Rows({"effects": EFFECTS})
    text = page(TEMPLATE, rows, kept, {"cost": "a day"})
    assert text == "2 [1.4, 2.8], −0.12\nA1: reproduced, smaller, −0.5 [−0.75, −0.25] (a day)\n"
    for name, frame in (("claims", kept), ("numbers", rows.frame())):
        frame.to_csv(tmp_path / name, index=False)
    again = Rows({}, pd.read_csv(tmp_path / "numbers"))
    assert page(TEMPLATE, again, pd.read_csv(tmp_path / "claims"), {"cost": "a day"}) == text
    assert rows.frame()["value"].tolist() == again.frame()["value"].tolist() == [1.0, -0.1234567890123456]


@pytest.mark.parametrize(
    ("quoted", "reason"),
    [
        ('found("effects", term="width")', "there are 2 such rows, not one"),
        ('found("effects", term="height")', "there are 0 such rows"),
        ('found("effects", terms="width")', "'effects' has no column 'terms'"),
        ('found("causes", term="width")', "no such table"),
        ('verdict("A1")', "A1: 2 studies tested it; name one"),
        ('verdict("B2")', "B2: 0 studies tested it"),
        ("cots", "'cots' is undefined"),
    ],
)
def test_what_is_not_there_cannot_be_quoted(quoted: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        page("{{ " + quoted + " }}", Rows({"effects": EFFECTS}), kept_claims(TESTED), {"cost": ""})


@pytest.mark.parametrize(("scale", "units"), [("linear", ["percent", "factor"]), ("log", ["points"])])
def test_an_effect_cannot_be_shown_in_units_that_are_not_its_own(scale: str, units: list[str]) -> None:
    """Also from what was kept: a difference in nats once stood as percent on a page."""
    rows = Rows({"effects": EFFECTS.assign(scale=scale)})
    rows.found("effects", study="one", term="width")
    for known in (rows, Rows({}, rows.frame())):
        for unit in ("percent", "factor", "points"):
            shown = partial(page, '{{ found("effects", study="one", term="width").' + unit + " }}", known, TESTED, {})
            if unit in units:
                with pytest.raises(UserError, match=f"an effect on a {scale} scale"):
                    shown()
            else:
                assert shown()


def test_a_text_across_presets_quotes_each_by_its_name() -> None:
    pages = {name: (Rows({"effects": EFFECTS[EFFECTS["study"] == name]}), TESTED) for name in ("one", "two")}
    template = '{{ found("one", "effects", term="width") }}; {{ verdict("two", "A1", "two") }} ({{ made }})'
    assert across(template, pages, {"made": "today"}) == "1 [0.5, 1.5]; A1: mixed, −0.5 [−0.75, −0.25] (today)"
    assert pages["two"][0].quoted == {}
    with pytest.raises(UserError, match="no page of the preset 'three'"):
        across('{{ verdict("three", "A1") }}', pages, {})


def test_the_scoreboard_has_a_line_for_each_test_with_its_twins() -> None:
    lines = scoreboard(kept_claims(TESTED)).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith(
        "| A1 (one) | falls | slope: −0.5 (−0.75 to −0.25) | 0.25 | reproduced, smaller; with the"
    )
    assert lines[3].startswith("| A1 (two) |")


def test_verdicts_stand_beside_each_other_without_twins() -> None:
    other = claims({"claim": "B2", "direction": "inconclusive"})
    table = verdicts_by_preset({"x": kept_claims(TESTED), "y": other}, {"A1": "falls", "B2": "rises", "C3": "stays"})
    assert table.splitlines() == [
        "| claim | statement | x | y |",
        "| --- | --- | --- | --- |",
        "| A1 | falls | reproduced<br>mixed |  |",
        "| B2 | rises |  | inconclusive |",
    ]


def test_the_colors_of_small_marks_are_kept() -> None:
    """Of a figure with more than 128 shades of one colour, as text has, and small marks in two colours of verdicts."""
    marks = [(213, 94, 0), (222, 143, 5)]
    figure = Image.new("RGB", (256, 100), "white")
    for shade in range(256):
        figure.paste((shade, shade, shade), (shade, 0, shade + 1, 90))
    for place, color in enumerate(marks):
        figure.paste(color, (4 * place, 95, 4 * place + 3, 98))
    kept = gallery.few_colors(figure).convert("RGB")
    assert [kept.getpixel((4 * place + 1, 96)) for place in range(2)] == marks
    assert kept.getpixel((200, 99)) == (255, 255, 255)


def test_verdicts_that_stay_with_all_presets_are_bold() -> None:
    sure, unsure = ({"claim": "A1", "direction": "reproduced", "p_corrected": p} for p in (0.02, 0.03))
    mixed = {"claim": "B2", "direction": "mixed", "p_corrected": 0.001}
    table = verdicts_by_preset({"x": claims(sure, mixed), "y": claims(unsure)}, {"A1": "falls", "B2": "rises"})
    assert table.splitlines()[2:] == ["| A1 | falls | **reproduced** | reproduced |", "| B2 | rises | mixed |  |"]


def test_a_page_says_which_verdicts_a_second_look_would_lose() -> None:
    seen = claims(
        {"claim": "A2", "direction": "reproduced", "p_corrected": 0.026},
        {"claim": "A1", "direction": "contradicted", "p_corrected": 0.03},
        {"claim": "A3", "direction": "reproduced", "p_corrected": 0.024},
        {"claim": "A3", "twin": "over_loss", "direction": "reproduced", "p_corrected": 0.04},
        {"claim": "A4", "direction": "mixed", "p_corrected": 0.04},
    )
    assert page("{{ lost(1) }} {{ lost(2) }}", Rows({}), seen, {}) == "[] ['A1', 'A2']"
    assert across('{{ lost("x", 2) | join(", ") }}', {"x": (Rows({}), seen)}, {}) == "A1, A2"


def test_presets_stand_from_the_simplest_networks_and_data_on() -> None:
    trained = ["ResNet-18, CIFAR10", "cnn, CIFAR10", "mlp, CIFAR10", "mlp, digits", "cnn, MNIST", "mine, digits"]
    simplest = ["mlp, digits", "mine, digits", "cnn, MNIST", "mlp, CIFAR10", "cnn, CIFAR10", "ResNet-18, CIFAR10"]
    assert sorted(trained, key=gallery.trained_order) == simplest


def test_a_twin_has_its_own_verdict_and_number() -> None:
    assert verdict(TESTED, "A1", "one", "over_loss") == "A1: contradicted, −0.5 [−0.75, −0.25]"
    assert measured(TESTED, "A1", "one").points == "−50 points [−75, −25]"


def test_a_claim_is_found_where_a_single_study_tested_it() -> None:
    assert verdict(TESTED.iloc[[0]], "A1") == verdict(TESTED, "A1", "one")


def test_every_page_is_what_its_folder_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No number was typed or is older than its row, here, in docs/findings.md and in the README."""
    copy = shutil.copytree(gallery.GALLERY, tmp_path / "gallery")
    readme, findings = (Path(shutil.copy(path, tmp_path)) for path in (gallery.README, gallery.FINDINGS))
    written = {path: path.read_text(encoding="utf-8") for path in copy.rglob("README.md")}
    monkeypatch.setattr(gallery, "GALLERY", copy)
    monkeypatch.setattr(gallery, "README", readme)
    monkeypatch.setattr(gallery, "FINDINGS", findings)
    monkeypatch.setattr("sys.argv", ["gallery.py"])
    gallery.main()
    assert readme.read_text(encoding="utf-8") == (gallery.ROOT / "README.md").read_text(encoding="utf-8")
    assert findings.read_text(encoding="utf-8") == (gallery.ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    assert {path: path.read_text(encoding="utf-8") for path in copy.rglob("README.md")} == written
    shown = {path.parent / name for path, text in written.items() for name in gallery.shown(text)}
    assert shown == set(copy.rglob("*.png"))
    assert sum(path.stat().st_size for path in copy.rglob("*")) < 8e6


def test_verdicts_in_sentences_are_those_of_the_claims() -> None:
    """Such as "(B1a, `reproduced`)"; in texts about several presets, of the preset that was quoted last."""
    said = 0
    for template in sorted(gallery.GALLERY.glob("**/*.jinja")):
        text = template.read_text(encoding="utf-8")
        for match in re.finditer(r"\((\w+), `([a-z ]+)`", text):
            before = re.findall(r'(?:measured|found)\("([\w-]+)"', text[: match.start()])
            folder = template.parent if template.name == "page.md.jinja" else gallery.GALLERY / before[-1]
            kept = pd.read_csv(folder / "claims.csv")
            verdicts = kept.loc[(kept["claim"] == match[1]) & kept["twin"].isna(), "direction"]
            assert match[2] in set(verdicts), f"{template.parent.name}: {match[0]}, and not {list(verdicts)}"
            said += 1
    assert said > 30


def test_tables_that_are_linked_and_not_kept_are_missed(tmp_path: Path) -> None:
    folder = shutil.copytree(gallery.GALLERY / "path-geometry-cifar", tmp_path / "path-geometry-cifar")
    gallery.Page(folder, None).write()
    shutil.rmtree(folder / "tables")
    with pytest.raises(UserError, match="all tables, which are not kept"):
        gallery.Page(folder, None).write()
