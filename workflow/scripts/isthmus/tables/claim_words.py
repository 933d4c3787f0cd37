"""The words for the content of the table `claims`, shared by its figure and the overview."""

import pandas as pd

VERDICTS = ("reproduced", "contradicted", "mixed", "depends on the loss", "inconclusive")
NOT_MEASURED = "not measured"
TWINS = {"over_loss": "with the loss divided out", "equal_loss": "at equal training loss"}


def verdict_words(direction: str, size: str | None, alone: str | None) -> str:
    """The verdict on the direction, and that on the size, or what an inconclusive claim would read by itself.

    Columns of the table, which may be null.

    >>> verdict_words("reproduced", "undecided", None), verdict_words("inconclusive", None, "reproduced")
    ('reproduced, size undecided', 'inconclusive (reproduced alone)')
    """
    if pd.notna(alone) and alone:
        return f"{direction} ({alone} alone)"
    if pd.isna(size) or not size or direction == "inconclusive":
        return str(direction)
    return f"{direction}, {'size undecided' if size == 'undecided' else size}"
