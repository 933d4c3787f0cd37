"""What became of the published claims, from the table `claims`."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from isthmus.overview.numbers import number

VERDICTS = ("reproduced", "contradicted", "mixed", "depends on the loss", "inconclusive")
NOT_MEASURED = "not measured"


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
    """The tested claims, those with a verdict first, as they stand in a table of the page."""
    own = claims[claims["twin"].isna() & (claims["direction"] != NOT_MEASURED)]
    places = own["direction"].astype(str).map(VERDICTS.index)
    for _, row in own.loc[places.sort_values(kind="stable").index].iterrows():
        size = f", {row['size']}" if pd.notna(row["size"]) and row["direction"] == "reproduced" else ""
        interval = f" ({number(row['low'])} to {number(row['high'])})" if pd.notna(row["low"]) else ""
        yield {name: row[name] for name in ("claim", "statement", "source", "study", "direction", "networks")} | {
            "verdict": row["direction"] + size,
            "measured": number(row["value"]) + interval,
            "measure": str(row["measure"]).replace("_", " "),
            "published": number(row["published"]) if pd.notna(row["published"]) else "",
            "as_published": bool(row["as_published"]),
        }


def claims_not_measured(claims: pd.DataFrame) -> list[dict[str, Any]]:
    """The claims that no study tests, with the reason."""
    own = claims[claims["twin"].isna() & (claims["direction"] == NOT_MEASURED)]
    return own[["claim", "statement", "reason"]].to_dict("records")
