"""The overview holds the verdicts, what was asked, the sentences and the figures, all of them inside."""

import base64
import copy
import os
import re
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from running import ROOT
from shared_study import CONFIG

from isthmus.analyses.claims.statements import read_claims
from isthmus.overview.page import render
from isthmus.overview.sentences import answers, count_sentence
from isthmus.overview.verdicts import measured_claims, verdict_sentence
from isthmus.recipes.cell_table import read_tables, rows_of_study
from isthmus.study.config import load
from isthmus.study.graph import Graph
from isthmus.study.overview import (
    asked,
    described_claims,
    described_studies,
    leading_figures,
    overview_figures,
    overview_tables,
)
from isthmus.tables.descriptions import stages

TEMPLATE = (ROOT / "workflow/report/overview.html.jinja2").read_text()


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph(load(copy.deepcopy(CONFIG)), read_claims())


@pytest.fixture(scope="module")
def tables(finished: Path, graph: Graph) -> dict[str, pd.DataFrame]:
    return read_tables(finished / path for path in overview_tables(graph))


@pytest.fixture(scope="module")
def studies(graph: Graph) -> list[dict[str, Any]]:
    """Two of the studies, with those of their leading figures that the shared run draws."""
    described = {study["name"]: study for study in described_studies(graph)}
    related = [figure for figure in described["plain"]["figures"] if figure["files"]["png"].endswith("effects.png")]
    return [described["sizes"], described["plain"] | {"figures": related}]


def page_of(folder: Path, studies: list[dict[str, Any]], tables: dict[str, pd.DataFrame]) -> str:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return render(TEMPLATE, studies, described_claims(), tables)
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def page(finished: Path, studies: list[dict[str, Any]], tables: dict[str, pd.DataFrame]) -> str:
    return page_of(finished, studies, tables)


def text_of(page: str) -> str:
    """What a reader reads."""
    visible = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(visible))


def test_it_opens_on_the_claims(page: str, tables: dict[str, pd.DataFrame]) -> None:
    text = text_of(page)
    assert text.index(verdict_sentence(tables["claims"])) < text.index("What was asked")
    for row in measured_claims(tables["claims"]):
        assert f"{row['claim']} {row['statement']}" in text


def test_every_study_has_its_count_and_its_sentences(page: str, tables: dict[str, pd.DataFrame]) -> None:
    text = text_of(page)
    for study in ("plain", "sizes"):
        assert count_sentence(study, tables["networks"]) in text
    of_plain = answers("plain", tables["effects"], tables["networks"])
    found = [sentence for answer in of_plain for sentence in answer.leading + answer.others]
    # One for width and depth, which do not vary; quantities of networks for the batch size, of paths, too, for noise.
    assert len(found) == 2 + 8 + 22
    assert all(sentence in text for sentence in found)
    assert text.count("the study does not ask for the analysis relations") == 1


def test_a_changed_table_changes_the_page(
    finished: Path, page: str, studies: list[dict[str, Any]], tables: dict[str, pd.DataFrame]
) -> None:
    effects = tables["effects"]
    turned = effects.assign(coefficient=-effects["coefficient"], low=-effects["high"], high=-effects["low"])
    sentence = "Doubling the batch size {} the test error by"
    assert sentence.format("raises") in text_of(page)
    other = text_of(page_of(finished, studies, tables | {"effects": turned}))
    assert sentence.format("lowers") in other
    assert sentence.format("raises") not in other


def test_figures_and_their_numbers_are_inside(finished: Path, page: str, studies: list[dict[str, Any]]) -> None:
    held = re.findall(r"data:(image/png|text/csv);base64,([A-Za-z0-9+/=]*)", page)
    figures = [described_claims(), *(figure for study in studies for figure in study["figures"])]
    files = [figure["files"][kind] for figure in figures for kind in ("png", "csv") if kind in figure["files"]]
    assert [base64.b64decode(content) for _, content in held] == [
        (finished / "results" / file).read_bytes() for file in files
    ]
    assert len([file for file in files if "sizes/" in file and file.endswith(".png")]) == 5


def test_links_lead_to_files_beside_the_page(finished: Path, page: str) -> None:
    links = set(re.findall(r'href="([^"]*)"', page))
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert anchors == {"claims", "study-plain", "study-sizes"}
    assert all(f'id="{anchor}"' in page for anchor in anchors)
    beside = {link for link in links if not link.startswith(("#", "data:"))}
    assert {Path(link).suffix for link in beside} == {".pdf", ".parquet", ".json"}
    assert all((finished / "results" / link).exists() for link in beside)


def test_nothing_in_it_ends_the_script_that_snakemake_puts_it_in(page: str) -> None:
    assert "<script" not in page
    assert "</script" not in page


@pytest.mark.parametrize(
    ("name", "study"), [("learning-curves", "sizes"), ("barriers", "sizes"), ("effects", "plain"), ("claims", "")]
)
def test_the_numbers_of_a_figure_are_the_rows_that_it_shows(finished: Path, name: str, study: str) -> None:
    (figure,) = (each for stage in stages().values() for each in stage.figures if each.name == name)
    written = pd.read_csv(finished / "results/figures" / study / f"{name}.csv")
    every = read_tables([finished / f"results/tables/{table}.parquet" for table in figure.tables])
    table = every[figure.summary]
    table = rows_of_study(table, study) if study else table
    if figure.lines:
        expected = table[table["quantity"].isin(figure.lines.rows)]
    elif name == "claims":
        expected = table[table["direction"] != "not measured"]
    else:
        told = table["standardized_low"].notna() | ((table["selection"] == "all") & table["standardized"].notna())
        expected = table[told & (table["term"] != "width:depth")]
    assert len(written) == len(expected) > 0
    assert set(written) <= set(table)
    value = {"effects": "coefficient"}.get(name, "value")
    assert sorted(written[value].dropna()) == pytest.approx(sorted(expected[value].dropna()), rel=1e-15)


def test_what_a_study_asks_for_is_its_grid_and_what_is_no_default(graph: Graph) -> None:
    plain = asked(graph.configuration.studies["plain"])
    assert plain["data"] == {"name": "digits"}
    assert plain["network"] == {"architecture": "mlp"}
    assert plain["grid"] == {
        "width": "[8]",
        "depth": "[2]",
        "batch_size": "[32, 128]",
        "label_noise": "[0.0, 0.1]",
        "seed": "[0, 1, 2]",
    }
    assert plain["training"] == {
        "optimizer": "sgd",
        "learning_rate": "0.05",
        "batch_scaling": "sqrt",
        "reference_batch_size": "32",
        "epochs": "8",
    }
    assert plain["analyses"]["relations"] == "with its defaults"
    assert "curve.epochs: 2" in plain["analyses"]["connect"]
    assert "learning_rate" not in asked(graph.configuration.studies["sizes"])["training"]  # an axis there


def test_five_figures_carry_the_answer_the_most_telling_ones_first(graph: Graph) -> None:
    names = {
        name: [figure.name for figure in leading_figures(graph, study)]
        for name, study in graph.configuration.studies.items()
    }
    assert names["plain"] == ["test-accuracy", "effects", "barriers", "tickets", "robustness"]
    assert names["curved"] == ["test-accuracy", "curvature", "movement", "learning-curves", "interpolation"]
    assert "results/figures/claims.png" in overview_figures(graph)
    assert "results/figures/plain/effects.csv" in overview_figures(graph)
