"""The verdicts on the published claims, from the table `claims`, as the overview shows them."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from isthmus.overview.numbers import number
from isthmus.tables.claim_words import NOT_MEASURED, TWINS, VERDICTS, verdict_words

VERDICT = ["direction", "size", "alone"]


def verdict_sentence(claims: pd.DataFrame) -> str:
    """How many claims were tested, and with what result; twins are no claims of their own.

    >>> rows = {"claim": ["A1", "A1", "B2"], "twin": None, "direction": ["reproduced", "mixed", NOT_MEASURED]}
    >>> verdict_sentence(pd.DataFrame(rows))
    'Of 2 published claims, 1 was tested, in 2 tests of a claim in a study: 1 reproduced, 1 mixed. 1 was not tested.'
    """
    own = claims[claims["twin"].isna()]
    tested = own[own["direction"] != NOT_MEASURED]
    every, some = own["claim"].nunique(), tested["claim"].nunique()
    verdicts = tested["direction"].astype(str).value_counts()
    found = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS if verdict in verdicts)
    tests = f", in {len(tested)} {'test' if len(tested) == 1 else 'tests'} of a claim in a study: {found}"
    text = f"Of {every} published claims, {_were(some)} tested{tests if some else ''}."
    return f"{text} {_were(every - some)} not tested." if every > some else text


def _were(count: int) -> str:
    return f"{count} {'was' if count == 1 else 'were'}"


def measured_claims(claims: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The tested claims, those with a verdict first, as they stand in a table of the page.

    `twins` are the sentences on the same question with the loss taken into account.
    """
    measured = claims[claims["direction"] != NOT_MEASURED]
    own, twins = measured[measured["twin"].isna()], measured[measured["twin"].notna()]
    places = own["direction"].astype(str).map(VERDICTS.index)
    for _, row in own.loc[places.sort_values(kind="stable").index].iterrows():
        asked = twins[(twins["claim"] == row["claim"]) & (twins["study"] == row["study"])]
        yield {name: row[name] for name in ("claim", "statement", "source", "study", "direction", "networks")} | {
            "verdict": verdict_words(*row[VERDICT]),
            "holds": _holds(row),
            "measured": _measured(row),
            "measure": ", ".join(str(row[part]) for part in ("measure", "comparison") if pd.notna(row[part])).replace(
                "_", " "
            ),
            "published": number(row["published"]) if pd.notna(row["published"]) else "",
            "as_published": bool(row["as_published"]),
            "measured_by": row["measured_by"] if pd.notna(row["measured_by"]) else "",
            "twins": [
                f"{TWINS[twin['twin']]}: {_measured(twin)}, {verdict_words(*twin[VERDICT])}"
                for _, twin in asked.iterrows()
            ],
        }


def _holds(row: pd.Series) -> str:
    every = f"{row['settings']} setting{'' if row['settings'] == 1 else 's'}"
    opposite = f", the opposite in {row['settings_against']}" if row["settings_against"] else ""
    return f"holds in {row['settings_for']} of {every}{opposite}"


def _measured(row: pd.Series) -> str:
    interval = f" ({number(row['low'])} to {number(row['high'])})" if pd.notna(row["low"]) else ""
    return f"{number(row['value'])}{interval}"


def claims_not_measured(claims: pd.DataFrame) -> list[dict[str, Any]]:
    """The claims that no study tests, with the reason."""
    own = claims[claims["twin"].isna() & (claims["direction"] == NOT_MEASURED)]
    return own[["claim", "statement", "reason"]].to_dict("records")
