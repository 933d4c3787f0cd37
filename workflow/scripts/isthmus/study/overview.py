"""What the overview of all studies shows: what each study asked, and the figures that answer it."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from isthmus.core.defaults import with_defaults
from isthmus.recipes.cells import axis_order
from isthmus.study.elsewhere import figures_without_data
from isthmus.study.figure_files import kinds, overall_stages
from isthmus.study.graph import Graph
from isthmus.study.grid import SECTIONS, Study
from isthmus.study.schema import study_schema
from isthmus.tables.descriptions import Figure

FIGURES = 5
LEADING = ("test-accuracy", "effects", "barriers", "curvature", "tickets", "robustness", "movement", "manifold-counts")
"""The figures that carry the answer of a study, the most telling ones first; others follow in the order of stages."""
ALWAYS = {"data": ["name"], "network": ["architecture"], "training": ["optimizer", "learning_rate", "epochs"]}
"""What the overview says of a study even where it is a default."""
EFFECTS = "relations"
"""The analysis that says what width, depth and batch size do."""


def described_studies(graph: Graph) -> list[dict[str, Any]]:
    """All studies, as parameters of the job that writes the overview."""
    return [
        {
            "name": study.name,
            "source": study.elsewhere.source if study.elsewhere else "",
            "remarks": study.elsewhere.remarks if study.elsewhere else "",
            "asked": asked(study),
            "related": EFFECTS in study.analyses,
            "figures": [described_figure(figure, f"figures/{study.name}") for figure in leading_figures(graph, study)],
        }
        for study in graph.configuration.studies.values()
    ]


def described_claims() -> dict[str, Any]:
    """The figure of the claims, in the same form."""
    (figure,) = (figure for stage in overall_stages() for figure in stage.figures)
    return described_figure(figure, "figures")


def described_figure(figure: Figure, folder: str) -> dict[str, Any]:
    """A figure, with its files by kind, relative to the folder of the overview."""
    files = {kind: f"{folder}/{figure.name}.{kind}" for kind in kinds(figure)}
    return {"title": figure.title, "files": files, "tables": list(figure.tables)}


def overview_tables(graph: Graph) -> list[str]:
    """The tables that the overview is made from."""
    related = [study for study in graph.configuration.studies.values() if EFFECTS in study.analyses]
    return [f"results/tables/{name}.parquet" for name in ("claims", "networks", *(["effects"] if related else []))]


def overview_figures(graph: Graph) -> list[str]:
    """The files of figures that the overview holds."""
    shown = [described_claims(), *(figure for study in described_studies(graph) for figure in study["figures"])]
    return [f"results/{path}" for figure in shown for kind, path in figure["files"].items() if kind != "pdf"]


def leading_figures(graph: Graph, study: Study) -> list[Figure]:
    """The figures of a study that the overview shows."""
    order, figures = {name: place for place, name in enumerate(LEADING)}, graph.figures_of_study(study)
    if study.elsewhere:
        absent = figures_without_data(figures, study.elsewhere)
        figures = [figure for figure in figures if figure not in absent]
    return sorted(figures, key=lambda figure: order.get(figure.name, len(order)))[:FIGURES]


def asked(study: Study) -> dict[str, dict[str, str]]:
    """What a study asks for, by section and key: its grid, what is always said, and everything that is no default."""
    every = list(study.axes().values()) if study.elsewhere else [cell.axes for cell in study.cells.values()]
    axes = {axis: _spelled(_unique(own[axis] for own in every)) for axis in axis_order(every[0])}
    cells = list(study.cells.values())
    recipes = [cell.recipe.as_dict() for cell in cells]
    described = study_schema()
    known = [key for key in ALWAYS["training"] if cells and cells[0].recipe.fact(key) is not None]
    always = ALWAYS | {"training": known}
    found: dict[str, dict[str, str]] = {}
    if study.elsewhere:
        found["tables"] = {"folder": study.elsewhere.folder, "files": ", ".join(study.elsewhere.files)}
    for section in SECTIONS if recipes else ():
        properties = described[section]["properties"]
        values = {key: _unique(recipe[section][key] for recipe in recipes) for key in recipes[0][section]}
        found[section] = {
            key: ", ".join(map(_spelled, given))
            for key, given in values.items()
            if key not in axes and (key in always[section] or given != [properties.get(key, {}).get("default")])
        }
    if study.checkpoints:
        found["networks"] = {"checkpoints": _spelled(study.checkpoints.patterns["final"])}
    found["grid"] = axes | {"seed": _spelled(list(study.seeds))}
    defaults = described["analyses"]["properties"]
    found["analyses"] = {
        name: "; ".join(_changed(options, with_defaults({}, defaults[name]))) or "with its defaults"
        for name, options in study.analyses.items()
    }
    return found


def _unique(values: Iterable[Any]) -> list[Any]:
    """Different values, in the order in which they come first."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _changed(options: dict[str, Any], defaults: dict[str, Any], within: str = "") -> Iterator[str]:
    """The options that are not defaults, at any depth."""
    for key, value in options.items():
        default = defaults.get(key)
        if value == default:
            continue
        if isinstance(value, dict) and isinstance(default, dict) and default:
            yield from _changed(value, default, f"{within}{key}.")
        else:
            yield f"{within}{key}: {_spelled(value)}"


def _spelled(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace('"', "")
