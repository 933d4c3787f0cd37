"""Pages of the gallery: what presets found, with every number taken from a row of a table.

A page is written by hand, as a Jinja template without numbers: `{{ found("effects", quantity="trace", term="width") }}`
stands for a value and its interval. The rows that a page quotes are kept beside it, and it can be made from them alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jinja2
import pandas as pd

from isthmus.analyses.claims.verdicts import CONTRADICTED, LEVEL, REPRODUCED
from isthmus.core.errors import UserError
from isthmus.overview.numbers import number
from isthmus.overview.verdicts import VERDICT, measured_claims
from isthmus.tables.claim_words import NOT_MEASURED, verdict_words

COLUMNS = ("asked", "table", "value", "low", "high", "networks", "scale")
VALUES, COUNTS = ("value", "coefficient", "difference"), ("networks", "n", "cells")
KEPT = [
    "claim",
    "twin",
    "statement",
    "source",
    "study",
    "measured_by",
    "as_published",
    "measure",
    "comparison",
    "published",
]
KEPT += ["value", "low", "high", "p_corrected", "networks", "settings", "settings_for", "settings_against", *VERDICT]
"""The columns of the table `claims` that are kept."""


@dataclass(frozen=True)
class Found:
    """A number of a table with its 95 % interval, NaN without one, and from how many networks it is.

    scale: of an effect, `linear` or `log` (base 2), from which its units follow; "" if the table has none.

    >>> print(Found(-0.4546, -0.516, -0.3933, 100))
    −0.45 [−0.52, −0.39]
    >>> print(Found(1.0, 0.5, 2.0, 10).factor, "or", Found(1.0, 0.5, 2.0, 10).percent)
    2 [1.4, 4] or +100 % [41, 300]
    """

    value: float
    low: float
    high: float
    networks: int
    scale: str = ""

    def __str__(self) -> str:
        return self._written("")

    def _require(self, scale: str) -> None:
        if self.scale not in ("", scale):
            raise UserError(
                f"a page of the gallery shows {self}, an effect on a {self.scale} scale, as one on a {scale} one"
            )

    def _written(self, unit: str) -> str:
        known = not (math.isnan(self.low) or math.isnan(self.high))
        interval = f" [{number(self.low)}, {number(self.high)}]" if known else ""
        return f"{number(self.value)}{unit}{interval}"

    @property
    def points(self) -> str:
        """A share or a difference of shares, in points; raises UserError if it is a logarithm.

        >>> Found(0.0046, -0.001, 0.01, 20).points
        '0.46 points [−0.1, 1]'
        """
        self._require("linear")
        return Found(100 * self.value, 100 * self.low, 100 * self.high, self.networks)._written(" points")

    @property
    def error(self) -> "Found":
        """An accuracy as an error.

        >>> Found(0.976, 0.969, 0.981, 4).error.points
        '2.4 points [1.9, 3.1]'
        """
        return Found(1 - self.value, 1 - self.high, 1 - self.low, self.networks)

    @property
    def factor(self) -> "Found":
        """A change of the binary logarithm, as a factor; raises UserError if it is none."""
        self._require("log")
        return Found(2.0**self.value, 2.0**self.low, 2.0**self.high, self.networks)

    @property
    def percent(self) -> str:
        """A change of the binary logarithm, in percent; raises UserError if it is none."""
        self._require("log")
        value, low, high = (100 * (2.0**end - 1) for end in (self.value, self.low, self.high))
        return f"{'+' if value > 0 else ''}{Found(value, low, high, self.networks)._written(' %')}"


class Rows:
    """The rows that a page quotes: looked up in `tables`, or in what an earlier page `kept` of them."""

    def __init__(self, tables: Mapping[str, pd.DataFrame], kept: pd.DataFrame | None = None) -> None:
        self.tables = tables
        rows = [] if kept is None else kept.to_dict("records")
        self.kept = {row["asked"]: row for row in rows}
        self.quoted: dict[str, dict[str, Any]] = {}

    def found(self, table: str, **where: Any) -> Found:
        """The one row of a table in which all columns of `where` have these values; raises UserError unless it is one.

        >>> columns = {"term": ["width", "depth"], "coefficient": [1.0, 2.0], "low": 0.5, "high": 3.0, "networks": 9}
        >>> effects = pd.DataFrame(columns)
        >>> print(Rows({"effects": effects}).found("effects", term="width"))
        1 [0.5, 3]
        """
        asked = f"{table}: {', '.join(f'{key} {value}' for key, value in where.items())}"
        row = self.kept.get(asked) or self._looked_up(asked, table, where)
        self.quoted[asked] = row
        value, low, high = (float(row[name]) for name in ("value", "low", "high"))
        scale = row.get("scale", "")
        return Found(value, low, high, int(row["networks"]), scale if isinstance(scale, str) else "")

    def _looked_up(self, asked: str, table: str, where: Mapping[str, Any]) -> dict[str, Any]:
        if table not in self.tables:
            raise UserError(f"a page of the gallery quotes {asked!r}, and there is no such table")
        rows = self.tables[table]
        if unknown := where.keys() - set(rows.columns):
            raise UserError(f"a page of the gallery quotes {asked!r}; {table!r} has no column {sorted(unknown)[0]!r}")
        for column, value in where.items():
            rows = rows[rows[column].isna()] if value is None else rows[rows[column] == value]
        if len(rows) != 1:
            raise UserError(f"a page of the gallery quotes {asked!r}: there are {len(rows)} such rows, not one")
        row = rows.iloc[0]
        value, count = (next(name for name in names if name in row) for names in (VALUES, COUNTS))
        cells = (asked, table, row[value], row["low"], row["high"], row[count], row.get("scale", ""))
        return dict(zip(COLUMNS, cells, strict=True))

    def frame(self) -> pd.DataFrame:
        """The quoted rows, in the order in which the page quotes them first."""
        return pd.DataFrame(list(self.quoted.values()), columns=list(COLUMNS))


def page(template: str, rows: Rows, claims: pd.DataFrame, about: Mapping[str, Any]) -> str:
    """A page in Markdown.

    template: for Jinja, with `found` (see `Rows`), `verdict(claim)`, `measured(claim)`, `lost(looks)`, `scoreboard`,
    and the keys of `about`. claims: the kept columns of the table `claims`. Raises UserError if something on the page
    is not there.
    """
    of_claims = {function.__name__: partial(function, claims) for function in (verdict, measured, lost)}
    own = {"found": rows.found, **of_claims}
    return written(template, {**own, "scoreboard": scoreboard(claims), **about})


def written(template: str, names: Mapping[str, Any]) -> str:
    """What a template for Jinja says with these names; raises UserError if it uses another one."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    try:
        return environment.from_string(template).render(names)
    except jinja2.TemplateError as error:
        raise UserError(f"a page of the gallery cannot be made: {error}") from error


