"""Which published claims hold: a verdict on the direction and the size of each, from the tables of all studies.

A claim is tested on every study that can test it: on networks in the published setup if the study has them, otherwise
on all its networks. Tests are corrected for their number within families, which are the letters of the claims. The
families share the 5 % equally, so at most 5 % of such tables contain a claim that wrongly reads `reproduced` or
`contradicted`.

This module does not import torch.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from isthmus.analyses.claims.estimates import Measured, Ratio, blurred, direction
from isthmus.analyses.claims.measures import Found, measure
from isthmus.analyses.claims.rows import NEEDED, TRAINED, NotMeasured, published_rows, rows_of_study
from isthmus.analyses.claims.statements import Claim
from isthmus.recipes.cell_table import PREFIX
from isthmus.statistics.contrasts import Estimate
from isthmus.statistics.multiplicity import adjusted
from isthmus.tables.rows import finite

LEVEL = 0.05
REPRODUCED, CONTRADICTED, INCONCLUSIVE = "reproduced", "contradicted", "inconclusive"
MIXED, ON_LOSS, NOT_MEASURED = "mixed", "depends on the loss", "not measured"
AS_PUBLISHED, SMALLER, LARGER, UNDECIDED = "as published", "smaller", "larger", "undecided"
Known = dict[tuple[str, str], pd.DataFrame]  # the rows of a table and a study
NOBODY_ELSE: Mapping[str, str] = MappingProxyType({})
NO_INTERVAL = "too few networks for an interval"
NO_SCATTER = "networks do not differ, so there is no interval"


@dataclass
class Test:
    """A claim tested on the networks of a study.

    inside, outside: one-sided p-values for lying in the range that the claim expects, and for lying outside. corrected:
    the two-sided p-value of the claim, corrected for the number of claims.
    """

    claim: Claim
    study: str
    found: Found
    as_published: bool
    inside: float
    outside: float
    corrected: float = 1.0

    @property
    def p(self) -> float:
        """The two-sided p-value: twice the smaller one-sided p-value."""
        return math.nan if math.isnan(self.inside) else min(1.0, 2 * min(self.inside, self.outside))

    @property
    def leaning(self) -> str:
        """The verdict that the claim would get if the test were significant."""
        return REPRODUCED if self.inside < self.outside else CONTRADICTED


def judge(
    claims: Iterable[Claim], tables: Mapping[str, pd.DataFrame], measured_by: Mapping[str, str] = NOBODY_ELSE
) -> list[dict[str, Any]]:
    """The rows of the table `claims`, in the order of the claims and then of the studies' names.

    tables: the collected tables by name. `networks` is required; others may be missing. measured_by: whose
    measurements studies made of tables are, by study.
    """
    tables = {name: _plain(table) for name, table in tables.items()}
    claims = list(claims)
    known: Known = {}
    tests: dict[tuple[str, str | None], list[Test]] = {}
    reasons: dict[tuple[str, str | None], str] = {}
    for claim in claims:
        key = claim.id, claim.twin
        tests[key], reasons[key] = _tests(claim, tables, known)
    correct([test for each in tests.values() for test in each])
    rows: list[dict[str, Any]] = []
    for claim in claims:
        own = tests[claim.id, claim.twin]
        twins = [test for twin in claim.twins for test in tests[claim.id, twin]]
        parents = [] if claim.twin is None else tests[claim.id, None]
        for test in own:
            parent = next((each for each in parents if each.study == test.study), None)
            rows.append(_row(test, [each for each in twins if each.study == test.study], parent))
        if not own:
            rows.append(_first(claim) | {"reason": reasons[claim.id, claim.twin]})
    return [row | {"measured_by": measured_by.get(row["study"])} for row in rows]


def correct(tests: list[Test]) -> None:
    """Set the p-values that are corrected for the number of tests, within families that share the level equally.

    Within a family, claims start with equal shares. A claim with a verdict passes its share on to its twins, which are
    tested only then. The twins, or a claim without twins, pass it on to the other claims
    (`isthmus.statistics.multiplicity`).
    """
    families = sorted({test.claim.family for test in tests})
    for family in families:
        members = [test for test in tests if test.claim.family == family]
        parents = [test for test in members if test.claim.twin is None]
        passing = np.zeros((len(members), len(members)))
        p, shares = np.full(len(members), math.nan), np.zeros(len(members))
        for place, test in enumerate(members):
            twins = _places(members, test)
            others = [members.index(each) for each in parents if (each.claim.id, each.study) != _name(test)]
            p[place] = test.p
            if test.claim.twin is None:
                shares[place] = 1 / len(parents)
            receivers = twins or others
            for receiver in receivers:
                passing[place, receiver] = 1 / len(receivers)
        for test, found in zip(members, adjusted(p, shares, passing), strict=True):
            test.corrected = min(1.0, float(found) * len(families))


def _name(test: Test) -> tuple[str, str]:
    return test.claim.id, test.study


def _places(members: list[Test], parent: Test) -> list[int]:
    """The indices of a test's twins; a twin has none."""
    if parent.claim.twin is not None:
        return []
    return [place for place, each in enumerate(members) if each.claim.twin is not None and _name(each) == _name(parent)]


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table with categories converted to plain strings."""
    categories = table.columns[table.dtypes == "category"]
    return table.astype(dict.fromkeys(categories, object))


def _tests(claim: Claim, tables: Mapping[str, pd.DataFrame], known: Known) -> tuple[list[Test], str]:
    """The tests of one claim, one per study that can test it, and the reasons why the others cannot."""
    reasons: dict[str, list[str]] = {}
    found: list[Test] = []
    above, below = _bounds(claim)
    for study in sorted(tables["networks"]["study"].unique()):
        try:
            if (claim.table, study) not in known:
                known[claim.table, study] = rows_of_study(claim.table, tables, study)
            each, as_published = _test(claim, known[claim.table, study])
        except NotMeasured as missing:
            reasons.setdefault(str(missing), []).append(study)
            continue
        found.append(Test(claim, study, each, as_published, *direction(each.result, above, below)))
    several = len(reasons) > 1
    return found, "; ".join(f"{', '.join(held)}: {each}" if several else each for each, held in reasons.items())


def _test(claim: Claim, rows: pd.DataFrame) -> tuple[Found, bool]:
    """Measure a claim on a study, and say whether in the published setup. Raises NotMeasured if impossible."""
    needed = claim.columns() | NEEDED
    rows = rows[[name for name in rows if name.removeprefix(TRAINED) in needed or name.startswith(PREFIX)]]
    if claim.setup:
        try:
            return measure(claim, published_rows(claim, rows)), True
        except NotMeasured:
            if not claim.elsewhere:
                raise
    return measure(claim, rows), not claim.setup and claim.published is not None  # a number published for any networks


def _bounds(claim: Claim) -> tuple[float, float]:
    return claim.expect.get("above", -math.inf), claim.expect.get("below", math.inf)


def settings_for_and_against(test: Test) -> tuple[int, int]:
    """In how many settings the claim holds and in how many its opposite, by tests corrected for their number."""
    sides = [direction(each, *_bounds(test.claim)) for each in test.found.by_setting.values()]
    told = [(inside, outside) for inside, outside in sides if not math.isnan(inside)]
    bound = LEVEL / 2 / max(len(told), 1)
    return sum(inside <= bound for inside, _ in told), sum(outside <= bound for _, outside in told)


def verdict(test: Test, twins: Iterable[Test] = ()) -> str:
    """The verdict on the direction of a claim, given the tests of its twins on the same study."""
    told = test.leaning if test.corrected <= LEVEL else INCONCLUSIVE
    holds, opposed = settings_for_and_against(test)
    if (holds or told == REPRODUCED) and (opposed or told == CONTRADICTED):
        return MIXED
    if told != INCONCLUSIVE and any(twin.corrected <= LEVEL and twin.leaning != told for twin in twins):
        return ON_LOSS
    return told


def size(claim: Claim, measured: Measured) -> str | None:
    """How large the effect is compared with the published one; None without a published value or a tolerance.

    This uses 95 % intervals, which include the published value's own error if it is known. The verdict is `as
    published` if the whole interval is within the tolerance, `smaller` if all of it lies beyond the tolerance on the
    side of no effect, and `larger` if all of it lies beyond on the other side.
    """
    if claim.published is None or claim.tolerance is None:
        return None
    if claim.published_interval is not None:
        measured = blurred(measured, claim.published_interval)
    low, high = claim.published - claim.tolerance, claim.published + claim.tolerance
    inside = max(measured.p_above(low), measured.p_below(high))
    if math.isnan(inside):
        return UNDECIDED
    if inside <= LEVEL / 2:
        return AS_PUBLISHED
    words = (SMALLER, LARGER) if claim.published > claim.baseline else (LARGER, SMALLER)
    for p, word in zip((measured.p_below(low), measured.p_above(high)), words, strict=True):
        if p <= LEVEL / 2:
            return word
    return UNDECIDED


def _row(test: Test, twins: list[Test], parent: Test | None) -> dict[str, Any]:
    """The row of the table `claims` for one test, given the tests of its twins, or of the claim whose twin it is."""
    claim, found = test.claim, test.found
    low, high = found.result.interval()
    holds, opposed = settings_for_and_against(test)
    told = verdict(test, twins)
    return _first(claim) | {
        "study": test.study,
        "as_published": test.as_published,
        "comparison": found.comparison or None,
        "value": finite(found.result.value),
        "low": finite(low),
        "high": finite(high),
        "p": finite(test.p),
        "p_corrected": None if math.isnan(test.p) else test.corrected,
        "networks": found.networks,
        "excluded": found.excluded,
        "settings": len(found.by_setting),
        "settings_for": holds,
        "settings_against": opposed,
        "direction": told,
        "alone": test.leaning if told == INCONCLUSIVE and test.p <= LEVEL else None,
        "size": size(claim, found.result),
        "reason": _reason(test, parent),
    }


def _reason(test: Test, parent: Test | None) -> str | None:
    """Why there is no verdict; None if there is one."""
    if math.isnan(test.p):
        result = test.found.result.difference if isinstance(test.found.result, Ratio) else test.found.result
        return NO_SCATTER if isinstance(result, Estimate) and result.error == 0 else NO_INTERVAL
    if test.claim.twin is not None and (parent is None or parent.corrected > LEVEL):
        return f"tested only where {test.claim.id} has a verdict"
    return None


def _first(claim: Claim) -> dict[str, Any]:
    """The columns that describe the claim, with all others as for a claim that was not measured."""
    above, below = _bounds(claim)
    unmeasured = ("study", "comparison", "value", "low", "high", "p", "p_corrected", "alone", "size", "reason")
    published = claim.published_interval or (math.nan, math.nan)
    return {
        "claim": claim.id,
        "twin": claim.twin,
        **{key: getattr(claim, key) for key in ("statement", "source", "table", "quantity", "logarithmic")},
        "measure": claim.kind,
        **dict.fromkeys(unmeasured),
        "published": None if claim.published is None else float(claim.published),
        "published_low": finite(published[0]),
        "published_high": finite(published[1]),
        "published_text": claim.published_text or None,
        "as_published": False,
        "expected_above": finite(above),
        "expected_below": finite(below),
        "baseline": float(claim.baseline),
        "reference": float(claim.reference),
        **dict.fromkeys(("networks", "excluded", "settings", "settings_for", "settings_against"), 0),
        "direction": NOT_MEASURED,
    }
