"""Published statements as data: what `workflow/claims.yaml` says, checked against its schema.

A claim names a table, a quantity in it, a measure of that quantity, the published setup, and where the measure must lie
for the statement to hold. `isthmus.verdicts` tests it. docs/claims.md explains the vocabulary.

This module does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isthmus.errors import ConfigurationError
from isthmus.schema import with_defaults
from isthmus.stages import SCHEMAS
from isthmus.wording import schema_errors

CLAIMS = SCHEMAS.parent / "claims.yaml"
OPERATORS = (" / ", " - ")
ENDS = ("smallest", "largest")
SIDES = ("difference", "ratio")  # measures of one level against another
AXIS_MEASURES = ("slope", "smallest_step", "largest_step", "plateau")  # measures along an axis
LOGARITHMIC = ("ratio", "plateau")


@dataclass(frozen=True)
class Claim:
    """A claim with all its keys; `workflow/schemas/claims.schema.yaml` describes each.

    source: the full reference. baseline, reference: the values drawn at 0 and at 1, in the unit of the measure.
    """

    id: str
    statement: str
    source: str
    published: float | None
    published_text: str
    table: str
    quantity: str
    where: dict[str, Any]
    measure: dict[str, Any]
    setup: dict[str, Any]
    requires: dict[str, int]
    expect: dict[str, float]
    baseline: float
    reference: float
    logarithmic: bool

    @property
    def kind(self) -> str:
        """The kind of measure."""
        return str(self.measure["kind"])

    @property
    def by(self) -> str | None:
        """The axis or column whose values are compared."""
        return self.measure.get("by")

    def columns(self) -> set[str]:
        """All columns and axes that the claim names."""
        names = {self.quantity, *self.where, *self.setup, *self.requires} | ({self.by} if self.by else set())
        for side in ("of", "to"):
            if isinstance(self.measure.get(side), dict):
                names |= set(self.measure[side])
        return {column for name in names for column in operands(name)[0]}


def operands(expression: str) -> tuple[list[str], str | None]:
    """The columns in an expression, one or two, and the operator between them."""
    for operator in OPERATORS:
        if operator in expression:
            return expression.split(operator, 1), operator.strip()
    return [expression], None


def claim_schema() -> dict[str, Any]:
    """The schema of one claim."""
    return yaml.safe_load((SCHEMAS / "claims.schema.yaml").read_text(encoding="utf-8"))


def parse_claims(content: dict[str, Any]) -> tuple[Claim, ...]:
    """The claims in `content`, which has a mapping `sources` and a list `claims`.

    Raises ConfigurationError with every mistake found, one a line.
    """
    sources, given = content.get("sources", {}), content.get("claims", [])
    described, errors, made = claim_schema(), [], []
    names = [str(each.get("id", f"claims[{number}]")) for number, each in enumerate(given)]
    errors += [f"{name}: there are several claims of this id" for name in dict.fromkeys(names) if names.count(name) > 1]
    for name, each in zip(names, given, strict=True):
        found = schema_errors(each, described, name) or _errors(name, each, sources)
        errors += found
        if not found:
            made.append(_claim(with_defaults(each, described), sources))
    if errors:
        raise ConfigurationError("\n".join(["the claims cannot be used:", *(f"  - {each}" for each in errors)]))
    return tuple(made)


def read_claims(path: Path = CLAIMS) -> dict[str, Any]:
    """The content of the file of claims, for `parse_claims`. Raises ConfigurationError where it is no YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is no YAML: {error}") from None


def _claim(complete: dict[str, Any], sources: dict[str, str]) -> Claim:
    kind = complete["measure"]["kind"]
    usual = 1.0 if kind in LOGARITHMIC else 0.0
    baseline = usual if complete["baseline"] is None else complete["baseline"]
    reference = complete["reference"] if complete["published"] is None else complete["published"]
    own = {"source": " ".join(sources[complete["source"]].split()), "baseline": baseline, "reference": reference}
    return Claim(**complete | own | {"logarithmic": complete["logarithmic"] or kind in LOGARITHMIC})


def _errors(name: str, claim: dict[str, Any], sources: dict[str, str]) -> list[str]:
    """What is wrong with a claim beyond its schema."""
    measure, expect = claim["measure"], claim["expect"]
    kind, by = measure["kind"], measure.get("by")
    sides = [measure[side] for side in ("of", "to") if side in measure]
    found = []
    if claim["source"] not in sources:
        found.append(f"{name}.source: {claim['source']!r} is none of the sources: {', '.join(sources)}")
    if kind in SIDES and len(sides) < 2:
        found.append(f"{name}.measure: a {kind} is `of` one thing `to` another; give both")
    if kind in AXIS_MEASURES and (by is None or sides):
        found.append(f"{name}.measure: a {kind} goes along the axis `by`, and has neither `of` nor `to`")
    if any(isinstance(side, dict) == (by is not None) for side in sides):
        found.append(f"{name}.measure: with `by`, `of` and `to` are values of it; without, conditions")
    if kind == "mean" and (by or sides):
        found.append(f"{name}.measure: a mean is over all rows, and has neither `by` nor `of` nor `to`")
    if (kind == "plateau") != ("tolerance" in measure):
        found.append(f"{name}.measure.tolerance: this is for plateaus, which need it")
    if ("near" in expect) != ("tolerance" in expect):
        found.append(f"{name}.expect: `near` and `tolerance` go together")
    if "near" in expect and not claim.get("setup"):
        found.append(f"{name}.setup: a published number is compared with networks of the published setup; describe it")
    if claim.get("published") is None and claim.get("reference") is None:
        found.append(f"{name}.reference: needed where no number is published")
    if kind == "mean" and claim.get("baseline") is None:
        found.append(f"{name}.baseline: a mean needs one")
    return found