def across(template: str, pages: Mapping[str, tuple[Rows, pd.DataFrame]], names: Mapping[str, Any]) -> str:
    """A text about several presets in Markdown, such as docs/findings.md.

    template: for Jinja, with `found(preset, ...)`, `verdict(preset, claim)`, `measured(preset, claim)`,
    `lost(preset, looks)` and the keys of `names`. pages: rows and kept claims by preset. Raises UserError if something
    in it is not there.
    """

    def of(preset: str) -> tuple[Rows, pd.DataFrame]:
        if preset not in pages:
            raise UserError(f"the gallery has no page of the preset {preset!r}, which a text quotes")
        return pages[preset]

    own = {
        "found": lambda preset, table, **where: of(preset)[0].found(table, **where),
        "verdict": lambda preset, *which, **more: verdict(of(preset)[1], *which, **more),
        "measured": lambda preset, *which, **more: measured(of(preset)[1], *which, **more),
        "lost": lambda preset, looks: lost(of(preset)[1], looks),
    }
    return written(template, {**own, **names})


def verdict(claims: pd.DataFrame, claim: str, study: str | None = None, twin: str | None = None) -> str:
    """What became of a claim or its twin, with its number, for the middle of a sentence."""
    row = _tested(claims, claim, study, twin)
    return f"{claim}: {verdict_words(*row[VERDICT])}, {measured(claims, claim, study, twin)}"


