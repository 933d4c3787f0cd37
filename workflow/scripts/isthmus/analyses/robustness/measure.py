"""The rows of `robustness`: loss and accuracy of networks on corrupted test images, and on a second data set."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from isthmus.data.corruptions import SEVERITIES
from isthmus.landscape.corrupted_images import CorruptedTest, Scores
from isthmus.landscape.evaluator import Evaluator
from isthmus.tables.rows import Row, Rows, finite

CLEAN, SHIFTED = "none", "shifted"
"""Names in the tables for the clean test images and for the second data set."""


def measure(
    evaluator: Evaluator, test: CorruptedTest, other: tuple[Tensor, Tensor] | None, scores: Scores, corruption: str
) -> list[Rows]:
    """The rows of each network under one corruption, one per severity; `none` and `shifted` only have severity 0.

    other: images and labels from `shifted_examples`. scores: the function from `scoring`.
    """
    sets: Iterator[tuple[int, Tensor, Tensor]]
    if corruption == CLEAN:
        sets = iter([(0, evaluator.test_images, test.labels)])
    elif corruption == SHIFTED and other is not None:
        sets = iter([(0, *other)])
    else:
        sets = ((severity, test.images(corruption, severity), test.labels) for severity in test.severities)
    measured = []
    for severity, images, labels in sets:
        fixed = {"corruption": corruption, "severity": severity, "images": len(images)}
        measured.append([fixed | _scored(*values) for values in zip(*scores(images, labels), strict=True)])
    return [list(rows) for rows in zip(*measured, strict=True)]


def _scored(loss: Tensor, accuracy: Tensor) -> Row:
    """Loss and accuracy of one network; both None if its outputs are NaN."""
    return {"loss": finite(loss), "accuracy": None if loss.isnan() else float(accuracy)}


def measured_sets(corruptions: Sequence[str], severities: Sequence[int], shifted: bool) -> list[tuple[str, int]]:
    """What each network has a row for, in order: clean test images, corruptions by severity, the second data set."""
    chosen = [(name, severity) for name in SEVERITIES if name in corruptions for severity in sorted(severities)]
    return [(CLEAN, 0), *chosen, *([(SHIFTED, 0)] if shifted else [])]


def with_relative(rows: Rows) -> Rows:
    """The rows of one network with `relative_accuracy`: accuracy / accuracy of the row `none`, None if that is 0."""
    clean = next(row["accuracy"] for row in rows if row["corruption"] == CLEAN)
    kept = [row["accuracy"] / clean if clean and row["accuracy"] is not None else None for row in rows]
    return [row | {"relative_accuracy": value} for row, value in zip(rows, kept, strict=True)]
