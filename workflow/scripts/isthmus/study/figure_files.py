"""The figures of a stage: which it has, what they are drawn from, and how they appear in the report."""

from typing import Any

from isthmus.recipes.cell_table import CELLS
from isthmus.tables.descriptions import Figure, Stage, stages

CELLS_OF_STUDY = "results/{study}/cells/cells.parquet"
"""A study's rows of the table `cells`. Its jobs read these, so that they do not rerun when another study changes."""

SUMMARIES = "summaries"
SUMMARIES_OF_STAGE = "results/{study}/{stage}/summaries.parquet"
"""A study's rows of the table `summaries` for the quantities of one stage."""

SHOWN_AS = {"png": {"as": "figure"}, "csv": {"as": "numbers (CSV)"}}
"""What the report calls the kinds of files of a figure."""


def overall_stages() -> list[Stage]:
    """The stages that run once, on the tables of all studies; they always run."""
    return [stage for stage in stages().values() if stage.unit == "configuration"]


def figures_of(stage: str, *requires: str) -> list[Figure]:
    """The figures of a stage that need the tables of exactly these other analyses."""
    return [figure for figure in stages()[stage].figures if figure.requires == requires]


def kinds(figure: Figure) -> list[str]:
    """The kinds of files that a figure has: two pictures, and its numbers if it does not draw single measurements."""
    return ["pdf", "png", *(["csv"] if figure.summary else [])]


def figure_tables(stage: str, *requires: str) -> list[str]:
    """The files of the tables that these figures are drawn from; `{study}` stands for the study."""
    names = {name: None for figure in figures_of(stage, *requires) for name in figure.tables}
    own = {CELLS: CELLS_OF_STUDY, SUMMARIES: SUMMARIES_OF_STAGE.replace("{stage}", stage)}
    return table_files([name for name in names if name not in own]) + [own[name] for name in names if name in own]


def in_report(figure: Figure, kind: str) -> dict[str, Any]:
    """The arguments of Snakemake's `report` that put a figure's PNG or CSV in its place.

    The report sorts categories by name, so a number puts figures about all studies first. It sorts a label's values,
    too, and where all figures of a category have numbers, it shows a switch between the two kinds.
    """
    stage = stages()[figure.stage]
    overall = stage in overall_stages()
    return {
        "category": f"1. {stage.title}" if overall else stage.title,
        "caption": f"../report/{figure.name}.rst",
        "labels": ({} if overall else {"study": "{study}"}) | {"figure": figure.title} | SHOWN_AS[kind],
    }


def table_files(names: list[str]) -> list[str]:
    """The files of these tables, each once."""
    return [f"results/tables/{name}.parquet" for name in dict.fromkeys(names)]
