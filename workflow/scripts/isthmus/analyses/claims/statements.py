"""Published statements as data: the content of `workflow/claims.yaml`, checked against its schema.

A claim names a table, a quantity in it, a measure of that quantity, the published setup, and the range in which the
measure must lie for the statement to hold. A claim about sharpness may have twins, which ask the same question with the
loss divided out or at equal loss. `isthmus.analyses.claims.verdicts` tests all claims; docs/claims.md explains the
vocabulary.

This module does not import torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isthmus.core.defaults import with_defaults
from isthmus.core.errors import ConfigurationError
from isthmus.core.files import read_yaml
from isthmus.core.messages import schema_errors
from isthmus.tables.descriptions import SCHEMAS

CLAIMS = SCHEMAS.parent / "claims.yaml"
OPERATORS = (" / ", " - ", " == ", " < ")
ENDS = ("smallest", "largest")
SIDES = ("difference", "ratio")  # measures of one level against another
STEPS = ("smallest_step", "largest_step", "plateau")  # measures of all levels of an axis
AXIS_MEASURES = ("slope", *STEPS)
WHOLE = ("mean", "proportion")  # measures of all rows together
COEFFICIENT = "coefficient"  # a measure that the table has already
REPORTED = ("low", "high", "p_above", "p_below", "networks")
LOGARITHMIC = ("ratio", "plateau")
OVER_LOSS, EQUAL_LOSS = "over_loss", "equal_loss"


@dataclass(frozen=True)
class Claim:
    """A claim with all its keys; `workflow/schemas/claims.schema.yaml` describes each.

    twin: None, or how this claim differs from the main claim of the same id: `over_loss` or `equal_loss`. twins: the
    twins of this claim. source: the full reference. baseline, reference: the values that the figure draws at 0 and 1,
    in the unit of the measure.
    """

    id: str
    twin: str | None
    twins: tuple[str, ...]
    statement: str
    source: str
    published: float | None
    published_interval: tuple[float, float] | None
    published_text: str
    tolerance: float | None
    elsewhere: bool
    table: str
    quantity: str
    where: dict[str, Any]
    measure: dict[str, Any]
    setup: dict[str, Any]
    requires: dict[str, int]
    spans: dict[str, float]
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

    @property
    def family(self) -> str:
        """The letter shared by claims that are tested together."""
        return self.id[0]

    @property
    def on_logarithms(self) -> bool:
        """Whether means and slopes are taken of the quantity's logarithm."""
        return self.kind == "ratio" or (self.kind == "slope" and self.measure.get("scale", "log") == "log")

    def columns(self) -> set[str]:
        """All columns and axes that the claim names."""
        names = {self.quantity, *self.where, *self.setup, *self.requires, *self.spans}
        names |= {self.by} if self.by else set()
        names |= {*self.measure.get("held", ()), *(REPORTED if self.kind == COEFFICIENT else ())}
        for side in ("of", "to"):
            if isinstance(self.measure.get(side), dict):
                names |= set(self.measure[side])
        return {column for name in names for column in operands(name)[0] if literal(column) is None}


def operands(expression: str) -> tuple[list[str], str | None]:
    """The one or two columns or literals in an expression, and the operator between them.

    >>> operands("detour - 1")
    (['detour', '1'], '-')
    """
    for operator in OPERATORS:
        if operator in expression:
            return expression.split(operator, 1), operator.strip()
    return [expression], None


def literal(operand: str) -> float | str | None:
    """The value of an operand that is a number or text in double quotes; None if it is a column."""
    if operand.startswith('"'):
        return operand.strip('"')
    try:
        return float(operand)
    except ValueError:
        return None


def claim_schema() -> dict[str, Any]:
    """The schema of one claim."""
    return read_yaml(SCHEMAS / "claims.schema.yaml")


def parse_claims(content: dict[str, Any]) -> tuple[Claim, ...]:
    """The claims in `content`, which has a mapping `sources` and a list `claims`; twins follow their claim.

    Raises ConfigurationError that lists every mistake, one per line.
    """
    sources, given = content.get("sources", {}), content.get("claims", [])
    described, errors, made = claim_schema(), [], []
    names = [str(each.get("id", f"claims[{number}]")) for number, each in enumerate(given)]
    errors += [f"{name}: several claims have this id" for name in dict.fromkeys(names) if names.count(name) > 1]
    for name, each in zip(names, given, strict=True):
        found = schema_errors(each, described, name) or _errors(name, each, sources)
        errors += found
        if not found:
            complete = with_defaults(each, described)
            made += [_claim(complete, None, sources), *_twins(complete, sources)]
    if errors:
        raise ConfigurationError("\n".join(["the claims cannot be used:", *(f"  - {each}" for each in errors)]))
    return tuple(made)


