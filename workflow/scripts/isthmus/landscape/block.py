"""The trained networks of one job, as every analysis sees them: it reads its inputs and measures one by one."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from isthmus.core.logs import StopRequest
from isthmus.core.resume import Task, fingerprint, measure_all
from isthmus.core.tensors import Tensors, checksum, flatten
from isthmus.data.dataset import Dataset, load_dataset
from isthmus.landscape.evaluator import Evaluator
from isthmus.recipes.recipe import Recipe
from isthmus.tables.parquet import read_table
from isthmus.tables.rows import Row
from isthmus.training.placement import Placement
from isthmus.training.rows import keys, statistics_column
from isthmus.training.weights import load_snapshots

Snapshots = dict[str, Tensors]


@dataclass(frozen=True)
class Block:
    """Data, networks and options of a job.

    job: the Snakemake job, with the inputs `data`, `weights` and `networks` and the parameters `recipe`, `options`,
    `code` and `checkpoints`. seeds: the networks of the job; sound: those that did not diverge; networks: rows of the
    table `networks`, by seed.
    """

    job: Any
    recipe: Recipe
    options: dict[str, Any]
    dataset: Dataset
    seeds: list[int]
    sound: list[int]
    networks: dict[int, Row]
    placement: Placement

    @classmethod
    def read(cls, job: Any, seeds: Iterable[int]) -> "Block":
        """Read data and tables, and set up this process. Raises DataError if a file is damaged."""
        recipe, dataset, seeds = Recipe.from_dict(job.params.recipe), load_dataset(job.input.data), list(seeds)
        rows = [row for path in _listed(job.input.networks) for row in read_table(path).to_pylist()]
        networks = {row["seed"]: row for row in rows}
        placement = Placement.set_up(job, recipe, dataset)
        sound = [seed for seed in seeds if not networks[seed]["diverged"]]
        logging.info("%d of %d networks without divergence", len(sound), len(seeds))
        return cls(job, recipe, job.params.options, dataset, seeds, sound, networks, placement)

    def snapshots(self) -> dict[int, Snapshots]:
        """The weights of the networks that did not diverge, by seed and snapshot."""
        files = (load_snapshots(path) for path in _listed(self.job.input.weights))
        found = {seed: snapshots for file in files for seed, snapshots in file.items()}
        return {seed: found[seed] for seed in self.sound}

    def evaluator(
        self, together: int = 1, evaluation_examples: int | None = None, hessian_examples: int = 1
    ) -> Evaluator:
        """Data and networks on the device. together: the most points, or networks, to evaluate at once."""
        settings = self.placement.settings
        stack = self.placement.evaluation_stack(together)
        return Evaluator.of(
            self.recipe,
            self.dataset,
            tuple(self.sound),
            settings,
            stack=stack,
            evaluation_examples=evaluation_examples,
            hessian_examples=hessian_examples,
        )

    def fingerprint(self, *parts: Any) -> str:
        """A digest of recipe, code, data, and `parts`: whatever else a measurement depends on."""
        return fingerprint(self.job.params.recipe, self.job.params.code, self.dataset.checksum, *parts)

    def measure_each(self, measure: Callable[[int, Snapshots], Any]) -> dict[int, Any]:
        """The result of `measure`, given a seed and its snapshots, for each network that did not diverge, by seed.

        A restarted job keeps what it has measured. Raises Interrupted if it was told to stop.
        """
        tasks = {
            str(seed): Task(
                self.fingerprint(self.options, checksum(flatten(snapshots), {})), partial(measure, seed, snapshots)
            )
            for seed, snapshots in self.snapshots().items()
        }
        with StopRequest() as stop:
            found = measure_all(self.job.params.checkpoints, tasks, stop, "networks")
        return {int(seed): measured for seed, measured in found.items()}

    def keys(self, seed: int) -> Row:
        """The first columns of every table with a row per network."""
        return keys(self.job.wildcards.study, self.job.wildcards.cell, self.recipe, seed)

    @property
    def statistics(self) -> Row:
        """The column that says how many training examples batch-norm statistics are computed over."""
        return statistics_column(self.recipe, self.dataset)


def _listed(files: Any) -> list[str]:
    """The input files of one name; Snakemake gives a single file as a string."""
    return [files] if isinstance(files, str) else list(files)
