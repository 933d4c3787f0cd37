"""What the workflow has to know about clusters: how a job there learns what it is, and how long it may take."""

from collections.abc import Mapping

WILDCARDS = ("study", "cell", "sweep", "block", "dataset", "table")


def whole_wildcards(split: Mapping[str, str]) -> dict[str, str]:
    """The wildcards of a job, from what Snakemake's `--target-jobs` makes of them on a node of a cluster.

    Snakemake splits `study=a,cell="width=8,depth=1",block=0` at every comma (its issue 2366), and so takes a cell for
    `width=8` and its other axes for wildcards. Nothing changes where nothing was split.

    >>> whole_wildcards({"study": "a", "cell": "width=8", "depth": "1", "block": "0"})
    {'study': 'a', 'cell': 'width=8,depth=1', 'block': '0'}
    """
    whole = {name: value for name, value in split.items() if name in WILDCARDS}
    axes = [f"{name}={value}" for name, value in split.items() if name not in WILDCARDS]
    if axes and "cell" in whole:
        whole["cell"] = ",".join([whole["cell"], *axes])
    return whole if axes else dict(split)


def run_time(minutes: int, attempt: int, longest: int | None) -> int:
    """Minutes that a job asks for that should take `minutes`: in its next try more, never above `longest`.

    What a job has not finished when its time is up, its next try resumes.

    >>> run_time(60, 1, 100), run_time(60, 2, 100), run_time(60, 2, None)
    (60, 100, 120)
    """
    return attempt * minutes if longest is None else min(attempt * minutes, longest)