def read_claims(path: Path = CLAIMS) -> dict[str, Any]:
    """The content of a file of claims, for `parse_claims`. Raises ConfigurationError if it is not valid YAML."""
    try:
        return read_yaml(path)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not valid YAML: {error}") from None


def _claim(complete: dict[str, Any], twin: str | None, sources: dict[str, str]) -> Claim:
    kind = complete["measure"]["kind"]
    usual = 1.0 if kind in LOGARITHMIC else 0.0
    baseline = usual if complete["baseline"] is None else complete["baseline"]
    reference = complete["reference"] if complete["published"] is None else complete["published"]
    interval = complete["published_interval"]
    own = {
        "source": " ".join(sources[complete["source"]].split()),
        "baseline": baseline,
        "reference": reference,
        "published_interval": None if interval is None else (float(interval[0]), float(interval[1])),
        "logarithmic": complete["logarithmic"] or kind in LOGARITHMIC,
        "twin": twin,
        "twins": tuple(complete["twins"]) if twin is None else (),
    }
    return Claim(**complete | own)


def _twins(complete: dict[str, Any], sources: dict[str, str]) -> Iterator[Claim]:
    """The twins of a claim. They inherit everything they do not set, except what was published."""
    for twin, given in complete["twins"].items():
        unpublished = {"published": None, "published_interval": None, "published_text": "", "tolerance": None}
        where = {name: each for name, each in complete["where"].items() if twin != EQUAL_LOSS or name != "final"}
        reference = complete["published"] if complete["reference"] is None else complete["reference"]
        given = given | {"where": where | given.get("where", {})}
        yield _claim(complete | unpublished | {"where": where, "reference": reference} | given, twin, sources)


def _errors(name: str, claim: dict[str, Any], sources: dict[str, str]) -> list[str]:
    """What is wrong with a claim beyond its schema."""
    return [*_measure_errors(name, claim["measure"]), *_other_errors(name, claim, sources)]


def _measure_errors(name: str, measure: dict[str, Any]) -> Iterator[str]:
    kind, by = measure["kind"], measure.get("by")
    sides = [measure[side] for side in ("of", "to") if side in measure]
    if kind in SIDES and len(sides) < 2:
        yield f"{name}.measure: a {kind} is `of` one thing `to` another; give both"
    if kind in AXIS_MEASURES and (by is None or sides):
        yield f"{name}.measure: a {kind} goes along the axis `by`, and has neither `of` nor `to`"
    if any(isinstance(side, dict) == (by is not None) for side in sides):
        yield f"{name}.measure: `of` and `to` must be values of the axis `by`, or conditions if there is no `by`"
    if kind in (*WHOLE, COEFFICIENT) and (by or sides):
        yield f"{name}.measure: a {kind} is over all rows, and has neither `by` nor `of` nor `to`"
    if "held" in measure and by is None:
        yield f"{name}.measure.held: this is for measures along an axis `by`"
    if (kind == "plateau") != ("tolerance" in measure):
        yield f"{name}.measure.tolerance: a plateau needs it, and no other measure takes it"
    if "scale" in measure and kind != "slope":
        yield f"{name}.measure.scale: only slopes take it"


def _other_errors(name: str, claim: dict[str, Any], sources: dict[str, str]) -> Iterator[str]:
    kind, published = claim["measure"]["kind"], claim.get("published")
    if claim["source"] not in sources:
        yield f"{name}.source: {claim['source']!r} is none of the sources: {', '.join(sources)}"
    if published is None and claim.get("reference") is None:
        yield f"{name}.reference: needed where no number is published"
    if published is None and ("tolerance" in claim or "published_interval" in claim):
        yield f"{name}.published: `tolerance` and `published_interval` belong to a published number; give it"
    if claim.get("published_interval") and (kind in STEPS or kind == "proportion"):
        yield f"{name}.published_interval: a {kind} is not compared with one"
    if kind in WHOLE and claim.get("baseline") is None:
        yield f"{name}.baseline: a {kind} needs one"
    if kind == COEFFICIENT and (published is not None or set(claim["expect"].values()) != {0}):
        yield f"{name}: the p-values of a {kind} are about the bound 0; expect it above or below 0, and publish nothing"
    if kind == "plateau" and "above" in claim["expect"]:
        yield f"{name}.expect: a plateau is expected to begin `below` a fraction of the axis"
    if claim.get("spans") and claim["measure"].get("by") is None:
        yield f"{name}.spans: this is for measures along an axis `by`"
