"""The overview: a page that opens with the claims and says what every study asked and found.

It is complete in itself, with its figures and their numbers inside; only links to tables and PDF files leave it.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from isthmus.core.version import VERSION
from isthmus.overview.sentences import answers, axis_words, count_sentence, directions
from isthmus.overview.verdicts import claims_not_measured, measured_claims, verdict_sentence

TYPES = {".png": "image/png", ".csv": "text/csv"}


def render(
    template: str, studies: Sequence[Mapping[str, Any]], claims: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]
) -> str:
    """The page, in HTML.

    template: for Jinja. studies: what `isthmus.study.overview` says about each of them. claims: their figure, in the
    same form. tables: `claims` and `networks`, and `effects` if a study asks for it.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["embedded"] = embedded
    return environment.from_string(template).render(
        version=VERSION,
        verdicts=verdict_sentence(tables["claims"]),
        claims=claims,
        tested=list(measured_claims(tables["claims"])),
        untested=claims_not_measured(tables["claims"]),
        studies=[dict(study) | _found(study, tables) for study in studies],
        axis_words=axis_words,
    )


def _found(study: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """What a study found, in words; no answers if it did not ask how its results depend on the axes."""
    name, networks = study["name"], tables["networks"]
    found: dict[str, Any] = {"count": count_sentence(name, networks, study["source"]), "answers": [], "directions": []}
    if study["related"]:
        found["answers"] = answers(name, tables["effects"], networks)
        found["directions"] = directions(name, tables["effects"])
    return found


def embedded(path: str) -> str:
    """A file as an address that holds its content."""
    content = base64.b64encode(Path(path).read_bytes()).decode()
    return f"data:{TYPES[Path(path).suffix]};base64,{content}"