def measured(claims: pd.DataFrame, claim: str, study: str | None = None, twin: str | None = None) -> Found:
    """The number that a claim or its twin was judged by."""
    row = _tested(claims, claim, study, twin)
    return Found(row["value"], row["low"], row["high"], row["networks"])


def lost(claims: pd.DataFrame, looks: int) -> list[str]:
    """The claims whose `reproduced` or `contradicted` goes when corrected p-values are multiplied by a number of looks.

    >>> twice = {"claim": ["A1", "A2"], "twin": None, "direction": "reproduced", "p_corrected": [0.02, 0.03]}
    >>> lost(pd.DataFrame(twice), looks=2)
    ['A2']
    """
    own = claims[claims["twin"].isna() & claims["direction"].isin([REPRODUCED, CONTRADICTED])]
    return sorted(set(own.loc[own["p_corrected"] * looks > LEVEL, "claim"]))


def _tested(claims: pd.DataFrame, claim: str, study: str | None, twin: str | None) -> pd.Series:
    rows = claims[(claims["claim"] == claim) & (claims["twin"].isna() if twin is None else claims["twin"] == twin)]
    rows = rows if study is None else rows[rows["study"] == study]
    if len(rows) != 1:
        raise UserError(
            f"a page of the gallery quotes the claim {claim}: {len(rows)} studies tested it; name one of them"
        )
    return rows.iloc[0]


def scoreboard(claims: pd.DataFrame) -> str:
    """The tested claims as a table in Markdown, those with a verdict first."""
    several = claims["study"].nunique() > 1
    lines = ["| claim | statement | measured | published | verdict | networks |", f"|{' --- |' * 6}"]
    for row in measured_claims(claims):
        measured, said = f"{row['measure']}: {row['measured']}", "; ".join([row["verdict"], *row["twins"]])
        claim = f"{row['claim']} ({row['study']})" if several else row["claim"]
        cells = (claim, row["statement"], measured, row["published"], said, row["networks"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def kept_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """What a page keeps of the table `claims`: the rows that were tested."""
    return claims.loc[claims["direction"] != NOT_MEASURED, KEPT].reset_index(drop=True)


def verdicts_by_preset(presets: Mapping[str, pd.DataFrame], statements: Mapping[str, str]) -> str:
    """One table: a row for each claim that a preset tested, a column for each preset.

    presets: what each page kept of `claims`, by the preset's name. Several studies of a preset share a cell.
    statements: of all claims, in the order of the rows.

    Each verdict is corrected for the claims of its preset. In bold are those that stay if the corrected p-values are
    multiplied by the number of presets, too (Bonferroni), so that at most 5 % of such tables have a false one in bold.
    """
    level = LEVEL / len(presets)
    tested = {name: claims[claims["twin"].isna()] for name, claims in presets.items()}
    lines = [f"| claim | statement | {' | '.join(tested)} |", f"| --- | --- |{' --- |' * len(tested)}"]
    for claim, statement in statements.items():
        cells = []
        for claims in tested.values():
            own = claims[claims["claim"] == claim]
            surest = own.groupby("direction", sort=False)["p_corrected"].min()
            firm = {word for word in (REPRODUCED, CONTRADICTED) if surest.get(word, 1) <= level}
            cells.append("<br>".join(f"**{word}**" if word in firm else word for word in surest.index))
        if any(cells):
            lines.append(f"| {claim} | {statement} | {' | '.join(cells)} |")
    return "\n".join(lines)
