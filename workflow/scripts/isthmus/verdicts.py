"""Which published claims hold: a verdict for each, from the tables of all studies.

A claim is tested on every study that can test it: on the networks of the published setup where a study has them, on all
networks of the study elsewhere. It is `reproduced` where the whole 95 % interval lies where the claim says,
`contradicted` where the whole interval lies outside, and `inconclusive` otherwise, also where networks are too few for
an interval. A published number is compared in the published setup only.

This module does not import torch.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from isthmus.claim_measures import Measured, measure
from isthmus.claim_rows import NotMeasured, published_rows, rows_of_study
from isthmus.claims import Claim

REPRODUCED, CONTRADICTED, INCONCLUSIVE = "reproduced", "contradicted", "inconclusive"
NOT_MEASURED = "not measured"
NO_INTERVAL = "too few networks for an interval"


def judge(claims: Iterable[Claim], tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """The rows of the table `claims`, in the order of the claims, then of the studies' names.

    tables: the collected tables by name; `networks` must be among them, others may be missing.
    """
    tables = {name: _plain(table) for name, table in tables.items()}
    return [row for claim in claims for row in _rows(claim, tables)]


def verdict(low: float, high: float, above: float, below: float) -> str:
    """The verdict for an interval [low, high] on a claim that something lies between `above` and `below`."""
    if math.isnan(low) or math.isnan(high):
        return INCONCLUSIVE
    if low > above and high < below:
        return REPRODUCED
    return CONTRADICTED if high <= above or low >= below else INCONCLUSIVE


def expected(claim: Claim, as_published: bool) -> tuple[float, float]:
    """Between which values the claim says that the measure lies, infinite where it sets no bound."""
    expect = claim.expect
    above, below = expect.get("above", -math.inf), expect.get("below", math.inf)
    if as_published and "near" in expect:
        above = max(above, expect["near"] - expect["tolerance"])
        below = min(below, expect["near"] + expect["tolerance"])
    return above, below


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its strings as plain strings."""
    categories = table.columns[table.dtypes == "category"]
    return table.astype(dict.fromkeys(categories, object))


def _rows(claim: Claim, tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """The rows of one claim: one per study that tests it, or a single one that says why none does."""
    reasons: dict[str, list[str]] = {}
    tested = False
    for study in sorted(tables["networks"]["study"].unique()):
        try:
            found, as_published = _test(claim, tables, study)
        except NotMeasured as missing:
            reasons.setdefault(str(missing), []).append(study)
            continue
        tested = True
        above, below = expected(claim, as_published)
        decided = verdict(found.low, found.high, above, below)
        yield _first(claim) | {
            "study": study,
            "as_published": as_published,
            "comparison": found.comparison or None,
            **{key: _finite(getattr(found, key)) for key in ("value", "low", "high")},
            "expected_above": _finite(above),
            "expected_below": _finite(below),
            **{key: getattr(found, key) for key in ("networks", "excluded", "settings")},
            "verdict": decided,
            "reason": NO_INTERVAL if math.isnan(found.low) else None,
        }
    if not tested:
        several = len(reasons) > 1
        reason = "; ".join(f"{', '.join(held)}: {each}" if several else each for each, held in reasons.items())
        yield _first(claim) | {"reason": reason}


def _test(claim: Claim, tables: Mapping[str, pd.DataFrame], study: str) -> tuple[Measured, bool]:
    """What a study says of a claim, and whether its networks have the published setup. Raises NotMeasured."""
    rows = rows_of_study(claim.table, tables, study)
    anywhere = bool(claim.expect.keys() & {"above", "below"})
    if claim.setup:
        try:
            return measure(claim, published_rows(claim, rows)), True
        except NotMeasured:
            if not anywhere:
                raise
    return measure(claim, rows), not claim.setup and claim.published is not None  # a number for any networks


def _first(claim: Claim) -> dict[str, Any]:
    """The columns that say what the claim is; all others as they are where it is not measured."""
    above, below = expected(claim, as_published=True)
    measured = ("study", "comparison", "value", "low", "high")
    return {
        "claim": claim.id,
        **{key: getattr(claim, key) for key in ("statement", "source", "table", "quantity", "logarithmic")},
        "measure": claim.kind,
        **dict.fromkeys(measured),
        "published": None if claim.published is None else float(claim.published),
        "published_text": claim.published_text or None,
        "as_published": False,
        "expected_above": _finite(above),
        "expected_below": _finite(below),
        "baseline": float(claim.baseline),
        "reference": float(claim.reference),
        **dict.fromkeys(("networks", "excluded", "settings"), 0),
        "verdict": NOT_MEASURED,
        "reason": None,
    }


def _finite(value: float) -> float | None:
    """A number as a table holds it: null where it is not finite."""
    return float(value) if math.isfinite(value) else None
