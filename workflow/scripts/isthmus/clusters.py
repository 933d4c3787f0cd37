"""What the workflow needs to know when it runs on a cluster, or shares a GPU."""

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
