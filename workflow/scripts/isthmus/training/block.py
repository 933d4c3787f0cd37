"""The trained networks of a block, as an analysis of single networks sees them: files in, a record per network out."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.core.errors import Interrupted
from isthmus.core.logs import StopRequest
from isthmus.core.resume import Records
from isthmus.core.tensors import Tensors, checksum
from isthmus.tables.descriptions import table
from isthmus.tables.parquet import read_table
from isthmus.training.stacks import fingerprint
from isthmus.training.weights import load_snapshots

Row = dict[str, Any]
Snapshots = dict[str, Tensors]


def network_rows(path: Path | str) -> dict[int, Row]:
    """The rows of one part of the table `networks`, by seed."""
    return {row["seed"]: row for row in read_table(path).to_pylist()}


def recorded(
    job: Any, dataset_checksum: str, seeds: list[int], measure: Callable[[int, Snapshots], Any]
) -> dict[int, Any]:
    """What `measure` finds on each network, from its seed and its snapshots, as far as that is not on record.

    `job` is Snakemake's: its inputs `weights`, its parameters `recipe`, `options`, `code` and `checkpoints`, where the
    records are kept. Raises Interrupted, between two networks, where the job was told to stop.
    """
    records, found = Records(Path(job.params.checkpoints)), {}
    snapshots = load_snapshots(job.input.weights)
    with StopRequest() as stop:
        for seed in seeds:
            named = {
                f"{label}/{name}": value for label, each in snapshots[seed].items() for name, value in each.items()
            }
            parts = [job.params.recipe, job.params.options, job.params.code, dataset_checksum, checksum(named, {})]
            mark = fingerprint(json.dumps(parts, sort_keys=True))
            found[seed] = records.recall(str(seed), mark, partial(measure, seed, snapshots[seed]))
            if stop.signal_number is not None:
                raise Interrupted(stop.signal_number)
    return found


def unmeasured(name: str) -> Row:
    """Nulls for all columns of a table that may be null."""
    return {column.name: None for column in table(name).columns if column.nullable}


def complete(name: str, fixed: Mapping[str, Any], measured: Mapping[str, Any]) -> Row:
    """A row of a table: what is fixed, what was measured, and nulls for the rest."""
    return unmeasured(name) | dict(fixed) | dict(measured)
