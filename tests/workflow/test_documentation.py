"""Documentation that is made from the schemas is up to date, and every figure has a caption."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jinja2
from docutils.core import publish_doctree
from running import ROOT, blocks

from isthmus.study.reference import configuration_page, tables_page
from isthmus.tables.descriptions import stages

REPORT = ROOT / "workflow" / "report"


def test_the_references_are_those_of_the_schemas() -> None:
    for name, page in (("configuration", configuration_page()), ("tables", tables_page())):
        assert (ROOT / "docs" / f"{name}.md").read_text() == page, "run `make docs`"


def test_every_figure_has_a_caption_without_mistakes_in_its_markup() -> None:
    """A mistake would stand in the report as a block of its own; docutils raises it only if told to."""
    captions = jinja2.Environment(undefined=jinja2.ChainableUndefined, loader=jinja2.FileSystemLoader(REPORT))
    for stage in stages().values():
        for figure in stage.figures:
            caption = captions.get_template(f"{figure.name}.rst").render()
            publish_doctree(caption, settings_overrides={"halt_level": 2, "report_level": 5})


def test_links_within_the_repository_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("[bcp]*/README.md")]
    assert len(pages) > 20
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("https://"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_page_on_rules_names_them_all() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    names = set(re.findall(r"^(?:use rule \w+ as |rule )(\w+)", rules, re.MULTILINE)) - {"figures", "tables"}
    page = (ROOT / "docs" / "rules.md").read_text()
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == names, "run `make docs`"
    drawn = set(re.findall(r"^    (\w+) -\S+> (\w+)$", page, re.MULTILINE))
    assert {("train", "connect"), ("summarize", "draw_training"), ("judge_claims", "draw_claims")} <= drawn
    assert {name for edge in drawn for name in edge} <= names


def test_the_site_leads_to_every_page() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    listed = re.findall(r"[\w./-]+\.md", str(site["nav"]))
    pages = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert set(pages) <= set(listed)
    assert all((ROOT / page).exists() for page in listed)


def test_the_page_on_figures_draws_what_it_says(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "results" / "tables", tmp_path / "results" / "tables")
    environment = os.environ | {"MPLBACKEND": "agg"}
    subprocess.run(
        [sys.executable, "-c", "\n".join(blocks("figures.md", "python"))], cwd=tmp_path, env=environment, check=True
    )
    assert {path.name for path in tmp_path.glob("*.png")} == {"accuracy.png", "profiles.png"}
