"""Kinds of paths between two networks, as far as they need no weights: which there are, and what each needs.

A *line* is straight between its ends, before anything is restored along it; all other kinds have a trained bend. An
*aligned* kind permutes the hidden units of the second network first; a *repaired* one also restores the statistics
of hidden units along the line (Jordan et al. 2023).
"""


def is_line(kind: str) -> bool:
    """Whether a kind of path has no bend to train.

    >>> is_line("linear-repaired"), is_line("bezier-aligned")
    (True, False)
    """
    return kind.startswith("linear")


def is_repaired(kind: str) -> bool:
    """Whether the statistics of hidden units are restored along it.

    >>> is_repaired("linear-repaired"), is_repaired("linear-aligned")
    (True, False)
    """
    return kind.endswith("-repaired")


def is_aligned(kind: str) -> bool:
    """Whether the hidden units of the second network are permuted to match those of the first.

    >>> is_aligned("linear-repaired"), is_aligned("linear")
    (True, False)
    """
    return kind.endswith("-aligned") or is_repaired(kind)
